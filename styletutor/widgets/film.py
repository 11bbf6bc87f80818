"""The frames of a run that a panel keeps, to scrub through and to fork from."""

from __future__ import annotations

from dataclasses import dataclass

from styletutor.checkpoints import Frame

MOST = 40
BYTES = 200 * 2**20


@dataclass(frozen=True)
class Kept:
    """A moment that can be looked at, `picture` as JPEG bytes, and gone on from."""

    picture: bytes
    frame: Frame

    @property
    def evaluation(self) -> int:
        return self.frame.evaluation


class Film:
    """Frames spread evenly over a run of unknown length, within a bound of memory.

    One in every `stride` evaluations is kept; when there are too many, every other one goes and the
    stride doubles.
    """

    def __init__(self, most: int = MOST, size: int = BYTES) -> None:
        self.most, self.size, self.stride = most, size, 1
        self.kept: list[Kept] = []

    def wants(self, evaluation: int) -> bool:
        """Is the frame of this evaluation one to keep?"""
        last = self.kept[-1].evaluation if self.kept else -self.stride
        return evaluation >= last + self.stride

    def add(self, kept: Kept) -> None:
        """Keep it, replacing one of the same evaluation."""
        if self.kept and self.kept[-1].evaluation == kept.evaluation:
            self.kept.pop()
        self.kept.append(kept)
        room = max(4, min(self.most, self.size // max(1, kept.frame.bytes)))
        while len(self.kept) > room:
            self.kept = [*self.kept[:-1:2], self.kept[-1]]
            self.stride *= 2

    def cut(self, evaluation: int) -> None:
        """Forget what came after this evaluation, from where another future begins."""
        self.kept = [kept for kept in self.kept if kept.evaluation <= evaluation]
