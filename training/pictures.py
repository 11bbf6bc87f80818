"""Procedural pictures: the textures, strokes, shapes and marks that the pocket network learns from.

Every picture is a function of its number alone, so the collection needs no files and no licence.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy import ndimage

from training.textures import KINDS, noise, turned

SIZE = 384


def make_picture(number: int, size: int = SIZE) -> np.ndarray:
    """Procedural picture `number`, uint8 RGB of shape (size, size, 3)."""
    rng = np.random.default_rng(number)
    picture = _texture(rng, size)
    if rng.random() < 0.45:
        picture = _warped(rng, picture, rng.uniform(1, 12))
    if rng.random() < 0.35:  # two materials that meet along an edge
        picture = np.where((noise(rng, size, 2.0) > 0)[..., None], picture, _texture(rng, size))
    if rng.random() < 0.25:  # light falls on it from one side
        picture = picture * np.exp(0.35 * noise(rng, size, 2.2))[..., None]
    if rng.random() < 0.2:
        picture = _tilted(rng, picture)
    if rng.random() < 0.25:
        picture = picture + rng.normal(0, rng.uniform(0.01, 0.08), picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _texture(rng: Generator, size: int) -> np.ndarray:
    return KINDS[rng.integers(len(KINDS))](rng, size)


def _warped(rng: Generator, picture: np.ndarray, pixels: float) -> np.ndarray:
    size = len(picture)
    shifts = [noise(rng, size, 1.8) * pixels for _ in range(2)]
    return _looked_up(picture, [p + s for p, s in zip(np.mgrid[:size, :size], shifts, strict=True)])


def _tilted(rng: Generator, picture: np.ndarray) -> np.ndarray:
    """Seen at an angle: rows are drawn together towards a horizon."""
    size = len(picture)
    y, x = turned(rng, *(np.mgrid[:size, :size] / size - 0.5))
    depth = 1 + rng.uniform(0.4, 1.1) * (y + 0.5)
    return _looked_up(picture, [(p / depth + 0.5) * (size - 1) for p in (y, x)])


def _looked_up(picture: np.ndarray, at: list[np.ndarray]) -> np.ndarray:
    return np.stack(
        [
            ndimage.map_coordinates(c, at, order=1, mode="mirror")
            for c in picture.transpose(2, 0, 1)
        ],
        -1,
    )
