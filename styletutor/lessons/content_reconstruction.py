"""Exercises of lesson 2: the content loss, its gradient, and a step downhill."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from styletutor.lessons.exercise import Exercise

SHAPES = [(2, 3, 4, 5), (3, 5, 2, 7), (1, 4, 6, 3)]


def pairs(random: torch.Generator) -> list[tuple[Any, ...]]:
    """Two batches of features of each shape; a ReLU has been over them."""
    return [tuple(torch.randn(shape, generator=random).relu() for _ in "FP") for shape in SHAPES]


def sizes(features: Tensor, *_: Any) -> dict[str, float]:
    """What a factor may be made of."""
    batch, channels, height, width = features.shape
    return {"B": batch, "C": channels, "H": height, "W": width}


def _content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Eq. 1: ½ Σ (F − P)², one number for each picture of the batch, (B,)."""
    losses = []
    for f, p in zip(features, target, strict=True):
        total = f.new_zeros(())
        for one, other in zip(f.flatten(), p.flatten(), strict=True):
            total = total + (one - other) ** 2
        losses.append(total / 2)
    return torch.stack(losses)


def _squares(features: Tensor, target: Tensor) -> Tensor:
    return (features - target).square().flatten(1)


check_content_loss = Exercise(
    name="content_loss",
    spec=_content_loss,
    cases=pairs,
    mistakes={
        "twice too large: the ½ of Eq. 1 is missing. It is there to make the gradient F − P.": (
            lambda f, p: _squares(f, p).sum(1)
        ),
        "this mixes the pictures of the batch: sum over channels, rows and columns, and keep the "
        "first axis.": lambda f, p: 0.5 * (f - p).square().sum(),
        "this is half the mean. Eq. 1 is a sum: F.mse_loss divides by the number of values.": (
            lambda f, p: 0.5 * _squares(f, p).mean(1)
        ),
        "this is the mean. Eq. 1 is half of a sum: F.mse_loss divides by the number of values.": (
            lambda f, p: _squares(f, p).mean(1)
        ),
        "this is the mean over everything, and over the pictures of the batch, too.": (
            lambda f, p: (f - p).square().mean()
        ),
        "this is half the mean over everything, and over the pictures of the batch, too. Eq. 1 is "
        "a sum for each picture.": lambda f, p: 0.5 * (f - p).square().mean(),
        "these are absolute differences; Eq. 1 squares them.": (
            lambda f, p: 0.5 * (f - p).abs().flatten(1).sum(1)
        ),
        "this is the length of the difference: leave out the root.": (
            lambda f, p: _squares(f, p).sum(1).sqrt()
        ),
        "the difference is summed before it is squared, so that errors cancel.": (
            lambda f, p: 0.5 * (f - p).flatten(1).sum(1).square()
        ),
        "the squares are subtracted, F² − P², where the difference is to be squared, (F − P)².": (
            lambda f, p: 0.5 * (f.square() - p.square()).flatten(1).sum(1)
        ),
        "this is a share, divided by the sum of P². Eq. 1 is not divided.": (
            lambda f, p: _squares(f, p).sum(1) / p.square().flatten(1).sum(1)
        ),
        "this is the sum over the pictures of the batch; sum over channels, rows and columns, "
        "(1, 2, 3).": lambda f, p: 0.5 * (f - p).square().sum(0),
    },
    praise="right on three random shapes, a number for each picture, and the gradient is right.",
    gradient=True,
    sizes=sizes,
)


def _content_gradient(z: Tensor, target: Tensor) -> Tensor:
    """Eq. 2: what ½ Σ (F − P)² with F = max(Z, 0) changes by, per change of Z."""
    z = z.detach().requires_grad_()
    loss = 0.5 * (z.relu() - target).square().sum()
    (gradient,) = torch.autograd.grad(loss, z)
    return gradient


check_content_gradient = Exercise(
    name="content_gradient",
    spec=_content_gradient,
    cases=lambda random: [
        (torch.randn(shape, generator=random), torch.randn(shape, generator=random).relu())
        for shape in SHAPES
    ],
    mistakes={
        "where Z is below zero the ReLU is flat: there the gradient is 0, whatever P is.": (
            lambda z, p: z.relu() - p
        ),
        "this forgets the ReLU altogether: the features are F = max(Z, 0), and where Z is below "
        "zero nothing comes back.": lambda z, p: z - p,
        "the sign is the other way round. The gradient points uphill, away from P.": (
            lambda z, p: (p - z.relu()) * (z > 0)
        ),
        "twice too large: the ½ of Eq. 1 takes the 2 of the square away.": (
            lambda z, p: 2 * (z.relu() - p) * (z > 0)
        ),
        "the mask is made of P. What counts is whether the picture's own Z is above zero.": (
            lambda z, p: (z.relu() - p) * (p > 0)
        ),
        "the mask is made of F − P. Features that are too weak have a gradient, too: what counts "
        "is whether Z is above zero.": lambda z, p: (z.relu() - p).relu(),
        "the two cases are exchanged, and Z stands for F: F − P where Z is above zero, else 0.": (
            lambda z, p: torch.where(z > 0, 0.0, z - p)
        ),
        "the two cases are exchanged: F − P where Z is above zero, 0 elsewhere.": (
            lambda z, p: torch.where(z > 0, 0.0, z.relu() - p)
        ),
        "multiplied with F itself; the mask is 1 or 0, Z > 0.": (
            lambda z, p: (z.relu() - p) * z.relu()
        ),
        "this is the loss of each number, ½ (F − P)²; its derivative is asked for.": (
            lambda z, p: 0.5 * (z.relu() - p).square()
        ),
        "this is the loss of each number, ½ (F − P)², where Z is above zero; its derivative is "
        "asked for.": lambda z, p: 0.5 * (z.relu() - p).square() * (z > 0),
        "this is the loss of each number, (F − P)²; its derivative is asked for.": (
            lambda z, p: (z.relu() - p).square()
        ),
        "only the places where Z is above zero are there, in a list. Keep the shape of Z, with 0 "
        "at all others.": lambda z, p: (z.relu() - p)[z > 0],
        "this is only the sign of the gradient; its size says how far off a feature is.": (
            lambda z, p: (z.relu() - p).sign() * (z > 0)
        ),
        "this is the loss, one number for each picture; its derivative has the shape of Z.": (
            lambda z, p: _content_loss(z.relu(), p)
        ),
    },
    praise="right on three random shapes, and zero where the ReLU is flat.",
    sizes=sizes,
)


def _descend(image: Tensor, gradient: Tensor, rate: float) -> Tensor:
    """One step against the gradient that ends at a picture: all values in [0, 1]."""
    moved = [
        min(1.0, max(0.0, value - rate * slope))
        for value, slope in zip(image.flatten().tolist(), gradient.flatten().tolist(), strict=True)
    ]
    return torch.tensor(moved).view_as(image)


def stretched(image: Tensor) -> Tensor:
    return (image - image.min()) / (image.max() - image.min())


check_descend = Exercise(
    name="descend",
    spec=_descend,
    cases=lambda random: [
        (torch.rand(1, 3, h, w, generator=random), torch.randn(1, 3, h, w, generator=random), rate)
        for h, w, rate in [(4, 5, 0.5), (3, 7, 1.5), (6, 2, 0.2)]
    ],
    mistakes={
        "this goes uphill: the gradient points to where the loss grows, so subtract it.": (
            lambda x, g, rate: (x + rate * g).clamp(0, 1)
        ),
        "downhill, but the result is no picture: cut it to [0, 1], as the last thing. .clamp(0, 1) "
        "gives a new tensor, which has to be kept.": lambda x, g, rate: x - rate * g,
        "this is the picture that was given: the step is computed and not kept.": (
            lambda x, g, rate: x
        ),
        "divided by the rate; a larger rate is a longer step.": (
            lambda x, g, rate: (x - g / rate).clamp(0, 1)
        ),
        "stretched so that the darkest pixel is 0 and the brightest 1, which moves all: cut.": (
            lambda x, g, rate: stretched(x - rate * g)
        ),
        "the rate is missing: how far to go is rate times gradient.": (
            lambda x, g, rate: (x - g).clamp(0, 1)
        ),
        "the gradient is cut to [0, 1], so that no pixel can become brighter. Cut the picture.": (
            lambda x, g, rate: x - rate * g.clamp(0, 1)
        ),
        "the step is cut to [0, 1] before it is taken; cut what comes out.": (
            lambda x, g, rate: x - (rate * g).clamp(0, 1)
        ),
        "only what is below 0 is cut; a value above 1 is no colour either.": (
            lambda x, g, rate: (x - rate * g).clamp(min=0)
        ),
        "every pixel goes equally far: the gradient's size is lost, only its sign is used.": (
            lambda x, g, rate: (x - rate * g.sign()).clamp(0, 1)
        ),
        "the step alone, without the picture that it starts from.": (
            lambda x, g, rate: (-rate * g).clamp(0, 1)
        ),
        "the gradient is brought to length 1; how long it is belongs to the step.": (
            lambda x, g, rate: (x - rate * g / g.norm()).clamp(0, 1)
        ),
        "a sigmoid brings all values into (0, 1), and moves every one of them: cut.": (
            lambda x, g, rate: (x - rate * g).sigmoid()
        ),
        "what is above 1 begins again at 0: cut, do not wrap round.": (
            lambda x, g, rate: (x - rate * g) % 1
        ),
    },
    praise="right on three random pictures: downhill, and still a picture.",
)


def _total_variation(images: Tensor) -> Tensor:
    """mean dy² + mean dx² over neighbours, for each picture, (B,)."""
    batch, channels, height, width = images.shape
    values = []
    for b in range(batch):
        down = across = images.new_zeros(())
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    if y + 1 < height:
                        down = down + (images[b, c, y + 1, x] - images[b, c, y, x]) ** 2
                    if x + 1 < width:
                        across = across + (images[b, c, y, x + 1] - images[b, c, y, x]) ** 2
        rows, columns = channels * (height - 1) * width, channels * height * (width - 1)
        values.append(down / rows + across / columns)
    return torch.stack(values)


def _of_steps(of: Any) -> Any:
    return lambda images: of(images.diff(dim=2), images.diff(dim=3))


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def _cropped(images: Tensor) -> Tensor:
    return _mean(images.diff(dim=2)[..., :-1].square()) + _mean(
        images.diff(dim=3)[:, :, :-1].square()
    )


def _steps_along(*axes: int) -> Any:
    return lambda x: sum(_mean(x.diff(dim=axis).square()) for axis in axes)


_sums = _of_steps(lambda dy, dx: dy.square().flatten(1).sum(1) + dx.square().flatten(1).sum(1))

check_total_variation = Exercise(
    name="total_variation",
    spec=_total_variation,
    cases=lambda random: [
        (torch.rand(shape, generator=random),)
        for shape in [(2, 3, 4, 5), (1, 3, 6, 4), (3, 3, 5, 7)]
    ],
    mistakes={
        "only neighbours in a row are compared; those in a column count as well.": _of_steps(
            lambda dy, dx: _mean(dx.square())
        ),
        "only neighbours in a column are compared; those in a row count as well.": _of_steps(
            lambda dy, dx: _mean(dy.square())
        ),
        "these are absolute differences; here they are squared.": _of_steps(
            lambda dy, dx: _mean(dy.abs()) + _mean(dx.abs())
        ),
        "the mean is taken before the square, so that steps up and down cancel.": _of_steps(
            lambda dy, dx: _mean(dy).square() + _mean(dx).square()
        ),
        "added before they are squared, so that steps cancel: square each, and then add.": (
            lambda x: _mean((x.diff(dim=2)[..., :-1] + x.diff(dim=3)[:, :, :-1]).square())
        ),
        "the pixel after the next is compared; take the next one.": lambda x: (
            _mean((x[:, :, 2:] - x[:, :, :-2]).square())
            + _mean((x[..., 2:] - x[..., :-2]).square())
        ),
        "the root of dy² + dx² is taken at each pixel: that is total variation proper. Here the "
        "squares themselves are averaged.": lambda x: _mean(
            (x.diff(dim=2)[..., :-1] ** 2 + x.diff(dim=3)[:, :, :-1] ** 2).sqrt()
        ),
        "these are sums, which grow with the picture; take the means.": _sums,
        "this mixes the pictures of the batch; keep the first axis.": _of_steps(
            lambda dy, dx: dy.square().mean() + dx.square().mean()
        ),
        "the picture's left edge is compared with its right one, and top with bottom: that is what "
        "roll does. Use diff or slices.": (
            lambda x: _mean((x - x.roll(1, 2)).square()) + _mean((x - x.roll(1, 3)).square())
        ),
        "both sums are divided by the number of all pixels; there are fewer pairs of neighbours "
        "than pixels.": lambda x: _sums(x) / x[0].numel(),
        "one mean over all differences. There are not equally many in both directions: take each "
        "mean by itself.": _of_steps(
            lambda dy, dx: _mean(torch.cat([dy.square().flatten(1), dx.square().flatten(1)], 1))
        ),
        "neighbours in a column are counted twice, those in a row not at all.": _of_steps(
            lambda dy, dx: 2 * _mean(dy.square())
        ),
        "neighbours in a row are counted twice, those in a column not at all.": _of_steps(
            lambda dy, dx: 2 * _mean(dx.square())
        ),
        "the last row or column is left out where its neighbours are still there: the differences "
        "downwards have all columns, those to the right all rows.": _cropped,
        "channels are compared with each other: axis 1 counts colours, 2 rows and 3 columns.": (
            _steps_along(1, 2)
        ),
        "colours are compared with each other, too: only neighbours in axes 2 and 3 count.": (
            _steps_along(1, 2, 3)
        ),
        "x.diff(2) is the second difference along the last axis: its first argument says how "
        "often. Write diff(dim=2).": lambda x: (
            _mean(x.diff(2).square()) + _mean(x.diff(3).square())
        ),
        "x.diff(2) is the second difference along the last axis: write diff(dim=2), and dim=3 for "
        "the columns.": lambda x: _mean(x.diff(2).square()) + _mean(x.diff(dim=3).square()),
        "these are second differences, of differences; take the first ones.": lambda x: (
            _mean(x.diff(2, 2).square()) + _mean(x.diff(2, 3).square())
        ),
        "half of it: the two means are added, not averaged.": _of_steps(
            lambda dy, dx: 0.5 * (_mean(dy.square()) + _mean(dx.square()))
        ),
    },
    praise="right on three random shapes, a number for each picture, and the gradient is right.",
    gradient=True,
    sizes=sizes,
)
