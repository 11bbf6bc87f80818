"""Exercises of lesson 5: the museum's faults from the network on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from styletutor.lessons.content_reconstruction import SHAPES, sizes
from styletutor.lessons.exercise import Exercise, NoAnswer
from styletutor.lessons.recipes_and_bugs import KERNEL, back, small_pictures
from styletutor.lessons.style_reconstruction import check_gram, gram
from styletutor.lessons.style_transfer import check_closure, closure


def _two_layers(x: Tensor, convolve: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {"conv": convolve(x), "relu": convolve(x).clamp(min=0)}


def _kept(answer: Any, x: Tensor) -> Any:
    """Both layers as they are in the end, and the gradient that comes back through "conv"."""
    kept = answer(x.requires_grad_(), lambda picture: conv2d(picture, KERNEL))
    if kept is None or kept is ...:
        return None
    if not (isinstance(kept, dict) and {"conv", "relu"} <= kept.keys()):
        raise NoAnswer('a dictionary is asked for, {"conv": …, "relu": …}.')
    return {
        'what is kept as "conv" is not what the convolution gives.': kept["conv"].detach(),
        'what is kept as "relu" is not the ReLU of the convolution: negative numbers become 0, and '
        "the others stay.": kept["relu"].detach(),
        'another gradient comes back through "conv".': back(kept["conv"].square(), x),
        'another gradient comes back through "relu": .detach() and .data cut it off.': back(
            kept["relu"].square(), x
        ),
    }


def _keep(what: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[..., dict[str, Tensor]]:
    return lambda x, convolve: dict(zip(("conv", "relu"), what(convolve(x)), strict=True))


check_two_layers = Exercise(
    name="two_layers",
    riddle=True,
    spec=_two_layers,
    seen=_kept,
    cases=small_pictures,
    mistakes={
        'what is kept as "conv" has become the ReLU: .relu_() writes into the tensor itself, and '
        "both names stand for it.": _keep(lambda z: (z.relu(), z.relu())),
        "nothing is cut: .relu() gives a new tensor, which has to be kept.": _keep(
            lambda z: (z, z)
        ),
        "the two are exchanged.": _keep(lambda z: (z.relu(), z)),
        'the values are right, but no gradient comes back through "conv": .clone() alone copies, '
        ".detach() and .data cut it off.": _keep(lambda z: (z.detach(), z.relu())),
        "a ReLU takes negative numbers away.": _keep(lambda z: (z, z.clamp(max=0))),
    },
    praise="negative numbers are still in the convolution, and its gradient comes back.",
)

check_batch_gram = replace(
    check_gram,
    name="batch_gram",
    riddle=True,
    mistakes={
        **check_gram.mistakes,
        "this is the first picture's matrix; every picture needs one.": lambda f: gram(f[:1]),
        "these are all pairs of pictures, (B, B, C, C); keep each picture with itself.": (
            lambda f: torch.einsum("bchw,adhw->bacd", f, f) / f[0].numel()
        ),
    },
)


def _roughness(images: Tensor) -> Tensor:
    """Σ dy² + dx² over the pixels that have a neighbour below and one to the right, (B,)."""
    total = images.new_zeros(len(images))
    for y in range(images.shape[2] - 1):
        for x in range(images.shape[3] - 1):
            here = images[:, :, y, x]
            down, right = images[:, :, y + 1, x] - here, images[:, :, y, x + 1] - here
            total = total + (down**2 + right**2).sum(1)
    return total


def _sum(of: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The sum of a function of dy and dx."""
    return lambda x: of(x.diff(dim=2)[..., :-1], x.diff(dim=3)[:, :, :-1]).flatten(1).sum(1)


check_roughness = Exercise(
    name="roughness",
    riddle=True,
    spec=_roughness,
    cases=lambda random: [(torch.rand(shape, generator=random),) for shape in SHAPES],
    mistakes={
        "squared twice: a and b are squares already, so these are fourth powers. Add them up as "
        "they are.": _sum(lambda dy, dx: (dy**2 + dx**2) ** 2),
        "still fourth powers: a and b are squares already.": _sum(lambda dy, dx: dy**4 + dx**4),
        "the root of a + b is a length; here it is a + b itself.": _sum(
            lambda dy, dx: (dy**2 + dx**2).sqrt()
        ),
        "to the power 1.25, as in Keras' example; here a + b is left as it is.": _sum(
            lambda dy, dx: (dy**2 + dx**2) ** 1.25
        ),
        "a counts twice and b not at all.": _sum(lambda dy, dx: 2 * dy**2),
        "b counts twice and a not at all.": _sum(lambda dy, dx: 2 * dx**2),
        "this is the mean; here it is a sum.": lambda x: (
            _roughness(x) / (x.diff(dim=2)[..., :-1][0].numel())
        ),
        "these are the means of lesson 2; here it is the sum over the pixels that have both "
        "neighbours.": lambda x: sum(x.diff(dim=d).square().flatten(1).mean(1) for d in (2, 3)),
        "these are sums over all neighbours, the last row and column, too; here only pixels that "
        "have both neighbours count.": lambda x: sum(
            x.diff(dim=d).square().flatten(1).sum(1) for d in (2, 3)
        ),
        "the root of the sum is taken; leave it out.": lambda x: _roughness(x).sqrt(),
        "the root of the sum is taken, and of squares of squares.": (
            lambda x: _sum(lambda dy, dx: (dy**2 + dx**2) ** 2)(x).sqrt()
        ),
        "a and b are multiplied; add them up.": _sum(lambda dy, dx: dy**2 * dx**2),
        "added before they are squared, so that steps cancel.": _sum(lambda dy, dx: (dy + dx) ** 2),
        "nothing is squared, so that steps up and down cancel.": _sum(lambda dy, dx: dy + dx),
        "absolute differences, not squares.": _sum(lambda dy, dx: dy.abs() + dx.abs()),
        "this mixes the pictures of the batch; keep the first axis.": lambda x: _roughness(x).sum(),
    },
    praise="squared once, a number for each picture, and the gradient is right.",
    gradient=True,
    sizes=sizes,
)

check_still_closure = replace(
    check_closure,
    name="make_closure",
    riddle=True,
    mistakes={
        **check_closure.mistakes,
        "x stays, but the loss is asked of a cut copy: pixels outside [0, 1] get no gradient.": (
            lambda x, o, loss: closure(x, o, lambda image: loss(image.clamp(0, 1)))
        ),
    },
)
