"""Steps as CUDA graphs, without a GPU: recorded and replayed by the stand-in in `graphs`."""

from __future__ import annotations

import gc
import warnings
from dataclasses import replace

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from graphs import REFUSED, Simulated, Watch, dispatched, name_of, tensors

import styletutor as st
from styletutor.descent import Step, descend
from styletutor.descent.adam import Adam
from styletutor.descent.engine import Engine
from styletutor.descent.lbfgs import LBFGS
from styletutor.descent.method import Method
from styletutor.loss.objective import Objective
from styletutor.loss.statistics import quantiles
from styletutor.loss.units import SHARES
from styletutor.machine import free_bytes
from styletutor.network.batches import index
from styletutor.pictures.colours import keep_colours, match_colours

LAYERS = {"content_layers": "relu3_2", "style_layers": ["relu1_1", "relu2_1"]}
KERNELS = [
    ("lbfgs", "exact", 207), ("lbfgs", "fast", 214), ("adam", "exact", 134), ("adam", "fast", 141),
]  # fmt: skip
WAYS = [(o, p) for o in ("lbfgs", "adam") for p in ("exact", "fast")]


def make(**more: object) -> tuple[Objective, torch.Tensor]:
    content, style, start = (random_pictures(1, 32, 48, seed=s) for s in (1, 2, 3))
    pictures = {"content": content, "styles": [style], "style_weight": 10.0}
    return Objective(make_tiny_vgg(), **pictures | LAYERS | more), start


def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "may_record", staticmethod(lambda _: False))


def assert_same(one: list[Step], other: list[Step]) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.image, b.image), a.evaluation
        assert torch.equal(a.best, b.best), a.evaluation
        assert a.losses == b.losses


@pytest.mark.parametrize("optimiser, precision", WAYS)
def test_a_recorded_step_computes_what_an_eager_one_does(
    optimiser: str, precision: str, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = Method(optimiser=optimiser, precision=precision)
    recorded = list(descend(*make(tv_weight=0.1), 30, method=method))
    # One for each precision, and every step but the first few is a replay.
    assert len(simulated.graphs) == (2 if precision == "fast" else 1)
    assert sum(graph.replays for graph in simulated.graphs) >= 20
    eager(monkeypatch)
    assert_same(recorded, list(descend(*make(tv_weight=0.1), 30, method=method)))


@pytest.mark.parametrize("name", sorted(st.recipes))
def test_every_recipe_is_recorded(
    name: str, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [random_pictures(1, 33, 47, seed=seed) for seed in (1, 2)]
    how = {"vgg": make_tiny_vgg(), "size": 47, "recipe": name, "evaluations": 9}
    how |= {"precision": "exact", "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        recorded = st.transfer(*pictures, **how)
    assert len(simulated.graphs) == 1 and simulated.graphs[0].replays >= 5
    eager(monkeypatch)
    assert torch.equal(recorded.image, st.transfer(*pictures, **how).image)


def test_the_stand_in_notices_what_is_kept_in_python(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else all of this would show nothing."""
    original = Adam.step

    def step(self: Adam, x: torch.Tensor, loss: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        return x + (original(self, x, loss, g) - x) / self.calls

    monkeypatch.setattr(Adam, "step", step)
    recorded = list(descend(*make(), 20, method=Method(optimiser="adam")))
    eager(monkeypatch)
    honest = list(descend(*make(), 20, method=Method(optimiser="adam")))
    assert not torch.equal(recorded[-1].image, honest[-1].image)


@pytest.mark.parametrize("knob", ["style", "tv"])
def test_a_knob_counts_from_the_next_evaluation(
    knob: str, simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tv` adds a part, so that the recording has to be made anew; `style` does not."""

    def turned() -> list[Step]:
        objective, start = make()
        steps = descend(objective, start, 24)
        first = [next(steps) for _ in range(10)]
        objective.set_weight(knob, 50.0)
        return [*first, *steps]

    recorded = turned()
    assert len(simulated.graphs) == (2 if knob == "tv" else 1)
    eager(monkeypatch)
    assert_same(recorded, turned())


def test_a_knob_that_changes_its_length_is_taken_up(simulated: Simulated) -> None:
    objective, start = make()
    steps = descend(objective, start.repeat(2, 1, 1, 1), 20)
    for _ in range(8):
        next(steps)
    objective.set_weight("style", [1.0, 50.0])
    *_, last = steps
    assert len(simulated.graphs) == 2
    for name, value in objective.parts(last.image).items():
        torch.testing.assert_close(last.parts[name], value)


def test_a_broken_recording_is_the_last(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value is read back in its midst: the descent goes on, on the stream where it was."""
    expected = list(descend(*make(), 12))
    original = Engine._looked_at

    def look(self: Engine, image: object, point: object) -> object:
        result = original(self, image, point)
        result.losses.sum().item()
        return result

    monkeypatch.setattr(Engine, "_looked_at", look)
    with pytest.warns(UserWarning, match="no CUDA graph") as caught:
        steps = list(descend(*make(), 12))
        assert_same(steps, expected)
        assert simulated.stream == "the usual"
        assert_same(list(descend(*make(), 12)), expected)  # another descent does not try again
    assert len(caught) == 1 and not Engine.records


def test_as_many_streams_as_descents_at_once(simulated: Simulated) -> None:
    """A stream for each recording would cost cuBLAS's 32 MiB each; shared by two live graphs, the
    end of one could free what the other needs."""
    for _ in range(5):
        list(descend(*make(), 25, method=Method(precision="fast")))
        gc.collect()
    assert len(simulated.graphs) == 10 and len(simulated.streams) == 1
    at_once = [descend(*make(), 8) for _ in range(3)]
    for steps in at_once:
        for _ in range(6):
            next(steps)
    assert len(simulated.streams) == 3


@pytest.mark.parametrize("optimiser, precision", WAYS)
@pytest.mark.parametrize("statistic", ["gram", "covariance", "wasserstein", "sliced"])
def test_a_steady_step_waits_for_nobody(optimiser: str, precision: str, statistic: str) -> None:
    """It reads nothing back and takes nothing from the host, or from Python."""
    objective, start = make(units=replace(SHARES, statistic=statistic))
    method = Method(optimiser=optimiser, precision=precision)
    steps = descend(objective, start, 12, method=method)
    for _ in range(6):
        next(steps)
    seen, doubles = set(), []

    def look(operation: object, given: object, _: object) -> None:
        seen.add(name_of(operation))
        # Only what was made on the host is in double precision.
        doubles.extend(each for each in tensors(given) if each.dtype == torch.float64)

    with Watch(look):
        next(steps)
    assert "convolution" in seen and not seen & REFUSED and not doubles


# Kernels of a steady step of the default recipe; to be lowered wherever one is saved.
@pytest.mark.parametrize("optimiser, precision, most", KERNELS)
def test_a_step_has_few_kernels(optimiser: str, precision: str, most: int) -> None:
    vgg, photo, art = make_tiny_vgg(), *(random_pictures(1, 64, 96, seed=s) for s in (1, 2))
    objective = st.recipes["default"].objective(vgg, content=photo, styles=[art])
    method = Method(optimiser=optimiser, precision=precision, wavelength=32.0)
    steps = descend(objective, photo, 12, method=method)
    for _ in range(6):
        next(steps)
    with dispatched() as seen:
        next(steps)
    assert 100 < seen.total() <= most, seen.most_common()


def test_what_a_recording_reads_stays_where_it_is() -> None:
    """A recorded step has the addresses of these and does not own them."""
    first = index((3, 1), torch.device("cpu"))
    for number in range(1000):
        index((number,), torch.device("cpu"))
    assert index((3, 1), torch.device("cpu")) is first


def test_all_of_a_step_is_done_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU autograd has a thread of its own, whose plans and handles a recording would miss."""
    allowed = []
    original = torch.autograd.grad

    def grad(*args: object, **kwargs: object) -> object:
        allowed.append(torch._C._is_multithreading_enabled())
        return original(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    list(descend(*make(), 4))
    assert allowed == [False] * 4 and torch._C._is_multithreading_enabled()


def test_on_apples_gpu_nothing_is_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has none. "meta" is a device as well, where only the types are computed; what comes from
    there has values that are drawn here."""
    wide = []

    def look(operation: object, _: object, made: object) -> None:
        wide.extend(
            str(operation)
            for each in tensors(made)
            if each.device.type == "meta" and each.dtype == torch.float64
        )

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand(tensor.shape).to(tensor.dtype)
        return drawn if tensor.device.type == "meta" else tensor

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    vgg = make_tiny_vgg().to("meta")
    with Watch(look):
        start = torch.rand(1, 3, 32, 48, device="meta")
        for optimiser in (Adam(box=(0.0, 1.0)), LBFGS(box=(0.0, 1.0), wavelength=3.0)):
            optimiser.step(start, start.new_ones(1), start)
        quantiles(vgg(start, "relu2_1")["relu2_1"])
        assert vgg.adapted(gain=(1.0, 2.0, 3.0), white=255.0, strength=0.5).device.type == "meta"
        for how in ("match", "histogram"):
            assert match_colours(start, start, how).device.type == "meta"
        assert keep_colours(start, start).device.type == "meta"
    assert not wide


def test_the_pools_of_live_graphs_are_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    segments = [
        {"device": 0, "segment_pool_id": (0, 0), "total_size": 100, "allocated_size": 60},
        {"device": 0, "segment_pool_id": (0, 7), "total_size": 1000, "allocated_size": 10},
        {"device": 1, "segment_pool_id": (0, 0), "total_size": 5000, "allocated_size": 0},
    ]
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: segments)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (2, 3))
    assert free_bytes(torch.device("cuda", 0)) == 2 + 40
