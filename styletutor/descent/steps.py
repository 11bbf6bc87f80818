"""The optimisation core: a picture moved downhill on an objective, one evaluation per step."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from styletutor.descent.engine import Engine, Point
from styletutor.descent.history import Record
from styletutor.descent.method import EVALUATIONS, Method, check_evaluations
from styletutor.descent.stages import plan_stages
from styletutor.loss.objective import Objective, sum_terms
from styletutor.machine import full_float32, give_back, tf32_convolutions, usual_torch
from styletutor.network.vgg import VGG, check_images
from styletutor.pictures.images import resample


class Stop(Exception):
    """Raise it while handling a step to end a descent early with the best picture so far."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One evaluation of a descent: where it was, and what it found there.

    `image` (B, 3, H, W) in [0, 1] is the picture that was evaluated and `parts` its weighted
    losses, (B,) each, on the device: looking at them is what costs time, and only then. `best` is
    the picture with the lowest total so far under the present weights, picture by picture, and
    `best_parts` its losses. `objective` takes new weights: `step.objective.set_weight(…)`.
    `record` is of all evaluations until now, and goes on with the descent.
    """

    evaluation: int
    evaluations: int
    image: Tensor
    parts: dict[str, Tensor]
    best: Tensor
    best_parts: dict[str, Tensor]
    objective: Objective
    record: Record
    engine: weakref.ref[Engine]

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
    def network(self) -> VGG:
        """The network in the precision of this evaluation, as long as the descent is at it."""
        engine = self.engine()
        return self.objective.vgg if engine is None else engine.network

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
    evaluations: int = EVALUATIONS,
    *,
    method: Method | None = None,
    state: Mapping[str, Tensor] | None = None,
    record: Record | None = None,
) -> Iterator[Step]:
    """Yield one `Step` per evaluation (one forward and backward pass), the start's first.

    `start` is (B, 3, H, W) in [0, 1] on the network's device: B pictures that are moved
    independently of one another by a `method` (exact L-BFGS in [0, 1] if None). Nothing is read
    back from the device except the first loss. Weights that were changed after a step count from
    the next evaluation on, where the optimiser starts afresh; the picture never stands still. With
    `coarse_to_fine` `Step.image` is smaller at first.

    With the `state` of a step, `Step.state()`, and otherwise the same arguments it goes on from
    that step, which comes first, without another look at it; on a CPU to the same bits. With more
    `evaluations` than it was begun with it goes on for longer; what a run that had them from the
    start comes to is the same only without stages, exact and not coarse to fine. `record` is what
    had happened until then.

    Raises ValueError for no budget, if the loss of the start is not a finite number, or for a
    state that is of another size than its evaluation has.
    """
    steps = _descend(objective, start, evaluations, method, state, record)
    while True:
        with usual_torch():  # not while the caller has the step
            step = next(steps, None)
        if step is None:
            return
        yield step


def _descend(
    objective: Objective,
    start: Tensor,
    evaluations: int,
    method: Method | None,
    state: Mapping[str, Tensor] | None,
    record: Record | None,
) -> Iterator[Step]:
    check_evaluations(evaluations)
    check_images(start)
    size, networks = start.shape[2:], {"exact": objective.vgg}
    method = (method or Method()).settled(start.device, start, size)
    start = start.clone() if start.is_inference() else start.detach()
    image, done, shrink = start, 0, None
    resumed = 0 if state is None else int(state["evaluation"])
    record = Record(objective.weight_values()) if record is None else record
    how = evaluations, method.precision, method.coarse_to_fine
    for stage in plan_stages(size, *how, objective.most_shrink()):
        if done + stage.evaluations < resumed:
            done += stage.evaluations
            continue
        if stage.shrink != shrink:
            shrink = stage.shrink
            here = objective if stage.shrink == 1 else objective.shrunk(stage.shrink)
            image = resample(image, size, stage.shrink)
            optimiser = method.make_optimiser()
        else:
            optimiser.restart(keep_curvature=True)
        if stage.precision == "fast" and "fast" not in networks:
            networks["fast"] = objective.vgg.low_precision()
        if stage.precision == "exact" and "fast" in networks:
            engine = None  # nothing fast comes after it, so its memory is free
            del networks["fast"]
            give_back()
        on_device = None
        if done < resumed:
            on_device = {name: value.to(start.device) for name, value in state.items()}
            if on_device["point.image"].shape != image.shape:
                raise ValueError(
                    f"with {evaluations} evaluations, number {resumed} is at another size than it "
                    "was; go on with fewer, or begin with this picture"
                )
        network, ends = networks[stage.precision], stage.precision != method.precision
        float32 = tf32_convolutions if ends else full_float32
        engine = Engine(here, network, optimiser, image, on_device, float32)
        if done == 0 and not _is_finite(engine.point):
            raise ValueError(
                "the loss of the start is not finite, or its gradient too large to square; check "
                "the pictures, and whether the weights are too large"
            )
        first = max(done + 1, resumed)
        for evaluation in range(first, done + stage.evaluations + 1):
            if evaluation > first:
                engine.advance()
            point = engine.snapshot()
            step = Step(
                evaluation=evaluation,
                evaluations=evaluations,
                image=point.image,
                parts=dict(zip(engine.parts, point.losses, strict=True)),
                best=point.best,
                best_parts=dict(zip(engine.parts, point.best_losses, strict=True)),
                objective=here,
                record=record,
                engine=weakref.ref(engine),
            )
            if evaluation > resumed:  # else it was taken down before
                record.add(evaluation, point.image, step.parts, here)
            yield step
        done, image = done + stage.evaluations, step.best


def _is_finite(point: Point) -> bool:
    squares = point.gradient.square().sum((1, 2, 3))
    return bool(torch.isfinite(point.losses).all() and torch.isfinite(squares).all())
