"""What a descent can be asked besides its losses: who pulls how hard, and what is done already."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor

from styletutor.loss.knobs import Knobs
from styletutor.loss.objective import Objective
from styletutor.loss.parts import Part
from styletutor.machine import full_float32
from styletutor.network.vgg import VGG


def pulls(objective: Objective, images: Tensor, network: VGG | None = None) -> dict[str, Tensor]:
    """How strongly each part of the loss pulls at the pixels: the length of its gradient, (B,).

    Parts are those of `Objective.parts`, under the weights in use ("content relu4_2", …, "tv"), and
    the terms as wholes: "content", "style", "tv". The gradient of a term is the sum of those of its
    layers, which may pull against each other, so that its length is at most the sum of theirs.
    Costs a forward pass and a backward pass for each part. `network` may be a copy in another
    precision.
    """
    images = images.detach().requires_grad_()
    terms: dict[str, Tensor] = {}
    lengths: dict[str, Tensor] = {}
    with full_float32(images.device), torch.enable_grad():
        parts = objective.parts(images, network, objective.needs(len(images)))
        for name, value in parts.items():
            if not value.requires_grad:  # no picture gives it any weight
                continue
            (gradient,) = torch.autograd.grad(value.sum(), images, retain_graph=True)
            lengths[name] = _length(gradient)
            term = Part.of(name).term
            terms[term] = terms[term] + gradient if term in terms else gradient
    return {**lengths, **{term: _length(gradient) for term, gradient in terms.items()}}


def shares_of_pull(lengths: Mapping[str, float], term: bool) -> dict[str, float]:
    """Lengths of gradients as shares that sum to 1: of the terms, or of their parts."""
    chosen = {name: value for name, value in lengths.items() if (not Part.of(name).layer) == term}
    if not term and "tv" in lengths:
        chosen["tv"] = lengths["tv"]
    whole = sum(chosen.values())
    return {name: value / whole if whole else 0.0 for name, value in chosen.items()}


@torch.no_grad()
def distances(objective: Objective, images: Tensor) -> dict[str, Tensor]:
    """Every part as if all weights were 1, (B,) each: how far `images` is from each target."""
    other = copy.copy(objective)
    other.knobs = Knobs(objective.vgg.device)
    for name in objective.weight_values():
        other.set_weight(name, 1.0)
    with full_float32(images.device):
        return other.parts(images)


def removed(
    parts: Mapping[str, float], weights: Mapping[str, float], first: Mapping[str, float]
) -> dict[str, float]:
    """Which share of the loss at the first picture has gone, for each part and each term in use.

    `parts` are weighted losses, `weights` those that they were counted with, and `first` the
    `distances` of the first picture. Weights cancel out of a layer's share; a term's is that of
    its layers as they are weighed now. So a fader moves no share, and recipes can be compared.
    Below 0 where the loss has grown; a part that was at its target already has no share.
    """
    now: dict[str, float] = {}
    before: dict[str, float] = {}
    for name, value in parts.items():
        term = Part.of(name).term
        start = first[name] * weights[term] * (1.0 if name == term else weights[name])
        if start > 0:
            for key in {name, term}:
                now[key], before[key] = now.get(key, 0) + value, before.get(key, 0) + start
    return {name: 1 - now[name] / before[name] for name in now}


def balanced_style(lengths: Mapping[str, float], style_weight: float) -> float:
    """The style weight with which style would pull as strongly as content does.

    `lengths` are `pulls` under the present `style_weight`. Raises ValueError while one of the two
    does not pull at all, as at a start from the content picture.
    """
    content, style = lengths.get("content", 0.0), lengths.get("style", 0.0)
    if not (content > 0 and style > 0):
        silent = "style" if content > 0 else "content"
        raise ValueError(f"the {silent} does not pull; wait for some evaluations, if it counts")
    return style_weight * content / style


def _length(gradient: Tensor) -> Tensor:
    return gradient.square().sum((1, 2, 3)).sqrt()
