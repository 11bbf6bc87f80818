"""What an answer has to do with the right one, in a sentence that helps."""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

HERE = Path(__file__).parent
PARTS = ("values", "indices")  # of what topk, sort, max and median give
HALVES = (0, 0.5, -0.5)
HINTS = {  # what a message of Python or torch most likely means here
    "NoneType": "Something that you call gives back None: is that function finished, and does it "
    "return its result?",
    "through the graph a second time": "The loss was computed once and gone back through twice: "
    "compute it anew each time, inside. Or x = … in a loop makes another x, which hangs on the "
    "turn before: change x in place, under torch.no_grad().",
    "step must be greater than zero": "Tensors cannot be read backwards so; .flip(axis) does it.",
    "does not require grad": "What you go back from has no way back to the picture: .detach(), "
    ".data, .item() or torch.no_grad cut it off.",
    "numpy() on Tensor": "NumPy has no gradients: torch has functions of the same names.",
    "view size is not compatible": "Use .reshape or .flatten in place of .view.",
    "must match the size of tensor": "Print both .shape. Often an axis of length 1 is missing: "
    "keepdim=True in a mean or sum, or [:, None, None] or .view(3, 1, 1) where there is one number "
    "for each picture or channel. Or features stand where Gram matrices should be compared.",
    "selected index k out of range": "There are fewer numbers than asked for: which axes are left "
    "after the mean? One number for each channel should be.",
    "not enough values to unpack": "What is taken apart has fewer axes: is it (B, C, C), a Gram "
    "matrix already?",
    "unsupported operand type(s) for ^": "In Python a power is written **.",
    "unsupported operand type(s) for ** or pow": "Is that a function which was never called?",
    "first two dimensions of batch2": "In a @ b the last axis of a and the last but one of b are "
    "multiplied: (B, C, C) @ (B, C, H·W).",
    "local variable": "An assignment to a name inside a function makes a new one, which is empty "
    "until then. Give it another name.",
    "channels, but got": "torch.cat along axis 0 lays pictures behind one another; along axis 1 "
    "it makes one picture of many colours.",
}
LINES = (  # the same, where the line that stopped says more than the message
    (r"size|batch2|shape", r"\.T\b", ".T turns round all axes; .mT exchanges the last two."),
    ("out of bounds", r"\border\b", "`order` counts the positions of what is flat: .flatten(2), "
     "and then index the last axis, [:, :, order]."),
    ("match the size", "@", "A product of matrices wants (B, C, H·W): bring everything in it to "
     "that shape first, .flatten(2)."),
)  # fmt: skip
STEPS = "Steps down and steps across are not equally many: take each mean or sum by itself."
TOLERANCE = 1e-3  # of the largest value: wide enough for float32, far below every mistake


def copies(case: Sequence[Any]) -> list[Any]:
    """The arguments of a case, so that nobody changes the case itself."""
    return [value.clone() if isinstance(value, Tensor) else value for value in case]


def alike(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(alike(value[key], wanted[key]) for key in wanted)
    try:
        value, wanted = (torch.as_tensor(v).detach().cpu().double() for v in (value, wanted))
    except (TypeError, ValueError, RuntimeError):
        return value == wanted
    if value.shape != wanted.shape or not torch.isfinite(torch.stack([value, wanted])).all():
        return False
    room = TOLERANCE * wanted.abs().max().item() if wanted.numel() else 0.0
    return bool((value - wanted).abs().le(room + 1e-9).all())


def random_numbers(first: Any, second: Any) -> bool:
    """Are these two different answers to the same, and not for being no numbers?"""
    both = isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape
    return both and bool(torch.isfinite(first + second).all()) and not alike(first, second)


def wrong_type(value: Any) -> str:
    """What to say of something that is no value at all, whatever was asked for."""
    if callable(value) and not isinstance(value, Tensor):
        name = getattr(value, "__name__", "a function")
        return f"this is the function {name} itself; call it, with parentheses, for its value."
    kind = type(value)
    if kind.__module__ == "torch.return_types":
        parts = " and ".join(f".{name}" for name in dir(value) if name in PARTS)
        return f"{kind.__name__} gives two things at once, {parts}: take the one that is asked for."
    if isinstance(value, numpy.ndarray | numpy.generic):
        return (
            "this is a NumPy array, through which no gradient comes back to a picture. torch has "
            "functions of the same names: stay with tensors."
        )
    return ""


def wrong_kind(value: Any, wanted: Any, case: Sequence[Any]) -> str:
    """What to say about another type or shape, or numbers that are none."""
    if isinstance(wanted, Tensor):
        if not isinstance(value, Tensor):
            if isinstance(value, list | tuple) and any(isinstance(v, Tensor) for v in value):
                return f"a {type(value).__name__} of tensors; torch.stack makes one tensor of them."
            return f"a tensor of shape {tuple(wanted.shape)} was expected, not {what(value)}."
        if value.shape != wanted.shape:
            words = (
                f"for {_shapes(case)} the shape should be {tuple(wanted.shape)}, "
                f"yours is {tuple(value.shape)}."
            )
            return (
                f"{words} The first axis counts pictures, and has to stay."
                * _lost(value, wanted, case)
                or words
            )
        if not torch.isfinite(value).all():
            return f"for {_shapes(case)} there are infinite numbers or NaN in it."
    elif isinstance(wanted, tuple) and (not isinstance(value, tuple | list)):
        return f"{len(wanted)} values were expected, and there is one: {what(value)}."
    return ""


def _lost(value: Tensor, wanted: Tensor, case: Sequence[Any]) -> bool:
    """Is the axis of the pictures gone?"""
    many = len(case[0]) if isinstance(case[0], Tensor) and case[0].ndim == 4 else 0
    return bool(
        many > 1 and len(wanted) == many and (not value.ndim or len(value) != many)
        and value.ndim <= wanted.ndim + 1
    )  # fmt: skip


def _ratio(value: Any, wanted: Any) -> float:
    """The number that all of `wanted` is multiplied with to give `value`, or NaN."""
    try:
        value, wanted = (
            torch.as_tensor(v).detach().cpu().double().flatten() for v in (value, wanted)
        )
    except (TypeError, ValueError, RuntimeError):
        return math.nan
    if value.shape != wanted.shape or not wanted.abs().max() > 0:
        return math.nan
    ratio = float(value @ wanted / (wanted @ wanted))
    return ratio if ratio and alike(value / ratio, wanted) else math.nan


def scaled(
    given: Sequence[Any], expected: Sequence[Any], sizes: Sequence[Mapping[str, float]]
) -> str:
    """The factor, in words, if every answer is the right one times what `sizes` can name."""
    factors = [_ratio(*pair) for pair in zip(given, expected, strict=True)]
    if any(math.isnan(factor) for factor in factors):
        return ""
    names = list(sizes[0])
    whole, roots = (product(powers, repeat=len(names)) for powers in ((0, 1, -1, 2, -2), HALVES))
    simplest = sorted(whole, key=lambda powers: sum(map(abs, powers)))
    for powers in [*simplest, *sorted(roots, key=lambda powers: powers.count(0), reverse=True)]:
        rests = [
            factor / math.prod(size[n] ** p for n, p in zip(names, powers, strict=True))
            for factor, size in zip(factors, sizes, strict=True)
        ]
        if all(abs(rest / rests[0] - 1) < 0.01 for rest in rests):
            words = _as_product(rests[0], dict(zip(names, powers, strict=True)))
            return words
    return ""


def _as_product(number: float, powers: Mapping[str, float]) -> str:
    def written(sign: int) -> list[str]:
        whole = {n: abs(p) for n, p in powers.items() if p * sign > 0}
        parts = [n if p == 1 else f"{n}²" for n, p in whole.items() if p >= 1]
        under = [n for n, p in whole.items() if p < 1]
        root = f"√({'·'.join(under)})" if len(under) > 1 else f"√{''.join(under)}"
        return [*parts, root] if under else parts

    above, below = written(1), written(-1)
    if abs(number - 1) > 0.01 or not above:
        above.insert(0, f"{number:.3g}")
    top, bottom = "·".join(above), "·".join(below)
    return f"{top} / ({bottom})" if len(below) > 1 else f"{top} / {bottom}" if below else top


def far_off(given: Sequence[Any], expected: Sequence[Any], cases: Sequence[Any]) -> str:
    for value, wanted, case in zip(given, expected, cases, strict=True):
        if alike(value, wanted):
            continue
        if isinstance(wanted, dict):
            return next(key for key in wanted if not alike(value[key], wanted[key]))
        if not isinstance(wanted, Tensor) or not wanted.ndim:
            return f"for {_shapes(case)} it should be {_short(wanted)}, yours is {_short(value)}."
        gap = (value.detach().cpu().double() - wanted.cpu().double()).abs()
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
    hints = [words for part, words in HINTS.items() if part in said]
    place = (frames[-1].line or "") if frames else ""
    hints = [w for m, where, w in LINES if re.search(m, said) and re.search(where, place)] or hints
    sides = re.search(r"of tensor a \((\d+)\) must match the size of tensor b \((\d+)\)", said)
    one, other = map(int, sides.groups()) if sides else (0, 0)
    if abs(one - other) == 1 and min(one, other) > 2 and "@" not in place:
        hints = [STEPS, *hints]
    said = said.rstrip(". ") if len(said) < 160 else f"{said[:150]} …"
    said = ". ".join([said, *hints])
    return f"it stopped with {type(error).__name__} for {_shapes(case)}{line}: {said}"
