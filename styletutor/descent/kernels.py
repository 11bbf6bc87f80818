"""The functions of `passes` on a GPU, in Triton.

A program has BLOCK numbers of one picture. Everything is float32, flags are bytes, and numbers are
rounded where PyTorch's operations round them.
"""

from __future__ import annotations

import triton
import triton.language as tl

BLOCK = 1024
MOST = 64  # pictures whose losses are judged by one program


@triton.jit(do_not_specialize=["batch"])
def judge(
    f, slope, known, noise, trust, fresh, masks, batch,
    SHORTER: tl.constexpr, LONGER: tl.constexpr, SHORTEST: tl.constexpr, ROUNDING: tl.constexpr,
    MOST: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * MOST + tl.arange(0, MOST)
    here = at < batch
    value, before = tl.load(f + at, here, other=0.0), tl.load(known + at, here, other=0.0)
    level, new = tl.load(noise + at, here, other=0.0), tl.load(fresh + at, here, other=1) != 0
    finite = (value - value) + tl.load(slope + at, here, other=0.0) < float("inf")
    exploded = (value > tl.abs(before) * 0.5 + before + level) & (new == 0)
    bad = exploded | (finite == 0)
    failed = bad & (new == 0)
    tl.store(masks + at, failed.to(tl.uint8), here)
    tl.store(masks + batch + at, bad.to(tl.uint8), here)
    tl.store(masks + 2 * batch + at, (bad | new).to(tl.uint8), here)
    tl.store(noise + at, tl.where(new & (bad == 0), tl.abs(value) * ROUNDING, level), here)
    tl.store(known + at, tl.where(failed, before, value), here)
    step = tl.load(trust + at, here, other=1.0) * tl.where(failed, SHORTER, LONGER)
    tl.store(trust + at, tl.minimum(tl.maximum(step, SHORTEST), 1.0), here)
    tl.store(fresh + at, (new & bad).to(tl.uint8), here)


@triton.jit(do_not_specialize=["batch"])
def take_in(
    box, x, g, masks, known_x, known_g, free, new, batch, count, padded,
    BOXED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    picture = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    at, to = picture * count + place, picture * padded + place
    failed = tl.load(masks + picture) != 0
    bad = tl.load(masks + batch + picture) != 0
    no_pair = tl.load(masks + 2 * batch + picture) != 0
    point, before = tl.load(x + at, there), tl.load(known_x + at, there)
    slope, other = tl.load(g + at, there), tl.load(known_g + at, there)
    y = (slope - other) * tl.load(free + at, there)
    tl.store(new + to, tl.where(no_pair, 0.0, point - before), there)
    tl.store(new + batch * padded + to, tl.where(no_pair, 0.0, y), there)
    point, slope = tl.where(failed, before, point), tl.where(bad, other, slope)
    tl.store(known_x + at, point, there)
    tl.store(known_g + at, slope, there)
    can = tl.full((BLOCK,), 1.0, tl.float32)
    if BOXED:
        can = (point != tl.where(slope > 0, tl.load(box), tl.load(box + 1))).to(tl.float32)
    tl.store(free + at, can, there)
    tl.store(new + 2 * batch * padded + to, slope * can, there)


@triton.jit
def learn(
    inner, slot, masks, gamma, curved, valid, pairs, m, over, down, across,
    CURVATURE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """A program has one picture. ROWS is a power of 2, at least 2m; `over`, `down` and `across` are
    the strides of `inner`."""
    picture, at = tl.program_id(0), tl.load(slot).to(tl.int32)
    inner += picture * over
    newest = inner + at * down
    ss, sy = tl.load(newest), tl.load(newest + across)
    yy = tl.load(newest + m * down + across)
    ratio = tl.div_rn(sy, yy)
    good = (sy > tl.sqrt_rn(ss * yy) * CURVATURE) & (ratio < float("inf"))
    failed = tl.load(masks + picture) != 0
    tl.store(gamma + picture, tl.where(good, ratio, tl.load(gamma + picture)))
    before = tl.load(curved + picture) != 0
    tl.store(curved + picture, ((before | good) & (failed == 0)).to(tl.uint8))
    row = tl.arange(0, ROWS)
    was = tl.load(valid + picture * m + row, row < m, other=0.0)
    now = tl.where(row == at, good.to(tl.float32), tl.where(failed, 0.0, was))
    tl.store(valid + picture * m + row, now, row < m)
    products = tl.load(inner + row * down + across, row < 2 * m, other=0.0)
    table = pairs + picture * 2 * m * m
    tl.store(table + row * m + at, products, row < 2 * m)
    tl.store(table + (m + at) * m + row - m, products, (row >= m) & (row < 2 * m))


@triton.jit
def move(
    box, x, way, length, free, out, count, stride, BOXED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    picture = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    at = picture * count + place
    steps = tl.load(way + picture * stride + place, there)
    size = tl.load(length + picture)
    size = tl.where(size < 1.0, 1.0, size)
    steps = tl.div_rn(steps, size + tl.zeros((BLOCK,), tl.float32))
    value = tl.load(x + at, there) - steps * tl.load(free + at, there)
    if BOXED:
        low, high = tl.load(box), tl.load(box + 1)
        value = tl.where(value < low, low, value)
        value = tl.where(value > high, high, value)
    tl.store(out + at, value, there)
