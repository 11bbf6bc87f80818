"""What happened in a descent, read back from the device as seldom as possible."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from styletutor.loss.objective import Objective, sum_terms

Unread = tuple[int, list[int], dict[str, Tensor]]  # evaluation, size, losses


@dataclass
class Record:
    """What happened in a descent, evaluation by evaluation; may be read from any thread.

    `weights` are those of the last evaluation, `turned` says when they changed, `seconds` is for
    whoever keeps the time, and `about` for whoever goes on: of which run it is.
    """

    weights: dict[str, list[float]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    turned: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._unread: deque[Unread] = deque()  # may be added to while it is read
        self._lock = threading.Lock()

    def add(self, evaluation: int, image: Tensor, parts: dict[str, Tensor], of: Objective) -> None:
        """Take down what an evaluation of an objective found."""
        self._unread.append((evaluation, list(image.shape[2:]), parts))
        before, self.weights = self.weights, of.weight_values(in_use=True)
        changed = {n: w for n, w in self.weights.items() if w != before.get(n)}
        if changed:
            self.turned.append({"evaluation": evaluation, "weights": changed})

    def copy(self) -> Record:
        """As it is now, whatever this one takes down later."""
        rows = list(self.history())
        return Record(dict(self.weights), rows, list(self.turned), self.seconds, self.about)

    def __reduce__(self) -> tuple[Any, ...]:
        """For `copy` and `pickle`, which can do nothing with a lock."""
        return Record, (self.weights, self.history(), self.turned, self.seconds, self.about)

    def history(self) -> list[dict[str, Any]]:
        """All rows, those that are still on the device read back in one transfer."""
        with self._lock:
            unread = [self._unread.popleft() for _ in range(len(self._unread))]
            self.rows += read_back(unread)
        return self.rows


def read_back(unread: Sequence[Unread]) -> list[dict[str, Any]]:
    """Rows of a history, in one transfer from the device."""
    if not unread:
        return []
    losses = torch.stack([value.sum() for *_, parts in unread for value in parts.values()])
    numbers, rows = iter(losses.tolist()), []
    for evaluation, size, parts in unread:
        values = {name: next(numbers) for name in parts}
        rows.append({"evaluation": evaluation, "size": size, **sum_terms(values), "parts": values})
    return rows
