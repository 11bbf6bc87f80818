"""What the verbs are given, made ready: pictures, settings, and whether all of it fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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


def ready(vgg: VGG | None, descent: Mapping[str, Any]) -> VGG:
    """The network to use, after a look at the settings, which is quicker than loading it."""
    unchecked = ("start", "coarse_to_fine")
    check_settings(**{name: value for name, value in descent.items() if name not in unchecked})
    return load_vgg("auto") if vgg is None else vgg


def check_fit(
    vgg: VGG,
    picture: Tensor,
    content_layers: LayerWeights,
    style_layers: LayerWeights,
    descent: Mapping[str, Any],
) -> None:
    """Raise ValueError if a descent on (B, 3, H, W) pictures needs more memory than is free."""
    names = [list(layer_shares(layers)) for layers in (content_layers, style_layers)]
    how = {"batch": len(picture), "optimiser": descent["optimiser"]}
    how["precision"] = choose_precision(descent["precision"], vgg.device)
    ensure_fit(vgg, picture.shape[2:], *names, **how)


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


def plain(value: Any) -> Any:
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
