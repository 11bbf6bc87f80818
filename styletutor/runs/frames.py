"""Moments of a run, and whether another run may go on from one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from styletutor.descent import Step
from styletutor.descent.history import Record
from styletutor.descent.method import Method
from styletutor.loss.objective import Objective


@dataclass(frozen=True)
class Frame:
    """A moment of a run, kept in memory: give it as `resume` to go on from there.

    `tensors` are a step's `state()`, `record` what had happened until then, and `weights` those
    that count next. A run that resumes it with the same arguments comes to the same bits on a CPU;
    one whose weights are turned (`Run.turn`) is a fork. It can be copied and pickled.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    record: Record = field(repr=False)
    weights: Mapping[str, list[float]] = field(repr=False)
    evaluation: int

    @classmethod
    def of(cls, step: Step) -> Frame:
        """The moment after `step`, which must be the latest."""
        weights = step.objective.weight_values()
        return cls(step.state(), step.record.copy(), weights, step.evaluation)

    @property
    def bytes(self) -> int:
        """How much memory its tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def can_go_on(frame: Frame, objective: Objective, first: Tensor, method: Method) -> bool:
    """Has a frame all that going on from it needs, each of its kind, for pictures like `first`?

    The objective then has the weights of the frame's evaluation.
    """
    known, image = objective.weight_values().keys(), frame.tensors.get("point.image")
    if image is None or image.ndim != 4:
        return False
    try:
        for weights in (frame.weights, frame.record.weights):
            if weights.keys() != known:
                return False
            for name, values in weights.items():
                objective.set_weight(name, values)
            objective.knobs.sync()
            needs = objective.needs(len(first))
    except ValueError:
        return False
    # On no device: only names, shapes and types come of it.
    like = torch.empty(*first.shape[:2], *image.shape[2:], dtype=first.dtype, device="meta")
    losses = like.new_empty(len(needs.places) + needs.tv, len(like))
    wanted = {"evaluation": torch.tensor(frame.evaluation)}
    wanted |= {f"point.{name}": like for name in ("image", "gradient", "best")}
    wanted |= {f"point.{name}": losses for name in ("losses", "best_losses")}
    if any(name.startswith("optimiser.") for name in frame.tensors):  # after its first step
        optimiser = replace(method, on_disk=False).make_optimiser()
        names = {name.partition(".")[2]: name for name in frame.tensors}
        learnt = {name: frame.tensors[names[name]].to("meta") for name in names}
        # From these, as their LIKE says, the optimisers make all the others.
        learnt |= {"x": like.flatten(1), "f": like.new_empty(len(like), 1), "first": like}
        try:
            optimiser.load_state(learnt)
        except (KeyError, RuntimeError):
            return False
        wanted |= {f"optimiser.{name}": value for name, value in optimiser.state().items()}
    if "optimiser.basis" not in frame.tensors:  # as when L-BFGS had it on disk
        wanted.pop("optimiser.basis", None)
    return _kinds(frame.tensors) == _kinds(wanted) and all(
        frame.tensors[f"point.{name}"].isfinite().all() for name in ("image", "best")
    )


def check_same_run(source: str | Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ValueError if two runs differ in what is said of them, but for a larger budget now and
    tiles, which are as there is memory."""
    before, has = saved.get("settings", {}), now["settings"]["evaluations"]
    if before.get("evaluations", has) < has:
        before = before | {"evaluations": has}
    if "tile" in before:
        before = before | {"tile": now["settings"]["tile"]}
    saved = {**saved, "settings": before}
    _compare(source, saved, now)


def _compare(
    source: str | Path, saved: Mapping[str, Any], now: Mapping[str, Any], where: str = ""
) -> None:
    for name in {**saved, **now}:
        before, given = saved.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(given, dict) and name != "layers":
            _compare(source, before, given, f"{name} ")
        elif before != given:
            before, given = (shorten(str(value), 200) for value in (before, given))
            raise ValueError(
                f"{source} is of another run: its {where}{name} is {before}, not {given}; "
                "give what it was begun with, or begin anew without it"
            )


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
