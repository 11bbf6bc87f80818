"""The optimisation core: a picture moved downhill on an objective, one evaluation per step."""

from __future__ import annotations

import numbers
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from styletutor.adam import Adam
from styletutor.engine import Engine, Point
from styletutor.lbfgs import LBFGS
from styletutor.memory import give_back
from styletutor.objective import Objective, sum_terms
from styletutor.stages import PRECISIONS, choose_precision, fit, plan_stages
from styletutor.vgg import check_images

BOX = (0.0, 1.0)
OPTIMISERS = ("lbfgs", "adam")


class Stop(Exception):
    """Raise it while handling a step to end a descent early with the best picture so far."""


@dataclass(frozen=True)
class Step:
    """One evaluation of a descent: where it was, and what it found there.

    `image` (B, 3, H, W) in [0, 1] is the picture that was evaluated and `parts` its weighted
    losses, (B,) each, on the device: looking at them is what costs time, and only then. `best` is
    the picture with the lowest total so far under the present weights, picture by picture, and
    `best_parts` its losses. `objective` takes new weights: `step.objective.set_weight(…)`.
    """

    evaluation: int
    evaluations: int
    image: Tensor
    parts: dict[str, Tensor]
    best: Tensor
    best_parts: dict[str, Tensor]
    objective: Objective
    engine: weakref.ref[Engine] = field(repr=False)

    def state(self) -> dict[str, Tensor]:
        """All that the descent stands on, to be given to `descend(…, state=…)`; on the CPU.

        Ask for it before the next step; a knob that was turned since counts, too.
        """
        engine = self.engine()
        if engine is None:
            raise RuntimeError("the descent has gone on; ask a step for its state before the next")
        state = engine.state().items()
        values = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in state}
        return {**values, "evaluation": torch.tensor(self.evaluation)}

    @property
    def losses(self) -> dict[str, float]:
        """The terms "content", "style", "tv" (where used) and "total", summed over the batch."""
        return {name: float(value.sum()) for name, value in sum_terms(self.parts).items()}

    def __repr__(self) -> str:
        losses = ", ".join(f"{name} {value:.4g}" for name, value in self.losses.items())
        return f"Step({self.evaluation}/{self.evaluations}: {losses})"


def descend(
    objective: Objective,
    start: Tensor,
    evaluations: int = 200,
    *,
    optimiser: str = "lbfgs",
    learning_rate: float = 0.02,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    decay: tuple[float, int] | None = None,
    clamp: bool = True,
    wavelength: float = 0.0,
    precision: str = "exact",
    coarse_to_fine: bool = False,
    state: Mapping[str, Tensor] | None = None,
) -> Iterator[Step]:
    """Yield one `Step` per evaluation (one forward and backward pass), the start's first.

    `start` is (B, 3, H, W) in [0, 1] on the network's device: B pictures that are moved
    independently of one another and kept in [0, 1], unless `clamp` is False. `optimiser` is "lbfgs"
    (needs no learning rate; `wavelength` is explained at `lbfgs.LBFGS`) or "adam" (`learning_rate`
    is the step in units of the pixels' range; `betas`, `epsilon` and `decay` are explained at
    `adam.Adam`). Nothing is read back from the device except the first loss. Weights that were
    changed after a step count from the next evaluation on, where the optimiser starts afresh; the
    picture never stands still.

    `precision` is "exact" (float32 throughout, no TF32) or "fast": features and the network's
    weights in bfloat16, Gram matrices, losses and optimiser in float32, and the last fifth of the
    evaluations exact. What that costs in the final loss, with the same 200 evaluations on three
    pairs of pictures at 224 pixels: from the content picture -0.1 to +0.1 % with VGG-19's published
    early blocks and at most +0.3 % with the pocket network; from noise +0.4 to +1.3 % and at most
    +1.4 %. A reconstruction from an early layer, whose error becomes tiny, notices it more: about a
    decibel from relu2_1. "auto" is fast where the device multiplies bfloat16 numbers natively.

    With `coarse_to_fine` it begins with smaller pictures, of half the size for each step down as
    long as the shorter side has 64 pixels; half of an equal share of the evaluations goes to each
    coarse size, the rest to the full one. All pictures of the objective shrink alike, so that
    strokes keep their size in the picture. `Step.image` is then smaller at first.

    With the `state` of a step, `Step.state()`, and otherwise the same arguments it goes on from
    that step, which comes first, without another look at it; on a CPU to the same bits.

    Raises ValueError for bad settings, or if the loss of the start is not a finite number.
    """
    check_settings(evaluations, optimiser, learning_rate, betas, epsilon, precision=precision)
    check_images(start)
    networks = {"exact": objective.vgg}
    image, done, shrink, box = start.detach(), 0, None, BOX if clamp else None
    resumed = 0 if state is None else int(state["evaluation"])
    precision = choose_precision(precision, start.device)
    sizes = start.shape[2:], evaluations, precision, coarse_to_fine, objective.most_shrink()
    for stage in plan_stages(*sizes):
        if done + stage.evaluations < resumed:
            done += stage.evaluations
            continue
        if stage.shrink != shrink:
            shrink = stage.shrink
            here = objective if stage.shrink == 1 else objective.shrunk(stage.shrink)
            image = fit(image, start.shape[2:], stage.shrink)
            if optimiser == "adam":
                method = Adam(learning_rate, betas, epsilon, box, decay)
            else:
                method = LBFGS(box=box, wavelength=wavelength)
        else:
            method.restart(keep_curvature=True)
        if stage.precision == "fast" and "fast" not in networks:
            networks["fast"] = objective.vgg.low_precision()
        if stage.precision == "exact" and "fast" in networks:
            engine = None  # nothing fast comes after it, so its memory is free
            del networks["fast"]
            give_back()
        on_device = None
        if done < resumed:
            on_device = {name: value.to(start.device) for name, value in state.items()}
        engine = Engine(here, networks[stage.precision], method, image, on_device)
        if done == 0 and not _is_finite(engine.point):
            raise ValueError(
                "the loss of the start is not finite, or its gradient too large to square; check "
                "the pictures, and whether the weights are too large"
            )
        first = max(done + 1, resumed)
        for evaluation in range(first, done + stage.evaluations + 1):
            if evaluation > first:
                engine.advance()
            point, parts = engine.snapshot(), engine.parts
            step = Step(
                evaluation,
                evaluations,
                point.image,
                dict(zip(parts, point.losses, strict=True)),
                point.best,
                dict(zip(parts, point.best_losses, strict=True)),
                here,
                weakref.ref(engine),
            )
            yield step
        done, image = done + stage.evaluations, step.best


def _is_finite(point: Point) -> bool:
    squares = point.gradient.square().sum((1, 2, 3))
    return bool(torch.isfinite(point.losses).all() and torch.isfinite(squares).all())


def check_settings(
    evaluations: int,
    optimiser: str,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    epsilon: float = 1e-8,
    seed: int = 0,
    precision: str = "exact",
) -> None:
    """Raise ValueError for settings that `descend` or `make_start` cannot follow."""
    if not _is_whole(evaluations) or evaluations < 1:
        raise ValueError(f"evaluations={evaluations}; it must be a whole number of at least 1")
    if optimiser not in OPTIMISERS:
        raise ValueError(f"unknown optimiser {optimiser!r}; choose {' or '.join(OPTIMISERS)}")
    for name, value in (("learning_rate", learning_rate), ("epsilon", epsilon)):
        if not (isinstance(value, numbers.Real) and 0 < value < float("inf")):
            raise ValueError(f"{name}={value}; it must be a finite number above 0")
    if not all(isinstance(beta, numbers.Real) and 0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas={tuple(betas)}; they must be two numbers of at least 0, below 1")
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}; choose {' or '.join(PRECISIONS)}")
    if not _is_whole(seed) or abs(seed) >= 2**63:
        raise ValueError(f"seed={seed}; it must be a whole number of at most 63 bits")


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
