"""Exercises of lesson 5: weights in other units, and the museum's faults before the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from styletutor.lessons.exercise import Exercise

RGB_MEAN = torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1)
BGR_MEAN = RGB_MEAN.flip(0)
KERNEL = torch.linspace(-1, 1, 4 * 3 * 9).mul(40).sin().view(4, 3, 3, 3)


def _to_paper(weight: float, channels: int) -> float:
    """What E is multiplied by where others multiply the mean square of G/NM; here M = 10."""
    difference = torch.linspace(-2, 3, channels**2, dtype=torch.float64)  # of two sums G
    mean_square = (difference / (channels * 10)).square().mean()
    return float(weight * mean_square / (difference.square().sum() / (4 * channels**2 * 10**2)))


check_translate = Exercise(
    name="to_paper",
    spec=_to_paper,
    cases=lambda random: [
        (float(torch.rand((), generator=random)) * weight + 1, channels)
        for weight, channels in [(100, 3), (1e6, 16), (1e4, 64)]
    ],
    mistakes={
        "upside down: this turns a weight of E into one of the mean.": lambda w, n: w * n**2 / 4,
        "a quarter of it: E has a ¼ that the mean square does not have.": lambda w, n: w / n**2,
        "the 4 is on the wrong side: MSE = 4E / N².": lambda w, n: w / (4 * n**2),
        "divided by N once: the mean is over all N² entries of G.": lambda w, n: 4 * w / n,
        "the channels have no say: a mean is over N² entries, E is a sum. (/ N * N divides and "
        "multiplies again; write / N**2.)": lambda w, n: 4 * w,
        "the same number: as if both systems counted alike.": lambda w, n: w,
        "divided by the N (N + 1) / 2 different entries; the mean is over all N².": (
            lambda w, n: 4 * w / (n * (n + 1) / 2)
        ),
        "right, but rounded down: // divides without a rest.": lambda w, n: 4 * w // n**2,
        "times N², not divided by it: a mean is smaller than its sum.": lambda w, n: 4 * w * n**2,
        "the weight is squared, too: only N stands in the square.": lambda w, n: 4 * (w / n) ** 2,
    },
    praise="right for 3, 16 and 64 channels: w · MSE(G/NM) = (4w / N²) · E.",
    sizes=lambda weight, channels: {"N": channels},
)


def small_pictures(random: torch.Generator, count: int = 1) -> list[tuple[Any, ...]]:
    return [
        tuple(torch.randn(1, 3, h, w, generator=random) for _ in range(count))
        for h, w in [(4, 5), (6, 4), (5, 7)]
    ]


def _batch_loss(x: Tensor, photo: Tensor, art: Tensor, network: Callable[..., Tensor]) -> Tensor:
    """Σ (F − P)² of the painted picture's features and the photo's."""
    return (network(x) - network(photo)).square().sum()


def _loss_and_gradient(answer: Any, x: Tensor, photo: Tensor, art: Tensor) -> Any:
    loss = answer(x.requires_grad_(), photo, art, lambda pictures: conv2d(pictures, KERNEL).relu())
    if loss is None or loss is ...:
        return None
    loss = torch.as_tensor(loss)
    return {
        "the loss is not that of x and the photo at the same layer.": loss.detach(),
        "the loss is right, and the gradient at x is not that of this loss.": back(loss, x),
    }


def back(y: Tensor, x: Tensor) -> Tensor:
    """The gradient that comes back to x; zeros if there is none."""
    found = (
        torch.autograd.grad(y.sum(), x, retain_graph=True, allow_unused=True)[0]
        if y.requires_grad
        else None
    )
    return torch.zeros(x.numel()) if found is None else found.flatten()


check_batch_loss = Exercise(
    name="batch_loss",
    riddle=True,
    spec=_batch_loss,
    seen=_loss_and_gradient,
    cases=lambda random: small_pictures(random, 3),
    mistakes={
        "x has no say: the photo is compared with the artwork, and the gradient of x is None. Put "
        "x into the batch, and read the place where it lies.": (
            lambda x, p, a, net: _batch_loss(a, p, a, net)
        ),
        "the loss is right, but nothing comes back to x: .detach(), .data or no_grad cut it off.": (
            lambda x, p, a, net: _batch_loss(x.detach(), p, a, net)
        ),
        "x is compared with the artwork.": lambda x, p, a, net: _batch_loss(x, a, a, net),
        "a picture is compared with itself: always zero.": lambda x, p, a, net: 0 * x.sum(),
        "x is compared with both, photo and artwork: content belongs to the photo alone.": (
            lambda x, p, a, net: _batch_loss(x, p, a, net) + _batch_loss(x, a, a, net)
        ),
        "this is the mean; here it is a sum.": (
            lambda x, p, a, net: (net(x) - net(p)).square().mean()
        ),
        "pixels are compared, not features.": lambda x, p, a, net: (x - p).square().sum(),
    },
    praise="the loss is right on three random shapes, and its gradient reaches x.",
)


def _to_picture(y: Tensor) -> Tensor:
    """Blue, green, red about the mean → red, green, blue in [0, 1]."""
    blue, green, red = (y[:, c] + BGR_MEAN[c] for c in range(3))
    return torch.stack([red, green, blue], 1).div(255).clamp(0, 1)


def _shown(y: Tensor, mean: Tensor = BGR_MEAN) -> Tensor:
    return ((y + mean) / 255).clamp(0, 1)


check_to_picture = Exercise(
    name="to_picture",
    riddle=True,
    spec=_to_picture,
    cases=lambda random: [(150 * z,) for (z,) in small_pictures(random)],
    mistakes={
        "two faults. Blue stands where red belongs; and the cut at ±128 comes while the mean is "
        "still off, so that white can never be reached.": lambda y: _shown(y.clamp(-128, 128)),
        "red is red again. But the cut at ±128 comes while the mean is still off: white lies 151 "
        "above the mean in blue and 131 in red. Cut to [0, 1] at the end.": (
            lambda y: _shown(y.clamp(-128, 128)).flip(1)
        ),
        "all colours can be reached. But blue still stands where red belongs: turn axis 1 round.": (
            _shown
        ),
        "the mean is turned round, and the picture is not.": lambda y: _shown(y, RGB_MEAN),
        "turned round first, so that channels get each other's mean.": lambda y: _shown(y.flip(1)),
        "rows are turned round, not colours: channels are axis 1.": lambda y: _shown(y).flip(2),
        "columns are turned round, not colours: channels are axis 1.": lambda y: _shown(y).flip(3),
        "some values are below 0 or above 1: cut them.": lambda y: (y + BGR_MEAN).flip(1) / 255,
        "not divided by 255: nearly all is cut at white.": (
            lambda y: (y + BGR_MEAN).flip(1).clamp(0, 1)
        ),
        "not divided by 255, and blue stands where red belongs.": (
            lambda y: (y + BGR_MEAN).clamp(0, 1)
        ),
        "the mean is back, but the cut at ±128 is still there: half of all levels are lost. Cut to "
        "[0, 1], at the end.": lambda y: (
            (y + BGR_MEAN).clamp(-128, 128).flip(1).div(255).clamp(0, 1)
        ),
        "two scales: y is divided by 255 and the mean is not.": (
            lambda y: (y / 255 + BGR_MEAN).flip(1).clamp(0, 1)
        ),
        "red is red, but there is still a cut while the mean is off. White lies 151 above the mean "
        "in blue, black 124 below it in red: cut to [0, 1] at the end only.": (
            lambda y: _shown(y.clamp(-150, 150)).flip(1)
        ),
        "cut to [0, 1] before it is divided by 255: nearly black.": (
            lambda y: (y + BGR_MEAN).flip(1).clamp(0, 1) / 255
        ),
        "red is red, but the cut comes while the mean is still off, and ±132 is too narrow for "
        "blue and green. Cut to [0, 1] at the end.": lambda y: _shown(y.clamp(-132, 132)).flip(1),
        "cut at 0 and 255 while the mean is still off: nothing can be darker than the mean.": (
            lambda y: _shown(y.clamp(0, 255)).flip(1)
        ),
        "cut at 0 and 255 while the mean is still off, and blue stands where red belongs.": (
            lambda y: _shown(y.clamp(0, 255))
        ),
        "the mean is taken off once more; bring it back, +.": lambda y: _shown(y, -BGR_MEAN).flip(
            1
        ),
        "the channels are moved round, not exchanged: only the first and the last change places.": (
            lambda y: _shown(y)[:, [2, 0, 1]]
        ),
        "the channels are moved round the other way; the first and the last change places.": (
            lambda y: _shown(y)[:, [1, 2, 0]]
        ),
        "rows, columns, colours, as PIL wants it; here colours stay axis 1.": (
            lambda y: _shown(y).flip(1).permute(0, 2, 3, 1)
        ),
    },
    praise="right on three random pictures: red is red, and white can be reached.",
)


def _noise_start(z: Tensor) -> Tensor:
    """Noise about the mean colour whose deviation is 0.256 of the range from black to white."""
    return torch.stack([z[:, c] * 0.256 + RGB_MEAN[c] / 255 for c in range(3)], 1).clamp(0, 1)


check_noise_start = Exercise(
    name="noise_start",
    riddle=True,
    spec=_noise_start,
    cases=small_pictures,
    mistakes={
        "nearly flat: 0.256 of 255 levels is a thousandth of the range. Multiply it by 255, too.": (
            lambda z: _shown(0.256 * z, RGB_MEAN)
        ),
        "black and white: the deviation is all 255 levels.": lambda z: _shown(255 * z, RGB_MEAN),
        "the mean colour is missing: half is cut at black.": lambda z: (0.256 * z).clamp(0, 1),
        "some values are below 0 or above 1: cut them.": lambda z: RGB_MEAN / 255 + 0.256 * z,
        "weaker still: divided by 255 in place of multiplied.": (
            lambda z: _shown(0.256 / 255 * z, RGB_MEAN)
        ),
        "two scales: the mean goes from 0 to 1, the noise from 0 to 255.": (
            lambda z: (RGB_MEAN / 255 + 0.256 * 255 * z).clamp(0, 1)
        ),
        "the mean is multiplied, too: the bracket closes too late.": (
            lambda z: ((RGB_MEAN + 0.256 * z) * 255 / 255).clamp(0, 1)
        ),
        "256 levels, a thousand times the 0.256 of one level: 0.256 · 255 = 65 levels.": (
            lambda z: _shown(256 * z, RGB_MEAN)
        ),
        "grey in place of the mean colour.": lambda z: (0.5 + 0.256 * z).clamp(0, 1),
        "0.256 is the deviation, not its square: no root.": (
            lambda z: _shown(0.256**0.5 * 255 * z, RGB_MEAN)
        ),
        "a share of the mean colour; it is 0.256 of the range, 255 levels for each channel.": (
            lambda z: _shown(0.256 * RGB_MEAN * z, RGB_MEAN)
        ),
        "half of it: the range from black to white is 255 levels, not 128.": (
            lambda z: _shown(0.256 * 128 * z, RGB_MEAN)
        ),
        "half of it: the range from black to white is 255 levels, not 127.5.": (
            lambda z: _shown(0.256 * 127.5 * z, RGB_MEAN)
        ),
        "not divided by 255: nearly all is cut at white.": (
            lambda z: (0.256 * 255 * z + RGB_MEAN).clamp(0, 1)
        ),
        "cut before it is divided by 255: nearly black.": (
            lambda z: (0.256 * 255 * z + RGB_MEAN).clamp(0, 1) / 255
        ),
        "divided by 255 twice: with everything in [0, 1] there is nothing left to divide.": (
            lambda z: ((RGB_MEAN / 255 + 0.256 * z) / 255).clamp(0, 1)
        ),
        "the deviation is another one; 0.256 of the range is asked for.": (
            lambda z: _shown(0.1 * 255 * z, RGB_MEAN)
        ),
        "grey noise: each channel needs its own.": lambda z: _noise_start(z[:, :1].expand_as(z)),
    },
    praise="right on three random draws: a quarter of the range, to both sides of the mean.",
)
