"""Writing files whole or not at all, and finding out beforehand whether that will work."""

import os
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

PathLike = str | os.PathLike[str]
# As files they would be emptied, or, once they are pipes, have no name on disk.
STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}


def write_file(path: PathLike, data: bytes) -> None:
    """Write a file whole or not at all; raises as `try_writing`.

    The permissions of a file that is replaced are those of the new one.
    """
    target = _check_target(path)
    if target is None:
        _write_device(path, data)
        return
    temporary = _make_temporary(os.path.dirname(target))
    try:
        if os.path.exists(target):
            shutil.copymode(target, temporary)
        Path(temporary).write_bytes(data)
        os.replace(temporary, target)
    except OSError as error:
        why = f"cannot write {path} ({error.strerror}); make room, or choose another name"
        raise OSError(why) from None
    finally:
        with suppress(FileNotFoundError):  # as it is after success
            os.remove(temporary)


def check_apart(outputs: Iterable[PathLike | None], inputs: Iterable[PathLike | None]) -> None:
    """Raise ValueError if two outputs are the same file, or an output is one of the inputs."""
    written: list[str] = []
    for output in (real_path(o) for o in outputs if o is not None):
        if output in written:
            raise ValueError(f"{output} is named for two outputs; give each a name of its own")
        written.append(output)
        for name in (i for i in inputs if i is not None and os.path.exists(real_path(i))):
            if os.path.exists(output) and os.path.samefile(real_path(name), output):
                raise ValueError(f"the output would overwrite the input {name}; choose another")


def try_writing(path: PathLike) -> None:
    """Find out, without leaving a trace, whether `path` could be written.

    Raises FileNotFoundError for a missing folder, IsADirectoryError if `path` is one,
    PermissionError if it cannot be written.
    """
    target = _check_target(path)
    if target is not None:
        # Only a real attempt tells: for an administrator os.access says yes to everything.
        os.remove(_make_temporary(os.path.dirname(target)))
        _try_name(target)


def _check_target(path: PathLike) -> str | None:
    """The file to replace, behind any symbolic link; None for a device, to be written into."""
    named, target = os.path.expanduser(path), real_path(path)
    if os.path.isdir(target):
        raise IsADirectoryError(
            f"{path or target} is a folder, expected a file name; add one to it"
        )
    if named in STREAMS or (os.path.exists(named) and not os.path.isfile(named)):
        return None  # such as /dev/null or a pipe, which a file in its place would break
    if not os.path.isdir(os.path.dirname(target)):
        raise FileNotFoundError(f"there is no folder {os.path.dirname(target)}; make it first")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise PermissionError(f"{path} is write-protected; choose another name")
    return target


def _write_device(path: PathLike, data: bytes) -> None:
    named = os.path.expanduser(path)
    at_once = getattr(os, "O_NONBLOCK", 0)  # a named pipe would wait for ever for a reader
    try:
        place = os.dup(STREAMS[named]) if named in STREAMS else named
        with open(place, "wb", opener=lambda name, how: os.open(name, how | at_once)) as device:
            if at_once:
                os.set_blocking(device.fileno(), True)
            device.write(data)
    except OSError as error:
        why = f"cannot write into {path} ({error.strerror}); is there anything that reads it?"
        raise OSError(why) from None


def real_path(path: PathLike) -> str:
    """Where a path leads: "~" is the home, and links are followed."""
    return os.path.realpath(os.path.expanduser(path))


def _make_temporary(folder: str) -> str:
    """An empty new file; not from `tempfile`, which would keep the picture from other users."""
    temporary = os.path.join(folder, f".styletutor-{secrets.token_hex(8)}.tmp")
    try:
        open(temporary, "xb").close()
    except OSError as error:
        raise PermissionError(
            f"cannot write in the folder {folder} ({error.strerror}); choose another one"
        ) from None
    return temporary


def _try_name(target: str) -> None:
    if os.path.exists(target):
        return
    try:
        open(target, "xb").close()
    except OSError as error:
        raise PermissionError(
            f"cannot write a file named {os.path.basename(target)} ({error.strerror}); "
            "choose another name"
        ) from None
    os.remove(target)
