"""What the verbs are given, made ready: pictures, settings, and whether all of it fits."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styletutor.descent.forecast import find_room
from styletutor.descent.method import Method, check_evaluations
from styletutor.descent.starts import GREY_NOISE, STARTS, Noise, make_start
from styletutor.loss.knobs import layer_shares
from styletutor.loss.needs import Needs
from styletutor.network.vgg import VGG, check_images
from styletutor.network.weights import load_vgg
from styletutor.pictures.images import (
    MAX_PIXELS,
    is_whole,
    pixels_sha256,
    resample,
    resize_image,
    too_large,
)
from styletutor.pictures.loading import is_sample, load_image, load_mask, spelt
from styletutor.pictures.reading import mask_of, picture_of

Picture = Tensor | str | Path | np.ndarray | Image.Image
MOST_EVALUATIONS = 10**12  # a thousand years
Side = tuple[str, int] | None  # "long", "short" or "height", and how many pixels it has


def ready(vgg: VGG | None, evaluations: int, seed: int) -> VGG:
    """The network to use, after a look at the numbers, which is quicker than loading it."""
    check_evaluations(evaluations)
    if evaluations > MOST_EVALUATIONS:
        raise ValueError(f"evaluations={evaluations:d} never come to an end; give fewer")
    if not is_whole(seed) or abs(seed) >= 2**63:
        raise ValueError(f"seed={seed}; it must be a whole number of at most 63 bits")
    if not (vgg is None or isinstance(vgg, VGG)):
        raise ValueError(f"vgg={vgg!r} is no network; load one, as in vgg=st.load_vgg('pocket')")
    if vgg is not None and vgg.mean.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"the network is in {vgg.mean.dtype}; take vgg.float() and precision='fast'"
        )
    return load_vgg("auto") if vgg is None else vgg


def fit(
    vgg: VGG,
    picture: Tensor,
    method: Method,
    aims: Mapping[str, Any],
    tile: int | None,
    batch: int = 1,
) -> tuple[int | None, Method]:
    """In what tiles a descent fits into the memory that is free, and the method with which it does.

    Raises ValueError if it does not fit at all, before it has taken any.

    `aims` are the keywords of an `Objective` for pictures of the size of `picture` (B, 3, H, W),
    `batch` of them if that is more. A layer with a weight for each counts for those that give it
    any, and one with a single weight, which may be turned yet, for all.
    """
    terms = {t: layer_shares(aims.get(f"{t}_layers", ())) for t in ("content", "style")}
    layers = [layer for shares in terms.values() for layer in shares]
    if not layers:
        raise ValueError("no layer was given; name at least one, as in 'relu4_2'")
    vgg.deepest(layers)  # raises, in one line, for a layer that the network does not have
    everywhere = [True] * max(batch, len(picture))
    uses = {
        f"{term} {layer}": [w > 0 for w in weight] if isinstance(weight, list) else everywhere
        for term, shares in terms.items()
        for layer, weight in shares.items()
    }
    room = find_room(
        vgg,
        picture.shape[2:],
        *terms.values(),
        tile=tile,
        batch=Needs.of(uses, vgg.layer_names, tv=False).layers,
        precision=method.precision,
        optimiser=method.optimiser,
        styles=[style.shape[2:] for style in aims.get("styles", ())],
        regions=len(aims.get("masks") or ()),
    )
    return room.tile, replace(method, on_disk=room.on_disk)


def to_picture(picture: Picture, vgg: VGG, size: int | None) -> Tensor:
    """`picture` as a tensor on the network's device, shrunk to `size`."""
    made = _read(picture, size).to(vgg.device, vgg.mean.dtype)
    return made.clone() if made.is_inference() else made  # of an inference tensor no gradient comes


def to_start(
    start: Picture,
    like: Tensor,
    seed: int,
    noise: Noise = GREY_NOISE,
    noise_blend: float = 0.0,
    clamp: bool = True,
) -> Tensor:
    """What a descent begins with, as `starts.make_start`; a file is fitted to `like`."""
    if isinstance(start, Tensor | np.ndarray | Image.Image):
        start = _read(start, None)
    elif isinstance(start, Path) or (isinstance(start, str) and start not in STARTS):
        start = resample(load_image(start).to(like), like.shape[2:])
    return make_start(start, like, seed, noise, noise_blend, clamp)


def scale_content(
    content: Picture, vgg: VGG, size: int | None, width: int | None, side: Side
) -> Tensor:
    """The content with the long side `size`, or `width` pixels wide, or as a recipe says."""
    if width is None:
        return _shrunk(content, vgg, size, side)
    if size is not None:
        raise ValueError(f"size={size} and width={width} are both given; give one of them")
    return _to_width(content, vgg, width, f"width={width}")


def scale_style(
    style: Picture, vgg: VGG, size: int | None, side: Side, scale: float | None, width: int
) -> Tensor:
    """The style as `scale_content` does it, or `scale` times `width` pixels wide."""
    if scale is None:
        return _shrunk(style, vgg, size, side)
    if not (isinstance(scale, numbers.Real) and 0 < scale <= 100):
        raise ValueError(f"style_scale={scale}; it must be a number above 0, and at most 100")
    return _to_width(style, vgg, max(1, round(scale * width)), f"style_scale={scale}")


def to_mask(mask: Picture, size: Sequence[int]) -> Tensor:
    """A mask as (h, w) in [0, 1] of `size`: a picture's as `reading.read_mask`, or (h, w)."""
    if isinstance(mask, str | Path):
        values = load_mask(mask)
    elif isinstance(mask, Image.Image):
        values = mask_of(mask)
    elif isinstance(mask, np.ndarray) and mask.dtype == np.uint8 and mask.ndim == 2:
        values = torch.from_numpy(mask / np.float32(255))[None, None]
    else:
        try:
            values = torch.as_tensor(mask).detach().float()
        except (TypeError, ValueError, RuntimeError):
            kind = type(mask).__name__
            raise ValueError(f"a mask is a {kind}; give a path, or an array (h, w)") from None
        _check_dense(values, "a mask")
        if values.ndim != 2 or not values.numel():
            raise ValueError(f"a mask has shape {tuple(values.shape)}, expected (height, width)")
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError("a mask has values outside [0, 1]; 1 is inside the region")
        values = values[None, None]
    if tuple(values.shape[2:]) != tuple(size):
        values = F.interpolate(values, tuple(size), mode="area")
    return values[0, 0]


def _check_dense(tensor: Tensor, what: str) -> None:
    if tensor.layout != torch.strided or tensor.is_meta:
        kind = "of the device meta, without any values" if tensor.is_meta else "sparse"
        raise ValueError(f"{what} is a tensor {kind}; give one with a number for each pixel")


def _read(picture: Picture, size: int | None) -> Tensor:
    if isinstance(picture, Tensor):
        check_images(picture)
        _check_dense(picture, "a picture")
        low, high = picture.min().item(), picture.max().item()
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # so that NaN fails as well
            raise ValueError(f"a picture has values from {low:g} to {high:g}, expected [0, 1]")
        return picture if size is None else resize_image(picture, size)
    if isinstance(picture, str | Path):
        return load_image(picture, size)
    if isinstance(picture, np.ndarray | Image.Image):
        return _read(picture_of(picture), size)
    kind = type(picture).__name__
    raise ValueError(f"a picture is a {kind}; give a tensor, an array, a sample's name or a path")


def _shrunk(picture: Picture, vgg: VGG, size: int | None, side: Side) -> Tensor:
    picture = to_picture(picture, vgg, size)
    if size is not None or side is None:
        return picture
    height, width = picture.shape[2:]
    which, pixels = side
    given = {"long": max(height, width), "short": min(height, width), "height": height}[which]
    return resize_image(picture, max(1, round(pixels * max(height, width) / given)))


def _to_width(given: Picture, vgg: VGG, width: int, what: str) -> Tensor:
    picture = to_picture(given, vgg, None)
    height, before = picture.shape[2:]
    if not is_whole(width) or width < 1:
        raise ValueError(f"{what} makes no picture; it must be at least 1 pixel wide")
    if width * max(1, width * height // before) > MAX_PIXELS:
        raise too_large(what, f"{width} x {width * height // before}")
    size = max(1, round(width * max(height, before) / before))
    if isinstance(given, str | Path) and is_sample(given):  # an artwork is painted at that size
        return load_image(given, size, enlarge=True).to(picture)
    return resize_image(picture, size, enlarge=True)


def plain(value: Any) -> Any:
    """Layers, weights and blends as JSON knows them: str, float, list or dict."""
    try:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, Mapping):
            return {name: float(weight) for name, weight in value.items()}
        if isinstance(value, Iterable) and not (isinstance(value, Tensor) and value.ndim == 0):
            items = [item if isinstance(item, str) else float(item) for item in value]
        else:
            return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"expected names or numbers, got {value!r}") from None
    check_once([item for item in items if isinstance(item, str)])
    return items


def check_once(layers: Sequence[str]) -> None:
    """Raise ValueError for a layer that is named twice, as no weight could say what is meant."""
    twice = [layer for layer in set(layers) if layers.count(layer) > 1]
    if twice:
        raise ValueError(f"the layer {twice[0]} is named twice; give it once, and a weight")


def source(picture: Picture) -> str:
    """How a report names a picture or a mask: as it was given, or by its pixels."""
    if isinstance(picture, str | Path):
        return spelt(picture)
    if isinstance(picture, Image.Image) or (isinstance(picture, np.ndarray) and picture.ndim == 3):
        picture = picture_of(picture)
    return f"tensor with sha256 {pixels_sha256(torch.as_tensor(picture))}"
