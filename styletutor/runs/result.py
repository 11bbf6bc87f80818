"""What comes out of a descent: picture, history, settings, report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styletutor.pictures.images import save_image, to_jpeg
from styletutor.version import __version__


def _finite(value: Any) -> Any:
    """The same with None for numbers that JSON has no word for."""
    if isinstance(value, dict):
        return {name: _finite(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [_finite(inside) for inside in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, kw_only=True)
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
        """All that is needed to run the same again, and what it cost, ready for JSON.

        A loss that was no finite number is None. `threads` are PyTorch's now: on a CPU another
        number of them may add up in another order, so that the last bits differ.
        """
        return {
            "version": __version__,
            "command": self.command,
            "settings": self.settings,
            "backbone": self.backbone,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "dtype": str(self.image.dtype).removeprefix("torch."),
            "size": list(self.image.shape[2:]),
            "evaluations": len(self.history),
            "interrupted": self.interrupted,
            "turned": self.turned,
            "seconds": round(self.seconds, 3),
            "loss": _finite(self.loss),
            "history": _finite(self.history),
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
