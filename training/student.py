"""The network in training, how far it is from its teacher, and its way into a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletutor.cookbook.published import STYLE_LAYERS
from styletutor.loss.statistics import gram_matrix
from styletutor.network.layers import CONV_NAMES
from styletutor.network.vgg import VGG
from training.selection import Parameters, beside, features_apart

RELUS = [name.replace("conv", "relu") for name in CONV_NAMES]
ASKED_FOR = (*STYLE_LAYERS, "relu4_2")  # what most recipes read
ASIDE = 0.3  # what the error of any other layer counts


class Student(nn.Module):
    """VGG-19's layers with few channels, and the teacher's channels that they stand for."""

    def __init__(self, parameters: Parameters, chosen: Mapping[str, list[int]]) -> None:
        super().__init__()
        self.chosen = {name.replace("conv", "relu"): places for name, places in chosen.items()}
        self.convolutions = nn.ModuleDict()
        for name, (weight, bias) in parameters.items():
            self.convolutions[name] = conv = nn.Conv2d(*weight.shape[1::-1], 3, padding=1)
            conv.load_state_dict({"weight": weight, "bias": bias})
        self.to(memory_format=torch.channels_last)

    @classmethod
    def like(cls, state: Mapping[str, Tensor], chosen: Mapping[str, list[int]]) -> Student:
        """The student whose `state_dict` this was."""
        ends = (f"convolutions.{name}." for name in CONV_NAMES)
        pairs = ((state[end + "weight"], state[end + "bias"]) for end in ends)
        return cls(dict(zip(CONV_NAMES, pairs, strict=True)), chosen)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Features after each ReLU for pictures from which the mean was subtracted."""
        features = {}
        for name, relu in zip(CONV_NAMES, RELUS, strict=True):
            if name.endswith("_1") and features:
                x = F.max_pool2d(x, 2)
            features[relu] = x = F.relu(self.convolutions[name](x))
        return features

    def parameters_by_name(self) -> Parameters:
        """Weights and biases, on the CPU."""
        return {
            name: (conv.weight.detach().cpu().contiguous(), conv.bias.detach().cpu())
            for name, conv in self.convolutions.items()
        }


def styles_apart(ours: Tensor, theirs: Tensor) -> Tensor:
    """How far the differences of Gram matrices within a batch are apart, as a share of theirs.

    The mean over all pairs i, j of ‖(G_i - G_j) - (A_i - A_j)‖² over that of ‖A_i - A_j‖², G of
    `ours` and A of `theirs` (B, C, H, W): a descent compares two pictures, and what is wrong with
    both alike does no harm.
    """
    gram, aim = (gram_matrix(features.float(), "hw") for features in (ours, theirs))
    wrong = gram - aim
    return (wrong - wrong.mean(0)).square().sum() / (aim - aim.mean(0)).square().sum()


def errors(
    student: Student,
    teacher: VGG,
    crops: Tensor,
    apart: Callable[[Tensor, Tensor], Tensor] = styles_apart,
) -> dict[str, tuple[Tensor, ...]]:
    """What is wrong per layer: `features_apart`, and in the style layers also `apart` of them."""
    with torch.no_grad():
        theirs = teacher(crops, RELUS)
        x = crops - teacher.mean
    ours, found = student(x.contiguous(memory_format=torch.channels_last)), {}
    for name, features in ours.items():
        aim = theirs[name][:, student.chosen[name]]
        found[name] = (features_apart(features, aim),)
        if name in STYLE_LAYERS:
            found[name] += (apart(features, aim),)
    return found


def loss(found: Mapping[str, tuple[Tensor, ...]]) -> Tensor:
    """One number of `errors`."""
    return sum(sum(e) * (1 if name in ASKED_FOR else ASIDE) for name, e in found.items())


def rescaled(parameters: Parameters, factors: Mapping[str, float]) -> Parameters:
    """The same network with each layer's features `factors` (by conv name) times as strong."""
    scaled, before = {}, 1.0
    for name, (weight, bias) in parameters.items():
        scaled[name] = weight * (factors[name] / before), bias * factors[name]
        before = factors[name]
    return scaled


@torch.no_grad()
def unit_factors(teacher: VGG, crops: Tensor) -> dict[str, float]:
    """What makes each layer's mean activation over `crops` 1."""
    means = teacher(crops, RELUS, read=lambda _, features: 1 / features.mean().item())
    return {name: means[relu] for name, relu in zip(CONV_NAMES, RELUS, strict=True)}


@torch.no_grad()
def strength_factors(parameters: Parameters, teacher: VGG, crops: Tensor) -> dict[str, float]:
    """What makes losses of the student mean the same as the teacher's, over `crops`.

    In the layers that styles are read from, the mean square of a Gram matrix divided by N·M becomes
    the teacher's, in all others that of the features: nearly all programs count in means, and so
    their weights need no change. (For sums no such factor exists: a sum over fewer channels has
    another balance.)
    """
    student = beside(teacher, parameters)

    def size(name: str, features: Tensor) -> float:
        if name not in STYLE_LAYERS:
            return features.square().mean().sqrt().item()
        return gram_matrix(features).square().mean().sqrt().sqrt().item()

    ours, theirs = (vgg(crops, RELUS, read=size) for vgg in (student, teacher))
    return {c: theirs[r] / ours[r] for c, r in zip(CONV_NAMES, RELUS, strict=True)}


def coded(parameters: Parameters) -> dict[str, Tensor]:
    """Tensors of a file: weights in 8 bits, one step per output channel (at most ± 127 of them)."""
    tensors = {}
    for name, (weight, bias) in parameters.items():
        step = weight.abs().amax((1, 2, 3)) / 127
        codes = (weight / step.view(-1, 1, 1, 1)).round().to(torch.int8)
        tensors |= {f"{name}.weight": codes, f"{name}.step": step, f"{name}.bias": bias}
    return tensors
