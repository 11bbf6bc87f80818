"""Mistakes of every exercise: what people do to the right answer, or to what they were given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from types import CodeType
from typing import Any

import torch
from torch import Tensor

from styletutor.lessons.comparing import alike, copies

Change = Callable[[Tensor], Tensor]
WITHOUT_DEED = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "COPY_FREE_VARS"}

OF_THE_RESULT: dict[str, Change] = {
    "the right numbers with the other sign.": lambda y: -y,
    "everything is 0. Is something compared with itself, or is 1 // 2 in it, which is 0?": (
        torch.zeros_like
    ),
    "the right numbers, rounded down: // divides without a rest. Use /.": torch.floor,
    "the right numbers, rounded to whole ones.": torch.trunc,
    "the right numbers, but those below 0 are cut: a ReLU or a clamp too many.": (
        lambda y: y.clamp(min=0)
    ),
    "the right numbers without their signs: an .abs() too many.": torch.abs,
    "the squares of the right numbers: one square too many.": torch.square,
    "the roots of the right numbers: one root too many.": lambda y: y.clamp(min=0).sqrt(),
    "one divided by the right numbers: the fraction is upside down.": lambda y: 1 / y,
}
OF_A_MATRIX: dict[str, Change] = {
    "only the diagonal is there: each pair of channels has a number.": (
        lambda y: y.diagonal(dim1=-2, dim2=-1).diag_embed()
    ),
    "only the diagonal is there, as a row: each pair of channels has a number.": (
        lambda y: y.diagonal(dim1=-2, dim2=-1)
    ),
    "only the upper triangle is there; the matrix is symmetric, and both halves count.": torch.triu,
    "only the lower triangle is there; the matrix is symmetric, and both halves count.": torch.tril,
}
OF_THE_BATCH: dict[str, Change] = {
    "one answer for the whole batch: the pictures' numbers are added up. Keep the first axis.": (
        lambda y: y.sum(0)
    ),
    "one answer for the whole batch, the mean over its pictures. Keep the first axis.": (
        lambda y: y.mean(0)
    ),
    "everything is added up to one number; each picture needs an answer of its own.": torch.sum,
    "everything is averaged to one number; each picture needs an answer of its own.": torch.mean,
    "each picture's answer has those of the pictures before it in it: begin anew for each.": (
        lambda y: y.cumsum(0)
    ),
    "only the first picture is answered for; there may be several.": lambda y: y[0],
    "only the first picture is answered for, and the others are left out.": lambda y: y[:1],
    "only the last picture is answered for: is the `return` inside the loop's last turn?": (
        lambda y: y[-1]
    ),
    "the pictures of the batch have come into another order.": lambda y: y.flip(0),
}


def _dealt_out(x: Tensor) -> Tensor:
    """As after x.view(B, H·W, C), where channels are expected last."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def _channels_first(x: Tensor) -> Tensor:
    """As after x.view(C, B, H·W)."""
    return x.reshape(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)


OF_WHAT_IS_GIVEN: dict[str, Change] = {
    "a ReLU is over what is given; its negative numbers count as well.": torch.relu,
    "the signs of what is given are lost: an .abs() too many.": torch.abs,
    "what is given is squared first.": torch.square,
    "what is given is cut to [0, 1] first.": lambda x: x.clamp(0, 1),
    "what is given is rounded to whole numbers.": torch.trunc,
}
OF_FEATURES: dict[str, Change] = {
    ".view or .reshape to (B, H·W, C) exchanges no axes: it deals the same numbers out in another "
    "order, so that channels are mixed. Flatten first, .flatten(2), and then exchange, .mT.": (
        _dealt_out
    ),
    ".view or .reshape with the channels before the batch mixes pictures and channels: it "
    "exchanges no axes.": _channels_first,
    ".view or .reshape after .permute brings no axis back: the numbers stay in the new order, and "
    "channels are mixed. Permute once more, or begin with .flatten(2).": (
        lambda x: x.permute(0, 2, 3, 1).reshape(x.shape)
    ),
    "each channel is brought to length 1 first; how strong it is belongs to the answer.": (
        lambda x: x / x.flatten(2).norm(dim=2)[..., None, None].clamp(min=1e-12)
    ),
    "the batch is averaged before anything is computed; each picture counts by itself.": (
        lambda x: x.mean(0, keepdim=True).expand_as(x)
    ),
    "every picture gets the answer of the first one: is an index [0] in it?": (
        lambda x: x[:1].expand_as(x).contiguous()
    ),
}


def does_something(answer: object) -> bool:
    """Is there more in a function than dots? (False where nobody can look.)"""
    code = getattr(answer, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    import dis

    return any(step.opname not in WITHOUT_DEED for step in dis.get_instructions(code))


def habit(
    given: Sequence[Any],
    expected: Sequence[Any],
    cases: Sequence[tuple[Any, ...]],
    spec: Callable[..., Any] | None,
) -> str:
    """The sentence about `given` if a change of `expected`, or of what `spec` gets, explains it."""
    if not all(isinstance(wanted, Tensor) for wanted in expected):
        return ""
    pairs = list(zip(expected, cases, strict=True))
    after = dict(OF_THE_RESULT)
    if not any(wanted.is_floating_point() for wanted in expected):
        after["each number is one too large: counting begins with 0."] = lambda y: y + 1
    if all(_is_batch(case[0]) and len(case[0]) == _length(wanted) for wanted, case in pairs):
        after |= OF_THE_BATCH
    if all(wanted.ndim >= 2 and wanted.shape[-1] == wanted.shape[-2] for wanted in expected):
        after |= OF_A_MATRIX
    for words, change in after.items():
        if _explains([change(wanted) for wanted in expected], given, expected):
            return words
    if all(
        isinstance(value, Tensor)
        and value.numel() == wanted.numel()
        and alike(value.reshape(wanted.shape), wanted)
        for value, wanted in zip(given, expected, strict=True)
    ):
        return (
            f"the right numbers, but in another shape: {tuple(given[0].shape)} where "
            f"{tuple(expected[0].shape)} was expected."
        )
    if words := _not_reduced(given, expected):
        return words
    if spec is None:
        return ""
    before = dict(OF_WHAT_IS_GIVEN)
    if all(_is_batch(case[0]) and case[0].ndim == 4 for case in cases):
        before |= OF_FEATURES
    for words, change in before.items():
        if _explains([spec(*_changed(case, change)) for case in cases], given, expected):
            return words
    if all(_can_be_exchanged(case) for case in cases):
        turned = [spec(case[1], case[0], *copies(case[2:])) for case in cases]
        if _explains(turned, given, expected):
            return "the first two arguments have changed places."
    return ""


def _not_reduced(given: Sequence[Any], expected: Sequence[Tensor]) -> str:
    """Is the answer there once some of its axes are added up or averaged?"""
    pairs = list(zip(given, expected, strict=True))
    if not all(isinstance(v, Tensor) and w.ndim < v.ndim <= 4 for v, w in pairs):
        return ""
    most = min(value.ndim for value in given)
    for count in range(1, most + 1):
        for axes in combinations(range(most), count):
            for name, reduce in (("sum", torch.sum), ("mean", torch.mean)):
                made = [reduce(value, dim=axes) for value in given]
                if all(alike(m, wanted) for m, wanted in zip(made, expected, strict=True)):
                    which = "axis" if count == 1 else "axes"
                    numbers = ", ".join(map(str, axes))
                    return f"nearly: what is left is the {name} over {which} {numbers}."
    return ""


def _explains(made: Sequence[Tensor], given: Sequence[Any], expected: Sequence[Tensor]) -> bool:
    same = all(alike(value, other) for value, other in zip(given, made, strict=True))
    return same and not all(alike(m, wanted) for m, wanted in zip(made, expected, strict=True))


def _is_batch(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0


def _length(value: Tensor) -> int:
    return len(value) if value.ndim else 0


def _changed(case: Sequence[Any], change: Change) -> list[Any]:
    """The case with `change` done to every tensor of floats that has as many axes as the first."""
    axes = case[0].ndim if isinstance(case[0], Tensor) else -1
    return [
        change(v.clone()).contiguous()
        if isinstance(v, Tensor) and v.ndim == axes and v.is_floating_point()
        else v
        for v in case
    ]  # fmt: skip


def _can_be_exchanged(case: Sequence[Any]) -> bool:
    return (
        len(case) > 1
        and all(isinstance(v, Tensor) for v in case[:2])
        and case[0].shape == case[1].shape
    )
