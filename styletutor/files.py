"""Writing files whole or not at all, and finding out beforehand whether that will work."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

PathLike = str | os.PathLike[str]


def write_file(path: PathLike, data: bytes) -> None:
    """Write a file whole or not at all; raises as `try_writing`."""
    target = _check_target(path)
    if target is None:
        Path(path).write_bytes(data)
        return
    temporary = _make_temporary(os.path.dirname(target))
    try:
        Path(temporary).write_bytes(data)
        os.replace(temporary, target)
    finally:
        with suppress(FileNotFoundError):  # as it is after success
            os.remove(temporary)


def try_writing(path: PathLike) -> None:
    """Find out, without leaving a trace, whether `path` could be written.

    Raises FileNotFoundError for a missing folder, IsADirectoryError if `path` is one,
    PermissionError if it cannot be written.
    """
    target = _check_target(path)
    if target is not None:
        # Only a real attempt tells: for an administrator os.access says yes to everything.
        os.remove(_make_temporary(os.path.dirname(target)))


def _check_target(path: PathLike) -> str | None:
    """The file to replace, behind any symbolic link; None for a device, to be written into."""
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise IsADirectoryError(f"{path} is a folder, expected a file name; add one to it.")
    if os.path.exists(path) and not os.path.isfile(path):
        return None  # such as /dev/null or a pipe, which a file in its place would break
    if not os.path.isdir(os.path.dirname(target)):
        raise FileNotFoundError(f"There is no folder {os.path.dirname(target)}; make it first.")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise PermissionError(f"{path} is write-protected; choose another name.")
    return target


def _make_temporary(folder: str) -> str:
    """An empty new file; not from `tempfile`, which would keep the picture from other users."""
    temporary = os.path.join(folder, f".styletutor-{secrets.token_hex(8)}.tmp")
    try:
        open(temporary, "xb").close()
    except OSError as error:
        raise PermissionError(
            f"Cannot write in the folder {folder} ({error.strerror}); choose another one."
        ) from None
    return temporary
