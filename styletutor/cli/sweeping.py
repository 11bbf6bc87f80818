"""What `styletutor sweep` and `styletutor gallery` do: options that take several values, a grid."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

import styletutor as st
from styletutor.cli.paint import layer_weights
from styletutor.cli.telling import say
from styletutor.sweeps.folder import Painted
from styletutor.sweeps.gallery import SIZE, find_photographs
from styletutor.sweeps.grid import defaults


def sweep(arguments: argparse.Namespace) -> int:
    """`styletutor sweep`."""
    contents = list(arguments.content or ())
    if arguments.content_folder is not None:
        contents += find_photographs(arguments.content_folder)
    if not contents:
        raise ValueError("either --content or --content-folder must be given")
    swept = st.sweep(contents, arguments.styles, arguments.output, **_how(arguments))
    return _tell(swept, [str(path) for path in swept.sheets])


def gallery(arguments: argparse.Namespace) -> int:
    """`styletutor gallery FOLDER`."""
    how = _how(arguments)
    if "size" not in how["vary"]:
        how = {"size": SIZE} | how
    swept = st.gallery(arguments.folder, arguments.styles, arguments.output, **how)
    return _tell(swept, [str(Path(arguments.output) / "index.html")] if swept.sheets else [])


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings that were given: those with one value are the same for all."""
    given = {name: getattr(arguments, name, None) for name in defaults()}
    given = {name: value for name, value in given.items() if value is not None}
    for name in ("content_layers", "style_layers"):
        if name in given:
            given[name] = [layer_weights(layers) for layers in given[name]]
    several = {n: v for n, v in given.items() if isinstance(v, list) and len(v) > 1}
    one = {n: v[0] if isinstance(v, list) else v for n, v in given.items() if n not in several}
    where = {n: getattr(arguments, n) for n in ("scheduler", "workers", "device")}
    return {**one, **where, "vary": several, "on_picture": _say_saved}


def _say_saved(painted: Painted) -> None:
    with tqdm.external_write_mode():  # or it would stand in the midst of the bar
        say(f"saved {painted.path}")


def _tell(swept: st.Sweep, pages: list[str]) -> int:
    for page in pages:
        say(f"saved {page}")
    say(str(swept))
    for reason, names in _by_reason(swept).items():
        say(f"styletutor: error: not painted: {names}: {reason}", error=True)
    if swept.interrupted:
        say("styletutor: interrupted; the same command goes on where it stopped", error=True)
        return 130
    return 2 if swept.failed else 0


def _by_reason(swept: st.Sweep) -> Mapping[str, str]:
    """Pictures that failed for the same reason, in one line."""
    reasons: dict[str, list[str]] = {}
    for place, reason in sorted(swept.failed.items()):
        reasons.setdefault(reason, []).append(swept.named(place) or swept.axes[0].labels[0])
    return {
        reason: "; ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        for reason, names in reasons.items()
    }
