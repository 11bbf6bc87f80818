"""What all panels share: one run at a time in the background, shown as often as it may cost."""

from __future__ import annotations

import html
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as widgets

from styletutor.descent import Step
from styletutor.runs.background import Run
from styletutor.runs.result import Result
from styletutor.widgets.elements import Guard

SHARE = 0.03  # of the time of a run that showing it may take
# Seconds between two pictures: the browser needs a processor to draw them, if it finds a free one.
LEAST = 0.3 if (os.cpu_count() or 1) > 2 else 0.6
WRAP = {"display": "flex", "flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "4px"}

_in_cells: dict[str, tuple[str, weakref.WeakSet[Panel]]] = {}


class Pace:
    """Says when something is due again, so that it takes at most a `share` of the time."""

    def __init__(self, share: float = SHARE, least: float = LEAST) -> None:
        self.share, self.least, self._next = share, least, 0.0

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._next

    @contextmanager
    def measured(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        ended = time.monotonic()
        wait = max(self.least, (ended - began) / self.share)
        # The first time libraries set themselves up, and what is seen is soon out of date.
        self._next = ended + (wait if self._next else min(wait, 2.0))


class Note(widgets.HTML):
    """One line of text, safe for any text; an error is marked and says so.

    A `live` one is read out when it changes: not for what changes all the time.
    """

    def __init__(self, text: str = "", live: bool = True) -> None:
        super().__init__()
        self._role = ' role="status"' if live else ""
        self.say(text)

    def say(self, text: str, error: bool = False) -> None:
        """May be called from any thread."""
        kind = "st-note st-error" if error else "st-note"
        words = f"⚠ {text}" if error else text
        self.text = text
        self.value = f'<div class="{kind}"{self._role}>{html.escape(words)}</div>'


class Panel(widgets.VBox):
    """A panel with at most one run under way.

    Rerunning the cell that made it, closing it, or starting another run in it stops the run.
    From code: `panel.start()`, `panel.stop()`, and `panel.wait()` for the `Result`, which raises
    what went wrong.

    Steps are shown in the run's thread, and only while it is the panel's run: `_swap` is held then,
    and where the run is exchanged. What observes an element's trait must not ask for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.add_class("st-panel")
        self.run: Run | None = None
        self.note = Note()
        self._swap, self._refusal = threading.RLock(), None
        self.start_button = button("Start", "play", self.start, "success")
        self.pause_button = button("Pause", "pause", self.pause)
        self.stop_button = button("Stop", "stop", self.stop)
        self.buttons = widgets.Box(
            [self.start_button, self.pause_button, self.stop_button, Guard()], layout=WRAP
        )
        self._set_buttons()
        _replace_in_cell(self)

    def make_run(self) -> Run:
        """A new run as the controls say; raises ValueError for settings that cannot be."""
        raise NotImplementedError

    def on_begin(self, run: Run) -> None:
        """Make the panel ready for a run that is about to start."""

    def on_step(self, run: Run, step: Step) -> None:
        """Show a step; called in the run's thread when it is time to."""

    def on_every_step(self, run: Run, step: Step) -> None:
        """What has a pace of its own; called in the run's thread, without `_swap`."""

    def on_end(self, run: Run, result: Result) -> None:
        """Show the result; called in the run's thread."""

    def start(self) -> Panel:
        """Begin a new run with the present settings, and stop the one before.

        Settings that cannot be are said, and raised by `wait`; the run before goes on then.
        """
        try:
            run = self.make_run()
        except Exception as error:
            self._refusal = error
            self.note.say(one_line(error), error=True)
            return self
        return self.drive(run)

    def drive(self, run: Run) -> Panel:
        """Start this run and show it, in place of the one before."""
        pace = Pace()
        run.on_step = lambda step: self._shown(run, step, pace)
        run.on_end = self._ended
        with self._swap:
            self.stop()
            self.run, self._refusal = run, None
            self.note.say("starting …")
            self.on_begin(run)
            run.start()
            self._set_buttons()
        return self

    def pause(self) -> None:
        """Hold still after the evaluation under way, or go on after that."""
        if self.run is None:
            return
        if self.run.state == "running":
            self.run.pause()
            self.note.say("paused")
        elif self.run.state == "paused":
            self.run.resume()
        self._set_buttons()

    def stop(self) -> None:
        """Stop the present run, if any, after the evaluation under way; never blocks."""
        if self.run is not None:
            self.run.stop()

    def wait(self, timeout: float | None = None) -> Result:
        """The `Result` of the present run, once it is there.

        A paused run goes on: no button could make it, while the kernel waits here.
        """
        if self._refusal is not None:
            raise self._refusal
        if self.run is None:
            raise RuntimeError("nothing was started in this panel; call start() first")
        if self.run.state == "paused":
            self.pause()
        return self.run.wait(timeout)

    def close(self) -> None:
        """Stop the run and remove the panel with all that is in it."""
        with self._swap:
            self.stop()
            self.run = None
        for part in _inside(self):
            part.close()
        super().close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'nothing started' if self.run is None else self.run})"

    def _shown(self, run: Run, step: Step, pace: Pace) -> None:
        if pace.due or step.evaluation == step.evaluations:
            with pace.measured(), self._swap:
                if run is self.run:
                    self.on_step(run, step)
        if run is self.run:
            self.on_every_step(run, step)

    def _ended(self, run: Run) -> None:
        with self._swap:
            if run is not self.run:
                return
            try:
                if run.error is not None:
                    raise run.error
                self.on_end(run, run.result)
            except BaseException as error:
                self.note.say(one_line(error), error=True)
                raise
            finally:
                self._set_buttons()

    def _set_buttons(self) -> None:
        state = "new" if self.run is None else self.run.state
        paused = state == "paused"
        self.pause_button.description = "Continue" if paused else "Pause"
        self.pause_button.icon = "play" if paused else "pause"
        under_way = state in ("running", "paused")
        self.pause_button.disabled = self.stop_button.disabled = not under_way


def one_line(error: BaseException) -> str:
    """An error for somebody who sees no traceback."""
    lines = str(error).splitlines() or [type(error).__name__]
    ours = isinstance(error, ValueError | OSError)
    return lines[0] if ours else f"stopped by an error: {type(error).__name__}: {lines[0]}"


def button(
    words: str, icon: str, does: Callable[[], Any], style: str = "", hint: str = ""
) -> widgets.Button:
    made = widgets.Button(description=words, icon=icon, button_style=style, tooltip=hint or words)
    made.layout.width, made.layout.align_self = "auto", "flex-start"
    made.on_click(lambda _: does())
    return made


def in_columns(*rooms: tuple[widgets.Widget, str]) -> widgets.Box:
    """Widgets side by side, or below each other where it is narrow; each with its CSS `flex`."""
    for column, room in rooms:
        column.layout.flex, column.layout.min_width = room, "0"
    return widgets.Box([column for column, _ in rooms], layout=WRAP)


def _inside(box: widgets.Box) -> Iterator[widgets.Widget]:
    for child in box.children:
        if isinstance(child, widgets.Box):
            yield from _inside(child)
        yield child


def _replace_in_cell(panel: Panel) -> None:
    """Stop what an earlier execution of the same cell has left running."""
    try:
        from IPython import get_ipython

        message = get_ipython().get_parent()
        cell = message["metadata"]["cellId"]
        execution = message["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return  # not in a notebook
    before, panels = _in_cells.get(cell, (execution, weakref.WeakSet()))
    if before != execution:
        for old in list(panels):
            old.close()
        panels = weakref.WeakSet()
    panels.add(panel)
    _in_cells[cell] = (execution, panels)
