"""The network in training, what teaches it, and its way back to plain convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styletutor.network.layers import CONV_NAMES, layer_table
from styletutor.network.vgg import IMAGENET_MEAN, VGG
from training.crops import sample

SPREAD = 0.25  # deviation of a pixel, roughly: what the network is fed has about unit size
HEADS = ("relu2_2", "relu3_4", "relu4_4", "relu5_4")


class Trunk(nn.Module):
    """VGG-19's convolutions with batch normalisation, ReLU and average pooling."""

    def __init__(self, widths: Iterable[int]) -> None:
        super().__init__()
        self.layers, channels = layer_table(tuple(widths)), 3
        self.convolutions, self.norms = nn.ModuleDict(), nn.ModuleDict()
        for layer in self.layers:
            if layer.kind == "conv":
                conv = nn.Conv2d(channels, layer.channels, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                self.convolutions[layer.name] = conv
                self.norms[layer.name] = nn.BatchNorm2d(layer.channels)
                channels = layer.channels

    def forward(self, x: Tensor, wanted: Iterable[str]) -> dict[str, Tensor]:
        features = {}
        for layer in self.layers:
            if layer.kind == "conv":
                x = self.norms[layer.name](self.convolutions[layer.name](x))
            elif layer.kind == "relu":
                x = F.relu(x)
            elif layer.name != "pool5":
                x = F.avg_pool2d(x, 2)
            if layer.name in wanted:
                features[layer.name] = x
        return features


class Student(nn.Module):
    """The trunk with what it is taught by: a classifier per block and decoders."""

    def __init__(self, widths: Iterable[int], classes: int, rebuild: Mapping[str, float]) -> None:
        super().__init__()
        self.trunk, self.rebuild = Trunk(widths), rebuild
        rows = {layer.name: layer for layer in self.trunk.layers}
        self.heads = nn.ModuleDict({n: nn.Linear(2 * rows[n].channels, classes) for n in HEADS})
        self.decoders = nn.ModuleDict(
            {name: _decoder(rows[name].channels, rows[name].stride) for name in rebuild}
        )

    def forward(
        self, crops: Tensor, which: Tensor, disturbance: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The loss, the share of crops told apart by the last head, and each decoder's error.

        The decoders must rebuild the crop without the `disturbance` that is added to it; those of
        blocks 1 and 2 with it, for what is small has to be seen before it can be ignored.
        """
        x = standardised(crops)
        disturbed = x + disturbance
        features = self.trunk(disturbed, {*HEADS, *self.rebuild})
        told = 0
        for name, head in self.heads.items():
            logits = head(_statistics(features[name])).float()
            told = told + F.cross_entropy(logits, which, label_smoothing=0.05)
        right = (logits.argmax(1) == which).float().mean()
        errors = {
            name: F.mse_loss(decoder(features[name]).float(), disturbed if name[4] in "12" else x)
            for name, decoder in self.decoders.items()
        }
        loss = told + sum(self.rebuild[name] * error for name, error in errors.items())
        return loss, right, errors


def standardised(crops: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] as the network is fed them: about mean 0 and deviation 1."""
    return (crops - crops.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)) / SPREAD


def _decoder(channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 128, 1),
        nn.ReLU(),
        nn.Conv2d(128, 3 * stride**2, 3, padding=1),
        nn.PixelShuffle(stride),
    )


def _statistics(features: Tensor) -> Tensor:
    flat = features.float().flatten(2)
    return torch.cat([flat.mean(2), (flat.var(2) + 1e-5).sqrt()], 1)


def worst_case(
    student: Student, crops: Tensor, which: Tensor, strength: float, seed: int
) -> Tensor | float:
    """The small change of each crop that hurts most, to first order; deviation up to `strength`.

    A network trained against it (Goodfellow et al. 2015) reacts to visible changes only, so that
    a descent on its features has to draw strokes where it would else find invisible grain. In
    units of SPREAD, with a strength drawn anew for each crop.
    """
    if not strength:
        return 0.0
    generator = torch.Generator().manual_seed(seed + 1)
    disturbance = torch.randn(crops.shape, generator=generator).to(crops) * strength / 4
    disturbance.requires_grad_()
    (gradient,) = torch.autograd.grad(student(crops, which, disturbance)[0], disturbance)
    size = gradient.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-12
    drawn = torch.rand((len(crops), 1, 1, 1), generator=generator).to(crops) * strength
    return (disturbance.detach() + gradient / size * drawn).contiguous(
        memory_format=torch.channels_last
    )


@torch.no_grad()
def settle(trunk: Trunk, pictures: Tensor, side: int) -> None:
    """Take the norms' mean and variance anew from undisturbed crops."""
    for norm in trunk.norms.values():
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    for seed in range(40):
        crops, _ = sample(pictures, 64, side, seed)
        trunk(standardised(crops), ())


def fold(trunk: Trunk) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights and biases, for pictures in [0, 1], that do what convolution and norm do together."""
    parameters = {}
    for name, conv in trunk.convolutions.items():
        norm = trunk.norms[name]
        gain = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = conv.weight * gain.view(-1, 1, 1, 1) / (SPREAD if name == "conv1_1" else 1)
        bias = norm.bias - norm.running_mean * gain
        parameters[name] = weight.detach().cpu(), bias.detach().cpu()
    return parameters


@torch.no_grad()
def balance(
    parameters: dict[str, tuple[Tensor, Tensor]], crops: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """The same network with each layer's features scaled, as a whole, to mean 1 over `crops`.

    One factor per layer changes no loss that is a share of its target. (A factor for each channel
    does, for the worse: it turns weak channels into coloured noise.)
    """
    about = {"name": "pocket", "trained_on": "", "sha256": "", "pooling": "avg"}
    relus = [name.replace("conv", "relu") for name in CONV_NAMES]
    means = [f.mean() for f in VGG(parameters, **about)(crops.cpu(), relus).values()]
    scaled, before = {}, torch.ones(())
    for (name, (weight, bias)), mean in zip(parameters.items(), means, strict=True):
        scaled[name] = weight * before / mean, bias / mean
        before = mean
    return scaled
