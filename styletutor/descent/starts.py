"""The picture that a descent begins with."""

from __future__ import annotations

import numbers
from dataclasses import dataclass

import torch
from torch import Tensor

from styletutor.network.vgg import check_images

STARTS = ("content", "noise")
KINDS = ("normal", "uniform")


@dataclass(frozen=True)
class Noise:
    """Noise of a `kind`, "normal" or "uniform", about a colour (grey, or one RGB value each).

    `spread` is the standard deviation, or half the width of a uniform one, for pixels in [0, 1].
    """

    kind: str = "normal"
    spread: float = 0.1
    about: float | tuple[float, float, float] = 0.5


GREY_NOISE = Noise()


def make_start(
    start: str | Tensor,
    like: Tensor,
    seed: int = 0,
    noise: Noise = GREY_NOISE,
    noise_blend: float = 0.0,
    clamp: bool = True,
) -> Tensor:
    """The picture to begin with: "content" (a copy of `like`), "noise" or any picture.

    Of a picture a share 1 - `noise_blend` is kept, the rest is noise. Noise is drawn on the CPU, so
    that a seed means the same on every device. The result has the shape and device of `like`
    (B, 3, H, W), and is in [0, 1] unless `clamp` is False. Raises ValueError for an unknown start,
    a picture of another size, or a blend outside [0, 1].
    """
    if not (isinstance(noise_blend, numbers.Real) and 0 <= noise_blend <= 1):
        raise ValueError(f"noise_blend={noise_blend}; it must be a number from 0 to 1")
    if isinstance(start, Tensor):
        check_images(start)
        if start.shape[1:] != like.shape[1:]:
            size, wanted = (f"{t.shape[3]}×{t.shape[2]}" for t in (start, like))
            raise ValueError(f"the start is {size} pixels but the result {wanted}; resize it first")
        if len(start) not in (1, len(like)):
            raise ValueError(f"{len(start)} start pictures for {len(like)}; give one, or one each")
        begin = start.to(like).expand_as(like)
    elif not isinstance(start, str):
        kind = type(start).__name__
        raise ValueError(f"the start is a {kind}; give a tensor, a path, or {' or '.join(STARTS)}")
    elif start == "content":
        begin = like
    elif start == "noise":
        if noise_blend:
            raise ValueError(f"noise_blend={noise_blend} with a start that is all noise; give one")
        begin, noise_blend = like, 1.0
    else:
        raise ValueError(
            f"unknown start {start!r}; choose {' or '.join(STARTS)}, or give a picture"
        )
    if noise_blend > 0:
        drawn = _draw(noise, like, seed)
        begin = drawn if noise_blend == 1 else begin + noise_blend * (drawn - begin)
    return begin.clamp(0, 1) if clamp else begin


def _draw(noise: Noise, like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(int(seed))  # NumPy's are none to it
    if noise.kind == "normal":
        values = torch.randn(like.shape, generator=generator)
    else:
        values = 2 * torch.rand(like.shape, generator=generator) - 1
    about = torch.tensor(noise.about).expand(3).view(3, 1, 1)
    return (about + noise.spread * values).to(like)
