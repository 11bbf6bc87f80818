"""The frames of a run that a panel keeps, to scrub through and to fork from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from styletutor.runs.frames import Frame
from styletutor.widgets.elements import Slider

MOST = 40
BYTES = 200 * 2**20


@dataclass(frozen=True)
class Kept:
    """A moment to look at, `picture` as JPEG bytes, and to go on from, if there is a `frame`."""

    evaluation: int
    picture: bytes
    frame: Frame | None


class Film:
    """Frames spread evenly over a run of unknown length, within bounds.

    One in every `stride` evaluations is kept; when there are more than `most`, every other one goes
    and the stride doubles. When their tensors take more than `size` bytes, every other one is left
    as a picture only; the newest can always be gone on from.
    """

    def __init__(self, most: int = MOST, size: int = BYTES) -> None:
        self.most, self.size, self.stride = most, size, 1
        self.kept: list[Kept] = []

    def wants(self, evaluation: int) -> bool:
        """Is the frame of this evaluation one to keep?"""
        last = self.kept[-1].evaluation if self.kept else -self.stride
        return evaluation >= last + self.stride

    def add(self, picture: bytes, frame: Frame) -> None:
        """Keep a frame, replacing one of the same evaluation."""
        kept = [old for old in self.kept if old.evaluation < frame.evaluation]
        kept.append(Kept(frame.evaluation, picture, frame))
        while len(kept) > self.most:
            kept = [*kept[:-1:2], kept[-1]]
            self.stride *= 2
        room = max(1, self.size // max(1, frame.bytes))
        whole = [place for place, old in enumerate(kept) if old.frame is not None]
        while len(whole) > room:
            for place in whole[-2::-2]:
                kept[place] = replace(kept[place], frame=None)
            whole = whole[::-2][::-1]
        self.kept = kept

    def nearest(self, evaluation: int) -> int:
        """The place of the frame that is nearest to an evaluation."""
        distances = [abs(kept.evaluation - evaluation) for kept in self.kept]
        return distances.index(min(distances))

    def until(self, evaluation: int) -> Film:
        """A film of its own with what came up to this evaluation, for another future."""
        other = Film(self.most, self.size)
        other.stride = self.stride
        other.kept = [kept for kept in self.kept if kept.evaluation <= evaluation]
        return other


class FrameSlider(Slider):
    """Which frame of a film is on show; at its end the newest, whichever that is."""

    @property
    def newest(self) -> bool:
        return self.number >= self.max

    def place(self, film: Film) -> int:
        """Of the frame on show, whatever a browser has sent."""
        return min(max(0, int(self.number)), len(film.kept) - 1)

    def add(self, film: Film, picture: bytes, frame: Frame) -> None:
        """Put a frame into the film, and stay at the one on show, or at the newest."""
        before = None if self.newest else film.kept[self.place(film)].evaluation
        film.add(picture, frame)
        last = len(film.kept) - 1
        self.show(max=last, value=last if before is None else film.nearest(before))
