"""The exercise of lesson 0, to see how checks answer."""

from __future__ import annotations

import torch
from torch import Tensor

from styletutor.lessons.exercise import Exercise


def _mirror(images: Tensor) -> Tensor:
    """Column x of each picture (B, 3, H, W) becomes column W − 1 − x."""
    mirrored = torch.empty_like(images)
    width = images.shape[3]
    for x in range(width):
        mirrored[:, :, :, width - 1 - x] = images[:, :, :, x]
    return mirrored


def _overwritten(images: Tensor) -> Tensor:
    """Column by column into the picture itself."""
    mirrored = images.clone()
    for x in range(images.shape[3]):
        mirrored[..., x] = mirrored[..., images.shape[3] - 1 - x]
    return mirrored


check_mirror = Exercise(
    name="mirror",
    spec=_mirror,
    cases=lambda random: [
        (torch.rand(shape, generator=random),) for shape in [(2, 3, 4, 5), (1, 3, 6, 3)]
    ],
    mistakes={
        "this exchanges top and bottom: axis 2 counts rows.": lambda x: x.flip(2),
        "this exchanges red and blue: axis 1 counts colours.": lambda x: x.flip(1),
        "this exchanges the pictures of the batch: axis 0 counts pictures.": lambda x: x.flip(0),
        "this turns the picture by half a circle: exchange left and right only.": (
            lambda x: x.flip(2, 3)
        ),
        "this exchanges rows and columns, which turns the shape as well.": lambda x: x.mT,
        "nothing has changed: flip gives a new tensor and leaves the old one as it was.": (
            lambda x: x
        ),
        "the two halves have changed places, each as it was: the row has to run backwards.": (
            lambda x: torch.cat([x[..., x.shape[3] // 2 :], x[..., : x.shape[3] // 2]], 3)
        ),
        "one column too far: the last column has the number W − 1.": (
            lambda x: x[..., [x.shape[3] - 2 - i for i in range(x.shape[3])]]
        ),
        "one half is a copy of the other: a column was overwritten before it was read.": (
            _overwritten
        ),
        "this makes a negative: dark is bright, but left is still left.": lambda x: 1 - x,
    },
    praise="left is right, for one picture and for two.",
)
