"""Recorded steps for long, often and beside one another: on a GPU, and on its stand-in."""

from __future__ import annotations

import gc
import threading
from types import SimpleNamespace

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures

from styletutor.descent import Step, descend
from styletutor.descent.engine import Engine
from styletutor.descent.method import Method
from styletutor.loss.objective import Objective

LAYERS = {"content_layers": "relu3_2", "style_layers": ["relu1_1", "relu2_1"]}


@pytest.fixture(params=[pytest.param("cuda", marks=pytest.mark.gpu), "simulated"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A device that records, and how many evaluations it makes while a GPU makes 2000."""
    if request.param == "simulated":
        return SimpleNamespace(device="cpu", share=0.02, cuda=request.getfixturevalue("simulated"))
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")
    monkeypatch.setattr(Engine, "records", True)
    return SimpleNamespace(device="cuda", share=1.0, cuda=None)


def make(device: str, seed: int = 1) -> tuple[Objective, torch.Tensor]:
    pictures = (random_pictures(1, 32, 48, seed=seed + n).to(device) for n in range(3))
    content, style, start = pictures
    vgg = make_tiny_vgg().to(device)
    return Objective(vgg, content=content, styles=[style], style_weight=10.0, **LAYERS), start


def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "may_record", staticmethod(lambda _: False))


@pytest.mark.parametrize("optimiser, precision", [("lbfgs", "fast"), ("adam", "exact")])
def test_two_thousand_replays_go_where_steps_as_written_go(
    optimiser: str, precision: str, place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluations = int(2000 * place.share)
    method = Method(optimiser=optimiser, precision=precision)

    def losses() -> list[float]:
        steps = descend(*make(place.device), evaluations, method=method)
        return [step.losses["total"] for step in steps if step.evaluation % 10 == 0]

    recorded = losses()
    eager(monkeypatch)
    # Of equal kernels in another order of memory the last bits may differ, and then grow.
    early, late = ({"rel": 1e-3}, {"rel": 0.05}) if place.cuda is None else ({}, {})
    assert recorded[:5] == pytest.approx(losses()[:5], **early)
    assert recorded[-1] == pytest.approx(losses()[-1], **late)


def test_forty_recordings_take_no_more_memory_than_ten(place: SimpleNamespace) -> None:
    objective, start = make(place.device)
    held = []
    for _ in range(40 if place.cuda is None else 8):
        steps = descend(objective, start, 10)
        for _ in range(6):
            step = next(steps)
        assert step.engine().graph is not None
        del steps, step
        gc.collect()
        held.append(torch.cuda.memory_reserved() if place.cuda is None else len(place.cuda.streams))
    assert held[len(held) // 4] == held[-1]


def test_two_threads_whose_knobs_are_turned(place: SimpleNamespace) -> None:
    """By a third, who never rests; what a step says is true of its picture and its weights."""
    jobs = [make(place.device, seed) for seed in (1, 7)]
    seen: list[list[tuple[Step, dict[str, list[float]]]]] = [[], []]
    over = threading.Event()

    def run(number: int) -> None:
        for step in descend(*jobs[number], int(max(40, 500 * place.share))):
            seen[number].append((step, dict(step.record.weights)))

    def turn() -> None:
        turns = 0
        while not over.wait(0.01):
            turns += 1
            for objective, _ in jobs:
                objective.set_weight("style relu1_1", 0.1 + turns % 7)
                objective.set_weight("tv", float(turns // 10 % 2))  # a part comes and goes

    turner = threading.Thread(target=turn)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in (turner, *threads):
        thread.start()
    for thread in threads:
        thread.join(300)
    over.set()
    turner.join()
    for (objective, _), steps in zip(jobs, seen, strict=True):
        assert steps[-1][0].evaluation == steps[-1][0].evaluations
        assert len({str(weights) for _, weights in steps}) > 2
        for step, weights in steps[:: max(1, len(steps) // 20)]:
            for name, value in weights.items():
                objective.set_weight(name, value)
            expected = objective.parts(step.image)
            for name, value in step.parts.items():
                torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_a_capture_that_is_broken_off(
    place: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value is read in its midst, which CUDA forbids: the descent goes on where it was."""
    expected = [step.losses["total"] for step in descend(*make(place.device), 12)]
    original, before = Engine._looked_at, torch.cuda.current_stream()

    def look(self: Engine, image: object, point: object) -> object:
        result = original(self, image, point)
        result.losses.sum().item()
        return result

    monkeypatch.setattr(Engine, "_looked_at", look)
    with pytest.warns(UserWarning, match="no CUDA graph"):
        steps = list(descend(*make(place.device), 12))
    assert [step.losses["total"] for step in steps] == pytest.approx(expected, rel=1e-3)
    assert torch.cuda.current_stream() == before and not Engine.records
    again = [step.losses["total"] for step in descend(*make(place.device), 12)]
    assert again == pytest.approx(expected, rel=1e-3)
