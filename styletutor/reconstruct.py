"""The two halves of a transfer by themselves: `reconstruct_content` and `reconstruct_style`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from styletutor.checkpoints import Frame
from styletutor.inputs import Picture, check_fit, plain, ready, source, to_picture
from styletutor.knobs import LayerWeights
from styletutor.objective import Objective
from styletutor.result import Result
from styletutor.solve import OnStep, solve
from styletutor.vgg import VGG


def reconstruct_content(
    photo: Picture,
    layers: LayerWeights,
    *,
    vgg: VGG | None = None,
    evaluations: int = 200,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    tv_weight: float = 0.0,
    start: Picture = "noise",
    optimiser: str = "lbfgs",
    learning_rate: float = 0.02,
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
    return _reconstruct(
        "content", photo, layers, vgg, size, tv_weight, start, seed, on_step, progress,
        (checkpoint, checkpoint_iterations, resume),
        optimiser=optimiser, learning_rate=learning_rate, evaluations=evaluations,
        precision=precision, coarse_to_fine=coarse_to_fine,
    )  # fmt: skip


def reconstruct_style(
    style: Picture,
    layers: LayerWeights,
    *,
    vgg: VGG | None = None,
    evaluations: int = 200,
    size: int | None = None,
    seed: int = 0,
    on_step: OnStep | None = None,
    tv_weight: float = 0.0,
    start: Picture = "noise",
    optimiser: str = "lbfgs",
    learning_rate: float = 0.02,
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
    return _reconstruct(
        "style", style, layers, vgg, size, tv_weight, start, seed, on_step, progress,
        (checkpoint, checkpoint_iterations, resume),
        optimiser=optimiser, learning_rate=learning_rate, evaluations=evaluations,
        precision=precision, coarse_to_fine=coarse_to_fine,
    )  # fmt: skip


def _reconstruct(
    kind: str,
    picture: Picture,
    layers: LayerWeights,
    vgg: VGG | None,
    size: int | None,
    tv_weight: float,
    start: Picture,
    seed: int,
    on_step: OnStep | None,
    progress: bool | None,
    files: tuple,
    **how: Any,
) -> Result:
    vgg = ready(vgg, seed, how)
    target = to_picture(picture, vgg, size)
    layers, tv_weight = plain(layers), plain(tv_weight)
    aims = {
        "content": {"content": target, "content_layers": layers},
        "style": {"styles": [target], "style_layers": layers},
    }
    check_fit(vgg, target, [target], layers, (), how)
    objective = Objective(vgg, **aims[kind], tv_weight=tv_weight)
    named = {"image": source(picture), "size": size, "layers": layers, "tv_weight": tv_weight}
    settings = {**named, "seed": seed, **how}
    return solve(
        f"reconstruct {kind}", objective, target, start, settings, how, on_step, progress, files
    )
