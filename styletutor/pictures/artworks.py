"""Pictures made by our own code, to be used as styles: free to share, and the same every time.

Each function returns an (H, W, 3) float32 picture in [0, 1], long side 512 px, or so many times
as much within `larger`. Inside, lengths are fractions of that long side, and everything is drawn at
twice the size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from scipy import fft, ndimage, spatial

AT_ONCE = 2**20  # samples of strokes, or pixels
_times = ContextVar("times", default=1)


@contextmanager
def larger(times: int) -> Iterator[None]:
    """Artworks that are painted within are `times` as wide and high: the same marks, finer."""
    before = _times.set(times)
    try:
        yield
    finally:
        _times.reset(before)


def _long() -> int:
    return 1024 * _times.get()  # two working pixels to each: hard-edged marks need the averaging


def _start(seed, height, width) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Random numbers, and the pixels' y and x as fractions of the long side."""
    height, width = (2 * _times.get() * side for side in (height, width))
    return np.random.default_rng(seed), *(np.mgrid[:height, :width].astype("f4") / _long())


def _noise(rng, shape, cell, octaves=4, stretch=1.0) -> np.ndarray:
    """Smooth noise in [0, 1] with bumps of about `cell`, `stretch` times as long in x."""
    f = (
        np.hypot(fft.fftfreq(shape[0])[:, None], stretch * fft.rfftfreq(shape[1]))
        * 2
        * cell
        * _long()
    )
    keep = (np.exp(-((f / 2**octaves) ** 2)) / (1 + f**2)).astype(np.float32)
    noise = fft.irfft2(fft.rfft2(rng.standard_normal(shape, np.float32)) * keep, shape)
    return (noise - noise.min()) / np.ptp(noise)


def _pick(index, colours: str) -> np.ndarray:
    """The hex colour at each index, rounded down and wrapped: (...) -> (..., 3)."""
    stops = np.array([list(bytes.fromhex(c)) for c in colours.split()], np.float32) / 255
    return stops[np.floor(index).astype(int) % len(stops)]


def _ramp(t, colours: str) -> np.ndarray:
    """Colours for t in [0, 1], blended between evenly spaced hex stops: (...) -> (..., 3)."""
    t = np.clip(t, 0, 0.9999) * colours.count(" ")
    here = _pick(t, colours)
    return here + (t % 1)[..., None] * (_pick(t + 1, colours) - here)


def _over(below, mask, colour) -> np.ndarray:
    """Colour where the mask holds, what lies below elsewhere."""
    return np.where(mask[..., None], colour, below).astype(np.float32)


def _finish(canvas, relief=None, depth=0.3) -> np.ndarray:
    """The canvas at final size, its relief (if any) lit from the top left."""
    if relief is not None:
        lit = np.tanh(-2.5 * sum(np.gradient(ndimage.gaussian_filter(relief, 1.2))))[..., None]
        canvas = canvas * (1 + depth * lit) + 0.5 * depth * lit.clip(0, 1) ** 3
    return canvas.reshape(len(canvas) // 2, 2, -1, 2, 3).mean((1, 3)).clip(0, 1).astype("f4")


def _parts(whole: int, most: int) -> Iterator[slice]:
    """Of a row of things, some after the others: what is made of all at once takes gigabytes."""
    most = max(1, most)
    return (slice(start, start + most) for start in range(0, whole, most))


def _paint(rng, picture, angle, layers, depth, tip=2) -> np.ndarray:
    """The picture in strokes along `angle`: layers of (length, width, cover), `tip` 2 for ovals."""
    (h, w), heading = angle.shape, np.exp(1j * angle).astype(np.complex64)  # x + iy

    def inside(z):
        return z.imag.astype(np.int32).clip(0, h - 1), z.real.astype(np.int32).clip(0, w - 1)

    canvas, relief = 0.6 * picture, np.zeros_like(angle, np.float32)
    for length, width, cover in np.array(layers) * (_long(), _long(), 1):
        # Some strokes begin outside, or the sides that the field flows away from would be bare.
        count = int(cover * (h + length) * (w + length) / (length * width))
        at = rng.random((count, 2)) @ [w + length, 1j * (h + length)] - (0.5 + 0.5j) * length
        n, m = int(length / 0.9) + 2, int(width / 0.7) + 2  # closer than pixels: no holes
        path, turn = np.zeros((2, count, n, 1), np.complex64)
        for i in range(n):
            path[:, i, 0], turn[:, i, 0] = at, heading[inside(at)]
            at = at + length / n * turn[:, i, 0]
        s, across = np.linspace(-1, 1, n)[:, None], np.linspace(-0.5, 0.5, m)
        wide = width * rng.uniform(0.55, 1.1, (count, 1, 1))
        # One scatter of sample numbers, where the last stroke wins, is cheaper than of colours.
        top, samples = np.full((h, w), -1, np.int32), np.arange(n * m).reshape(n, m)
        for some in _parts(count, AT_ONCE // (n * m)):
            offset = (wide[some] * np.sqrt(1 - s**tip) * across).astype(np.float32)
            number = n * m * np.arange(count)[some, None, None] + samples
            top[inside(path[some] + 1j * turn[some] * offset)] = number
        grooves = ndimage.gaussian_filter1d(rng.standard_normal((count, m)), 0.8)
        colour = picture[inside(path[:, n // 2, 0])] + 0.06 * rng.standard_normal((count, 3))
        for rows in _parts(h, AT_ONCE // w):
            hit = top[rows] >= 0
            stroke, sample = np.divmod(top[rows][hit], n * m)
            groove = grooves[stroke, sample % m]
            canvas[rows][hit] = colour[stroke] * (1 + 0.1 * groove[:, None])
            ridge = (1 - 4 * across**2)[sample % m]
            relief[rows][hit] = ridge + 0.45 * groove + 0.4 * s[sample // m, 0]
    return _finish(canvas, relief, depth)


def swirling_strokes() -> np.ndarray:
    """Whirling clouds of rose, apricot and cream in a plum evening sky above rolling teal hills,
    in long curved oil strokes with raised bristle marks that follow the wind."""
    rng, y, x = _start(11, 416, 512)
    flow, glow = 1 + 0.3j * np.sin(8 * x + 2), 0.5 * _noise(rng, x.shape, 0.1, 3, 3) + 0.35 * y
    for i, centre in enumerate([0.27 + 0.27j, 0.7 + 0.17j, 0.58 + 0.42j, 0.91 + 0.42j]):
        z = (x + 1j * y - centre) / (0.17, -0.14, -0.1, 0.12)[i]  # below 0 turns the other way
        r, near = np.abs(z), np.exp(-(np.abs(z) ** 2))
        flow = flow + 6j * near * z / (r + 0.06)
        glow = glow + near**0.7 * (0.3 + 0.25 * np.cos(2 * np.angle(z) - 3.2 * np.log(r + 0.1)))
    picture = _ramp(glow - 0.1, "170f33 3d1a5c 7c2a78 c9486f f08a58 f9c877 fdf0c6")
    hills = "8fc7c0 3d6f94, f2b184 24596e, 4fa89a 17495a, e8c98a 1b3a52, 3f9a94 101f3a"
    for i, colours in enumerate(hills.split(", ")):
        ridge = 0.53 + 0.058 * i + 0.03 * np.sin(x * (9 - i) + 2.3 * i) + 0.015 * np.sin(17 * x + i)
        picture = _over(picture, y > ridge, _ramp(1 - np.exp((ridge - y) / 0.02), colours))
        flow = np.where(y > ridge, 1 + 1j * _long() * np.gradient(ridge, axis=1), flow)
    return _paint(rng, picture, np.angle(flow), [(0.11, 0.018, 2.5), (0.06, 0.01, 1)], 0.3)


def impasto_field() -> np.ndarray:
    """Rows of ripe wheat with poppies run to dark poplars under cobalt sky and cream cloud, laid
    on in thick square dabs of a knife whose ridges catch the light."""
    rng, y, x = _start(5, 512, 416)
    cloud, clump = _noise(rng, x.shape, 0.13, 4, 1.6), _noise(rng, x.shape, 0.035, 2)
    picture = _ramp(2.4 * cloud - 0.85 + 0.7 * y, "143f91 2a6fc0 74addb f4ecd6 fbd9a6")
    trees = y > 0.40 - 0.05 * clump[:1] - 0.22 * np.sin(34 * x) ** 4 * np.sin(9 * x + 1).clip(0)
    picture = _over(picture, trees, _ramp(clump, "0f2438 17474a 3c6e3a 8f9a3e"))
    near = (1.72 * (y - 0.42 - 0.02 * np.sin(8 * x))).clip(0)
    crop = 0.22 + 0.3 * np.sin((x - 0.5) / (0.15 + near) * 38) + 0.6 * cloud
    picture = _over(picture, near > 0, _ramp(crop, "2c4a26 6a8030 c79a2a efc046 fbe596"))
    poppies = (clump + 0.4 * _noise(rng, x.shape, 0.15, 2, 2) > 0.82) & (near > 0)
    picture = _over(picture, poppies, _ramp(3 * clump - 1.2, "8f1020 d9251d f7704a"))
    lean = np.arctan2(0.25 + near, 1.6 * (x - 0.5)) + 1.2 * (cloud - 0.5)
    angle = np.where(near > 0, lean, np.where(trees, 1.45, 5 * cloud - 2.8))
    return _paint(rng, picture, angle, [(0.075, 0.034, 3.6), (0.038, 0.016, 0.7)], 0.42, tip=6)


def pointillist_dots() -> np.ndarray:
    """A sunlit river between round trees and violet hills, built of thousands of dots: warm and
    cool, light and dark neighbours that mix only in the eye."""
    rng, y, x = _start(8, 400, 512)
    soft = _noise(rng, x.shape, 0.1, 4, 2)
    picture = _ramp(2.5 * y + 0.5 * soft - 0.2, "3f80d0 86bae6 fbe9c0 fbc48a")
    hills = _ramp(5 * y - 1.2 + 0.4 * soft, "5a50a8 9a80c8 7fb0a8")
    picture = _over(picture, y > 0.25 + 0.03 * np.sin(7 * x) + 0.02 * np.sin(15 * x + 2), hills)
    grass = _ramp(0.2 * np.sin(40 * y + 4 * x) + 1.2 * soft - 0.1, "1a5f4a 4f9f3c c4cc3c f9dc68")
    ripple = 1.2 * soft - 0.05 + 0.3 * np.sin(9 / (y + 0.1) ** 2 + 4 * np.sin(7 * x))
    river = np.abs(x - 0.77 + 0.4 * y - 0.09 * np.sin(11 * y)) < 0.04 + 0.5 * (y - 0.39)
    land = _over(grass, river, _ramp(ripple, "1a3888 2672bc 6fbcd4 fdeebc"))
    picture = _over(picture, y > 0.37 + 0.02 * np.sin(5 * x), land)
    for cy, cx, size in [(0.24, 0.34, 0.09), (0.20, 0.15, 0.14), (0.23, 0.89, 0.13)]:
        v, u, ragged = (y - cy) / size, (x - cx) / size, _noise(rng, x.shape, 0.06, 3)
        stem = (np.abs(u) < 0.12) & (np.abs(v - 1) < 1) | (np.hypot(v * 5 - 10, u - 0.5) < 1.1)
        picture = _over(picture, stem, _pick(v > 1.7, "5a2a62 203a80"))
        leaves = _ramp(0.9 * ragged - 0.35 * (u + v), "1f2670 146a5e 4fa03c e6cc3c f8a83e")
        picture = _over(picture, np.hypot(v / 1.2, u) < 0.7 + 0.6 * ragged, leaves)
    picture = picture * _pick(rng.integers(0, 4, x.shape), "ffffff ffffff fff0b0 a0c4ff")
    return _paint(rng, picture, 0 * x, [(0.02, 0.02, 3.5), (0.014, 0.014, 1.2)], 0.12)


def stripe_woodcut() -> np.ndarray:
    """A red sun over snowy peaks and a lake, printed from a block cut in swelling stripes: thick
    where it is dark, thin where it is light, and bent along each form."""
    rng, y, x = _start(3, 512, 400)
    r = np.hypot(y - 0.24, x - 0.47)
    phase, tone = r * 46, np.where(r < 0.115, 0.1, 0.34 + 0.75 * r)
    paint = _over(_ramp(y * 1.8, "1f6f7a 7fb0a0 f0dcae f2b26a"), r < 0.115, _pick(0, "d8351f"))
    for i, peak in enumerate([0.2 + 0.24j, 0.6 + 0.34j, 0.06 + 0.47j, 0.38 + 0.5j, 0.74 + 0.52j]):
        u, v, rough = x - peak.real, y - peak.imag, _noise(rng, x.shape, 0.08, 4) - 0.5
        here, dark = v > np.abs(u) + 0.1 * rough[:1], u + 0.16 * rough[:, :1] + 0.12 * v > 0
        phase = np.where(here, 42 * (0.8 * y + np.where(dark, -u, u) + 0.08 * rough), phase)
        tone = np.where(here, np.where(dark, 0.78, 0.2) - 0.5 * v, tone)
        paint = _over(paint, here, _pick(i, "f3e6c8 f3e6c8 d9a95a d9a95a c98a4a"))
    lake = y > 0.69 + 0.008 * np.sin(12 * x)
    swell = y + 0.012 * np.sin(16 * x + 14 * y) + 0.006 * np.sin(41 * x - 30 * y)
    glint = np.exp(-(((x - 0.47 + 0.05 * np.sin(60 * y)) / 0.1) ** 2))
    phase, tone = np.where(lake, swell * 52, phase), np.where(lake, 0.62 - 0.5 * glint, tone)
    paint = _over(paint, lake, _ramp(glint, "3f8f94 8fb8a0 e8743c"))
    phase, grain = phase + 0.7 * _noise(rng, x.shape, 0.06, 2), _noise(rng, x.shape, 0.008, 3, 12)
    ink = tone + 0.25 * (grain - 0.5) > np.abs(phase % 1 - 0.5) * 2
    return _finish(_over(paint * (0.9 + 0.16 * grain[..., None]), ink, _pick(0, "1a1a2c")))


def stained_glass() -> np.ndarray:
    """A great flower in a window: rings of gold, amber, ruby and green petals before blue glass
    and water, each pane streaked and glowing between dark lead lines."""
    rng, y, x = _start(21, 512, 448)
    z = x - 0.43 + 1j * (y - 0.43) + 0.03 * (1j - 1) * (_noise(rng, x.shape, 0.15, 2) - 0.5)
    r, turns = np.abs(z), np.angle(z) / (2 * np.pi)
    pane = 50 * np.floor(r / 0.08) + np.floor(turns * 16 + 0.5) % 16
    for i, size in enumerate([0.41, 0.33, 0.25, 0.17, 0.09], 1):
        petal = turns * (16 if i < 4 else 8) + 0.5 * (i % 2)
        inside = r < size * (0.78 + 0.22 * np.abs(np.cos(np.pi * petal)) ** 0.6)
        pane = np.where(inside, 1000 * i + np.floor(petal + 0.5) % 16, pane)
    wave = np.floor((y - 0.85 - 0.03 * np.sin(14 * x)) / 0.05)
    pane = np.where(wave >= 0, 6000 + 50 * wave + np.floor(x * 8 + 0.5 * wave), pane)
    rings = "16306e 1f5fae 2f9ac0 2f8a4a a8cc4a 1f6a4a b01f3a e8402a 8a1440 f08a1f fbb83a e8601f "
    rings += "f8d85a fdf0b0 f4b03a 7a2f1a b8621f 5a1f1a 123a7a 2f7ab8 6fd0d0"  # three to each
    hue = _pick(3 * (pane // 1000) + pane * 7919 % 101 / 34, rings)
    depth = ndimage.distance_transform_edt(ndimage.morphological_gradient(pane, 3) == 0)
    glow = 0.95 - 0.7 * np.exp(-depth / 18) + 0.9 * _noise(rng, x.shape, 0.05, 4, 0.4)
    window = _over(hue * glow[..., None], depth < 6, _pick(0, "24232a"))
    return _finish(window, -depth.clip(0, 7) / 6)


def voronoi_mosaic() -> np.ndarray:
    """A golden fish with red fins in swirling blue water, set in small many-sided stones with
    dark grout, every stone tilted a little to the light."""
    rng, y, x = _start(14, 400, 512)
    pixels, jitter = np.stack([y, x], -1).reshape(-1, 2), rng.uniform(-0.38, 0.38, (2, 46, 56))
    seeds = 0.0182 * (np.indices((46, 56)) + jitter).reshape(2, -1).T
    distance, near = spatial.cKDTree(seeds).query(pixels, k=2)
    near, gap = near[:, 0], (distance[:, 1] - distance[:, 0]).reshape(x.shape) * _long()
    v, u = seeds.T - [[0.39], [0.46]]
    v, flow = v + 0.05 * np.sin(7 * u + 0.6), 40 * np.hypot(v - 0.5, u + 0.3)
    up, flow = np.abs(v), np.sin(flow + 4 * np.sin(11 * u + 9 * v))
    colour = _ramp(0.5 + 0.5 * flow, "0b1f4e 14508f 2a94b0 b4e2d0")
    fins = (u > 0.19) & (u < 0.35 + 0.5 * up) & (up < 0.8 * (u - 0.16))
    fins |= (np.abs(u - 0.02 - 0.3 * up) < 0.12) & (up < 0.24 - 0.4 * np.abs(u - 0.1))
    colour = _over(colour, fins, _ramp(0.5 + 0.5 * np.sin(90 * v + 30 * u), "6a0f24 b8231f e8502a"))
    body = up < 0.155 * np.sqrt((1 - (u / 0.27) ** 2).clip(0)) * (1 - 1.6 * u)
    scales = 0.55 + 0.4 * np.sin(50 * u + 4 * np.cos(20 * v)) - 1.5 * v
    colour = _over(colour, body, _ramp(scales, "b8431f ee8a24 f9c040 fdf0b8"))
    eye = np.hypot(u + 0.185, v + 0.03) / 0.017
    colour = _over(colour, eye < 2.1, _pick(eye, "10101c fdf6e0 fdf6e0"))
    tilt = rng.standard_normal((len(seeds), 2))
    shade = 1 + 0.1 * tilt[near, 0] + 7 * ((pixels - seeds[near]) * tilt[near]).sum(1)
    stone = (colour[near] * shade[:, None]).reshape(*x.shape, 3)
    return _finish(_over(stone, gap < 4, _pick(0, "2e2a2c")), gap.clip(0, 8) / 5, 0.25)


def wave_print() -> np.ndarray:
    """A sea of overlapping fans in indigo, teal and cream rings, small far off and large in front,
    heaving under a coral sun with rays."""
    rng, y, x = _start(6, 512, 400)
    r = np.hypot(y - 0.2, x - 0.52)
    sky = _pick(np.arctan2(y - 0.3, x - 0.52) * 18 / np.pi, "f4d9a8 eea878")
    picture = _over(sky, r < 0.15, _pick(r * 40, "d8402f e8604a"))
    heave = y + y * (0.05 * np.sin(7 * x + 3 * y) + 0.02 * np.sin(19 * x - 9 * y))
    for row, size in enumerate(0.045 * 1.07 ** np.arange(18)):
        column = x / (2 * size) + 0.5 * (row % 2) + 0.15 * np.sin(row)
        ring = 5 - 5 * np.hypot((column % 1 - 0.5) * 2, (heave + 0.054) / size - 8.86)
        fan = _pick(column // 1 * 7 + row * 5 + ring, "0f2450 f3e8cc 1c4a80 2f86a0 f3e8cc 4fa8a8")
        fan = _over(fan, np.abs(ring - np.round(ring)) * size < 0.011, _pick(0, "0b1530"))
        picture = _over(picture, ring > 0, fan)
    return _finish(picture * (0.85 + 0.25 * _noise(rng, x.shape, 0.01, 3, 12)[..., None]))


def marbled_paper() -> np.ndarray:
    """Combed marbled paper: ribbons of wine, ochre, teal, navy and cream drawn out into feathered
    arches and rolled into curls."""
    rng, y, x = _start(16, 512, 400)
    z = x + 1j * y + 0.02 * (_noise(rng, x.shape, 0.1, 3) + 1j * _noise(rng, x.shape, 0.1, 3))
    for i, curl in enumerate([0.18 + 0.17j, 0.56 + 0.3j, 0.24 + 0.56j, 0.64 + 0.7j, 0.2 + 0.88j]):
        z = curl + (z - curl) * np.exp(5j * (-1) ** i * np.exp(-np.abs(z - curl) / 0.06))
    depth = z.imag + 0.08 * np.exp(-6 * np.abs(z.real * 15 % 1 - 0.5))
    band = np.searchsorted(rng.uniform(0.004, 0.028, 140).cumsum(), depth + 0.4)
    picture = _pick(rng.permutation(140)[band], "7a1530 f2e3c0 1f6a78 d8922f 13283f c8452f 8fc0b0")
    return _finish(picture * (0.9 + 0.2 * _noise(rng, x.shape, 0.02, 4)[..., None]))


PAINTED = (swirling_strokes, impasto_field, pointillist_dots)
PRINTED_AND_SET = (stripe_woodcut, wave_print, marbled_paper, stained_glass, voronoi_mosaic)
ARTWORKS: dict[str, Callable[[], np.ndarray]] = {
    art.__name__.replace("_", "-"): art for art in PAINTED + PRINTED_AND_SET
}
