"""What the verbs are given, made ready: pictures, settings, and whether all of it fits."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styletutor.descent import check_settings
from styletutor.images import pixels_sha256, resize_image
from styletutor.knobs import LayerWeights, layer_shares
from styletutor.memory import ensure_fit
from styletutor.samples import load_image
from styletutor.stages import choose_precision
from styletutor.vgg import VGG, check_images
from styletutor.weights import load_vgg

Picture = Tensor | str | Path
Side = tuple[str, int] | None  # "long", "short" or "height", and how many pixels it has


def ready(vgg: VGG | None, seed: int, how: Mapping[str, Any]) -> VGG:
    """The network to use, after a look at the settings, which is quicker than loading it."""
    unchecked = ("coarse_to_fine", "clamp", "decay", "wavelength")
    checked = {name: value for name, value in how.items() if name not in unchecked}
    check_settings(**checked, seed=seed)
    coarse = how.get("coarse_to_fine")
    if not (coarse is None or isinstance(coarse, bool)):
        raise ValueError(f"coarse_to_fine={coarse!r}; it must be True, False or None")
    if not (vgg is None or isinstance(vgg, VGG)):
        raise ValueError(f"vgg={vgg!r} is no network; load one, as in vgg=st.load_vgg('pocket')")
    return load_vgg("auto") if vgg is None else vgg


def check_fit(
    vgg: VGG,
    picture: Tensor,
    styles: Sequence[Tensor],
    content_layers: LayerWeights,
    style_layers: LayerWeights,
    how: Mapping[str, Any],
    regions: int = 0,
) -> None:
    """Raise ValueError if a descent on (B, 3, H, W) pictures needs more memory than is free."""
    names = [list(layer_shares(layers)) for layers in (content_layers, style_layers)]
    if not any(names):
        raise ValueError("no layer was given; name at least one, as in 'relu4_2'")
    needs = {"batch": len(picture), "optimiser": how["optimiser"], "regions": regions}
    needs["precision"] = choose_precision(how["precision"], vgg.device)
    sizes = [style.shape[2:] for style in styles]
    ensure_fit(vgg, picture.shape[2:], *names, styles=sizes, **needs)


def to_picture(picture: Picture, vgg: VGG, size: int | None) -> Tensor:
    """`picture` as a tensor on the network's device, shrunk to `size`."""
    if isinstance(picture, Tensor):
        check_images(picture)
        low, high = picture.min().item(), picture.max().item()
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # so that NaN fails as well
            raise ValueError(f"a picture has values from {low:g} to {high:g}, expected [0, 1]")
        picture = picture if size is None else resize_image(picture, size)
    elif isinstance(picture, str | Path):
        picture = load_image(picture, size)
    else:
        kind = type(picture).__name__
        raise ValueError(f"a picture is a {kind}; give a tensor, a sample's name or a path")
    return picture.to(vgg.device, vgg.mean.dtype)


def scale_content(
    content: Picture, vgg: VGG, size: int | None, width: int | None, side: Side
) -> Tensor:
    """The content with the long side `size`, or `width` pixels wide, or as a recipe says."""
    if width is None:
        return _shrunk(content, vgg, size, side)
    if size is not None:
        raise ValueError(f"size={size} and width={width} are both given; give one of them")
    return _to_width(to_picture(content, vgg, None), width, f"width={width}")


def scale_style(
    style: Picture, vgg: VGG, size: int | None, side: Side, scale: float | None, width: int
) -> Tensor:
    """The style as `scale_content` does it, or `scale` times `width` pixels wide."""
    if scale is None:
        return _shrunk(style, vgg, size, side)
    if not (isinstance(scale, numbers.Real) and 0 < scale < float("inf")):
        raise ValueError(f"style_scale={scale}; it must be a finite number above 0")
    picture = to_picture(style, vgg, None)
    return _to_width(picture, max(1, round(scale * width)), f"style_scale={scale}")


def to_mask(mask: Picture, size: Sequence[int]) -> Tensor:
    """A mask as (h, w) in [0, 1] of `size`: a picture's brightness, or an array (h, w)."""
    if isinstance(mask, str | Path):
        values = load_image(mask).mean(1, keepdim=True)
    else:
        try:
            values = torch.as_tensor(mask).detach().float()
        except (TypeError, ValueError, RuntimeError):
            kind = type(mask).__name__
            raise ValueError(f"a mask is a {kind}; give a path, or an array (h, w)") from None
        if values.ndim != 2 or not values.numel():
            raise ValueError(f"a mask has shape {tuple(values.shape)}, expected (height, width)")
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError("a mask has values outside [0, 1]; 1 is inside the region")
        values = values[None, None]
    if tuple(values.shape[2:]) != tuple(size):
        values = F.interpolate(values, tuple(size), mode="area")
    return values[0, 0]


def _shrunk(picture: Picture, vgg: VGG, size: int | None, side: Side) -> Tensor:
    picture = to_picture(picture, vgg, size)
    if size is not None or side is None:
        return picture
    height, width = picture.shape[2:]
    which, pixels = side
    given = {"long": max(height, width), "short": min(height, width), "height": height}[which]
    return resize_image(picture, max(1, round(pixels * max(height, width) / given)))


def _to_width(picture: Tensor, width: int, what: str) -> Tensor:
    height, before = picture.shape[2:]
    if not isinstance(width, numbers.Integral) or isinstance(width, bool) or width < 1:
        raise ValueError(f"{what} makes no picture; it must be at least 1 pixel wide")
    return resize_image(picture, max(1, round(width * max(height, before) / before)), enlarge=True)


def plain(value: Any) -> Any:
    """Layers, weights and blends as JSON knows them: str, float, list or dict."""
    try:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, Mapping):
            return {name: float(weight) for name, weight in value.items()}
        if isinstance(value, Iterable) and not (isinstance(value, Tensor) and value.ndim == 0):
            return [item if isinstance(item, str) else float(item) for item in value]
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"expected names or numbers, got {value!r}") from None


def source(picture: Picture) -> str:
    """How a report names a picture or a mask: as it was given, or by its pixels."""
    if isinstance(picture, str | Path):
        return str(picture)
    return f"tensor with sha256 {pixels_sha256(torch.as_tensor(picture))}"
