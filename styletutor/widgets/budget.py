"""The lesson budget: which size and how many evaluations this machine does in the time there is."""

from __future__ import annotations

import threading

import ipywidgets as widgets

from styletutor.doctor import SIZE, measure
from styletutor.network.vgg import VGG
from styletutor.widgets.elements import Guard, Slider
from styletutor.widgets.live import Note

SIZES = range(96, 1025, 32)
ENOUGH = 200  # evaluations after which little changes
FEWEST = 60


class LessonBudget(widgets.VBox):
    """Three measured evaluations, then a slider: finish in N seconds.

    >>> budget = widgets.LessonBudget(vgg)
    >>> st.transfer(photo, art, vgg=vgg, size=budget.size, evaluations=budget.evaluations)

    `size` is the long side in pixels, of a square picture, and `evaluations` the budget; asking for
    them waits for the measurement.
    """

    def __init__(self, vgg: VGG, seconds: int = 20) -> None:
        self.slider = Slider(value=seconds, min=5, max=300, label="finish in", unit="seconds")
        self.note = Note("measuring three evaluations …")
        super().__init__([self.slider, self.note, Guard()])
        self.add_class("st-panel")
        self._per_pixel = 0.0
        self._error: Exception | None = None
        self._vgg = vgg
        self._thread = threading.Thread(target=self._measure, name="budget")
        self._thread.start()
        self.slider.observe(lambda _: self._say(), "value")

    def __repr__(self) -> str:
        return f"LessonBudget({self.note.text})"

    @property
    def size(self) -> int:
        """The long side in pixels."""
        return self._plan()[0]

    @property
    def evaluations(self) -> int:
        """Forward and backward passes."""
        return self._plan()[1]

    def _measure(self) -> None:
        try:
            self._per_pixel = measure(self._vgg) / SIZE**2
        except (RuntimeError, ValueError) as error:
            self._error = error
        self._say()

    def _plan(self) -> tuple[int, int]:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return plan(self.slider.number, self._per_pixel)

    def _say(self) -> None:
        if self._error is not None:
            self.note.say(str(self._error), error=True)
        elif self._per_pixel:
            size, evaluations = plan(self.slider.number, self._per_pixel)
            seconds = evaluations * self._per_pixel * size**2
            self.note.say(
                f"{size}×{size} pixels and {evaluations} evaluations take about {seconds:.0f} s "
                f"here with {self._vgg.name} ({self._per_pixel * SIZE**2:.3g} s for one evaluation "
                f"at {SIZE}×{SIZE})"
            )


def plan(seconds: float, per_pixel: float) -> tuple[int, int]:
    """Size and evaluations: the largest picture for which there is time to settle, and with the
    smallest as many evaluations as there is time for."""
    fitting = [size for size in SIZES if ENOUGH * per_pixel * size**2 <= seconds]
    if fitting:
        return fitting[-1], ENOUGH
    return SIZES[0], max(FEWEST, int(seconds / (per_pixel * SIZES[0] ** 2)))
