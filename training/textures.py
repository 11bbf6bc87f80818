"""The kinds of surface that the procedural pictures are made of, each a function of a generator.

All of them return float RGB of shape (size, size, 3), roughly in [0, 1].
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy import ndimage


def _palette(rng: Generator, colours: int) -> np.ndarray:
    """Related colours of one of 64 families, often sorted from dark to light.

    With a palette of its own, each picture could be told by its colours alone.
    """
    family = np.random.default_rng(rng.integers(64))
    tint, strength = family.random(3), family.uniform(0.2, 1)
    palette = tint + family.normal(0, 0.35, (8, 3))
    grey = palette.mean(1, keepdims=True)
    palette = np.clip(grey + strength * (palette - grey), 0, 1)[rng.permutation(8)[:colours]]
    return palette[np.argsort(palette.sum(1))] if rng.random() < 0.6 else palette


def _coloured(values: np.ndarray, palette: np.ndarray) -> np.ndarray:
    values = (values - values.min()) / (np.ptp(values) + 1e-9)
    knots = np.linspace(0, 1, len(palette))
    return np.stack([np.interp(values, knots, channel) for channel in palette.T], -1)


def noise(rng: Generator, size: int, slope: float, stretch: float = 1.0) -> np.ndarray:
    """Gaussian noise with amplitude 1/f^slope, stretched along a random direction; deviation 1."""
    v, u = turned(rng, np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency = np.hypot(u, v * stretch)
    frequency[0, 0] = 1
    return _from_amplitude(rng, frequency**-slope)


def _from_amplitude(rng: Generator, amplitude: np.ndarray) -> np.ndarray:
    field = np.fft.ifft2(amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))).real
    return (field - field.mean()) / (field.std() + 1e-9)


def turned(rng: Generator, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    angle = rng.uniform(0, np.pi)
    return y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)


def clouds(rng: Generator, size: int) -> np.ndarray:
    if rng.random() < 0.5:
        field = noise(rng, size, rng.uniform(0.5, 2.2), rng.uniform(1, 6))
    else:  # one scale only: ripples, grain, bark
        y, x = turned(rng, np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
        frequency = np.hypot(x, y * rng.uniform(1, 6)) + 1e-9
        centre, width = 10 ** rng.uniform(-1.8, -0.6), rng.uniform(0.1, 0.5)
        field = _from_amplitude(rng, np.exp(-((np.log(frequency / centre) / width) ** 2)))
    if rng.random() < 0.4:
        field = np.tanh(field * rng.uniform(1, 8))
    return _coloured(field, _palette(rng, rng.integers(2, 6)))


def waves(rng: Generator, size: int) -> np.ndarray:
    y, x = turned(rng, *np.mgrid[:size, :size].astype(float))
    step = 2 * np.pi * 10 ** rng.uniform(-1.7, -0.7)
    a, b = np.sin(step * x), np.sin(step * y * rng.uniform(0.5, 1.5))
    field = (a, np.sign(a) * np.sign(b), np.maximum(a, b), np.sign(a), a * b)[rng.integers(5)]
    return _coloured(field, _palette(rng, rng.integers(2, 5)))


def leaves(rng: Generator, size: int) -> np.ndarray:
    """Dead leaves: shapes that fall on each other, flat, striped or shaded, some outlined."""
    canvas = np.ones((size, size, 3)) * rng.random(3)
    palette, shape, finish = _palette(rng, 8), rng.integers(4), rng.integers(3)
    outline = rng.uniform(0.75, 0.92) if rng.random() < 0.35 else 1.0
    smallest, largest = rng.uniform(2, 8), rng.uniform(12, 60)
    direction, spread = rng.uniform(0, np.pi), rng.choice([0.2, 3.2])
    light = rng.normal(0, 0.3, 2)
    for _ in range(rng.integers(60, 260)):
        radius = rng.uniform(largest**-2, smallest**-2) ** -0.5
        angle = direction + rng.uniform(-spread, spread)
        longer = 1.0 if shape == 0 else rng.uniform(1, 5)
        window, u, v = _patch(rng.uniform(0, size, 2), radius * longer, angle, size)
        u, v = u / (radius * longer), v / radius
        distance = {2: np.maximum(abs(u), abs(v)), 3: abs(u) + abs(v)}.get(shape, np.hypot(u, v))
        colour = palette[rng.integers(8)] + rng.normal(0, 0.05, 3)
        shade = np.zeros_like(u)
        if finish == 1:
            shade = 0.15 * np.sin(v * radius * rng.uniform(0.3, 1.5))
        elif finish == 2:
            shade = light[0] * u + light[1] * v
        filled = colour + shade[..., None]
        filled[distance > outline] = colour * 0.2
        canvas[window][distance < 1] = filled[distance < 1]
    return canvas


def _patch(
    centre: np.ndarray, radius: float, angle: float, size: int
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """The window of the canvas around `centre`, and its coordinates along and across `angle`."""
    low = np.clip(np.floor(centre - radius), 0, size).astype(int)
    high = np.clip(np.ceil(centre + radius), 0, size).astype(int)
    y, x = np.mgrid[low[0] : high[0], low[1] : high[1]].astype(float)
    y, x = y - centre[0], x - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (slice(low[0], high[0]), slice(low[1], high[1])), along, across


def cells(rng: Generator, size: int) -> np.ndarray:
    """Voronoi cells, with mortar or without, some domed."""
    count = rng.integers(20, 400)
    y, x = rng.integers(0, size, (2, count))
    empty = np.ones((size, size), bool)
    empty[y, x] = False
    numbers = np.zeros((size, size), int)
    numbers[y, x] = np.arange(count)
    away, nearest = ndimage.distance_transform_edt(empty, return_indices=True)
    owner = numbers[tuple(nearest)]
    colours = _palette(rng, 6)[rng.integers(0, 6, count)] + rng.normal(0, 0.08, (count, 3))
    picture = colours[owner]
    if rng.random() < 0.6:
        width = rng.choice([3, 3, 5])
        edge = ndimage.maximum_filter(owner, width) != ndimage.minimum_filter(owner, width)
        picture[edge] = rng.random(3) if rng.random() < 0.5 else 0
    if rng.random() < 0.4:
        picture = picture * (1.1 - 0.7 * away / away.max())[..., None]
    return picture


def streaks(rng: Generator, size: int) -> np.ndarray:
    """Noise smeared along a smooth flow: line integral convolution."""
    angle = noise(rng, size, 2.0) * rng.uniform(0.5, 2)
    speckle = noise(rng, size, rng.uniform(0.1, 1.2))
    source = _coloured(speckle, _palette(rng, 6))
    total, length = np.zeros_like(source), rng.integers(4, 16)
    for sign in (1, -1):
        y, x = np.mgrid[:size, :size].astype(float)
        for _ in range(length):
            i, j = (np.clip(p, 0, size - 1).astype(int) for p in (y, x))
            total += source[i, j]
            y += sign * np.sin(angle[i, j])
            x += sign * np.cos(angle[i, j])
    return (total / (2 * length) - 0.5) * rng.uniform(1, 1.8) + 0.5


def dabs(rng: Generator, size: int) -> np.ndarray:
    """Brush dabs laid along a flow, coloured by what lies beneath them, bristles showing."""
    angle = noise(rng, size, 2.2) * rng.uniform(0.4, 2) + rng.uniform(0, np.pi)
    palette = _palette(rng, 6)
    beneath = _coloured(noise(rng, size, rng.uniform(1.4, 2.2)), palette)
    canvas = beneath.copy()
    width, longer = rng.uniform(1.5, 6), rng.uniform(2, 6)
    variety, bristles = rng.uniform(0.02, 0.15), rng.uniform(0, 0.15)
    for _ in range(int(min(2500, 2.5 * size**2 / (width**2 * longer)))):
        centre = rng.uniform(0, size, 2)
        i, j = centre.astype(int)
        wide = width * rng.uniform(0.6, 1.4)
        window, u, v = _patch(centre, wide * longer, angle[i, j] + rng.normal(0, 0.15), size)
        v = v + u**2 * rng.normal(0, 0.1) / (wide * longer)
        colour = beneath[i, j] + rng.normal(0, variety) + rng.normal(0, variety / 2, 3)
        ridge = bristles * np.sin(v * rng.uniform(1.5, 3) + rng.uniform(0, 6))
        inside = (u / (wide * longer)) ** 2 + (v / wide) ** 2 < 1
        canvas[window][inside] = (colour + ridge[..., None])[inside]
    return canvas


def solids(rng: Generator, size: int) -> np.ndarray:
    """Lit balls and boxes before a graded ground, each with its shadow and its own surface."""
    ground = _coloured(noise(rng, size, 2.5), _palette(rng, 3))
    canvas, light = ground, rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(4, 24)):
        radius, centre = rng.uniform(8, 55), rng.uniform(0, size, 2)
        offset = 0.35 * radius * np.array([np.sin(light), np.cos(light)])
        window, u, v = _patch(centre + offset, radius, 0.0, size)
        canvas[window] *= np.where(np.hypot(u, v) < radius, 0.55, 1)[..., None]
        window, u, v = _patch(centre, radius, light, size)
        u, v = u / radius, v / radius
        square = rng.random() < 0.3
        inside = np.maximum(abs(u), abs(v)) < 0.75 if square else np.hypot(u, v) < 1
        height = np.sqrt(np.clip(1 - u**2 - v**2, 0, 1))
        bright = np.clip(0.35 - 0.55 * u + 0.5 * height, 0.08, 1.2)
        if rng.random() < 0.5:
            bright *= 1 + 0.3 * np.sign(np.sin(v * rng.uniform(5, 25)))
        gloss = 0.6 * np.clip(1 - 8 * ((u + 0.4) ** 2 + v**2), 0, 1) * (rng.random() < 0.5)
        colour = _palette(rng, 1) * bright[..., None] + gloss[..., None]
        canvas[window][inside] = colour[inside]
    return canvas


def marks(rng: Generator, size: int) -> np.ndarray:
    """Rows of letters that mean nothing, or loose scribbles, on a plain or a clouded ground."""
    palette = _palette(rng, 4)
    ground = _coloured(noise(rng, size, 2.2), palette[:2] if rng.random() < 0.5 else palette[:1])
    image = Image.fromarray((np.clip(ground, 0, 1) * 255).astype(np.uint8))
    draw, height = ImageDraw.Draw(image), int(rng.integers(6, 28))
    pen, loose = int(rng.integers(1, 2 + height // 7)), rng.random() < 0.4
    alphabet = rng.random((12, 4, 2))
    for top in range(0, size, int(height * 1.5)):
        for left in range(0, size, int(height * 0.9)):
            if rng.random() < 0.15:
                continue
            points = alphabet[rng.integers(12)] * (height * (2 if loose else 0.75))
            points = points + [left, top] + (rng.normal(0, height, 2) if loose else 0)
            colour = tuple(int(255 * c) for c in palette[rng.integers(2, 4)])
            draw.line([tuple(p) for p in points], fill=colour, width=pen, joint="curve")
    return np.asarray(image) / 255


def hatching(rng: Generator, size: int) -> np.ndarray:
    """An engraving: lines whose thickness follows the tone, crossed where it is darkest."""
    tone = noise(rng, size, 2.2)
    tone = (tone - tone.min()) / np.ptp(tone)
    bend = noise(rng, size, 2.4) * rng.uniform(0, 8)
    step, ink = 2 * np.pi / rng.uniform(4, 12), np.zeros((size, size))
    for threshold in (0.0, 0.45)[: rng.integers(1, 3)]:
        _, along = turned(rng, *np.mgrid[:size, :size].astype(float))
        line = 0.5 + 0.5 * np.sin(step * (along + bend))
        ink = np.maximum(ink, np.clip(4 * (tone - threshold - line) + 0.5, 0, 1))
    paper, pen = _palette(rng, 2)[::-1]
    return paper + (pen - paper) * ink[..., None]


KINDS = (
    clouds,
    waves,
    leaves,
    leaves,
    cells,
    streaks,
    streaks,
    dabs,
    dabs,
    solids,
    marks,
    hatching,
)
