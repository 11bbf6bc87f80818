"""Many reconstructions as one batched descent: layers side by side, and the paper's Figure 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from styletutor.inputs import Picture, ready, source, to_picture
from styletutor.memory import ensure_fit
from styletutor.objective import Objective
from styletutor.result import Result
from styletutor.solve import OnStep, as_json, run_descent
from styletutor.stages import choose_coarse, choose_precision
from styletutor.starts import make_start
from styletutor.vgg import VGG

BLOCKS = range(1, 6)
CONTENT_LAYERS = tuple(f"conv{block}_2" for block in BLOCKS)
STYLE_LAYERS = tuple(f"conv{block}_1" for block in BLOCKS)
KINDS = ("content", "style")


def figure_one(
    photo: Picture,
    style: Picture,
    *,
    vgg: VGG | None = None,
    evaluations: int = 200,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    precision: str = "auto",
    progress: bool | None = None,
) -> Result:
    """Figure 1 of Gatys, Ecker & Bethge (2016) as one descent on a batch of ten pictures.

    `result.image` is (10, 3, H, W), of the size of `photo`: first its content as it can be rebuilt
    from conv1_2, conv2_2, … conv5_2, each alone; then textures with the style of conv1_1 alone, of
    conv1_1 and conv2_1, … of conv1_1 to conv5_1. All start from noise, the content ones and the
    style ones from the same. Each picture goes only as deep into the network as it needs. The
    arguments, the result and the errors are otherwise those of `reconstruct_content`.
    """
    how = _how(evaluations, precision)
    vgg = ready(vgg, seed, how)
    target, art = to_picture(photo, vgg, size), to_picture(style, vgg, size)
    each, none = torch.eye(len(BLOCKS)), torch.zeros(len(BLOCKS), len(BLOCKS))
    alone, nested = torch.cat([each, none]), torch.cat([none, torch.ones_like(none).tril()])
    aims = {
        "content": target,
        "styles": [art],
        "content_layers": dict(zip(CONTENT_LAYERS, alone.T.tolist(), strict=True)),
        "style_layers": dict(zip(STYLE_LAYERS, nested.T.tolist(), strict=True)),
    }
    named = {"image": source(photo), "style": source(style), "size": size}
    return _batch("figure one", vgg, target, len(alone), aims, named, seed, how, on_step, progress)


def reconstruct_each(
    picture: Picture,
    layers: Sequence[str],
    *,
    kind: str = "content",
    nested: bool = False,
    vgg: VGG | None = None,
    evaluations: int = 200,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    precision: str = "auto",
    progress: bool | None = None,
) -> Result:
    """What each of `layers` keeps of `picture` by itself, all of them as one descent.

    `result.image` is (B, 3, H, W), one picture for each of B layers, in their order, from the same
    noise. `kind` is "content" or "style"; if `nested`, each picture has the layers before it, too,
    as the textures of the paper's Figure 1. The arguments, the result and the errors are otherwise
    those of `reconstruct_content`.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; choose {' or '.join(KINDS)}")
    if isinstance(layers, str) or len(set(layers)) < len(layers) or not layers:
        raise ValueError(f"layers={layers!r}; give a list of different layers, one per picture")
    how = _how(evaluations, precision)
    vgg = ready(vgg, seed, how)
    target = to_picture(picture, vgg, size)
    square = torch.ones(len(layers), len(layers)).tril() if nested else torch.eye(len(layers))
    weights = dict(zip(layers, square.T.tolist(), strict=True))
    aims: dict[str, Any] = {"content": target, "content_layers": weights}
    if kind == "style":
        aims = {"styles": [target], "style_layers": weights}
    named = {"image": source(picture), "layers": list(layers), "nested": nested, "size": size}
    command = f"reconstruct each {kind}"
    return _batch(command, vgg, target, len(layers), aims, named, seed, how, on_step, progress)


def _how(evaluations: int, precision: str) -> dict[str, Any]:
    how: dict[str, Any] = {"evaluations": evaluations, "precision": precision}
    return how | {"optimiser": "lbfgs", "learning_rate": 0.02}


def _batch(
    command: str,
    vgg: VGG,
    target: Tensor,
    count: int,
    aims: Mapping[str, Any],
    named: Mapping[str, Any],
    seed: int,
    how: dict[str, Any],
    on_step: OnStep | None,
    progress: bool | None,
) -> Result:
    objective = Objective(vgg, **aims)
    how["precision"] = choose_precision(how["precision"], vgg.device)
    how["coarse_to_fine"] = choose_coarse(None, "noise", target.shape[2:])
    content, style = (tuple(aims.get(f"{kind}_layers", ())) for kind in KINDS)
    batch = objective.structure(count).layers
    art = [picture.shape[2:] for picture in aims.get("styles", ())]
    needs = {"batch": batch, "precision": how["precision"], "styles": art}
    ensure_fit(vgg, target.shape[2:], content, style, **needs)
    start = make_start("noise", target, seed).repeat(count, 1, 1, 1)
    about = {"start": "noise", "seed": seed, **how, "weights": vgg.source, "pooling": vgg.pooling}
    settings = as_json({**named, **about})
    return run_descent(command, objective, start, settings, how, on_step, progress)
