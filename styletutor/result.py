"""Running a descent to its end and what comes out: picture, history, settings, report."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styletutor import __version__
from styletutor.descent import Step, Stop, descend
from styletutor.images import save_image, to_jpeg
from styletutor.objective import Objective, sum_terms
from styletutor.stages import fit

OnStep = Callable[[Step], object]
SECONDS_BETWEEN_LOOKS = 0.25  # reading a loss makes a GPU wait: not at every evaluation


@dataclass(frozen=True)
class Result:
    """A finished picture and how it came about.

    `image` (B, 3, H, W) in [0, 1] on the CPU is the best picture that was evaluated. `history` has
    one row per evaluation: "evaluation", the picture's "size" [H, W], the terms "content",
    "style", "tv" (where used) and "total", and under "parts" each layer's share ("style relu1_1",
    …), all weighted and summed over the batch. `interrupted` says that it ended before its budget,
    and `turned` which weights were changed on the way, each row with the first "evaluation" that
    they counted for.
    """

    image: Tensor
    history: list[dict[str, Any]]
    settings: dict[str, Any]
    loss: dict[str, dict[str, float]]
    command: str
    backbone: dict[str, str]
    device: str
    seconds: float
    interrupted: bool
    turned: list[dict[str, Any]]

    def save(self, path: str | Path) -> None:
        """Write the picture to `path` (format by suffix), whole or not at all."""
        save_image(self.image, path)

    def report(self) -> dict[str, Any]:
        """All that is needed to run the same again, and what it cost, ready for JSON."""
        return {
            "version": __version__,
            "command": self.command,
            "settings": self.settings,
            "backbone": self.backbone,
            "device": self.device,
            "dtype": str(self.image.dtype).removeprefix("torch."),
            "size": list(self.image.shape[2:]),
            "evaluations": len(self.history),
            "interrupted": self.interrupted,
            "turned": self.turned,
            "seconds": round(self.seconds, 3),
            "loss": self.loss,
            "history": self.history,
        }

    def __repr__(self) -> str:
        height, width = self.image.shape[2:]
        start, end = self.loss["start"]["total"], self.loss["end"]["total"]
        return (
            f"Result({self.command}, {width}×{height} pixels, {len(self.history)} evaluations in "
            f"{self.seconds:.1f} s, loss {start:.4g} → {end:.4g}, weights {self.backbone['name']} "
            f"trained on {self.backbone['trained_on']}"
            f"{', interrupted' if self.interrupted else ''})"
        )

    def _repr_jpeg_(self) -> bytes:
        """The (first) picture, as a notebook shows it."""
        return to_jpeg(self.image[:1])


def run_descent(
    command: str,
    objective: Objective,
    start: Tensor,
    settings: Mapping[str, Any],
    on_step: OnStep | None = None,
    progress: bool | None = None,
) -> Result:
    """Descend from `start` (B, 3, H, W) as `settings` say and gather the `Result`.

    Ctrl-C, or `Stop` raised by `on_step`, ends it early with the best picture so far; so does a
    device that runs out of memory, with a warning.
    """
    began, step, seen, turned = time.monotonic(), None, [], []
    version, weights = objective.version, objective.weight_values()
    steps = descend(
        objective,
        start,
        settings["evaluations"],
        optimiser=settings["optimiser"],
        learning_rate=settings["learning_rate"],
        precision=settings["precision"],
        coarse_to_fine=settings["coarse_to_fine"],
    )
    interrupted = False
    with _ProgressBar(settings["evaluations"], command, progress) as bar:
        try:
            for step in steps:
                seen.append((step.parts, list(step.image.shape[2:])))
                if version != objective.version:
                    version, before, weights = objective.version, weights, objective.weight_values()
                    changed = {n: w for n, w in weights.items() if w != before.get(n)}
                    turned.append({"evaluation": step.evaluation, "weights": changed})
                bar(step)
                if on_step is not None:
                    on_step(step)
        except (KeyboardInterrupt, Stop, torch.OutOfMemoryError) as reason:
            if not seen:
                raise
            interrupted = step.evaluation < step.evaluations
            if isinstance(reason, torch.OutOfMemoryError):
                warnings.warn(
                    f"out of memory after {step.evaluation} evaluations; the best picture so far "
                    "is kept; close other programs that use the device, or take a smaller size",
                    stacklevel=3,
                )
    history = _read_back(seen)
    vgg = objective.vgg
    return Result(
        image=fit(step.best, start.shape[2:], 1).cpu(),
        history=history,
        settings=dict(settings),
        loss={"start": _terms(history[0]), "end": _terms(_read_back([(step.best_parts, [])])[0])},
        command=command,
        backbone={"name": vgg.name, "sha256": vgg.sha256, "trained_on": vgg.trained_on},
        device=str(vgg.device),
        seconds=time.monotonic() - began,
        interrupted=interrupted,
        turned=turned,
    )


def _terms(row: Mapping[str, Any]) -> dict[str, float]:
    return {n: value for n, value in row.items() if n not in ("evaluation", "size", "parts")}


def _read_back(seen: list[tuple[dict[str, Tensor], list[int]]]) -> list[dict[str, Any]]:
    """The history's rows from losses and size of each step, in one transfer from the device."""
    summed = [{name: value.sum() for name, value in parts.items()} for parts, _ in seen]
    flat = torch.stack([value for parts in summed for value in parts.values()]).tolist()
    numbers = iter(flat)
    rows = []
    for evaluation, (parts, size) in enumerate(seen, start=1):
        values = {name: next(numbers) for name in parts}
        rows.append({"evaluation": evaluation, "size": size, **sum_terms(values), "parts": values})
    return rows


class _ProgressBar:
    """tqdm's bar with the losses beside it, drawn a few times a second at most."""

    def __init__(self, evaluations: int, command: str, wanted: bool | None) -> None:
        from tqdm.auto import tqdm

        hidden = None if wanted is None else not wanted  # None: tqdm hides it outside a terminal
        self.bar = tqdm(total=evaluations, desc=command, unit="eval", disable=hidden, leave=False)
        self.looked = 0.0

    def __enter__(self) -> _ProgressBar:
        return self

    def __call__(self, step: Step) -> None:
        if not self.bar.disable and time.monotonic() - self.looked > SECONDS_BETWEEN_LOOKS:
            losses = {name: f"{value:.3g}" for name, value in step.losses.items()}
            self.bar.set_postfix(losses, refresh=False)
            self.looked = time.monotonic()
        self.bar.update()

    def __exit__(self, *_: object) -> None:
        self.bar.close()
