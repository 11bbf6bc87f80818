"""What an answer has to do with the right one, in a sentence that helps."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

HERE = Path(__file__).parent
TOLERANCE = 1e-3  # of the largest value: wide enough for float32, far below every mistake


def copies(case: Sequence[Any]) -> list[Any]:
    """The arguments of a case, so that nobody changes the case itself."""
    return [value.clone() if isinstance(value, Tensor) else value for value in case]


def alike(value: Any, wanted: Any) -> bool:
    try:
        value, wanted = (torch.as_tensor(v).detach().double().cpu() for v in (value, wanted))
    except (TypeError, ValueError, RuntimeError):
        return value == wanted
    if value.shape != wanted.shape or not torch.isfinite(value).all():
        return False
    room = TOLERANCE * wanted.abs().max().item() if wanted.numel() else 0.0
    return bool((value - wanted).abs().le(room + 1e-9).all())


def wrong_kind(value: Any, wanted: Any, case: Sequence[Any]) -> str:
    """What to say about another type or shape, or numbers that are none."""
    if isinstance(wanted, Tensor):
        if not isinstance(value, Tensor):
            return f"a tensor of shape {tuple(wanted.shape)} was expected, not {what(value)}."
        if value.shape != wanted.shape:
            return (
                f"for {_shapes(case)} the shape should be {tuple(wanted.shape)}, "
                f"yours is {tuple(value.shape)}."
            )
        if not torch.isfinite(value).all():
            return f"for {_shapes(case)} there are infinite numbers or NaN in it."
    elif isinstance(wanted, tuple) and (not isinstance(value, tuple | list)):
        return f"{len(wanted)} values were expected, not {what(value)}."
    return ""


def _ratio(value: Any, wanted: Any) -> float:
    """The number that all of `wanted` is multiplied with to give `value`, or NaN."""
    try:
        value, wanted = (torch.as_tensor(v).detach().double().flatten() for v in (value, wanted))
    except (TypeError, ValueError, RuntimeError):
        return math.nan
    if value.shape != wanted.shape or not wanted.abs().max() > 0:
        return math.nan
    ratio = float(value @ wanted / (wanted @ wanted))
    return ratio if ratio and alike(value / ratio, wanted) else math.nan


def scaled(
    given: Sequence[Any], expected: Sequence[Any], sizes: Sequence[Mapping[str, float]]
) -> str:
    """Is every answer the right one times something that the case's `sizes` can name?"""
    factors = [_ratio(*pair) for pair in zip(given, expected, strict=True)]
    if any(math.isnan(factor) for factor in factors):
        return ""
    names = list(sizes[0])
    choices = product((0, 1, -1, 2, -2), repeat=len(names))
    for powers in sorted(choices, key=lambda powers: sum(map(abs, powers))):  # the simplest first
        rests = [
            factor / math.prod(size[n] ** p for n, p in zip(names, powers, strict=True))
            for factor, size in zip(factors, sizes, strict=True)
        ]
        if all(abs(rest / rests[0] - 1) < 0.01 for rest in rests):
            words = _as_product(rests[0], dict(zip(names, powers, strict=True)))
            return f"the right answer times {words}: only the factor is wrong."
    return ""


def _as_product(number: float, powers: Mapping[str, int]) -> str:
    above = [name if p == 1 else f"{name}²" for name, p in powers.items() if p > 0]
    below = [name if p == -1 else f"{name}²" for name, p in powers.items() if p < 0]
    if abs(number - 1) > 0.01 or not above:
        above.insert(0, f"{number:.3g}")
    top, bottom = "·".join(above), "·".join(below)
    return f"{top} / ({bottom})" if len(below) > 1 else f"{top} / {bottom}" if below else top


def far_off(given: Sequence[Any], expected: Sequence[Any], cases: Sequence[Any]) -> str:
    for value, wanted, case in zip(given, expected, cases, strict=True):
        if alike(value, wanted):
            continue
        if not isinstance(wanted, Tensor) or not wanted.ndim:
            return f"for {_shapes(case)} it should be {_short(wanted)}, yours is {_short(value)}."
        gap = (value.detach().double() - wanted.double()).abs()
        place = tuple(int(i) for i in torch.unravel_index(gap.argmax(), gap.shape))
        return (
            f"for {_shapes(case)} the number at {list(place)} should be "
            f"{wanted[place].item():.4g}, yours is {value[place].item():.4g}."
        )
    raise AssertionError("nothing differs")


def _shapes(case: Sequence[Any]) -> str:
    """The arguments of a case in a few words."""
    parts = [
        f"shape {tuple(v.shape)}" if isinstance(v, Tensor) and v.ndim else _short(v) for v in case
    ]
    return ", ".join(parts)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value.item():.4g}" if isinstance(value, Tensor) and not value.ndim else str(value)


def what(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{_short(value)!s:.40} ({type(value).__name__})"


def one_line(error: Exception, case: Sequence[Any]) -> str:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).parent != HERE and "site-packages" not in frame.filename
    ]
    line = f' in "{frames[-1].line}"' if frames and frames[-1].line else ""
    said = (str(error).splitlines() or [""])[0]
    return f"it stopped with {type(error).__name__} for {_shapes(case)}{line}: {said}"
