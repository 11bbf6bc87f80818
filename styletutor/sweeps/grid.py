"""A grid of settings: its axes, and the transfers at its points."""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from styletutor.descent.starts import STARTS
from styletutor.runs.inputs import Picture
from styletutor.runs.transfer import Styles, transfer

# What belongs to one run and its place, not to a picture.
OWN = ("content", "style", "vgg", "on_step", "checkpoint", "checkpoint_iterations", "resume",
       "progress", "crew")  # fmt: skip
Style = Styles | Mapping[str, Styles]


@dataclass(frozen=True)
class Axis:
    """A setting that is varied: its `values`, and how each is called."""

    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]

    def caption(self, at: int) -> str:
        """A value with its name, unless it is a picture, whose own name says enough."""
        return self.labels[at] if self.is_pictures else f"{self.words} {self.labels[at]}"

    @property
    def words(self) -> str:
        return self.name.replace("_", " ")

    @property
    def is_pictures(self) -> bool:
        return self.name in ("content", "style")

    @property
    def matters(self) -> bool:
        """Has it more than one value?"""
        return len(self.values) > 1


@dataclass(frozen=True)
class Point:
    """A place on the axes, and the arguments of `transfer` and "weights" there."""

    place: tuple[int, ...]
    settings: Mapping[str, Any]


def defaults() -> dict[str, Any]:
    """The settings that a sweep may fix or vary, and what they are if nobody says."""
    parameters = inspect.signature(transfer).parameters
    own = {name: p.default for name, p in parameters.items() if name not in OWN}
    return own | {"weights": "auto"}


def make_grid(
    contents: Picture | Sequence[Picture],
    styles: Style | Sequence[Style],
    vary: Mapping[str, Iterable[Any]],
    fixed: Mapping[str, Any],
) -> tuple[list[Axis], list[Point]]:
    """The axes "content", "style" and those of `vary`, and all points, the last axis fastest.

    Raises ValueError for an unknown setting, one that is both fixed and varied, or no values.
    """
    for name in (*vary, *fixed):
        _check_name(name)
    twice = [name for name in vary if name in fixed]
    if twice:
        raise ValueError(f"{twice[0]} is both fixed and varied; give it once")
    lists = {"content": _as_list(contents), "style": _as_list(styles)}
    lists |= {name: _values(name, values) for name, values in vary.items()}
    for name in ("content", "style"):
        if not lists[name]:
            raise ValueError(f"no {name} picture was given; give at least one")
    axes = [Axis(name, tuple(v), _labels(name, v)) for name, v in lists.items()]
    points = []
    for place in itertools.product(*(range(len(axis.values)) for axis in axes)):
        here = {a.name: a.values[at] for a, at in zip(axes, place, strict=True)}
        points.append(Point(place, {**defaults(), **fixed, **here}))
    return axes, points


def with_pictures(settings: Mapping[str, Any], change: Any) -> dict[str, Any]:
    """Settings with `change(picture)` in place of every picture in them."""
    changed = {**settings, "content": change(settings["content"])}
    changed["style"] = _changed(settings["style"], change)
    if settings["masks"] is not None:
        changed["masks"] = [change(mask) for mask in settings["masks"]]
    start = settings["start"]
    if not (start is None or (isinstance(start, str) and start in STARTS)):
        changed["start"] = change(start)
    return changed


def _changed(style: Any, change: Any) -> Any:
    if isinstance(style, Mapping):
        return {layer: _changed(pictures, change) for layer, pictures in style.items()}
    if isinstance(style, list | tuple):
        return [change(picture) for picture in style]
    return change(style)


def _check_name(name: str) -> None:
    known = sorted(defaults())
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"there is no setting {name!r} to sweep over; {hint}there are "
                         f"{', '.join(known)}")  # fmt: skip


def _as_list(given: Any) -> list[Any]:
    several = isinstance(given, Iterable) and not isinstance(given, Picture | Mapping)
    return list(given) if several else [given]


def _values(name: str, values: Iterable[Any]) -> list[Any]:
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{name} is to be varied over {values!r}; give a list of values")
    made = [value.item() if isinstance(value, np.generic) else value for value in values]
    if not made:
        raise ValueError(f"{name} is to be varied, but no value was given; give at least one")
    return made


def _labels(name: str, values: Sequence[Any]) -> tuple[str, ...]:
    """How the values are called: as briefly as tells them apart."""
    pictures = name in ("content", "style", "start", "weights")
    for say in (_briefly, _with_suffix, str) if pictures else (_briefly,):
        labels = [say(value) for value in values]
        if len(set(labels)) == len(labels) and max(map(len, labels)) < 200:
            return tuple(labels)
    for at, value in enumerate(values):
        if any(value is other or _equal(value, other) for other in values[:at]):
            raise ValueError(f"{name} has the value {_briefly(value)} twice; give each once")
    return tuple(f"{_briefly(value)} ({at})" for at, value in enumerate(values, start=1))


def _equal(one: Any, other: Any) -> bool:
    plain = str | Path | int | float | None | list | tuple | Mapping
    return isinstance(one, plain) and isinstance(other, plain) and str(one) == str(other)


def _with_suffix(value: Any) -> str:
    return Path(value).name if isinstance(value, str | Path) else _briefly(value)


def _briefly(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_briefly(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return " + ".join(map(_briefly, value))
    if isinstance(value, str | Path):
        return Path(value).stem or str(value)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else str(value)
    return str(value) if value is None or isinstance(value, int) else "picture"
