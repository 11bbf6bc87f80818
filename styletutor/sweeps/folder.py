"""The folder of a sweep: what has been painted, told by its settings and not by its name."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styletutor.pictures.writing import PathLike, try_writing, write_file
from styletutor.sweeps.worker import Painting
from styletutor.version import __version__

LONGEST = 120  # bytes of a name without its suffix; systems end at 255


@dataclass(frozen=True)
class Painted:
    """A picture of a sweep: its file, and its report beside it."""

    path: Path

    @property
    def report(self) -> Path:
        return self.path.with_suffix(".json")


def make_key(settings: Mapping[str, Any], sha256: str) -> str:
    """SHA-256 of all that makes a picture: version, settings with its pictures' hashes, weights."""
    about = {"version": __version__, "weights sha256": sha256, "settings": _plain(settings)}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def make_name(labels: list[str], key: str) -> str:
    """A name that a person can read and no other picture has, without a suffix."""
    words = (unicodedata.normalize("NFC", re.sub(r"[^\w.-]+", "-", label)) for label in labels)
    readable = "_".join(filter(None, (word.strip("-.") for word in words)))
    cut = readable.encode()[: LONGEST - 11].decode(errors="ignore")
    return f"{cut}_{key[:10]}" if cut else key[:10]


class Folder:
    """A folder that a sweep fills. Raises OSError, in one line, if it cannot be written."""

    def __init__(self, path: PathLike) -> None:
        self.path = Path(os.path.expanduser(path))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(f"{path} is a file, expected a folder; name another") from None
        except OSError as error:
            raise PermissionError(
                f"cannot make the folder {path} ({error.strerror}); choose another one"
            ) from None
        try_writing(self.path / "contact-sheet.png")
        # By the ends of their names: what a picture is called depends on what else is varied.
        self._reports: dict[str, list[Path]] = {}
        for report in sorted(self.path.glob("*.json")):
            self._reports.setdefault(report.stem[-10:], []).append(report)

    def finished(self, name: str, key: str) -> Painted | None:
        """The picture of that key, under that name or another, if it and its report are whole."""
        named = self.path / f"{name}.json"
        others = [report for report in self._reports.get(key[:10], ()) if report != named]
        found = (Painted(report.with_suffix(".png")) for report in (named, *others))
        return next((painted for painted in found if _is_whole(painted, key)), None)

    def keep(self, name: str, key: str, painting: Painting) -> Painted:
        """Write picture and report, which says that the picture is finished, so it comes last."""
        painted = Painted(self.path / f"{name}.png")
        digest = hashlib.sha256(painting.png).hexdigest()
        report = painting.report | {"sweep": {"key": key, "picture sha256": digest}}
        write_file(painted.path, painting.png)
        text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
        write_file(painted.report, text.encode("utf-8"))
        return painted


def _is_whole(painted: Painted, key: str) -> bool:
    try:
        said = json.loads(painted.report.read_text(encoding="utf-8"))["sweep"]
        digest = hashlib.sha256(painted.path.read_bytes()).hexdigest()
        return said == {"key": key, "picture sha256": digest}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _plain(value: Any) -> Any:
    """Settings as JSON, in which 1 and 1.0 are the same number."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, str | int | float):
        return value
    return _plain(value.tolist()) if hasattr(value, "tolist") else str(value)
