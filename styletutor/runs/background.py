"""A descent in the background: start, pause, stop, turn knobs, while a notebook stays alive."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from styletutor.descent import Step, Stop
from styletutor.descent.history import Record
from styletutor.runs.frames import Frame
from styletutor.runs.result import Result
from styletutor.runs.solve import OnStep

_started: weakref.WeakSet[Run] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """A thread that is inside PyTorch when the interpreter goes would crash the process."""
    for run in list(_started):
        run.stop()
    for run in list(_started):
        run._thread.join(10)


class Run:
    """One of the verbs in a thread of its own.

    >>> run = st.Run(st.transfer, photo, style, vgg=vgg, evaluations=200, on_step=show)
    >>> run.start(); run.turn(style=100.0); run.pause(); run.resume()
    >>> run.stop()                          # to end early with the best picture so far
    >>> result = run.wait()

    The arguments are the verb's, with no bar unless `progress` is given. `on_step(step)` is called
    in the thread after each evaluation and `on_end(run)` when all is over: let them set widget
    values, never use pyplot. Pause and stop act after the evaluation under way. What goes wrong in
    the thread is raised by `wait`, so that a notebook cannot pass over it. While it paints,
    PyTorch's default type is float32 in all threads.

    `step` is the latest step and `record` what has happened so far. Where the run was stopped is
    `frame`, and others can be kept on the way, in `on_step`, by `keep()`: another run with the same
    arguments and `resume=frame` goes on from there, whatever is turned from then on.
    """

    def __init__(
        self,
        verb: Callable[..., Result],
        *args: Any,
        on_step: OnStep | None = None,
        on_end: Callable[[Run], object] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs = {"progress": False, **kwargs, "on_step": self._on_step}
        self._call = lambda: verb(*args, **kwargs)
        self.on_step, self.on_end = on_step, on_end
        self._name = getattr(verb, "__name__", type(verb).__name__)
        self._go = threading.Event()
        self._go.set()
        self._stopping = False
        self._lock = threading.Lock()
        self._knobs: dict[str, float] = {}
        self.frame: Frame | None = None
        self._thread: threading.Thread | None = None
        self.result: Result | None = None
        self.step: Step | None = None
        self.error: BaseException | None = None

    @property
    def state(self) -> str:
        """ "new", "running", "paused", "done" or "failed"."""
        if self._thread is None:
            return "new"
        if self.error is not None:
            return "failed"
        if self.result is not None:
            return "done"
        return "running" if self._go.is_set() else "paused"

    @property
    def record(self) -> Record | None:
        """What has happened so far."""
        return None if self.step is None else self.step.record

    def start(self) -> Run:
        """Begin; RuntimeError if it was begun before."""
        if self._thread is not None:
            raise RuntimeError("this run was started before; make a new Run for another one")
        self._thread = threading.Thread(target=self._work, name=f"styletutor-{self._name}")
        self._thread.daemon = True
        self._thread.start()
        _started.add(self)
        return self

    def pause(self) -> None:
        """Hold still after the evaluation under way; nothing to hold once it was stopped."""
        if not self._stopping:
            self._go.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self._go.set()

    def turn(self, **weights: float) -> None:
        """Change term weights, as `turn(style=100.0, tv=0.1)`, from the next evaluation on.

        Layers by `turn(**{"style relu1_1": 0.5})`. A name or value that `Objective.set_weight`
        refuses ends the run with that error.
        """
        with self._lock:
            self._knobs.update(weights)

    def stop(self) -> None:
        """End after the evaluation under way; `wait` then has the best picture so far."""
        self._stopping = True
        self._go.set()

    def keep(self) -> Frame:
        """The present moment, to go on from. To be called in `on_step`.

        RuntimeError if nothing has been evaluated yet.
        """
        if self.step is None:
            raise RuntimeError("nothing has been evaluated yet; call keep() in on_step")
        return Frame.of(self.step)

    def wait(self, timeout: float | None = None) -> Result:
        """The `Result`, once it is there; raises what went wrong in the thread.

        TimeoutError after `timeout` seconds, RuntimeError if the run was never started, or in
        another process.
        """
        if self._thread is None:
            raise RuntimeError("this run was never started; call start() first")
        until = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self._thread.is_alive():
            if time.monotonic() > until:
                raise TimeoutError(f"the run is still {self.state} after {timeout} seconds")
            # In short naps, so that Ctrl-C gets through on Windows too.
            self._thread.join(min(0.2, timeout or 0.2))
        if self.error is not None:
            raise self.error
        if self.result is None:  # a forked child has the object without its thread
            raise RuntimeError("this run is another process's; wait for it there")
        return self.result

    def _work(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error
        try:
            if self.on_end is not None:
                self.on_end(self)
        except BaseException as error:
            self.error = self.error or error

    def _on_step(self, step: Step) -> None:
        self.step = step
        if self.on_step is not None:
            self.on_step(step)
        self._go.wait()
        if self._stopping:
            self.frame = self.keep()
            raise Stop
        with self._lock:
            knobs, self._knobs = self._knobs, {}
        for name, value in knobs.items():
            step.objective.set_weight(name, value)

    def __repr__(self) -> str:
        where = f" at {self.step.evaluation}/{self.step.evaluations}" if self.step else ""
        return f"Run({self._name}, {self.state}{where})"
