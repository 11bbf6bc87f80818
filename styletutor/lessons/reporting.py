"""What a student has passed, for handing in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from styletutor.lessons.exercise import tries
from styletutor.pictures.writing import write_file
from styletutor.version import __version__


def report(path: str | Path | None = None) -> dict[str, Any]:
    """What the checks have said since this kernel was started, also as JSON in a file at `path`.

    For each exercise that was tried: whether it has passed, at which try, how many there were, and
    the mistakes that were named, in order. Nobody has signed it: whoever wants to be sure runs the
    notebook again.
    """
    exercises = {}
    for name, verdicts in tries.items():
        finished = [verdict for verdict in verdicts if verdict.right is not None]
        passed = next((k for k, v in enumerate(finished, 1) if v.right), None)
        exercises[name] = {
            "passed": passed is not None,
            "passed_at_try": passed,
            "tries": len(finished),
            "mistakes": [verdict.words for verdict in finished if not verdict.right],
        }
    said = {"version": __version__, "exercises": exercises}
    if path is not None:
        text = json.dumps(said, ensure_ascii=False, indent=1) + "\n"
        write_file(Path(path), text.encode())
    return said
