"""The two halves of a transfer by themselves; many at once; and the paper's Figure 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styletutor.descent.method import EVALUATIONS, Method
from styletutor.loss.knobs import LayerWeights
from styletutor.loss.objective import Objective
from styletutor.machine import usual_torch
from styletutor.network.vgg import VGG
from styletutor.runs.frames import Frame
from styletutor.runs.inputs import Picture, fit, plain, ready, source, to_picture, to_start
from styletutor.runs.result import Result
from styletutor.runs.solve import OnStep, Way, solve

BLOCKS = range(1, 6)
CONTENT_LAYERS = tuple(f"conv{block}_2" for block in BLOCKS)
STYLE_LAYERS = tuple(f"conv{block}_1" for block in BLOCKS)
KINDS = ("content", "style")


@usual_torch()
def reconstruct_content(
    photo: Picture,
    layers: LayerWeights,
    *,
    vgg: VGG | None = None,
    evaluations: int = EVALUATIONS,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    tv_weight: float = 0.0,
    start: Picture = "noise",
    optimiser: str = Method.optimiser,
    learning_rate: float = Method.learning_rate,
    precision: str = "auto",
    tile: int | None = None,
    coarse_to_fine: bool | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_iterations: int | None = None,
    resume: str | Path | Frame | None = None,
    progress: bool | None = None,
) -> Result:
    """A picture with the features of `photo` at `layers`: what those layers keep of it.

    Gatys et al. (2016), Eq. 1, after Mahendran & Vedaldi (2015). `layers` is a name, names, or a
    mapping name → weight; the other arguments, the result and the errors are those of `transfer`.
    """
    how = {"optimiser": optimiser, "learning_rate": learning_rate, "precision": precision}
    method = Method(coarse_to_fine=coarse_to_fine, **how)
    files = {"checkpoint": checkpoint, "every": checkpoint_iterations, "resume": resume}
    way = Way(on_step=on_step, progress=progress, **files)
    given = vgg, evaluations, size, seed, tv_weight, start, tile
    return _reconstruct("content", photo, layers, *given, method, way)


@usual_torch()
def reconstruct_style(
    style: Picture,
    layers: LayerWeights,
    *,
    vgg: VGG | None = None,
    evaluations: int = EVALUATIONS,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    tv_weight: float = 0.0,
    start: Picture = "noise",
    optimiser: str = Method.optimiser,
    learning_rate: float = Method.learning_rate,
    precision: str = "auto",
    tile: int | None = None,
    coarse_to_fine: bool | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_iterations: int | None = None,
    resume: str | Path | Frame | None = None,
    progress: bool | None = None,
) -> Result:
    """A texture with the Gram matrices of `style` at `layers`: what those layers call style.

    Gatys et al. (2016), Eqs. 3-5, after their "Texture Synthesis Using Convolutional Neural
    Networks" (2015). The result is as large as the style picture; the arguments and errors are
    those of `reconstruct_content`.
    """
    how = {"optimiser": optimiser, "learning_rate": learning_rate, "precision": precision}
    method = Method(coarse_to_fine=coarse_to_fine, **how)
    files = {"checkpoint": checkpoint, "every": checkpoint_iterations, "resume": resume}
    way = Way(on_step=on_step, progress=progress, **files)
    given = vgg, evaluations, size, seed, tv_weight, start, tile
    return _reconstruct("style", style, layers, *given, method, way)


@usual_torch()
def figure_one(
    photo: Picture,
    style: Picture,
    *,
    vgg: VGG | None = None,
    evaluations: int = EVALUATIONS,
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
    method = Method(precision=precision, coarse_to_fine=None)
    way = Way(on_step=on_step, progress=progress)
    vgg = ready(vgg, evaluations, seed)
    target, art = to_picture(photo, vgg, size), to_picture(style, vgg, size)
    each, none = torch.eye(len(BLOCKS)), torch.zeros(len(BLOCKS), len(BLOCKS))
    alone, nested = torch.cat([each, none]), torch.cat([none, torch.ones_like(none).tril()])
    aims = {
        "content": target,
        "styles": [art],
        "content_layers": dict(zip(CONTENT_LAYERS, alone.T.tolist(), strict=True)),
        "style_layers": dict(zip(STYLE_LAYERS, nested.T.tolist(), strict=True)),
    }
    settings = {"image": source(photo), "style": source(style), "size": size}
    settings |= {"seed": seed, "evaluations": evaluations}
    return _rebuild("figure one", vgg, target, aims, settings, method, way, count=len(alone))


def reconstruct_each(
    picture: Picture,
    layers: Sequence[str],
    *,
    kind: str = "content",
    nested: bool = False,
    vgg: VGG | None = None,
    evaluations: int = EVALUATIONS,
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
    method = Method(precision=precision, coarse_to_fine=None)
    way = Way(on_step=on_step, progress=progress)
    vgg = ready(vgg, evaluations, seed)
    target = to_picture(picture, vgg, size)
    square = torch.ones(len(layers), len(layers)).tril() if nested else torch.eye(len(layers))
    weights = dict(zip(layers, square.T.tolist(), strict=True))
    aims = _aim(kind, target, weights)
    settings = {"image": source(picture), "layers": list(layers), "nested": nested, "size": size}
    settings |= {"seed": seed, "evaluations": evaluations}
    command = f"reconstruct each {kind}"
    return _rebuild(command, vgg, target, aims, settings, method, way, count=len(layers))


def _reconstruct(
    kind: str,
    picture: Picture,
    layers: LayerWeights,
    vgg: VGG | None,
    evaluations: int,
    size: int | None,
    seed: int,
    tv_weight: float,
    start: Picture,
    tile: int | None,
    method: Method,
    way: Way,
) -> Result:
    vgg = ready(vgg, evaluations, seed)
    target, layers, tv_weight = to_picture(picture, vgg, size), plain(layers), plain(tv_weight)
    aims = {**_aim(kind, target, layers), "tv_weight": tv_weight}
    settings = {"image": source(picture), "size": size, "layers": layers, "tv_weight": tv_weight}
    settings |= {"seed": seed, "evaluations": evaluations}
    return _rebuild(
        f"reconstruct {kind}", vgg, target, aims, settings, method, way, start, tile=tile
    )


def _rebuild(
    command: str,
    vgg: VGG,
    target: Tensor,
    aims: Mapping[str, Any],
    settings: Mapping[str, Any],
    method: Method,
    way: Way,
    start: Picture = "noise",
    count: int = 1,
    tile: int | None = None,
) -> Result:
    """`count` pictures, all from one start, moved towards the `aims` of an objective."""
    method = method.settled(vgg.device, start, target.shape[2:])
    tile, method = fit(vgg, target, method, aims, tile, count)
    first = to_start(start, target, settings["seed"]).repeat(count, 1, 1, 1)
    settings = {**settings, "start": source(start), "tile": tile}
    return solve(command, Objective(vgg, tile=tile, **aims), first, settings, method, way)


def _aim(kind: str, target: Tensor, layers: LayerWeights) -> dict[str, Any]:
    """Keywords of an objective whose content, or style, is that of `target`."""
    if kind == "content":
        return {"content": target, "content_layers": layers}
    return {"styles": [target], "style_layers": layers}
