"""Colours: keeping those of the content, or giving them to the style before it is used."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

COLOURS = ("style", "content", "match", "histogram")
EPSILON = 1e-5


def keep_colours(images: Tensor, content: Tensor) -> Tensor:
    """Lightness from `images`, colours from `content`: (B, 3, H, W) in [0, 1].

    Luminance-only transfer in its simplest form, after the fact, of Gatys et al., "Preserving Color
    in Neural Artistic Style Transfer" (2016), Section 4: Y of the one, Cb and Cr of the other
    (ITU-R BT.601). What then lies outside [0, 1] is cut.
    """
    from skimage.color import rgb2ycbcr, ycbcr2rgb

    light, colour = (rgb2ycbcr(_channels_last(p)) for p in torch.broadcast_tensors(images, content))
    mixed = ycbcr2rgb(np.concatenate([light[..., :1], colour[..., 1:]], axis=-1))
    return _like(torch.from_numpy(mixed).permute(0, 3, 1, 2), images)


def match_colours(style: Tensor, content: Tensor, how: str = "match") -> Tensor:
    """The style picture (1, 3, h, w) in the colours of the content (1, 3, H, W), in [0, 1].

    "match" gives it the mean and covariance of the content's pixels by the linear map
    x ↦ Σ_c^½ Σ_s^(-½) (x - μ_s) + μ_c (Gatys et al. 2016, Section 3, "Image Analogies" form),
    "histogram" each channel's whole histogram; values that are alike stay so, and go to the middle
    of their ranks.
    """
    pixels, wanted = (p.detach().cpu().double().flatten(2)[0] for p in (style, content))
    if how == "histogram":
        matched = [_ranked_as(*pair) for pair in zip(pixels, wanted, strict=True)]
        return _like(torch.stack(matched).view(style.shape), style)
    mean, aim = pixels.mean(1, keepdim=True), wanted.mean(1, keepdim=True)
    change = _power(wanted, 0.5) @ _power(pixels, -0.5)
    return _like((change @ (pixels - mean) + aim).view(style.shape), style)


def _like(values: Tensor, picture: Tensor) -> Tensor:
    """In [0, 1], of its type and on its device: rounded first, for MPS has no float64."""
    return values.to(picture.dtype).to(picture.device).clamp(0, 1)


def _ranked_as(values: Tensor, wanted: Tensor) -> Tensor:
    """Each of `values` (n) replaced by the one of `wanted` (m) that has its place in the order."""
    _, which, counts = torch.unique(values, return_inverse=True, return_counts=True)
    middles = (counts.cumsum(0) - counts / 2) / len(values)
    places = (np.arange(len(wanted)) + 0.5) / len(wanted)
    return torch.from_numpy(np.interp(middles, places, wanted.sort().values))[which]


def _power(pixels: Tensor, exponent: float) -> Tensor:
    # A power of the covariance of (3, N); a little is added, for pictures in one colour.
    one = torch.eye(3, dtype=pixels.dtype, device=pixels.device)
    values, vectors = torch.linalg.eigh(torch.cov(pixels, correction=0) + EPSILON * one)
    return (vectors * values.clamp(min=EPSILON) ** exponent) @ vectors.T


def _channels_last(pictures: Tensor) -> np.ndarray:
    return pictures.detach().cpu().double().permute(0, 2, 3, 1).numpy()
