"""What is read off a run while it goes: how much is done, who pulls, how fast."""

from __future__ import annotations

import math
from collections import deque
from time import monotonic

from torch import Tensor

from styletutor.descent import Step
from styletutor.meters import distances, pulls, removed, shares_of_pull
from styletutor.record import Record
from styletutor.stages import fit
from styletutor.starts import make_start
from styletutor.widgets.elements import Board, Curves
from styletutor.widgets.live import Note, Pace

MOST_POINTS = 200
SECONDS = 3.0  # over which the speed is averaged
READ_SHARE = 0.01
PULL_SHARE = 0.03  # of the time, for the tug-of-war: it costs as much as several evaluations


class Gauges:
    """Board, curves and a line of figures, told by the steps of a run.

    What is gone of the style is in shares of its loss at the start, and what is kept of the content
    in shares of what noise would lose, which at a start from noise is the same.
    """

    def __init__(self, board: Board) -> None:
        self.board, self.terms, self.layers, self.figures = board, Curves(), Curves(), Note()
        self.begin("content")

    def begin(self, start: str | None = None) -> None:
        """A run from the `start` "content" or "noise"; if None, one that goes on from a frame, and
        is measured against the same beginning."""
        if start is not None:
            self.first: dict[str, float] = {}
            self._start: Tensor | None = None
            self._size, self._from_noise = None, start == "noise"
            self.removed: dict[str, float] = {}
            self.lengths: dict[str, float] = {}
            self.style_weight = 0.0
            self.board.show(pulls={}, removed={}, terms={})
        self._times: deque[tuple[float, int]] = deque()
        self._pulling, self._reading = Pace(PULL_SHARE, 2.0), Pace(READ_SHARE, 1.0)

    def read(self, step: Step, record: Record) -> None:
        """Show where a step stands, when it is time to; in the run's thread."""
        self._weigh(step)
        last = step.evaluation == step.evaluations
        if not (self._reading.due or last):
            return
        with self._reading.measured():
            self._read(step, record)

    def _read(self, step: Step, record: Record) -> None:
        if self.first:
            losses = {name: float(value) for name, value in step.parts.items()}
            self.removed = removed(losses, _in_use(step), self.first)
            shown = {n.removeprefix("style "): share for n, share in self.removed.items()}
            self.board.show(removed=shown)
        self.draw(record, step.evaluations)
        self.figures.say(self._figures(step))

    def _weigh(self, step: Step) -> None:
        """Show who pulls how hard: it costs several evaluations."""
        objective = step.objective
        if self._size != step.image.shape[2:]:
            self._look_at_start(step)
        elif self._pulling.due:
            with self._pulling.measured():
                engine = step.engine()  # the meter may be as coarse as the descent is
                found = pulls(objective, step.image, engine.network if engine else None)
                self.lengths = {name: float(length) for name, length in found.items()}
            self.style_weight = _in_use(step)["style"]
            parts = shares_of_pull(self.lengths, term=False)
            parts = {name.removeprefix("style "): share for name, share in parts.items()}
            terms = shares_of_pull(self.lengths, term=True)
            self.board.show(pulls={**parts, "style": terms.get("style", 0.0)}, terms=terms)

    def _look_at_start(self, step: Step) -> None:
        """At each size of a coarse-to-fine descent anew: losses of two sizes do not compare."""
        self._size = step.image.shape[2:]
        noise = make_start("noise", step.image, 0)
        if self._start is None:
            self._start = step.image
        start = noise if self._from_noise else fit(self._start, self._size, 1)
        by_noise, by_start = (distances(step.objective, image) for image in (noise, start))
        kinds = {name: by_noise if name.startswith("content") else by_start for name in by_start}
        self.first = {name: float(of[name]) for name, of in kinds.items()}

    def draw(self, record: Record, evaluations: int) -> None:
        """The losses so far."""
        rows = record.history()
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
                    "name": name.replace("style ", "s "),
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

    def _figures(self, step: Step) -> str:
        now = monotonic()
        self._times.append((now, step.evaluation))
        while now - self._times[0][0] > SECONDS and len(self._times) > 2:
            self._times.popleft()
        words = [f"evaluation {step.evaluation} of {step.evaluations}"]
        began, first = self._times[0]
        if step.evaluation > first:
            rate = (step.evaluation - first) / (now - began)
            left = (step.evaluations - step.evaluation) / rate
            words += [f"{rate:.3g} per second", f"{left:.0f} s left"]
        for term, verb in (("content", "kept"), ("style", "removed")):
            if term in self.removed:
                words.append(f"{term} {verb} {percent(self.removed[term])}")
        return " · ".join(words)


def percent(share: float) -> str:
    """Rounded down; with a digit more near the end, where only that still changes."""
    return f"{math.floor(1000 * share) / 10 if share > 0.98 else math.floor(100 * share)} %"


def _in_use(step: Step) -> dict[str, float]:
    values = step.objective.weight_values(in_use=True)
    return {name: numbers[0] for name, numbers in values.items()}
