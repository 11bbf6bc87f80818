"""The student's first weights: channels of the teacher, chosen and fitted by least squares.

Layer by layer, from the first to the last: of the teacher's channels those are kept from which the
others can best be told, and a convolution of the student's narrower features is fitted to them. A
few minutes of this leave less error than hours of descent from random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from styletutor.network.layers import CONV_NAMES
from styletutor.network.vgg import VGG

Parameters = dict[str, tuple[Tensor, Tensor]]
CROPS = (40, 56, 112, 320, 480)  # per block: deeper maps are smaller, and their weights more
CHUNK = 8  # crops at a time
RIDGE = 1e-4


def beside(teacher: VGG, parameters: Parameters) -> VGG:
    """The network of these parameters, for the same pictures and where the teacher is."""
    about = {name: getattr(teacher, name) for name in ("name", "trained_on", "sha256")}
    mean = teacher.mean.flatten().tolist()
    return VGG(parameters, **about, mean=mean).to(teacher.device)


def features_apart(ours: Tensor, theirs: Tensor) -> Tensor:
    """‖F - T‖² / ‖T‖² of two (B, C, H, W)."""
    theirs = theirs.float()
    return (ours.float() - theirs).square().sum() / theirs.square().sum()


def telling(moments: Tensor, count: int) -> list[int]:
    """The `count` channels from which all can best be computed, greedily.

    `moments` (C, C) is the mean of f fᵀ over positions. Each turn takes the channel that leaves
    least of Σ ‖f - its prediction‖², and what it predicts is taken off.
    """
    if count == len(moments):
        return list(range(count))
    left, chosen = moments.double().clone(), []
    for _ in range(count):
        size = left.diagonal().clamp(min=1e-12)
        explained = left.square().sum(0) / size
        explained[chosen] = -1
        best = int(explained.argmax())
        chosen.append(best)
        left -= torch.outer(left[:, best], left[best]) / size[best]
    return chosen


def fit(inputs: Tensor, wanted: Tensor, rounds: int = 4) -> tuple[Tensor, Tensor]:
    """Weight (K, C, 3, 3) and bias (K,) of the convolution whose ReLU comes nearest to `wanted`'s.

    `inputs` (N, C, H, W) are the student's features, `wanted` (N, K, H, W) the teacher's before the
    ReLU. Where the teacher is below zero, anything below zero will do: after each round of least
    squares the aim there becomes what came out, or zero.
    """
    pairs = list(zip(inputs.split(CHUNK), wanted.split(CHUNK), strict=True))
    products = sum((p @ p.T).double() for p in (_patches(x) for x, _ in pairs))
    ridge = RIDGE * products.diagonal().mean() * torch.eye(len(products)).to(products)
    factor = torch.linalg.cholesky(products + ridge)

    def solve(aims: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        sums = sum(
            (_patches(x) @ aim.transpose(0, 1).flatten(1).T).double()
            for (x, _), aim in zip(pairs, aims, strict=True)
        )
        solved = torch.cholesky_solve(sums, factor).T.float()
        weight = solved[:, :-1].reshape(-1, inputs.shape[1], 3, 3)
        return weight.contiguous(), solved[:, -1].contiguous()

    weight, bias = solve(y for _, y in pairs)
    for _ in range(rounds - 1):
        below = (F.conv2d(x, weight, bias, padding=1).clamp(max=0) for x, _ in pairs)
        weight, bias = solve(
            torch.where(y > 0, y, b) for (_, y), b in zip(pairs, below, strict=True)
        )
    return weight, bias


def _patches(inputs: Tensor) -> Tensor:
    """What a 3 × 3 convolution sees at each position, and a 1 for the bias: (9 C + 1, N H W)."""
    patches = F.unfold(inputs, 3, padding=1).transpose(0, 1).flatten(1)
    return torch.cat([patches, patches.new_ones(1, patches.shape[1])])


@torch.no_grad()
def select(
    teacher: VGG, widths: Mapping[str, int], crops: Callable[[int], Tensor]
) -> tuple[Parameters, dict[str, list[int]]]:
    """Weights for a student with `widths` channels, and which of the teacher's channels they are.

    `crops(n)` gives n crops (n, 3, S, S) in [0, 1].
    """
    parameters: Parameters = {}
    chosen: dict[str, list[int]] = {}
    bar = tqdm(CONV_NAMES, desc="fitting channels", unit="layer")
    for name in bar:
        block, first = int(name[4]) - 1, name.endswith("_1")
        if first:
            seen, student = _so_far(teacher, parameters, crops(CROPS[block]))
        conv = teacher.convolutions[name]
        before = torch.cat([conv(x) for x in seen.split(CHUNK)])
        seen = before.relu()
        features = seen.transpose(0, 1).flatten(1)
        chosen[name] = telling(features @ features.T / features.shape[1], widths[name])
        parameters[name] = weight, bias = fit(student, before[:, chosen[name]])
        del before, features
        student = torch.cat(
            [F.conv2d(x, weight, bias, padding=1).relu() for x in student.split(CHUNK)]
        )
        aim = seen[:, chosen[name]]
        bar.set_postfix({name: f"{features_apart(student, aim):.3f}"})
    return parameters, chosen


def _so_far(teacher: VGG, parameters: Parameters, crops: Tensor) -> tuple[Tensor, Tensor]:
    # What the teacher's and the student's next block is given for these crops.
    seen = student = (crops - teacher.mean).contiguous(memory_format=torch.channels_last)
    if not parameters:
        return seen, student
    last = f"pool{len({name[4] for name in parameters})}"
    both = [
        [vgg(x, last)[last] for x in crops.split(CHUNK)]
        for vgg in (teacher, beside(teacher, parameters))
    ]
    return torch.cat(both[0]), torch.cat(both[1])
