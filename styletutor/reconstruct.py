"""The two halves of a transfer by themselves: `reconstruct_content` and `reconstruct_style`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from styletutor.checkpoints import Frame
from styletutor.inputs import Picture, check_fit, plain, ready, source, to_picture, to_start
from styletutor.knobs import LayerWeights
from styletutor.method import EVALUATIONS, Method
from styletutor.objective import Objective
from styletutor.result import Result
from styletutor.solve import OnStep, Way, solve
from styletutor.vgg import VGG


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
    given = vgg, evaluations, size, seed, tv_weight, start
    return _reconstruct("content", photo, layers, *given, method, way)


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
    given = vgg, evaluations, size, seed, tv_weight, start
    return _reconstruct("style", style, layers, *given, method, way)


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
    method: Method,
    way: Way,
) -> Result:
    vgg = ready(vgg, evaluations, seed)
    target, layers, tv_weight = to_picture(picture, vgg, size), plain(layers), plain(tv_weight)
    aims = {**aim(kind, target, layers), "tv_weight": tv_weight}
    settings = {"image": source(picture), "size": size, "layers": layers, "tv_weight": tv_weight}
    settings |= {"seed": seed, "evaluations": evaluations}
    return rebuild(f"reconstruct {kind}", vgg, target, aims, settings, method, way, start)


def rebuild(
    command: str,
    vgg: VGG,
    target: Tensor,
    aims: Mapping[str, Any],
    settings: Mapping[str, Any],
    method: Method,
    way: Way,
    start: Picture = "noise",
    count: int = 1,
) -> Result:
    """`count` pictures, all from one start, moved towards the `aims` of an objective."""
    method = method.settled(vgg.device, start, target.shape[2:])
    check_fit(vgg, target, method, aims, count)
    first = to_start(start, target, settings["seed"]).repeat(count, 1, 1, 1)
    settings = {**settings, "start": source(start)}
    return solve(command, Objective(vgg, **aims), first, settings, method, way)


def aim(kind: str, target: Tensor, layers: LayerWeights) -> dict[str, Any]:
    """Keywords of an objective whose content, or style, is that of `target`."""
    if kind == "content":
        return {"content": target, "content_layers": layers}
    return {"styles": [target], "style_layers": layers}
