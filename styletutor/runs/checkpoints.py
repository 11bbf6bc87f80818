"""What a descent stands on, in memory or on disk, so that it can go on to the same bits."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from styletutor.descent import Step
from styletutor.descent.history import Record
from styletutor.pictures.writing import try_writing, write_file

KEY = "styletutor checkpoint"
SECONDS_BETWEEN = 10.0
# Ctrl-C, a polite request to end, and a terminal that was closed, where the system knows them.
ENDINGS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


@dataclass(frozen=True)
class Frame:
    """A moment of a run, kept in memory: give it as `resume` to go on from there.

    `tensors` are a step's `state()`, `record` what had happened until then, and `weights` those
    that count next. A run that resumes it with the same arguments comes to the same bits on a CPU;
    one whose weights are turned (`Run.turn`) is a fork.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    record: Record = field(repr=False)
    weights: Mapping[str, list[float]] = field(repr=False)
    evaluation: int

    @classmethod
    def of(cls, step: Step) -> Frame:
        """The moment after `step`, which must be the latest."""
        weights = step.objective.weight_values()
        return cls(step.state(), step.record.copy(), weights, step.evaluation)

    @property
    def bytes(self) -> int:
        """How much memory its tensors take."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class Checkpoint:
    """A file that holds picture, optimiser, place in the pyramid, history and settings.

    It is safetensors with JSON beside the tensors, and replaced as a whole. `about` says which run
    it is of (command, settings, network, pictures); a file to `resume` from must be of the same,
    with at most as many evaluations.
    Written after every `every` evaluations; if None about every ten seconds, and less often where
    writing takes long; and at the end.
    """

    def __init__(
        self,
        path: str | Path,
        about: Mapping[str, Any],
        resume: str | Path | None = None,
        every: int | None = None,
    ) -> None:
        if every is not None and not (isinstance(every, int) and every >= 1):
            raise ValueError(f"a checkpoint every {every} evaluations; it must be at least 1")
        self.path, self.about, self.every = Path(path), json.loads(json.dumps(about)), every
        self._due = time.monotonic() + SECONDS_BETWEEN
        self.frame: Frame | None = None
        try_writing(path)
        if resume is not None:
            saved, tensors = read_checkpoint(resume)
            _compare(resume, _with_more(saved["about"], self.about), self.about)
            evaluation = int(tensors["evaluation"])
            self.frame = Frame(tensors, Record(**saved["record"]), saved["weights"], evaluation)

    def keep(self, step: Step) -> None:
        """Write, if it is time to."""
        if self.every is None:
            due = time.monotonic() > self._due
        else:
            due = step.evaluation % self.every == 0
        if due or step.evaluation == step.evaluations:
            self.write(step)

    def write(self, step: Step) -> None:
        """Replace the file by the state after `step`, which must be the latest."""
        from safetensors.torch import save

        began, tensors, record = time.monotonic(), step.state(), step.record
        rows = {"rows": record.history(), "turned": record.turned, "seconds": record.seconds}
        saved = {
            "about": self.about,
            "record": {**rows, "weights": record.weights},
            "weights": step.objective.weight_values(),
        }
        saved["sha256"] = _digest(tensors, saved)
        write_file(self.path, save(tensors, {KEY: json.dumps(saved)}))
        now = time.monotonic()
        self._due = now + max(SECONDS_BETWEEN, 20 * (now - began))


def read_checkpoint(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What a checkpoint says, and its tensors by name.

    Raises FileNotFoundError, or ValueError for a file that is none or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; check the name")
    try:
        data = Path(path).read_bytes()  # all at once: it may be replaced meanwhile
        tensors, header = load(data), data[8 : 8 + int.from_bytes(data[:8], "little")]
        saved = json.loads(json.loads(header)["__metadata__"][KEY])
        digest = saved.pop("sha256")
        if digest != _digest(tensors, saved) or not _is_whole(saved, tensors):
            raise ValueError
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError,
            RecursionError):  # fmt: skip
        raise ValueError(
            f"{path} is damaged or no checkpoint of styletutor; begin anew without it"
        ) from None
    return saved, tensors


def _digest(tensors: Mapping[str, Tensor], saved: Mapping[str, Any]) -> str:
    """Of the tensors and of all that is said beside them."""
    digest = hashlib.sha256(json.dumps(saved, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _is_whole(saved: dict[str, Any], tensors: Mapping[str, Tensor]) -> bool:
    """Does everything have the type that going on needs? A wrong name raises TypeError."""
    record, at = Record(**saved["record"]), tensors["evaluation"]
    weights = [w for each in (saved["weights"], record.weights) for w in each.values()]
    return (
        isinstance(saved["about"], dict)
        and all(isinstance(w, list) and all(isinstance(v, int | float) for v in w) for w in weights)
        and all(isinstance(row["evaluation"], int) for row in [*record.rows, *record.turned])
        and all(isinstance(row["parts"], dict) for row in record.rows)
        and isinstance(record.seconds, int | float)
        and at.ndim == 0
        and 0 <= int(at) == len(record.rows)
    )


def _with_more(saved: dict[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What was saved, with the larger budget of now."""
    had, has = (about.get("settings", {}).get("evaluations") for about in (saved, now))
    if isinstance(had, int) and isinstance(has, int) and has > had:
        return saved | {"settings": saved["settings"] | {"evaluations": has}}
    return saved


def _compare(
    path: str | Path, saved: Mapping[str, Any], now: Mapping[str, Any], where: str = ""
) -> None:
    for name in {**saved, **now}:
        before, given = saved.get(name), now.get(name)
        if isinstance(before, dict) and isinstance(given, dict) and name != "layers":
            _compare(path, before, given, f"{name} ")
        elif before != given:
            raise ValueError(
                f"{path} is of another run: its {where}{name} is {before}, not {given}; "
                "give what it was begun with, or begin anew without it"
            )


@contextmanager
def without_interrupts(wanted: bool = True) -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block: in the midst of a step there is no state to keep.

    Only the main thread is ever interrupted, so elsewhere there is nothing to do.
    """
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    came = []
    before = {each: signal.getsignal(each) for each in ENDINGS}
    for each, handler in before.items():
        if callable(handler):  # else it does not interrupt, or ends all at once
            signal.signal(each, lambda *given: came.append(given))
    try:
        yield
    finally:
        for each, handler in before.items():
            if callable(handler):
                signal.signal(each, handler)
        if came:
            before[came[0][0]](*came[0])


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """A program that is asked to end, or whose terminal is closed, saves what it has first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Not where somebody chose otherwise, as nohup does.
    plain = [each for each in ENDINGS if signal.getsignal(each) == signal.SIG_DFL]
    for each in plain:
        signal.signal(each, signal.default_int_handler)
    try:
        yield
    finally:
        for each in plain:
            signal.signal(each, signal.SIG_DFL)
