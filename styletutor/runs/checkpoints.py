"""What a descent stands on, on disk, so that it can go on to the same bits after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from styletutor.descent import Step
from styletutor.descent.history import Record
from styletutor.pictures.images import is_whole
from styletutor.pictures.writing import try_writing, write_file
from styletutor.runs.frames import Frame, check_same_run

KEY = "styletutor checkpoint"
DAMAGED = "{} is damaged or no checkpoint of styletutor; begin anew without it"
MOST_WORDS = 2**27  # bytes; some hundred for each evaluation
SECONDS_BETWEEN = 10.0
# Ctrl-C, a polite request to end, and a terminal that was closed, where the system knows them.
ENDINGS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


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
        if every is not None and not (is_whole(every) and every >= 1):
            raise ValueError(f"a checkpoint every {every} evaluations; it must be at least 1")
        self.path, self.about, self.every = Path(path), about, every
        self._due = time.monotonic() + SECONDS_BETWEEN
        self.frame: Frame | None = None
        try_writing(path)
        if resume is not None:
            saved, tensors = read_checkpoint(resume)
            check_same_run(resume, saved["about"], about)
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

    file = Path(os.path.expanduser(path))
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; check the name")
    try:
        with file.open("rb") as opened:  # once: it may be replaced meanwhile
            length = int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(min(length, MOST_WORDS)))
            saved = json.loads(header.pop("__metadata__")[KEY])
            ends = [tensor["data_offsets"][1] for tensor in header.values()]
            if os.fstat(opened.fileno()).st_size != 8 + length + max(ends):
                raise ValueError
            opened.seek(0)
            tensors = load(opened.read())
        digest = saved.pop("sha256")
        if digest != _digest(tensors, saved) or not _is_whole(saved, tensors):
            raise ValueError
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError,
            OverflowError, RecursionError):  # fmt: skip
        raise ValueError(DAMAGED.format(path)) from None
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
    record, about, at = Record(**saved["record"]), saved["about"], tensors["evaluation"]
    weights = [saved["weights"], record.weights, *(row["weights"] for row in record.turned)]
    evaluations = [row["evaluation"] for row in record.rows]
    return (
        all(isinstance(about[name], str) for name in ("command", "weights sha256"))
        and all(_are_numbers(values) for each in weights for values in each.values())
        and all(_is_row(row) for row in record.rows)
        and _are_numbers([record.seconds, *(row["evaluation"] for row in record.turned)])
        and evaluations == list(range(1, len(evaluations) + 1))
        and at.ndim == 0
        and 1 <= int(at) == len(evaluations) <= about["settings"]["evaluations"]
    )


def _is_row(row: dict[str, Any]) -> bool:
    """Is it one of a history?"""
    losses = {name: value for name, value in row.items() if name not in ("size", "parts")}
    numbers = _are_numbers(row["size"]) and _are_numbers([*losses.values(), *row["parts"].values()])
    return "total" in row and numbers


def _are_numbers(values: list[Any]) -> bool:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)


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


def is_interrupt(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or what became of it.

    In the midst of waiting for another thread, Python's own locks answer it with a RuntimeError.
    """
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


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
