"""The forecast of memory against what a fresh process really takes, and what it is used for."""

import gc
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import random_pictures
from torch.profiler import ProfilerActivity, profile

import styletutor as st
from styletutor import machine
from styletutor.cookbook.published import STYLE_LAYERS
from styletutor.descent import descend, forecast
from styletutor.descent.forecast import largest_side, predict
from styletutor.loss.objective import Objective
from styletutor.machine import GIB, is_out_of_memory
from styletutor.network.vgg import VGG
from styletutor.runs import inputs

MEASURE = """
import torch
import styletutor as st
from benchmarks.peak import peak_of
from styletutor.descent import descend
from styletutor.loss.objective import Objective

vgg, layers = st.load_vgg("pocket", device="cpu"), {layers}
def run(side):
    x = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    aims = dict(content=x, styles=[x.flip(3)], content_layers="relu4_2", style_layers=layers)
    list(descend(Objective(vgg, **aims), x.flip(2), 4))

run(64)  # what libraries set up once is not the descent's
print(peak_of(lambda: run({side}), vgg.device))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux")
@pytest.mark.parametrize("side", [384, 640])
def test_the_forecast_is_near_what_a_process_takes(side: int) -> None:
    code = MEASURE.format(side=side, layers=list(STYLE_LAYERS))
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    vgg = st.load_vgg("pocket", device="cpu")
    needed = predict(vgg, (side, side), ["relu4_2"], STYLE_LAYERS)
    assert needed == pytest.approx(int(out.stdout), rel=0.35)


def _asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], forecast.Room]]:
    """What is asked of the forecast from now on, and what it says."""
    asked, real = [], inputs.find_room

    def noted(*given: object, **how: object) -> forecast.Room:
        asked.append((how, real(*given, **how)))
        return asked[-1][1]

    monkeypatch.setattr(inputs, "find_room", noted)
    return asked


def _most(records: profile, given: int = 0) -> int:
    """The most that was allocated at one time, above what there was, and what was `given`."""
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        records.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    held = [e["args"]["Total Allocated"] for e in events if e.get("name") == "[memory]"]
    return max(held) - held[0] + given


def test_the_forecast_counts_what_pytorch_allocates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what a system's memory adds to it, and so much nearer."""
    monkeypatch.setattr(forecast, "HEAP", 0)
    vgg = st.load_vgg("pocket", device="cpu")
    photo = random_pictures(1, 200, 256)
    gc.collect()  # what others left must not go while we count
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as records:
        aims = {"content_layers": "relu4_2", "style_layers": STYLE_LAYERS}
        objective = Objective(vgg, content=photo, styles=[photo.flip(3)], **aims)
        list(descend(objective, photo, 4))
    needed = predict(vgg, (200, 256), ["relu4_2"], STYLE_LAYERS)
    assert needed == pytest.approx(_most(records), rel=0.15)


def test_large_style_pictures_count(tiny_vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their features are there before the descent, and may be the most of it."""
    vgg = st.load_vgg("pocket", device="cpu")
    style = random_pictures(1, 1000, 1200)
    gc.collect()  # what others left must not go while we count
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as records:
        Objective(vgg, styles=[style], style_layers=STYLE_LAYERS)
    needed = predict(vgg, (32, 32), (), STYLE_LAYERS, styles=[(1000, 1200)])
    assert needed == pytest.approx(_most(records, style.nbytes), rel=0.25)
    monkeypatch.setattr(forecast, "free_bytes", lambda device: GIB // 100)
    photo = random_pictures(1, 32, 32)
    for picture, whole in ((style, False), (photo, True)):
        result = st.transfer(photo, picture, vgg=tiny_vgg, evaluations=1, style_layers=["relu2_1"])
        assert (result.settings["tile"] is None) == whole


def test_fast_and_exact_runs_are_forecast_as_they_are(
    tiny_vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _asked(monkeypatch)
    photo = random_pictures(1, 32, 32)
    for precision in ("exact", "fast"):
        how = {"vgg": tiny_vgg, "evaluations": 1, "precision": precision}
        st.reconstruct_content(photo, "relu2_1", **how)
    assert [how["precision"] for how, _ in asked] == ["exact", "fast"]


def test_a_style_reconstruction_is_forecast_as_one(
    tiny_vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With memory between what a style and a content of the same layers need."""
    layers, size = ["relu1_1", "relu2_1", "relu3_1"], (64, 64)
    style = predict(tiny_vgg, size, (), layers, styles=[size])
    content = predict(tiny_vgg, size, layers)
    assert style < 0.9 * content
    between = int(forecast.MARGIN * (style + content) / 2)
    monkeypatch.setattr(forecast, "free_bytes", lambda device: between)
    photo, how = random_pictures(1, *size), {"vgg": tiny_vgg, "evaluations": 1}
    rooms = _asked(monkeypatch)
    st.reconstruct_style(photo, layers, precision="exact", **how)
    st.reconstruct_content(photo, layers, precision="exact", **how)
    assert rooms[0][1] == forecast.WHOLE != rooms[1][1]


@pytest.mark.parametrize("verb", ["figure_one", "transfer", "reconstruct_each"])
def test_the_network_sees_nothing_that_does_not_fit(
    verb: str, tiny_vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "free_bytes", lambda device: 1)
    monkeypatch.setattr(VGG, "forward", lambda *_, **__: pytest.fail("it was run"))
    photo = random_pictures(1, 32, 32)
    second = ["relu1_1", "relu2_1"] if verb == "reconstruct_each" else photo
    how = {"vgg": tiny_vgg, "evaluations": 1}
    if verb == "transfer":
        how |= {"content_layers": "relu2_1", "style_layers": ["relu1_1"]}
    with pytest.raises(ValueError, match="GiB are free; none fits"):
        getattr(st, verb)(photo, second, **how)


def test_masks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "HEAP", 0)
    vgg = st.load_vgg("pocket", device="cpu")
    photo, mask = random_pictures(1, 200, 256), torch.ones(200, 256)
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as records:
        aims = {"content_layers": "relu4_2", "style_layers": STYLE_LAYERS}
        styles = [photo.flip(3)] * 3
        objective = Objective(vgg, content=photo, styles=styles, masks=[mask] * 3, **aims)
        list(descend(objective, photo, 4))
    needed = predict(vgg, (200, 256), ["relu4_2"], STYLE_LAYERS, regions=3)
    assert needed == pytest.approx(_most(records), rel=0.25)
    assert needed > 1.3 * predict(vgg, (200, 256), ["relu4_2"], STYLE_LAYERS)


def test_more_needs_more(tiny_vgg: VGG) -> None:
    def need(side: int = 256, deepest: str = "relu3_1", **how: object) -> int:
        return predict(tiny_vgg, (side, side), ["relu3_1"], ["relu1_1", deepest], **how)

    assert need() < need(deepest="relu4_2") < need(deepest="relu4_2", side=300)
    assert need(optimiser="adam") < need() < need(precision="fast")
    assert 2.5 * need() < need(batch=3) < 3.5 * need()
    assert need(batch={"relu3_1": 1, "relu1_1": 3}) < need(batch=3)


def test_the_largest_side_just_fits(tiny_vgg: VGG) -> None:
    free = 200 * 2**20
    side = largest_side(tiny_vgg, (300, 400), free, ["relu3_1"])
    assert side % 16 == 0
    need = [predict(tiny_vgg, (round(s * 0.75), s), ["relu3_1"]) for s in (side, side + 16)]
    assert 1.2 * need[0] <= free < 1.2 * need[1]
    assert largest_side(tiny_vgg, (300, 400), 10, ["relu3_1"]) == 0


def test_too_large_is_refused_with_the_size_that_fits(
    tiny_vgg: VGG, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "free_bytes", lambda device: GIB // 50)
    photo = random_pictures(1, 600, 800)
    with pytest.raises(ValueError, match=r"800×600 .* 0\.0 GiB are free; .* is size=") as error:
        st.reconstruct_content(photo, "relu2_1", vgg=tiny_vgg, evaluations=1)
    size = int(str(error.value).split("size=")[1].split()[0])
    st.reconstruct_content(photo, "relu2_1", vgg=tiny_vgg, size=size, evaluations=1)
    with pytest.raises(ValueError, match="GiB are free"):
        st.transfer(photo, photo, vgg=tiny_vgg, evaluations=1)
    with pytest.raises(ValueError, match="GiB are free"):
        st.figure_one(photo, photo, vgg=tiny_vgg, evaluations=1)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate …"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"),
        MemoryError(),
    ],
)
def test_out_of_memory_keeps_the_best_picture(tiny_vgg: VGG, error: Exception) -> None:
    def on_step(step: object) -> None:
        if step.evaluation == 5:
            raise error

    photo = random_pictures(1, 32, 32)
    with pytest.warns(UserWarning, match="out of memory after 5 evaluations; the best picture"):
        result = st.reconstruct_content(
            photo, "relu2_1", vgg=tiny_vgg, evaluations=9, on_step=on_step
        )
    assert result.interrupted and len(result.history) == 5


def test_another_error_is_no_lack_of_memory(tiny_vgg: VGG) -> None:
    def on_step(step: object) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        photo = random_pictures(1, 32, 32)
        st.reconstruct_content(photo, "relu2_1", vgg=tiny_vgg, evaluations=9, on_step=on_step)


def test_the_real_error_of_a_full_computer_is_known() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(error.value)


GROUP_2 = ("memory.max", "memory.current", "inactive_file")
GROUP_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _group(folder: Path, names: tuple[str, str, str], bound: object, used: int, files: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    limit, usage, inactive = names
    (folder / limit).write_text(f"{bound}\n")
    (folder / usage).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 12\n{inactive} {files}\n")


@pytest.mark.parametrize(
    ("membership", "groups", "free"),
    [
        # In a container the path is the host's, and only the group at the top can be seen.
        ("0::/kubepods/pod1", {"": (GROUP_2, 2 * GIB, GIB, GIB // 4)}, [5 * GIB // 4]),
        ("7:memory:/docker/1", {"memory": (GROUP_1, GIB, GIB // 2, 0)}, [GIB // 2]),
        # A job of a batch system has a bound of its own, and so may have the group around it.
        (
            "4:cpu:/\n3:memory:/slurm/job/step\n0::/",
            {
                "memory/slurm/job/step": (GROUP_1, 3 * GIB, GIB, 0),
                "memory/slurm": (GROUP_1, GIB, 2 * GIB, 0),
            },
            [2 * GIB, 0],
        ),
        ("0::/", {"": (GROUP_2, "max", GIB, 0)}, []),
        (None, {}, []),
    ],
)
def test_a_containers_bound_is_known(
    tmp_path: Path, membership: str | None, groups: dict[str, Any], free: list[int]
) -> None:
    """Files as Linux has them: the system's own figure is that of the whole machine."""
    if membership is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(membership + "\n")
    for path, values in groups.items():
        _group(tmp_path / "sys/fs/cgroup" / path, *values)
    assert machine._free_in_groups(tmp_path) == free
