"""The three verbs that people call: `transfer`, `reconstruct_content`, `reconstruct_style`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from styletutor.descent import STARTS, check_settings, make_start
from styletutor.images import pixels_sha256, resize_image
from styletutor.knobs import LayerWeights
from styletutor.objective import Objective
from styletutor.recipes import find_recipe
from styletutor.result import OnStep, Result, run_descent
from styletutor.samples import load_image
from styletutor.stages import choose_precision
from styletutor.vgg import VGG, check_images
from styletutor.weights import load_vgg

Picture = Tensor | str | Path


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
    given = {name: _plain(value) for name, value in look.items() if value is not None}
    chosen, blend = replace(find_recipe(recipe), **given), _plain(blend)
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
    objective = chosen.objective(vgg, content=photo, styles=pictures, blend=blend)
    look = {name: _plain(getattr(chosen, name)) for name in look}
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
    layers, tv_weight = _plain(layers), _plain(tv_weight)
    aims = {
        "content": {"content": target, "content_layers": layers},
        "style": {"styles": [target], "style_layers": layers},
    }
    objective = Objective(vgg, **aims[kind], tv_weight=tv_weight)
    named = {"image": source(picture), "size": size, "layers": layers, "tv_weight": tv_weight}
    command = f"reconstruct {kind}"
    return _solve(command, objective, target, {**named, **descent}, on_step, progress)


def ready(vgg: VGG | None, descent: Mapping[str, Any]) -> VGG:
    """The network to use, after a look at the settings, which is quicker than loading it."""
    unchecked = ("start", "coarse_to_fine")
    check_settings(**{name: value for name, value in descent.items() if name not in unchecked})
    return load_vgg("auto") if vgg is None else vgg


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
    coarse = settings["coarse_to_fine"]
    settings = {
        **settings,
        "start": source(settings["start"]),
        "precision": choose_precision(settings["precision"], objective.vgg.device),
        "coarse_to_fine": start == "noise" if coarse is None else coarse,
        "weights": objective.vgg.source,
        "pooling": objective.vgg.pooling,
    }
    return run_descent(command, objective, first, settings, on_step, progress)


def to_picture(picture: Picture, vgg: VGG, size: int | None) -> Tensor:
    """`picture` as a tensor on the network's device, shrunk to `size`."""
    if isinstance(picture, Tensor):
        check_images(picture)
        low, high = picture.min().item(), picture.max().item()
        if low < -1e-3 or high > 1 + 1e-3:
            raise ValueError(f"a picture has values from {low:g} to {high:g}, expected [0, 1]")
        picture = picture if size is None else resize_image(picture, size)
    else:
        picture = load_image(picture, size)
    return picture.to(vgg.device, vgg.mean.dtype)


def _plain(value: Any) -> Any:
    """Layers, weights and blends as JSON knows them: str, float, list or dict."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {name: float(weight) for name, weight in value.items()}
    if isinstance(value, Iterable) and not (isinstance(value, Tensor) and value.ndim == 0):
        return [item if isinstance(item, str) else float(item) for item in value]
    return float(value)


def source(picture: Picture) -> str:
    """How a report names a picture: as it was given, or by its pixels."""
    if isinstance(picture, Tensor):
        return f"tensor with sha256 {pixels_sha256(picture)}"
    return str(picture)
