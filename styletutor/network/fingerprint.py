"""Which published VGG-19 a first convolution belongs to, told by the signs of its weights.

Rounding to half precision or to 8 bits turns only the few signs that are nearest to zero, and two
networks that were trained apart agree in half of them, by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

MOST_TURNED = 1 / 25  # Oxford's rounded to 6 bits: 1 in 82; with red and blue exchanged: 1 in 6
NEAR = 1.5  # units of pixels differ by a factor of 4 at least


@dataclass(frozen=True)
class Print:
    """Of a conv1_1 (64, 3, 3, 3) for RGB pictures in [0, 1].

    `signs` are those of the `kernels`, packed into bits in order, 1 for above zero, and `strength`
    is the mean absolute value of the same. `level` is about the mean activation of the network's
    ReLUs, which the numbers of the recipes written for it presuppose.
    """

    kernels: tuple[int, ...]
    signs: bytes
    strength: float
    level: float


PRINTS = {
    # Computed from the published float32 weights.
    "Oxford": Print(
        kernels=tuple(range(64)),
        signs=bytes.fromhex(
            "d86c36000db7fc61bedb793c1e46c361b000007fe4d2793f2793c8ff803fe0703dffa1d0"
            "e8363b2d8007fc00249b4dc5e0703ffc01ffff80081b0da6c3de00ffffc01c5f0783e9f4"
            "f078001ffff93c164f126da6c00ffffc4e2713beffe0064b2593ff00000361b0dfffffff"
            "ff8000136190d86c361b16cb65b007fffe1f0f87f81f0f000001ff1b6fc65c9e4725b2d9"
            "6cf2391c81b4d86dc9e4f246c361b07c3e1f9b4da4cc964f6401ff1ce9349a4e7803925f"
            "0783e4e2693825be4b6492797a69279db2592cffffe002d96cb600000006c361b4da6c36"
        ),
        strength=39.9,
        # For pixels of 0 to 255: from 22 at relu1_1 to 540 at relu3_4, on four of the built-in
        # photographs; this is their geometric mean.
        level=140.0,
    ),
    # From the three kernels that PyTorch prints of torchvision's vgg19().features[0].weight.
    "torchvision": Print(
        kernels=(0, 62, 63),
        signs=bytes.fromhex("1fefd75cbe7e982f92e800"),
        strength=1.0,
        # At this level of Oxford's network the losses of PyTorch's tutorial come out as it prints
        # them after 300 evaluations: 2.36 of content, .26 of style (.5 and .7 on two pairs).
        level=0.6,
    ),
}


def publisher(weight: Tensor) -> str | None:
    """ "Oxford" or "torchvision", whose conv1_1 (64, 3, 3, 3) this is for RGB in [0, 1], or None.

    True of every copy, however deep it was cut, and in single, half or 8-bit precision; but not for
    pictures in other units or with the channels in another order.
    """
    if tuple(weight.shape) != (64, 3, 3, 3):
        return None
    for name, known in PRINTS.items():
        values = weight[list(known.kernels)].double().numpy()
        signs = np.unpackbits(np.frombuffer(known.signs, np.uint8), count=values.size)
        turned = ((values.flatten() > 0) != signs).mean()
        ratio = abs(values).mean() / known.strength
        if turned < MOST_TURNED and 1 / NEAR < ratio < NEAR:
            return name
    return None
