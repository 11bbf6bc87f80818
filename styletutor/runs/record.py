"""What happened in a descent, read back from the device as seldom as possible."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from styletutor.descent import Step
from styletutor.loss.objective import sum_terms


@dataclass
class Record:
    """What happened in a descent, evaluation by evaluation.

    `weights` are those of the last evaluation, `turned` says when they changed.
    """

    weights: dict[str, list[float]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    turned: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    unread: list[tuple[dict[str, Tensor], list[int]]] = field(default_factory=list)

    def add(self, step: Step, new: bool) -> None:
        """Take down a step; one that is not `new` was taken down before."""
        if not new:
            return
        self.unread.append((step.parts, list(step.image.shape[2:])))
        before, self.weights = self.weights, step.objective.weight_values(in_use=True)
        changed = {n: w for n, w in self.weights.items() if w != before.get(n)}
        if changed:
            self.turned.append({"evaluation": step.evaluation, "weights": changed})

    def copy(self) -> Record:
        """As it is now, whatever this one takes down later."""
        rows = list(self.history())
        return replace(
            self, weights=dict(self.weights), rows=rows, turned=list(self.turned), unread=[]
        )

    def history(self) -> list[dict[str, Any]]:
        """All rows, those that are still on the device read back in one transfer."""
        self.rows += read_back(self.unread, len(self.rows) + 1)
        self.unread = []
        return self.rows


def read_back(
    seen: list[tuple[dict[str, Tensor], list[int]]], first: int = 1
) -> list[dict[str, Any]]:
    """The history's rows from losses and size of each step, in one transfer from the device."""
    if not seen:
        return []
    summed = [{name: value.sum() for name, value in parts.items()} for parts, _ in seen]
    flat = torch.stack([value for parts in summed for value in parts.values()]).tolist()
    numbers = iter(flat)
    rows = []
    for evaluation, (parts, size) in enumerate(seen, start=first):
        values = {name: next(numbers) for name in parts}
        rows.append({"evaluation": evaluation, "size": size, **sum_terms(values), "parts": values})
    return rows
