"""What is read off a run while it goes: how much is done, who pulls, how fast."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from torch import Tensor

from styletutor.descent import Step
from styletutor.descent.starts import Noise, make_start
from styletutor.loss.meters import distances, pulls, removed, shares_of_pull
from styletutor.loss.parts import Part
from styletutor.machine import is_out_of_memory
from styletutor.pictures.images import resample
from styletutor.widgets.elements import Board, Curves
from styletutor.widgets.live import Note, Pace

MOST_POINTS = 200
SECONDS = 3.0  # over which the speed is averaged
READ_SHARE = 0.01
EARLY = 5  # before it, content does not pull yet at a start from the content picture
PULL_SHARE = 0.01  # of the time, for the tug-of-war: it costs as much as several evaluations


@dataclass(frozen=True)
class Look:
    """What was read at a step."""

    figures: str
    removed: dict[str, float]
    rows: list[dict[str, Any]]
    evaluations: int


class Reading:
    """What is known of one run, in its thread; `size` (H, W) is that of the finished picture.

    What is gone of the style is in shares of its loss at the start, and what is kept of the content
    in shares of what the run's `noise` would lose, which at a start `from_noise` is the same.
    """

    def __init__(self, size: Sequence[int], from_noise: bool, seed: int, noise: Noise) -> None:
        self.size, self.from_noise, self.seed, self.noise = tuple(size), from_noise, seed, noise
        self.first: dict[str, float] = {}
        self.lengths: dict[str, float] = {}
        self.style_weight = 0.0
        self._weighed: tuple[dict[str, float], float] = ({}, math.inf)
        self._start: Tensor | None = None
        self._now: tuple[int, ...] = ()
        self._rest()

    def going_on(self) -> Reading:
        """That of a run which goes on from a frame of this one, measured against the same start."""
        other = Reading(self.size, self.from_noise, self.seed, self.noise)
        other._start, other.lengths = self._start, self.lengths
        other.style_weight = self.style_weight
        return other

    def _rest(self) -> None:
        self._times: deque[tuple[float, int]] = deque()
        self._pulling, self._reading = Pace(PULL_SHARE, 2.0), Pace(READ_SHARE, 1.0)

    def look(self, step: Step) -> Look | None:
        """What there is to show, when it is time to."""
        if self._now != tuple(step.image.shape[2:]):
            self._look_at_start(step)
        elif step.evaluation == EARLY or (
            step.evaluation > EARLY and (self._pulling.due or self._is_turned(step))
        ):
            with self._pulling.measured():
                self._weigh(step)
        if not (self._reading.due or step.evaluation == step.evaluations):
            return None
        with self._reading.measured():
            losses = {name: float(value) for name, value in step.parts.items()}
            gone = removed(losses, _in_use(step), self.first)
            return Look(self._figures(step, gone), gone, step.record.history(), step.evaluations)

    def _is_turned(self, step: Step) -> bool:
        """Have the weights changed since it was weighed, and is it time to say so?"""
        weights, at = self._weighed
        is_old = monotonic() > at + 1 or step.evaluation == step.evaluations
        return is_old and weights != _in_use(step)

    def _weigh(self, step: Step) -> None:
        try:
            found = pulls(step.objective, step.image, step.network)  # as coarse as the descent is
            weights = _in_use(step)
            self.style_weight, self._weighed = weights["style"], (weights, monotonic())
            self.lengths = {name: float(length) for name, length in found.items()}
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self.lengths = {}  # a meter is no reason to end what is being painted

    def _look_at_start(self, step: Step) -> None:
        """At each size of a coarse-to-fine descent anew: losses of two sizes do not compare."""
        self._now = tuple(step.image.shape[2:])
        noise = make_start("noise", step.image, self.seed, self.noise)
        if self._start is None:
            self._start = step.image
        start = noise if self.from_noise else resample(self._start, self._now)
        by_noise, by_start = (distances(step.objective, image) for image in (noise, start))
        kinds = {
            name: by_noise if Part.of(name).term == "content" else by_start for name in by_start
        }
        self.first = {name: float(of[name]) for name, of in kinds.items()}
        self._rest()

    def _figures(self, step: Step, gone: dict[str, float]) -> str:
        now, times = monotonic(), self._times
        if times and now - times[-1][0] > 2 * SECONDS:  # it was paused
            times.clear()
        times.append((now, step.evaluation))
        while now - times[0][0] > SECONDS and len(times) > 2:
            times.popleft()
        words = [f"evaluation {step.evaluation} of {step.evaluations}"]
        began, first = times[0]
        if step.evaluation > first:
            rate = (step.evaluation - first) / (now - began)
            words.append(f"{rate:.3g} per second")
            if self._now == self.size:  # small pictures at first say nothing of large ones
                words.append(f"{(step.evaluations - step.evaluation) / rate:.0f} s left")
        for term, verb in (("content", "kept"), ("style", "removed")):
            if term in gone:
                words.append(f"{term} {verb} {percent(gone[term])}")
        return " · ".join(words)


class Gauges:
    """Board, curves and a line of figures that show what was read."""

    def __init__(self, board: Board) -> None:
        self.board, self.figures = board, Note(live=False)
        self.terms, self.layers = Curves(), Curves()

    def clear(self) -> None:
        """Nothing is known yet."""
        self.board.show(pulls={}, removed={}, terms={})
        for curves in (self.terms, self.layers):
            curves.show(x=[], series=[], at=0)
        self.figures.say("")

    def show(self, look: Look, lengths: dict[str, float]) -> None:
        """What was read at a step, and who pulled how hard, if that is known."""
        changes = {"removed": {_strip(name): share for name, share in look.removed.items()}}
        if lengths:
            parts = shares_of_pull(lengths, term=False)
            terms = shares_of_pull(lengths, term=True)
            pull = {_strip(name): share for name, share in parts.items()}
            changes |= {"pulls": {**pull, "style": terms.get("style", 0.0)}, "terms": terms}
        self.board.show(**changes)
        self.figures.say(look.figures)
        self.draw(look.rows, look.evaluations)

    def draw(self, rows: list[dict[str, Any]], evaluations: int) -> None:
        """The losses so far."""
        rows = rows[:: -(-len(rows) // MOST_POINTS)] + rows[-1:]
        x = [row["evaluation"] for row in rows]
        terms = [name for name in ("content", "style", "tv") if any(name in row for row in rows)]
        parts = dict.fromkeys(name for row in rows for name in row["parts"] if name != "tv")
        for curves, names, of in (
            (self.terms, terms, lambda row: row),
            (self.layers, parts, lambda row: row["parts"]),
        ):
            series = [
                {
                    "name": name.replace("style ", "s ").replace("content ", "c "),
                    "values": [of(row).get(name, 0) for row in rows],
                }
                for name in names
            ]
            last = ", ".join(f"{one['name']} {one['values'][-1]:.3g}" for one in series)
            alt = f"weighted losses on a logarithmic scale, now {last}"
            curves.show(x=x, series=series, alt=alt, most=evaluations)

    def mark(self, evaluation: int) -> None:
        """A line in the curves at the frame on show; none for 0."""
        for curves in (self.terms, self.layers):
            curves.show(at=evaluation)


def _strip(name: str) -> str:
    """The board names a style's part by its layer."""
    part = Part.of(name)
    return part.layer if part.layer and part.term == "style" else name


def percent(share: float) -> str:
    """Rounded down; with a digit more near the end, where only that still changes."""
    if not math.isfinite(share):
        return "?"
    return f"{math.floor(1000 * share) / 10 if share > 0.98 else math.floor(100 * share)} %"


def _in_use(step: Step) -> dict[str, float]:
    values = step.objective.weight_values(in_use=True)
    return {name: numbers[0] for name, numbers in values.items()}
