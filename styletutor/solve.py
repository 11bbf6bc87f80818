"""Running a descent to its end: start, progress, history, and what is kept on the way."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from styletutor.checkpoints import Checkpoint, Frame, without_interrupts
from styletutor.descent import Step, Stop, descend
from styletutor.images import pixels_sha256
from styletutor.inputs import source, to_picture
from styletutor.memory import is_out_of_memory
from styletutor.objective import Objective
from styletutor.record import Record, read_back
from styletutor.result import Result
from styletutor.samples import load_image
from styletutor.stages import choose_coarse, choose_precision, fit
from styletutor.starts import GREY_NOISE, STARTS, Noise, make_start

OnStep = Callable[[Step], object]
SECONDS_BETWEEN_LOOKS = 0.25  # reading a loss makes a GPU wait: not at every evaluation


def run_descent(
    command: str,
    objective: Objective,
    start: Tensor,
    settings: Mapping[str, Any],
    how: Mapping[str, Any],
    on_step: OnStep | None = None,
    progress: bool | None = None,
    checkpoint: Checkpoint | None = None,
    frame: Frame | None = None,
) -> Result:
    """Descend from `start` (B, 3, H, W), as `how` tells `descend`, and gather the `Result`.

    `settings` go into the report. Ctrl-C, or `Stop` raised by `on_step`, ends it early with the
    best picture so far; so does a device that runs out of memory, with a warning. A `checkpoint` is
    written now and then, and a `frame` is gone on from.
    """
    record, state = Record(weights=objective.weight_values()), None
    if frame is not None:
        state, record = frame.tensors, frame.record.copy()
        _set_weights(objective, record.weights)
    began, done = time.monotonic() - record.seconds, len(record.rows)
    interrupted, steps = False, descend(objective, start, state=state, **how)
    last: Step | None = None
    with ProgressBar(how["evaluations"], done, command, progress) as bar:
        try:
            while True:
                with without_interrupts(checkpoint is not None):
                    step = next(steps, None)
                    if step is not None:
                        last = step
                        record.add(step, step.evaluation > done)
                if step is None:
                    break
                if step.evaluation == done:  # knobs that were turned after it count from the next
                    _set_weights(objective, frame.weights)
                else:
                    bar(step)
                    if on_step is not None:
                        on_step(step)
                if checkpoint is not None:
                    record.seconds = time.monotonic() - began
                    _keep(checkpoint.keep, step, record)
        except (KeyboardInterrupt, Stop, MemoryError, RuntimeError) as reason:
            exhausted = is_out_of_memory(reason)
            if last is None or not (exhausted or isinstance(reason, KeyboardInterrupt | Stop)):
                raise
            interrupted = last.evaluation < last.evaluations
            if exhausted:
                warnings.warn(
                    f"out of memory after {last.evaluation} evaluations; the best picture so far "
                    "is kept; close other programs that use the device, or take a smaller size",
                    stacklevel=3,
                )
            elif checkpoint is not None:
                _keep(checkpoint.write, last, record)
    history, vgg = record.history(), objective.vgg
    return Result(
        image=fit(last.best, start.shape[2:], 1).clamp(0, 1).cpu(),
        history=history,
        settings=dict(settings),
        loss={"start": _terms(history[0]), "end": _terms(read_back([(last.best_parts, [])])[0])},
        command=command,
        backbone={"name": vgg.name, "sha256": vgg.sha256, "trained_on": vgg.trained_on},
        device=str(vgg.device),
        seconds=time.monotonic() - began,
        interrupted=interrupted,
        turned=record.turned,
    )


def solve(
    command: str,
    objective: Objective,
    picture: Tensor,
    start: Tensor | str | Path,
    settings: Mapping[str, Any],
    how: Mapping[str, Any],
    on_step: OnStep | None,
    progress: bool | None,
    files: tuple[str | Path | None, int | None, str | Path | Frame | None],
    noise: Noise = GREY_NOISE,
) -> Result:
    """Make the start, choose what was left to us, record the settings, and `run_descent`.

    The result has the size of `picture`; `files` are checkpoint, how often it is written, and what
    to resume from.
    """
    named = source(start)
    if isinstance(start, Tensor):
        start = to_picture(start, objective.vgg, None)
    elif isinstance(start, Path) or (isinstance(start, str) and start not in STARTS):
        start = fit(load_image(start).to(picture), picture.shape[2:], 1)
    blend, clamp = settings.get("noise_blend", 0.0), how.get("clamp", True)
    first = make_start(start, picture, settings["seed"], noise, blend, clamp)
    vgg, coarse = objective.vgg, choose_coarse(how["coarse_to_fine"], start, picture.shape[2:])
    precision = choose_precision(how["precision"], vgg.device)
    chosen = {"precision": precision, "coarse_to_fine": coarse}
    about = {"start": named, "weights": vgg.source, "pooling": vgg.pooling}
    settings, how = as_json({**settings, **chosen, **about}), {**how, **chosen}
    path, every, resume = files
    frame = resume if isinstance(resume, Frame) else None
    resume = None if frame else resume
    for name, given in (("checkpoint", path), ("resume", resume)):
        if not (given is None or isinstance(given, str | Path)):
            raise ValueError(f"{name}={given!r}; give the path of a file")
    saved = None
    if path or resume:
        used = [*objective.styles, *(objective.masks or ()), first]
        used += [] if objective.content is None else [objective.content]
        run = {"command": command, "settings": settings, "weights sha256": vgg.sha256}
        run["pictures"] = [pixels_sha256(each) for each in used]
        saved = Checkpoint(path or resume, run, resume, every)
    if frame is None:
        frame = saved.frame if saved else None
    elif set(frame.record.weights) != set(objective.weight_values()) or (
        len(frame.tensors["point.image"]) != len(first)
    ):
        raise ValueError("the frame is of a run with other terms; give the arguments of its own")
    return run_descent(command, objective, first, settings, how, on_step, progress, saved, frame)


def _keep(write: Callable[[Step, Record], None], step: Step, record: Record) -> None:
    """A checkpoint that cannot be written is no reason to lose what is being painted."""
    try:
        write(step, record)
    except OSError as error:
        warnings.warn(f"no checkpoint was written: {error} Going on without.", stacklevel=4)


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
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
        self.bar.update()

    def __exit__(self, *_: object) -> None:
        self.bar.close()
