"""Running a descent to its end: start, progress, history, and what is kept on the way."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from styletutor.descent import Step, Stop, descend
from styletutor.descent.history import Record, read_back
from styletutor.descent.method import Method
from styletutor.loss.objective import Objective
from styletutor.loss.parts import TERMS
from styletutor.machine import is_out_of_memory, warn
from styletutor.pictures.images import pixels_sha256, resample
from styletutor.runs.checkpoints import DAMAGED, Checkpoint, is_interrupt, without_interrupts
from styletutor.runs.frames import Frame, can_go_on, check_same_run
from styletutor.runs.result import Result

OnStep = Callable[[Step], object]
SECONDS_BETWEEN_LOOKS = 0.25  # reading a loss makes a GPU wait: not at every evaluation


@dataclass(frozen=True, kw_only=True)
class Way:
    """What happens on the way of a descent, besides it.

    `on_step` is called after every evaluation, `progress` is the bar (None: where there is a
    terminal or a notebook), `checkpoint` a file that is written `every` so many evaluations, and
    `resume` such a file, or a frame, to go on from. Raises ValueError for things of other kinds.
    """

    on_step: OnStep | None = None
    progress: bool | None = None
    checkpoint: str | Path | None = None
    every: int | None = None
    resume: str | Path | Frame | None = None

    def __post_init__(self) -> None:
        if self.on_step is not None and not callable(self.on_step):
            raise ValueError(
                f"on_step={self.on_step!r} cannot be called; give a function of a step"
            )
        files = {"checkpoint": str | Path | None, "resume": str | Path | Frame | None}
        for name, kinds in files.items():
            given = getattr(self, name)
            if not isinstance(given, kinds):
                raise ValueError(f"{name}={given!r}; give the path of a file")


def solve(
    command: str,
    objective: Objective,
    first: Tensor,
    settings: Mapping[str, Any],
    method: Method,
    way: Way,
) -> Result:
    """Descend from `first` (B, 3, H, W) by a settled `method`, and gather the `Result`.

    `settings` go into the report, and say how many "evaluations" there are. Ctrl-C, or `Stop`
    raised by `on_step`, ends it early with the best picture so far; so does a device that runs out
    of memory, with a warning.
    """
    vgg = objective.vgg
    own = {name: getattr(method, name) for name in ("optimiser", "learning_rate")}
    chosen = {name: getattr(method, name) for name in ("precision", "coarse_to_fine")}
    about = {"weights": vgg.source, "pooling": vgg.pooling}
    settings = _as_json({**own, **settings, **chosen, **about})
    about = _about(command, objective, first, settings)
    checkpoint, frame = _files(about, way)
    if frame is not None and not can_go_on(frame, objective, first, method):
        what = "the frame" if frame is way.resume else way.resume
        raise ValueError(DAMAGED.format(what))
    record = frame.record.copy() if frame else Record(objective.weight_values())
    record.about = about
    began = time.monotonic() - (frame.record.seconds if frame else 0)
    done = frame.evaluation if frame else 0
    evaluations, interrupted = settings["evaluations"], False
    weights = objective.weight_values()
    if not any(any(weights[term]) for term in TERMS):
        warn("all weights are 0: the picture stays as it is", stacklevel=3)
    state = frame.tensors if frame else None
    steps = descend(objective, first, evaluations, method=method, state=state, record=record)
    last: Step | None = None
    with ProgressBar(evaluations, done, command, way.progress) as bar:
        try:
            while True:
                with without_interrupts(checkpoint is not None):
                    step = next(steps, None)
                    last = step or last
                if step is None:
                    break
                step.record.seconds = time.monotonic() - began
                if step.evaluation == done:  # knobs that were turned after it count from the next
                    _set_weights(objective, frame.weights)
                else:
                    bar(step)
                    if way.on_step is not None:
                        way.on_step(step)
                if checkpoint is not None:
                    _keep(checkpoint.keep, step)
        except (KeyboardInterrupt, Stop, MemoryError, RuntimeError) as reason:
            exhausted = is_out_of_memory(reason)
            if last is None or not (exhausted or isinstance(reason, Stop) or is_interrupt(reason)):
                raise
            interrupted = last.evaluation < last.evaluations
            if exhausted:
                warn(
                    f"out of memory after {last.evaluation} evaluations; the best picture so far "
                    "is kept; close other programs that use the device, or take a smaller size",
                    stacklevel=3,
                )
            elif checkpoint is not None:
                _keep(checkpoint.write, last)
    history = last.record.history()
    lost = next((row["evaluation"] for row in history if not isfinite(row["total"])), None)
    if lost is not None:
        warn(
            f"the loss was no finite number at evaluation {lost}; the best picture before it is "
            "kept; take a smaller learning rate, or L-BFGS",
            stacklevel=3,
        )
    return Result(
        image=resample(last.best, first.shape[2:]).clamp(0, 1).cpu(),
        history=history,
        settings=settings,
        loss={"start": _terms(history[0]), "end": _terms(read_back([(0, [], last.best_parts)])[0])},
        command=command,
        backbone={"name": vgg.name, "sha256": vgg.sha256, "trained_on": vgg.trained_on},
        device=str(vgg.device),
        seconds=time.monotonic() - began,
        interrupted=interrupted,
        turned=last.record.turned,
    )


def _about(
    command: str, objective: Objective, first: Tensor, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Which run it is, as JSON has it, so that what goes on from it can be held to it."""
    used = [*objective.styles, *(objective.masks or ()), first]
    used += [] if objective.content is None else [objective.content]
    run = {"command": command, "settings": settings, "weights sha256": objective.vgg.sha256}
    return json.loads(json.dumps({**run, "pictures": [pixels_sha256(each) for each in used]}))


def _files(about: Mapping[str, Any], way: Way) -> tuple[Checkpoint | None, Frame | None]:
    """The checkpoint to write, and the frame to go on from, if they are wanted."""
    if isinstance(way.resume, Frame):
        check_same_run("the frame", way.resume.record.about, about)
        path, resume = way.checkpoint, None
    else:
        path = way.resume if way.checkpoint is None else way.checkpoint
        resume = way.resume
    kept = None if path is None else Checkpoint(path, about, resume, way.every)
    return kept, way.resume if resume is None else kept.frame


def _keep(write: Callable[[Step], None], step: Step) -> None:
    """A checkpoint that cannot be written is no reason to lose what is being painted."""
    try:
        write(step)
    except OSError as error:
        warn(f"no checkpoint was written: {error}; going on without", stacklevel=4)


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with Python's numbers in place of numpy's."""
    return {n: v.item() if isinstance(v, np.generic) else v for n, v in settings.items()}


def _set_weights(objective: Objective, weights: Mapping[str, list[float]]) -> None:
    for name, values in weights.items():
        objective.set_weight(name, values)


def _terms(row: Mapping[str, Any]) -> dict[str, float]:
    return {n: value for n, value in row.items() if n not in ("evaluation", "size", "parts")}


class ProgressBar:
    """tqdm's bar with the losses beside it, drawn a few times a second at most."""

    def __init__(self, evaluations: int, done: int, command: str, wanted: bool | None) -> None:
        from tqdm.auto import tqdm

        hidden = None if wanted is None else not wanted  # None: tqdm hides it outside a terminal
        hidden = True if sys.stderr is None else hidden
        how = {"unit": "eval", "disable": hidden, "leave": False, "initial": done}
        self.bar = tqdm(total=evaluations, desc=command, **how)
        self.looked = 0.0

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, step: Step) -> None:
        if not self.bar.disable and time.monotonic() - self.looked > SECONDS_BETWEEN_LOOKS:
            losses = {name: f"{value:.3g}" for name, value in step.losses.items()}
            self.bar.set_postfix(losses, refresh=False)
            self.looked = time.monotonic()
        try:
            self.bar.update()
        except OSError:  # nobody sees it any more
            self.bar.disable = True

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.bar.close()
