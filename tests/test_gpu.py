"""What only a GPU can show; skipped where there is none."""

import warnings
from pathlib import Path

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

import styletutor as st
from styletutor.descent import Step, Stop, descend, launched
from styletutor.descent.engine import Engine
from styletutor.descent.forecast import predict
from styletutor.descent.method import Method
from styletutor.loss.objective import Objective
from styletutor.machine import full_float32
from styletutor.network import fused

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
LAYERS = {"content_layers": "relu3_2", "style_layers": ["relu1_1", "relu2_1"]}


@pytest.fixture(autouse=True)
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test in which a recording fails does not switch them off for all after it."""
    monkeypatch.setattr(Engine, "records", True)


def make(device: str, side: int = 64) -> tuple[Objective, torch.Tensor]:
    vgg = make_tiny_vgg().to(device)
    content, style, start = (random_pictures(1, side, 96, seed=s).to(device) for s in (1, 2, 3))
    return Objective(vgg, content=content, styles=[style], style_weight=10.0, **LAYERS), start


def totals(steps: list[Step]) -> list[float]:
    return [step.losses["total"] for step in steps]


def test_the_gpu_computes_what_the_cpu_computes() -> None:
    on_cpu, on_gpu = (totals(list(descend(*make(device), 60))) for device in ("cpu", "cuda"))
    assert on_gpu[0] == pytest.approx(on_cpu[0], rel=1e-4)
    assert on_gpu[-1] == pytest.approx(on_cpu[-1], rel=0.05)


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize("precision", ["exact", "fast"])
def test_a_recorded_step_computes_what_an_eager_one_does(
    optimiser: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Method(optimiser=optimiser, precision=precision)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a graph that cannot be recorded says so
        recorded = list(descend(*make("cuda"), 40, method=method))
    monkeypatch.setattr(Engine, "_record", lambda self: setattr(self, "recordable", False))
    eager = list(descend(*make("cuda"), 40, method=method))
    assert totals(recorded) == pytest.approx(totals(eager), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_kernels_compute_what_plain_operations_compute(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="Triton is not here")
    vgg = st.load_vgg("pocket", device="cuda")
    vgg = vgg.low_precision() if dtype == torch.bfloat16 else vgg
    pictures, wanted = random_pictures(2, 101, 83).to("cuda"), ["relu1_1", "relu3_1", "relu4_2"]

    def evaluate() -> list[torch.Tensor]:
        x = pictures.clone().requires_grad_()
        found = vgg(x, wanted)
        loss = sum(features.float().square().mean() for features in found.values())
        return [*found.values(), *torch.autograd.grad(loss, x)]

    with warnings.catch_warnings(), full_float32(torch.device("cuda")):
        warnings.simplefilter("error")
        assert fused.serves(torch.zeros(1, device="cuda", dtype=dtype))
        ours = evaluate()
        monkeypatch.setattr(fused, "serves", lambda _: False)
        for one, other in zip(ours, evaluate(), strict=True):
            near = 0.1 if dtype == torch.bfloat16 else 1e-3
            assert (one - other).float().norm() < near * other.float().norm()


def test_the_passes_of_lbfgs_serve() -> None:
    pytest.importorskip("triton", reason="Triton is not here")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert launched.serves(torch.zeros(1, device="cuda"))


def test_steps_that_were_handed_out_do_not_change() -> None:
    steps = list(descend(*make("cuda"), 30))
    assert len({step.image.sum().item() for step in steps}) == 30
    objective, _ = make("cuda")
    for step in steps:
        again = objective.parts(step.image)
        for name, value in step.parts.items():
            torch.testing.assert_close(value, again[name], rtol=1e-4, atol=1e-6)


def test_a_step_that_cannot_be_recorded_runs_anyway(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = totals(list(descend(*make("cuda"), 20)))

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("the driver is too old")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    with pytest.warns(UserWarning, match="no CUDA graph .the driver is too old") as caught:
        steps = list(descend(*make("cuda"), 20))
    assert len(caught) == 1
    assert totals(steps) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("knob", ["style", "tv"])
def test_a_knob_counts_from_the_next_evaluation(knob: str) -> None:
    """`tv` adds a part, so that the recording has to be made anew."""
    objective, start = make("cuda")
    steps = descend(objective, start, 30)
    for _ in range(12):
        next(steps)
    objective.set_weight(knob, 50.0)
    after = next(steps)
    reference, _ = make("cuda")
    reference.set_weight(knob, 50.0)
    for name, value in reference.parts(after.image).items():
        torch.testing.assert_close(after.parts[name], value, rtol=1e-4, atol=1e-6)
    assert torch.equal(after.best, after.image)
    assert list(steps)[-1].losses["total"] < after.losses["total"]


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_a_step_never_waits_for_the_gpu(optimiser: str) -> None:
    objective, start = make("cuda")
    steps = descend(objective, start, 20, method=Method(optimiser=optimiser))
    for _ in range(6):  # the first loss is looked at, and a graph is recorded
        next(steps)
    try:
        torch.cuda.set_sync_debug_mode("error")
        evaluations = [step.evaluation for step in steps]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert evaluations[-1] == 20


def test_exact_means_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where somebody has allowed TF32; and their setting is theirs again afterwards."""
    expected = totals(list(descend(*make("cuda"), 5)))
    monkeypatch.setattr(torch.backends.cuda.matmul, "fp32_precision", "tf32")
    assert totals(list(descend(*make("cuda"), 5))) == expected
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


@pytest.mark.parametrize("side", [512, 1024])
def test_the_forecast_of_memory_is_right(side: int) -> None:
    vgg = st.load_vgg("pocket", device="cuda")
    photo = random_pictures(1, side, side).to("cuda")
    aims = {"content_layers": ["relu4_2"], "style_layers": ["relu1_1", "relu3_1"]}
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    objective = Objective(vgg, content=photo, styles=[photo.flip(3)], **aims)
    list(descend(objective, photo.flip(2), 12))
    measured = torch.cuda.max_memory_allocated() - before
    forecast = predict(vgg, (side, side), *aims.values())
    assert forecast == pytest.approx(measured, rel=0.2)


def test_figure_one_as_a_batch() -> None:
    result = st.figure_one("astronaut", "stained-glass", size=96, evaluations=12)
    assert result.image.shape == (10, 3, 96, 96)
    assert result.device.startswith("cuda")


def test_verbs_pick_the_gpu() -> None:
    result = st.transfer("astronaut", "stained-glass", size=64, evaluations=5)
    assert result.device.startswith("cuda")
    assert result.image.device.type == "cpu"
    assert result.settings["precision"] == "fast"


def test_a_knob_that_changes_its_length_is_taken_up() -> None:
    """Its tensor moves to another place, where an old recording would not look."""
    objective, start = make("cuda")
    steps = descend(objective, start.repeat(2, 1, 1, 1), 30)
    for _ in range(12):
        next(steps)
    objective.set_weight("style", [1.0, 50.0])
    after = next(steps)
    expected = objective.parts(after.image)
    for name, value in after.parts.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    *_, last = steps
    for name, value in objective.parts(last.image).items():
        torch.testing.assert_close(last.parts[name], value, rtol=1e-4, atol=1e-6)


def test_a_recording_that_fails_in_its_midst_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = totals(list(descend(*make("cuda"), 20)))
    original = Engine._looked_at

    def fail(self: Engine, image: object, point: object) -> object:
        result = original(self, image, point)
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("in the midst")
        return result

    monkeypatch.setattr(Engine, "_looked_at", fail)
    with pytest.warns(UserWarning, match="no CUDA graph"):
        steps = list(descend(*make("cuda"), 20))
    assert totals(steps) == pytest.approx(expected, rel=1e-3)


def test_two_runs_at_once_do_not_disturb_each_other() -> None:
    photo, art = (random_pictures(1, 64, 96, seed=seed) for seed in (1, 2))
    how = {"evaluations": 60, "precision": "exact", **LAYERS}
    vggs = [make_tiny_vgg().to("cuda") for _ in range(2)]
    alone = st.transfer(photo, art, vgg=vggs[0], progress=False, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs = [st.Run(st.transfer, photo, art, vgg=vgg, **how).start() for vgg in vggs]
        results = [run.wait(timeout=120) for run in runs]
    for result in results:
        assert result.loss["end"]["total"] == pytest.approx(alone.loss["end"]["total"], rel=0.05)
    assert torch.backends.cuda.matmul.fp32_precision != "ieee"


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    photo, art = (random_pictures(1, 64, 96, seed=seed) for seed in (1, 2))
    how = {"vgg": make_tiny_vgg().to("cuda"), "evaluations": 30, "precision": "exact", **LAYERS}

    def stop(step: Step) -> None:
        if step.evaluation == 17:
            raise Stop

    whole = st.transfer(photo, art, **how)
    st.transfer(photo, art, checkpoint=tmp_path / "run", on_step=stop, **how)
    resumed = st.transfer(photo, art, resume=tmp_path / "run", **how)
    assert resumed.history[:17] == whole.history[:17]
    assert resumed.loss["end"]["total"] == pytest.approx(whole.loss["end"]["total"], rel=0.01)


@pytest.mark.parametrize("name", sorted(st.recipes))
def test_every_recipe_is_recorded(name: str) -> None:
    vgg = st.load_vgg("pocket", device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = st.transfer(
            "coffee", "wave-print", vgg=vgg, size=96, recipe=name, evaluations=12, precision="exact"
        )
    assert result.loss["end"]["total"] < result.loss["start"]["total"]


def test_regions_on_the_gpu() -> None:
    vgg = make_tiny_vgg()
    photo, a, b = (random_pictures(1, 64, 96, seed=seed) for seed in range(3))
    left = torch.zeros(64, 96)
    left[:, :48] = 1
    how = {"masks": [left, 1 - left], "evaluations": 20, "precision": "exact", **LAYERS}
    on_cpu, on_gpu = (
        st.transfer(photo, [a, b], vgg=vgg.to(device), **how) for device in ("cpu", "cuda")
    )
    assert on_gpu.loss["start"]["total"] == pytest.approx(on_cpu.loss["start"]["total"], rel=1e-3)
    assert on_gpu.loss["end"]["total"] == pytest.approx(on_cpu.loss["end"]["total"], rel=0.1)


def test_a_panel_looks_at_a_recorded_descent() -> None:
    pytest.importorskip("anywidget", reason="the panels are not installed")
    from styletutor.widgets import GramLab, LayerExplorer, TransferStudio

    vgg = st.load_vgg("pocket", device="cuda")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        studio = TransferStudio("coffee", "grass", vgg=vgg, size=96, evaluations=60)
        whole = studio.start().wait(timeout=120)
        studio.run._thread.join()
    assert sum(studio.controls.board.terms.values()) == pytest.approx(1)
    kept = studio.run.film.kept[0]
    studio.scrub.value = 0
    studio.fork()
    assert studio.wait(timeout=120).history[: kept.evaluation] == whole.history[: kept.evaluation]
    photo = st.load_image("coffee", 96)
    LayerExplorer(vgg, photo).large.point = [0.5, 0.5]
    GramLab(vgg, photo).shuffle()
    studio.close()
