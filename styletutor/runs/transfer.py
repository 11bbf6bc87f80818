"""The verb that the others lead to: `transfer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from styletutor.cookbook.published import find_recipe, recipes
from styletutor.cookbook.recipe import Recipe
from styletutor.loss.knobs import Blend, LayerWeights
from styletutor.loss.pieces import Hands, one_after_another
from styletutor.machine import usual_torch
from styletutor.network.vgg import VGG
from styletutor.pictures.colours import COLOURS, keep_colours, match_colours
from styletutor.pictures.loading import spelt
from styletutor.runs.frames import Frame
from styletutor.runs.inputs import (
    Picture,
    fit,
    plain,
    ready,
    scale_content,
    scale_style,
    source,
    to_mask,
    to_start,
)
from styletutor.runs.result import Result
from styletutor.runs.solve import OnStep, Way, solve

Styles = Picture | Sequence[Picture]
TILE = 512  # pixels, for a crew
# What replaces a recipe's own, if it is given.
WEIGHTS = ("content_weight", "style_weight", "tv_weight")
LOOK = ("content_layers", "style_layers", *WEIGHTS, "pooling")
DESCENT = ("optimiser", "learning_rate", "epsilon", "coarse_to_fine", "evaluations")


@usual_torch()
def transfer(
    content: Picture,
    style: Styles | Mapping[str, Styles],
    *,
    vgg: VGG | None = None,
    evaluations: int | None = None,
    size: int | None = None,
    recipe: str = "default",
    seed: int = 0,
    on_step: OnStep | None = None,
    blend: Blend = None,
    masks: Sequence[Picture] | None = None,
    style_scale: float | Sequence[float] | None = None,
    colours: str = "style",
    content_layers: LayerWeights | None = None,
    style_layers: LayerWeights | None = None,
    content_weight: float | None = None,
    style_weight: float | None = None,
    tv_weight: float | None = None,
    pooling: str | None = None,
    width: int | None = None,
    start: Picture | None = None,
    noise_blend: float = 0.0,
    optimiser: str | None = None,
    learning_rate: float | None = None,
    beta1: float | None = None,
    beta2: float | None = None,
    epsilon: float | None = None,
    precision: str = "auto",
    tile: int | None = None,
    coarse_to_fine: bool | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_iterations: int | None = None,
    resume: str | Path | Frame | None = None,
    progress: bool | None = None,
    crew: Hands | None = None,
) -> Result:
    """Paint `content` in the manner of `style` (Gatys, Ecker & Bethge 2016, Eq. 7).

    **Pictures** are (1, 3, H, W) in [0, 1], a sample's name or a path. Several styles are mixed by
    `blend` (equal shares if None, or a mapping layer → shares). A mapping layer → style, or styles,
    gives each layer a style of its own: {"relu1_1": brush, "relu4_1": mosaic}. With `masks`, one
    for each style, a style is for its region only: pictures, whose brightness counts, or arrays
    (h, w) in [0, 1]; they are resized to the content. `size` is the long side in pixels to which
    all pictures are shrunk, `width` the content's width instead. `style_scale`, one number or one
    for each style, makes the styles so many times as wide as the content: larger strokes, if it is
    larger. `colours` are those of the "style", or of the "content" (only its lightness is painted),
    or the style gets the content's before it is used: their mean and covariance ("match") or
    "histogram".

    **The look.** The `recipe` sets layers, weights, pooling, optimiser, start, size and
    `evaluations` (the budget in forward and backward passes; 200 for ours); arguments that are not
    None replace what it says, in its own units. `start` is "content", "noise" or a picture, of
    which a share `noise_blend` is noise. `learning_rate`, `beta1`, `beta2` and `epsilon` count for
    Adam only. `precision` and `coarse_to_fine` are explained at `method.Method`; by default the
    first is chosen by the device, and the second by our recipe from start and size, by others never
    (crowsonkb: always). What was chosen is in `result.settings`. So is `tile`:
    pictures that do not fit into memory whole are looked at in tiles of about so many pixels a
    side, with the same result up to rounding (`loss.pieces`); a number asks for it. Tiles can be
    looked at by other processes and machines, a `crew`.

    **On the way.** `on_step(step)` is called after every evaluation with a `descent.Step`, and may
    raise `descent.Stop` to end early. `progress=None` draws a bar in a terminal or a notebook.
    Ctrl-C and Stop give the best picture so far (`result.interrupted`). `checkpoint` is a file that
    is rewritten every `checkpoint_iterations` evaluations (None: about every ten seconds), and
    `resume` such a file, or a `Run`'s frame, to go on from, with the same arguments.

    Raises ValueError or FileNotFoundError for bad input before the descent begins.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    files = {"checkpoint": checkpoint, "every": checkpoint_iterations, "resume": resume}
    way = Way(on_step=on_step, progress=progress, **files)
    _check_kinds(recipe, masks)
    if colours not in COLOURS:
        raise ValueError(f"unknown colours {colours!r}; choose one of {', '.join(COLOURS)}")
    look = {name: plain(given[name]) for name in LOOK if name in given}
    descent = {name: given[name] for name in DESCENT if name in given}
    chosen = replace(find_recipe(recipe), **look, **descent)
    pairs = zip(chosen.betas, (beta1, beta2), strict=True)
    betas = tuple(own if new is None else new for own, new in pairs)
    chosen = replace(chosen, betas=betas)
    if isinstance(style, Mapping):
        style = {layer: _as_list(pictures) for layer, pictures in style.items()}
    styles, blend, chosen = _by_layer(style, _plain_blend(blend), chosen, style_layers is not None)
    if start is None:  # what is blended with noise has to be a picture
        start = "content" if noise_blend else chosen.start
    method = chosen.method(precision=precision)
    vgg = ready(vgg, chosen.evaluations, seed)
    photo = scale_content(content, vgg, size, width, chosen.side)
    scales = _each(chosen.style_scale if style_scale is None else style_scale, len(styles))
    pictures = [
        scale_style(picture, vgg, size, chosen.side, scale, photo.shape[3])
        for picture, scale in zip(styles, scales, strict=True)
    ]
    if colours in ("match", "histogram"):
        pictures = [match_colours(picture, photo, colours) for picture in pictures]
    regions = None if masks is None else [to_mask(mask, photo.shape[2:]) for mask in masks]
    method = method.settled(vgg.device, start, photo.shape[2:])
    aims = {"styles": pictures, "masks": regions}
    layers = {name: getattr(chosen, name) for name in ("content_layers", "style_layers")}
    if crew is not None and tile is None:
        tile = TILE
    tile, method = fit(chosen.network(vgg), photo, method, aims | layers, tile)
    first = to_start(start, photo, seed, chosen.noise, noise_blend, chosen.clamp)
    objective = chosen.objective(vgg, content=photo, blend=blend, tile=tile, **aims)
    objective.hands = crew or one_after_another
    settings = {
        **_named(content, style, styles, blend, masks),
        "size": size,
        "width": width,
        "style_scale": plain(style_scale),
        "colours": colours,
        "recipe": recipe,
        **{name: plain(getattr(chosen, name)) for name in LOOK},
        "start": source(start),
        "noise_blend": noise_blend,
        "seed": seed,
        "tile": tile,
        **{name: getattr(chosen, name) for name in DESCENT},
        "beta1": betas[0],
        "beta2": betas[1],
    }
    result = solve("transfer", objective, first, settings, method, way)
    if colours == "content":
        return replace(result, image=keep_colours(result.image, photo.cpu()))
    return result


def _by_layer(
    style: Styles | Mapping[str, list[Picture]], blend: Blend, recipe: Recipe, layers_given: bool
) -> tuple[list[Picture], Blend, Recipe]:
    """The styles as a list, their blend, and the recipe with the layers that they are given for."""
    if not isinstance(style, Mapping):
        styles = _as_list(style)
        if not styles:
            raise ValueError("no style picture was given; give at least one")
        return styles, blend, recipe
    if blend is not None:
        raise ValueError("styles by layer have no blend; name a style for each layer")
    weights = recipe.style_layers if isinstance(recipe.style_layers, Mapping) else {}
    if not layers_given:
        recipe = replace(recipe, style_layers={n: weights.get(n, 1.0) for n in style})
    empty = [layer for layer, pictures in style.items() if not pictures]
    if empty or not style:
        where = f" for {empty[0]}" if empty else ""
        raise ValueError(f"no style picture was given{where}; give at least one")
    names: dict[object, Picture] = {}
    for pictures in style.values():
        names |= {_key(picture): picture for picture in pictures}
    shares = {
        layer: [float(sum(_key(p) == name for p in pictures)) for name in names]
        for layer, pictures in style.items()
    }
    return list(names.values()), shares, recipe


def _as_list(style: Styles) -> list[Picture]:
    if isinstance(style, Picture):
        return [style]
    if not isinstance(style, Iterable):
        kind = type(style).__name__
        raise ValueError(f"a style is a {kind}; give a tensor, a sample's name or a path")
    return list(style)


def _check_kinds(recipe: object, masks: object) -> None:
    if not isinstance(recipe, str):
        raise ValueError(f"recipe={recipe!r}; give a name: {', '.join(recipes)}")
    if masks is not None and not isinstance(masks, Sequence):
        raise ValueError(f"masks={masks!r}; give a list with one mask for each style")


def _key(picture: Picture) -> object:
    return spelt(picture) if isinstance(picture, str | Path) else id(picture)


def _each(scale: float | Sequence[float] | None, styles: int) -> list[float | None]:
    scale = plain(scale)
    scales = scale if isinstance(scale, list) else [scale] * styles
    if len(scales) != styles:
        raise ValueError(f"{len(scales)} style scales for {styles} style(s); give one for each")
    return scales


def _plain_blend(blend: Blend) -> Any:
    """A blend as JSON knows it."""
    if isinstance(blend, Mapping):
        return {layer: plain(values) for layer, values in blend.items()}
    return plain(blend)


def _named(
    content: Picture,
    style: Styles | Mapping[str, list[Picture]],
    styles: Sequence[Picture],
    blend: Any,
    masks: Sequence[Picture] | None,
) -> dict[str, Any]:
    named: dict[str, Any] = {"content": source(content)}
    if isinstance(style, Mapping):
        pairs = [(layer, picture) for layer, given in style.items() for picture in given]
        named["style_at"] = [f"{layer}={source(picture)}" for layer, picture in pairs]
    else:
        named |= {"styles": [source(picture) for picture in styles], "blend": blend}
    named["masks"] = None if masks is None else [source(mask) for mask in masks]
    return named
