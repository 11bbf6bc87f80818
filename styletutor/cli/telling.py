"""Words that nobody may hear and files that may find no room: neither ends the work."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path


def open_streams() -> None:
    """Give a program that was started without stdin, stdout or stderr a place for its words.

    Else the next file that it opens would get the number of one of them, and what some library
    says there would end up in a picture.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def say(words: str, error: bool = False) -> None:
    """Print one line to stdout, or to stderr, whatever the names of files in it are.

    If that is closed or full, it stays silent from now.
    """
    stream = sys.stderr if error else sys.stdout
    try:
        print(one_line(words), file=stream, flush=True)
    except (OSError, ValueError):
        silence(stream)


def one_line(words: str) -> str:
    """The same without line breaks and what else would steer a terminal."""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())


def silence(stream: object) -> None:
    """Whatever is written to it from now on, and what waits in its buffer, goes nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def save_somewhere(
    save: Callable[[str], object], path: str, folders: Iterable[str | Path]
) -> tuple[str, str]:
    """Where a file was saved, and why not at `path` ("" if it was).

    If `path` cannot be written any more, its name is tried in the `folders`, at home and in the
    folder for temporary files, without replacing anything there. Raises the first OSError if
    nothing worked.
    """
    try:
        save(path)
        return path, ""
    except OSError as error:
        reason = error
    for folder in _places(folders):
        with suppress(OSError):  # it may be one that may not be entered
            other = _unused(folder / Path(path).name)
            save(str(other))
            return str(other), f"{reason}; saved {other} instead"
    raise reason


def _places(folders: Iterable[str | Path]) -> Iterator[Path]:
    yield from map(Path, folders)
    for find in (Path.home, tempfile.gettempdir):
        with suppress(OSError, RuntimeError):  # a user without a home, no temporary folder
            yield Path(find())


def _unused(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
