"""The core: budget, starts, knobs, determinism, and both optimisers on a real small problem."""

import threading
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle, islice

import pytest
import torch
from conftest import make_tiny_vgg, random_pictures
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.rivals import plain_loop
from styletutor.descent import Step, Stop, descend
from styletutor.descent import method as methods
from styletutor.descent import steps as steps_module
from styletutor.descent.lbfgs import LBFGS
from styletutor.descent.method import Method
from styletutor.descent.starts import make_start
from styletutor.loss.objective import Objective
from styletutor.network.vgg import VGG
from styletutor.pictures.images import resample
from styletutor.runs.reconstruct import reconstruct_content


def make_objective(**changes: object) -> Objective:
    arguments = {
        "content": random_pictures(1, 24, 32, seed=1),
        "styles": [random_pictures(1, 24, 32, seed=2)],
        "content_layers": "relu2_2",
        "style_layers": ["relu1_1", "relu3_1"],
        "style_weight": 10.0,
    }
    return Objective(make_tiny_vgg(), **(arguments | changes))


def start(batch: int = 1) -> Tensor:
    return random_pictures(batch, 24, 32, seed=3)


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_one_step_per_evaluation_and_the_loss_falls(optimiser: str) -> None:
    objective = make_objective()
    calls = 0
    original = objective.table

    def counted(*images_and_network: object) -> Tensor:
        nonlocal calls
        calls += 1
        return original(*images_and_network)

    objective.table = counted
    steps = list(descend(objective, start(), 25, method=Method(optimiser=optimiser)))
    assert [s.evaluation for s in steps] == list(range(1, 26))
    assert calls == 25
    assert torch.equal(steps[0].image, start())
    assert steps[-1].losses["total"] < 0.5 * steps[0].losses["total"]
    for step in steps:
        assert step.image.min() >= 0 and step.image.max() <= 1
        assert not step.image.requires_grad


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_reported_losses_belong_to_the_reported_picture(optimiser: str) -> None:
    objective = make_objective(tv_weight=0.1)
    for step in descend(objective, start(2), 6, method=Method(optimiser=optimiser)):
        with torch.no_grad():
            again, best = objective.parts(step.image), objective.parts(step.best)
        for name, value in step.parts.items():
            torch.testing.assert_close(value, again[name])
            torch.testing.assert_close(step.best_parts[name], best[name])


def test_best_is_the_best_so_far_of_each_picture() -> None:
    totals, overshot = [], False
    for step in descend(
        make_objective(), start(3), 20, method=Method(optimiser="adam", learning_rate=0.3)
    ):
        totals.append(sum(step.parts.values()))
        overshot |= not torch.equal(step.image, step.best)
        torch.testing.assert_close(sum(step.best_parts.values()), torch.stack(totals).min(0).values)
    assert overshot, "so large a rate has to overshoot somewhere, or nothing was tested"


def test_deterministic() -> None:
    runs = [list(descend(make_objective(), start(), 15)) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first.image, second.image)


def test_a_batch_gives_what_single_runs_give() -> None:
    """In double precision: rounding, which differs with the batch, must not be what is tested."""
    objective = make_objective()
    objective.vgg.double()
    for targets in (objective.content_targets, objective.style_targets):
        targets.update({name: t.double() for name, t in targets.items()})
    starts = start(4).double()
    *_, batch = descend(objective, starts, 25)
    for b in range(4):
        *_, single = descend(objective, starts[b : b + 1], 25)
        torch.testing.assert_close(batch.best[b : b + 1], single.best, rtol=0, atol=1e-6)


def test_a_knob_counts_from_the_next_evaluation() -> None:
    objective = make_objective()
    steps = descend(objective, start(), 12)
    for _ in range(5):
        next(steps)
    objective.set_weight("style", 1000.0)
    after = next(steps)
    reference = make_objective(style_weight=1000.0).parts(after.image)
    for name, value in after.parts.items():
        torch.testing.assert_close(value, reference[name])
    assert torch.equal(after.best, after.image), "what was best under the old weights is not now"
    later = list(steps)
    assert later[-1].evaluation == 12
    assert later[-1].losses["style"] < after.losses["style"]


class NoReading(TorchDispatchMode):
    """Refuses to bring a number from the device to the host, as `if`, `float` and `item` do."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            raise AssertionError("a step read a number back")
        if function is torch.ops.aten.lift_fresh.default:
            raise AssertionError("a step fetched a tensor from Python's numbers")
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
def test_nothing_is_read_back_in_a_step(optimiser: str) -> None:
    steps = descend(make_objective(tv_weight=0.1), start(2), 30, method=Method(optimiser=optimiser))
    for _ in range(3):  # the first loss is looked at, and what is needed is prepared
        next(steps)
    with NoReading():
        step = [*steps][-1]
        with pytest.raises(AssertionError, match="read a number back"):
            _ = step.losses  # the oracle works: looking is reading


def test_a_knob_that_never_rests_does_not_freeze_the_picture() -> None:
    objective = make_objective()
    steps = descend(objective, start(), 30)
    for turn in range(30):
        step = next(steps)
        objective.set_weight("style", 10.0 + 0.01 * turn)
    assert step.losses["total"] < 0.5 * float(sum(make_objective().parts(start()).values()))


def test_setting_a_weight_to_what_it_is_changes_nothing() -> None:
    objective = make_objective()
    for plain, step in zip(
        descend(make_objective(), start(), 12), descend(objective, start(), 12), strict=True
    ):
        objective.set_weight("style", 10.0)
        assert torch.equal(step.image, plain.image)


@pytest.mark.parametrize("pair", [(1, 2), (5, 6), (7, 8)])
def test_exact_ends_where_the_plain_loop_does(pair: tuple[int, int]) -> None:
    """Or lower: the plain loop's picture is brought into [0, 1] only when it is saved."""
    content, style = (random_pictures(1, 32, 40, seed=seed) for seed in pair)
    objective = make_objective(content=content, styles=[style])
    *_, ours = descend(objective, content, 100)
    plain = next(islice(plain_loop(objective, content), 99, None)).clamp(0, 1)
    with torch.no_grad():
        theirs = objective(plain)["total"].item()
    assert sum(ours.best_parts.values()).item() <= 1.01 * theirs


@pytest.mark.parametrize("precision, loose", [("fast", 2), ("exact", 0)])
def test_on_a_gpu_only_the_end_of_a_fast_descent_may_round_to_tf32(
    precision: str, loose: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = dict.fromkeys(("full_float32", "tf32_convolutions"), 0)
    for name in counts:

        def count(_: torch.device, name: str = name) -> AbstractContextManager[None]:
            counts[name] += 1
            return nullcontext()

        monkeypatch.setattr(steps_module, name, count)
    list(descend(make_objective(), start(), 10, method=Method(precision=precision)))
    # The first look of a stage after another is at what was best before it.
    assert counts["tf32_convolutions"] == loose
    assert sum(counts.values()) == 10


def test_fast_ends_in_full_precision_near_exact() -> None:
    objective = make_objective(styles=[random_pictures(1, 64, 64, seed=2)])
    *_, exact = descend(objective, start(), 60)
    steps = list(descend(objective, start(), 60, method=Method(precision="fast")))
    assert [step.evaluation for step in steps] == list(range(1, 61))
    with torch.no_grad():
        first, last = (objective.parts(steps[i].image) for i in (0, -1))
    assert any(not torch.equal(first[n], value) for n, value in steps[0].parts.items())
    for name, value in steps[-1].parts.items():
        torch.testing.assert_close(value, last[name])
    assert steps[-1].best.dtype == torch.float32
    fast, slow = (sum(step.best_parts.values()).item() for step in (steps[-1], exact))
    assert fast < 1.1 * slow


@pytest.mark.parametrize("changes", [{"precision": "fast"}, {"coarse_to_fine": True}])
def test_a_stage_begins_with_the_best_picture_of_the_one_before(changes: dict) -> None:
    photo = random_pictures(1, 128, 160, seed=1)
    objective = make_objective(content=photo, styles=[photo.flip(3)])
    # Steps so large that the last picture is not the best one.
    method = Method(**({"optimiser": "adam", "learning_rate": 0.3} | changes))
    steps = list(descend(objective, random_pictures(1, 128, 160, seed=3), 20, method=method))
    first = 16 if "precision" in changes else 5
    before, after = steps[first - 1], steps[first]
    assert not torch.equal(before.image, before.best)
    assert torch.equal(after.image, resample(before.best, (128, 160)))


def test_losses_in_two_precisions_are_never_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their difference is rounding, no curvature; what was learnt before it serves on."""
    seen = []

    class Watched(LBFGS):
        def step(self, *arguments: Tensor) -> Tensor:
            if self.basis is not None:
                seen.append((bool(self.fresh.all()), int(self.valid.sum())))
            return super().step(*arguments)

    monkeypatch.setattr(methods, "LBFGS", Watched)
    list(descend(make_objective(), start(), 20, method=Method(precision="fast")))
    fresh = [n for n, (is_fresh, _) in enumerate(seen) if is_fresh]
    assert len(fresh) == 1 and seen[fresh[0]][1] > 3


@pytest.mark.parametrize("native", [False, True])
def test_auto_is_what_suits_the_device(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    auto, exact, fast = (
        list(descend(make_objective(), start(), 10, method=Method(precision=precision)))
        for precision in ("auto", "exact", "fast")
    )
    assert torch.equal(auto[-1].image, (fast if native else exact)[-1].image)
    assert not torch.equal(exact[-1].image, fast[-1].image)


def test_knobs_may_be_turned_from_any_thread() -> None:
    """Also those that change which parts there are, in the midst of an evaluation."""
    objective = make_objective()
    steps, over = descend(objective, start(), 300), threading.Event()

    def fiddle() -> None:
        for value in cycle([0.0, 0.5]):
            objective.set_weight("tv", value)
            objective.set_weight("style relu3_1", value)
            if over.is_set():
                return

    thread = threading.Thread(target=fiddle)
    thread.start()
    try:
        assert [step.evaluation for step in steps] == list(range(1, 301))
    finally:
        over.set()
        thread.join()


def test_a_knob_that_is_back_where_it_was_was_not_turned() -> None:
    objective = make_objective()
    for plain, step in zip(
        descend(make_objective(), start(), 12), descend(objective, start(), 12), strict=True
    ):
        assert torch.equal(step.image, plain.image)
        objective.set_weight("style", 77.0)
        objective.set_weight("style", 10.0)


def test_all_weights_zero_leaves_the_picture_as_it_is() -> None:
    objective = make_objective(content_weight=0, style_weight=0)
    *_, last = descend(objective, start(), 5)
    assert torch.equal(last.image, start()) and float(sum(last.parts.values())) == 0


def test_a_small_style_is_not_shrunk_until_nothing_is_left() -> None:
    photo = random_pictures(1, 256, 256, seed=1)
    small = random_pictures(1, 20, 30, seed=2)  # relu3_1 needs 4 pixels
    objective = make_objective(content=photo, styles=[small])
    coarse = Method(coarse_to_fine=True)
    sizes = [tuple(s.image.shape[2:]) for s in descend(objective, photo, 40, method=coarse)]
    assert sizes[0] == (64, 64)
    tiny = make_objective(content=photo, styles=[small[..., :4, :4]])
    sizes = {tuple(s.image.shape[2:]) for s in descend(tiny, photo, 40, method=coarse)}
    assert sizes == {(256, 256)}


def test_coarse_pictures_shrink_with_their_styles() -> None:
    """So that strokes keep their size in the picture."""
    objective = make_objective(content=random_pictures(1, 64, 96, seed=1))
    half = objective.shrunk(2)
    assert half.content.shape[2:] == (32, 48)
    assert [tuple(style.shape[2:]) for style in half.styles] == [(12, 16)]
    expected = make_objective(content=half.content, styles=half.styles)
    for layer, target in half.style_targets.items():
        torch.testing.assert_close(target, expected.style_targets[layer])


def test_weights_too_large_to_square_are_refused() -> None:
    with pytest.raises(ValueError, match="weights are too large"):
        next(descend(make_objective(style_weight=1e30), start(), 3))


def test_weights_of_another_batch_are_refused_in_mid_run() -> None:
    objective = make_objective()
    steps = descend(objective, start(), 5)
    next(steps)
    objective.set_weight("style", [1.0, 2.0])
    with pytest.raises(ValueError, match=r"2 values for the weight of style, but 1 picture"):
        next(steps)


def test_coarse_to_fine_grows_and_keeps_its_knobs() -> None:
    pictures = {"content": random_pictures(1, 260, 300, seed=1)}
    objective = make_objective(**pictures, styles=[random_pictures(1, 200, 150, seed=2)])
    noise = make_start("noise", objective.content)
    steps, sizes = [], []
    for step in descend(objective, noise, 40, method=Method(coarse_to_fine=True)):
        steps.append(step)
        sizes.append(tuple(step.image.shape[2:]))
        if step.evaluation == 3:
            step.objective.set_weight("style", 3.0)
    assert list(dict.fromkeys(sizes)) == [(65, 75), (130, 150), (260, 300)]
    assert sizes == sorted(sizes)
    assert steps[-1].objective is objective
    assert objective.weight_values()["style"] == [3.0]
    with torch.no_grad():
        expected = objective.parts(steps[-1].image)
    for name, value in steps[-1].parts.items():
        torch.testing.assert_close(value, expected[name])
    arrived = steps[sizes.index((260, 300))]
    assert arrived.losses["total"] < 0.5 * objective(noise)["total"].item()


def test_stopping_early_gives_a_picture_of_the_full_size(tiny_vgg: VGG) -> None:
    def on_step(step: Step) -> None:
        if step.evaluation == 4:
            raise Stop

    photo = random_pictures(1, 256, 280)
    result = reconstruct_content(photo, "relu2_1", vgg=tiny_vgg, evaluations=40, on_step=on_step)
    assert result.settings["coarse_to_fine"] and result.interrupted
    assert result.image.shape == photo.shape
    assert result.history[-1]["size"] == [64, 70]


def test_starts() -> None:
    like = random_pictures(2, 24, 32)
    content = make_start("content", like)
    assert torch.equal(content, like) and content is not like
    noise = make_start("noise", like, seed=1)
    assert torch.equal(noise, make_start("noise", like, seed=1))
    assert not torch.equal(noise, make_start("noise", like, seed=2))
    assert not torch.equal(noise[0], noise[1])
    assert noise.mean().item() == pytest.approx(0.5, abs=0.01)
    picture = random_pictures(1, 24, 32, seed=9)
    assert torch.equal(make_start(picture, like), picture.expand_as(like))
    with pytest.raises(ValueError, match="16×24 pixels but the result 32×24"):
        make_start(picture[..., :16], like)
    outside = make_start(2 * picture, like)
    assert outside.max() == 1, "a start is brought into the box"
    with pytest.raises(ValueError, match="choose content or noise"):
        make_start("nosie", like)


def test_not_finite_is_refused_at_the_start_and_survived_later() -> None:
    with pytest.raises(ValueError, match="not finite"):
        next(descend(make_objective(), torch.full((1, 3, 24, 32), float("nan")), 3))
    objective = make_objective()
    original, count = objective.table, 0

    def sometimes_broken(*arguments: object) -> Tensor:
        nonlocal count
        count += 1
        factor = float("nan") if count in (4, 5) else 1.0
        return original(*arguments) * factor

    objective.table = sometimes_broken
    *_, last = descend(objective, start(), 20)
    assert torch.isfinite(last.best).all()
    assert count == 20
    assert last.losses["total"] < 0.5 * float(objective(start())["total"])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"evaluations": 0}, "evaluations=0"),
        ({"evaluations": 2.5}, "evaluations=2.5"),
        ({"optimiser": "sgd"}, "choose lbfgs or adam"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"precision": "quick"}, "choose auto or exact or fast"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        budget = {name: settings.pop(name) for name in ("evaluations",) if name in settings}
        next(descend(make_objective(), start(), **budget, method=Method(**settings)))


def test_a_step_carries_the_record_of_its_descent() -> None:
    """Also one that goes on: it begins with what it is given, and counts on."""
    steps = descend(make_objective(), start(), 9)
    *_, fifth = islice(steps, 5)
    state, before = fifth.state(), fifth.record.copy()
    assert before.history()[-1]["total"] == pytest.approx(fifth.losses["total"])
    *_, whole = descend(make_objective(), start(), 9)
    *_, last = descend(make_objective(), start(), 9, state=state, record=before.copy())
    assert last.record.history() == whole.record.history()
    assert [row["evaluation"] for row in last.record.history()] == list(range(1, 10))
    assert len(before.history()) == 5, "a copy goes its own way"


def test_a_record_may_be_read_while_it_is_written() -> None:
    """No row is lost and none comes twice, whoever reads."""
    over = threading.Event()
    steps = descend(make_objective(), start(), 300)
    record = next(steps).record

    def read() -> None:
        while not over.is_set():
            record.history()

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    *_, _ = steps
    over.set()
    for reader in readers:
        reader.join()
    assert [row["evaluation"] for row in record.history()] == list(range(1, 301))
