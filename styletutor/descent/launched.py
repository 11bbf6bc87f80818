"""The functions of `passes`, each in one pass over memory where Triton is: on CUDA.

On each device they are held against the plain ones once, before they serve.
"""

from __future__ import annotations

import sys
from types import ModuleType

import torch
from torch import Tensor

from styletutor import fusing
from styletutor.descent import passes


def serves(x: Tensor) -> bool:
    """Are there such kernels where this tensor is?"""
    return x.dtype == torch.float32 and fusing.serves(x, differences)


def judge(
    f: Tensor, slope: Tensor, known: Tensor, noise: Tensor, trust: Tensor, fresh: Tensor,
    masks: Tensor,
) -> None:  # fmt: skip
    from styletutor.descent import kernels

    flags = fresh.view(torch.uint8), masks.view(torch.uint8)
    given = f, slope, known, noise, trust, *flags, len(f)
    steps = passes.SHORTER, passes.LONGER, passes.SHORTEST, passes.ROUNDING
    fusing.launch(kernels.judge, (-(-len(f) // kernels.MOST),), *given, *steps, kernels.MOST)


def take_in(
    x: Tensor, g: Tensor, masks: Tensor, known_x: Tensor, known_g: Tensor, free: Tensor,
    new: Tensor, box: Tensor | None,
) -> None:  # fmt: skip
    given = x.contiguous(), g.contiguous(), masks.view(torch.uint8), known_x, known_g, free, new
    _launch("take_in", x, box, *given, len(x), x.shape[1], new.shape[2])


def learn(
    inner: Tensor, slot: Tensor, masks: Tensor, gamma: Tensor, curved: Tensor, valid: Tensor,
    pairs: Tensor,
) -> None:  # fmt: skip
    from styletutor.descent import kernels

    m, flags = pairs.shape[2], masks.view(torch.uint8)
    given = inner, slot, flags, gamma, curved.view(torch.uint8), valid, pairs, m, *inner.stride()
    rows = 1 << (2 * m - 1).bit_length()
    fusing.launch(kernels.learn, (len(inner),), *given, passes.CURVATURE, rows)


def move(x: Tensor, way: Tensor, length: Tensor, free: Tensor, box: Tensor | None) -> Tensor:
    out = torch.empty_like(x)
    _launch("move", x, box, x, way, length, free, out, x.shape[1], way.stride(0))
    return out


def _launch(name: str, x: Tensor, box: Tensor | None, *given: Tensor | int) -> None:
    from styletutor.descent import kernels

    grid, ends = (-(-x.shape[1] // kernels.BLOCK), len(x)), x if box is None else box
    fusing.launch(getattr(kernels, name), grid, ends, *given, box is not None, kernels.BLOCK)


def differences(device: torch.device, dtype: torch.dtype, count: int = 1500) -> list[str]:
    """The names of the kernels that do not compute exactly what the plain functions compute, for
    five pictures: one as they should be, one that exploded, one that is not finite, and two fresh
    ones, of which one is not finite."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).mul_(1.6).sub_(0.3).to(device, dtype)

    f, slope, known, noise, trust = some(5, 5, 1).abs_()
    f[1], f[2], f[3] = 9.0, torch.nan, torch.inf
    fresh = torch.tensor([0, 0, 0, 1, 1], device=device).view(5, 1) > 0
    x, known_x = some(2, 5, count).clamp_(0, 1)
    (g, known_g), free, wide = some(2, 5, count), (some(5, count) > 0).to(dtype), count + 100
    g[:, ::7], g[2] = 0.0, torch.nan
    way, new = some(5, wide), some(3, 5, wide)
    inner, slot = some(5, 3, 13).mT, torch.tensor([4], device=device)
    valid, known_pairs = some(5, 6), some(5, 12, 6)

    def after(module: ModuleType, box: Tensor | None) -> dict[str, list[Tensor]]:
        """What each function leaves behind."""
        of_each = [t.clone() for t in (f, slope, known, noise, trust, fresh, fresh.expand(3, 5, 1))]
        module.judge(*of_each)
        numbers = [t.clone() for t in (x, g, of_each[-1], known_x, known_g, free, new)]
        module.take_in(*numbers, box)
        pairs = [t.clone() for t in (inner, slot, of_each[-1], trust, fresh, valid, known_pairs)]
        module.learn(*pairs)
        moved = module.move(numbers[3], way.clone(), 4 * slope, numbers[5], box)
        return {"judge": of_each, "take_in": numbers, "learn": pairs, "move": [moved]}

    different = []
    for box in (None, torch.tensor([0.0, 1.0], device=device, dtype=dtype)):
        found, expected = after(sys.modules[__name__], box), after(passes, box)
        different += [n for n in found if not all(map(fusing.same, found[n], expected[n]))]
    return different
