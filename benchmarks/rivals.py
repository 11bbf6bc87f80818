"""What styletutor is measured against, written after the formulas of the published systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from styletutor.loss.objective import Objective
from styletutor.network.vgg import VGG

# torch.optim.LBFGS makes a first step of length 1 over the gradient's sum: with a loss of order 1
# the picture would hardly move. The published systems multiply theirs by 1e3 to 1e6 as well. With
# trained weights this is best: from noise 1e3 stands still for fifty evaluations, 1e5 never moves.
FACTOR = 1e4


def plain_loop(objective: Objective, start: Tensor) -> Iterator[Tensor]:
    """What the best published loops amount to: yields each picture once it has been evaluated.

    PyTorch's default layout and float32, frozen weights, no layer beyond the deepest needed one,
    `torch.optim.LBFGS` with 100 pairs, no bounds for the pixels. The loss is `objective`'s.
    """
    image, closure = _problem(objective, start, frozen=True)
    yield from _descend(image, closure)


def tutorial_loop(objective: Objective, start: Tensor) -> Iterator[Tensor]:
    """The loop of many tutorials: gradients for the weights, too, and a clamp in the closure."""
    image, closure = _problem(objective, start, frozen=False)

    def clamped() -> Tensor:
        with torch.no_grad():
            image.clamp_(0, 1)
        return closure()

    yield from _descend(image, clamped)


def _descend(image: Tensor, closure: Callable[[], Tensor]) -> Iterator[Tensor]:
    optimiser = torch.optim.LBFGS(
        [image], max_iter=1, history_size=100, tolerance_grad=0, tolerance_change=0
    )

    def evaluate() -> Tensor:
        optimiser.zero_grad()
        return closure()

    while True:
        evaluated = image.detach().clone()
        optimiser.step(evaluate)
        yield evaluated


def _problem(
    objective: Objective, start: Tensor, frozen: bool
) -> tuple[Tensor, Callable[[], Tensor]]:
    """The variables, and a closure that computes their loss and gradient."""
    vgg, weights = objective.vgg, objective.weight_values()
    features = _network(vgg, objective.layers, frozen)
    contents = {name: target.contiguous() for name, target in objective.content_targets.items()}
    grams = {name: target[0] for name, target in objective.style_targets.items()}
    image = start.contiguous().clone().requires_grad_()

    def closure() -> Tensor:
        found, loss = features(image - vgg.mean), 0
        for name, target in contents.items():
            weight = weights["content"][0] * weights[f"content {name}"][0]
            loss = loss + weight * _share(found[name], target)
        for name, target in grams.items():
            weight = weights["style"][0] * weights[f"style {name}"][0]
            flat = found[name].view(found[name].shape[1], -1)
            loss = loss + weight * _share(flat @ flat.t() / flat.numel(), target)
        loss = FACTOR * loss
        loss.backward()
        return loss

    return image, closure


def _share(value: Tensor, target: Tensor) -> Tensor:
    return (value - target).square().sum() / target.square().sum()


def _network(
    vgg: VGG, layers: tuple[str, ...], frozen: bool
) -> Callable[[Tensor], dict[str, Tensor]]:
    """VGG-19 up to the deepest of the layers, as a chain of torch's own modules."""
    modules: dict[str, nn.Module] = {}
    for row in vgg.layers[: vgg.layers.index(vgg.deepest(layers)) + 1]:
        if row.kind == "conv":
            ours = vgg.convolutions[row.name]
            module = nn.Conv2d(*ours.weight.shape[1::-1], 3, padding=1).to(vgg.device)
            module.weight.data = ours.weight.data.clone(memory_format=torch.contiguous_format)
            module.bias.data = ours.bias.data.clone()
            modules[row.name] = module.requires_grad_(not frozen)
        elif row.kind == "relu":
            modules[row.name] = nn.ReLU()
        else:
            modules[row.name] = nn.MaxPool2d(2) if vgg.pooling == "max" else nn.AvgPool2d(2)

    def features(x: Tensor) -> dict[str, Tensor]:
        found = {}
        for name, module in modules.items():
            x = module(x)
            if name in layers:
                found[name] = x
        return found

    return features
