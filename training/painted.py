"""What the student lets pass: its own paintings, beside the pictures whose style they have to it.

A descent looks for what its network does not see. So what the teacher finds missing in the style of
such a painting is a fault of the student's that a random crop would hardly show.
"""

from __future__ import annotations

import torch
from torch import Tensor

import styletutor as st
from styletutor.loss.statistics import gram_matrix
from styletutor.network.vgg import VGG
from training.selection import beside
from training.student import Student

EVALUATIONS = 60  # of a painting
KEPT = 64  # paintings: older ones are by a student that made other faults
COUNTS = 4  # times what any other error counts


def paint(student: Student, teacher: VGG, crops: Tensor) -> Tensor:
    """The first of two crops (2, 3, S, S) in the second's style, and that one: uint8."""
    content, style = crops.contiguous().split(1)
    vgg = beside(teacher, student.parameters_by_name())
    made = st.transfer(content, style, vgg=vgg, evaluations=EVALUATIONS, progress=False).image
    return (255 * torch.cat([made.cpu(), style.cpu()])).round().byte()


def paintings_apart(ours: Tensor, theirs: Tensor) -> Tensor:
    """The style that is left in a batch of paintings followed by their styles.

    The sum over pairs of ‖(G_painting - G_style) - (A_painting - A_style)‖², G of `ours` and A of
    `theirs` (B, C, H, W), as a share of that of ‖A_style‖², times what it counts.
    """
    gram, aim = (gram_matrix(features.float(), "hw") for features in (ours, theirs))
    painting, style = (gram - aim).chunk(2)
    return COUNTS * (painting - style).square().sum() / aim.chunk(2)[1].square().sum()
