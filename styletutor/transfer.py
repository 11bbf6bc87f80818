"""The three verbs that people call: `transfer`, `reconstruct_content`, `reconstruct_style`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from styletutor.descent import STARTS, make_start
from styletutor.inputs import Picture, check_fit, plain, ready, source, to_picture
from styletutor.knobs import LayerWeights
from styletutor.objective import Objective
from styletutor.recipes import find_recipe
from styletutor.result import OnStep, Result, run_descent
from styletutor.samples import load_image
from styletutor.stages import choose_coarse, choose_precision
from styletutor.vgg import VGG


def transfer(
    content: Picture,
    style: Picture | Sequence[Picture],
    *,
    vgg: VGG | None = None,
    evaluations: int = 300,
    size: int | None = None,
    recipe: str = "default",
    seed: int = 0,
    on_step: OnStep | None = None,
    blend: Sequence[float] | None = None,
    content_layers: LayerWeights | None = None,
    style_layers: LayerWeights | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    start: Picture | None = None,
    optimiser: str | None = None,
    learning_rate: float = 0.02,
    precision: str = "auto",
    coarse_to_fine: bool | None = None,
    progress: bool | None = None,
) -> Result:
    """Paint `content` in the manner of `style` (Gatys, Ecker & Bethge 2016, Eq. 7).

    Pictures are (1, 3, H, W) in [0, 1], a sample's name or a path; several styles are mixed by
    `blend` (equal shares if None). `size` is the long side in pixels to which all of them are
    shrunk. `vgg` defaults to `load_vgg("auto")`. The `recipe` sets layers, weights, optimiser and
    start; arguments that are not None replace what it says. `start` is "content", "noise" or a
    picture; `learning_rate` counts for Adam only; `evaluations` is the budget in forward and
    backward passes. `precision` and `coarse_to_fine` are explained at `descent.descend`; by default
    both are chosen by device, start and size, and what was chosen is in `result.settings`.

    `on_step(step)` is called after every evaluation with a `descent.Step`, and may raise
    `descent.Stop` to end early. `progress=None` draws a bar in a terminal or a notebook. Ctrl-C
    and Stop give the best picture so far (`result.interrupted`). Raises ValueError or
    FileNotFoundError for bad input before the descent begins.
    """
    styles = [style] if isinstance(style, Tensor | str | Path) else list(style)
    if not styles:
        raise ValueError("no style picture was given; give at least one")
    look = {
        "content_layers": content_layers,
        "style_layers": style_layers,
        "content_weight": content_weight,
        "style_weight": style_weight,
        "tv_weight": tv_weight,
    }
    given = {name: plain(value) for name, value in look.items() if value is not None}
    chosen, blend = replace(find_recipe(recipe), **given), plain(blend)
    descent = {
        "start": chosen.start if start is None else start,
        "seed": seed,
        "optimiser": chosen.optimiser if optimiser is None else optimiser,
        "learning_rate": learning_rate,
        "evaluations": evaluations,
        "precision": precision,
        "coarse_to_fine": coarse_to_fine,
    }
    vgg = ready(vgg, descent)
    photo = to_picture(content, vgg, size)
    pictures = [to_picture(picture, vgg, size) for picture in styles]
    check_fit(vgg, photo, chosen.content_layers, chosen.style_layers, descent)
    objective = chosen.objective(vgg, content=photo, styles=pictures, blend=blend)
    look = {name: plain(getattr(chosen, name)) for name in look}
    named = {"content": source(content), "styles": [source(s) for s in styles], "blend": blend}
    settings = {**named, "size": size, "recipe": recipe, **look, **descent}
    return _solve("transfer", objective, photo, settings, on_step, progress)


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
    progress: bool | None = None,
) -> Result:
    """A picture with the features of `photo` at `layers`: what those layers keep of it.

    Gatys et al. (2016), Eq. 1, after Mahendran & Vedaldi (2015). `layers` is a name, names, or a
    mapping name → weight; the other arguments, the result and the errors are those of `transfer`.
    """
    return _reconstruct(
        "content", photo, layers, vgg, size, tv_weight, on_step, progress,
        start=start, seed=seed, optimiser=optimiser, learning_rate=learning_rate,
        evaluations=evaluations, precision=precision, coarse_to_fine=coarse_to_fine,
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
    progress: bool | None = None,
) -> Result:
    """A texture with the Gram matrices of `style` at `layers`: what those layers call style.

    Gatys et al. (2016), Eqs. 3-5, after their "Texture Synthesis Using Convolutional Neural
    Networks" (2015). The result is as large as the style picture; the arguments and errors are
    those of `reconstruct_content`.
    """
    return _reconstruct(
        "style", style, layers, vgg, size, tv_weight, on_step, progress,
        start=start, seed=seed, optimiser=optimiser, learning_rate=learning_rate,
        evaluations=evaluations, precision=precision, coarse_to_fine=coarse_to_fine,
    )  # fmt: skip


def _reconstruct(
    kind: str,
    picture: Picture,
    layers: LayerWeights,
    vgg: VGG | None,
    size: int | None,
    tv_weight: float,
    on_step: OnStep | None,
    progress: bool | None,
    **descent: Any,
) -> Result:
    vgg = ready(vgg, descent)
    target = to_picture(picture, vgg, size)
    layers, tv_weight = plain(layers), plain(tv_weight)
    aims = {
        "content": {"content": target, "content_layers": layers},
        "style": {"styles": [target], "style_layers": layers},
    }
    check_fit(vgg, target, layers, (), descent)
    objective = Objective(vgg, **aims[kind], tv_weight=tv_weight)
    named = {"image": source(picture), "size": size, "layers": layers, "tv_weight": tv_weight}
    command = f"reconstruct {kind}"
    return _solve(command, objective, target, {**named, **descent}, on_step, progress)


def _solve(
    command: str,
    objective: Objective,
    picture: Tensor,
    settings: dict[str, Any],
    on_step: OnStep | None,
    progress: bool | None,
) -> Result:
    """Make the start, record the settings in words and numbers, and descend."""
    start = settings["start"]
    if isinstance(start, Path) or (isinstance(start, str) and start not in STARTS):
        start = load_image(start, settings["size"])
    first = make_start(start, picture, settings["seed"])
    coarse = choose_coarse(settings["coarse_to_fine"], start, picture.shape[2:])
    settings = {
        **settings,
        "start": source(settings["start"]),
        "precision": choose_precision(settings["precision"], objective.vgg.device),
        "coarse_to_fine": coarse,
        "weights": objective.vgg.source,
        "pooling": objective.vgg.pooling,
    }
    return run_descent(command, objective, first, settings, on_step, progress)
