"""What comes between two convolutions on a GPU, each in one pass over memory, in Triton.

Features are channels-last: rows of C channels, one row for each position. A program has ROWS rows
and CHANNELS channels of them. Numbers are rounded where PyTorch's operations round them, NaN goes
through as it goes through them, and of equal values the first is the maximum.
"""

from __future__ import annotations

import triton
import triton.language as tl

ROWS, CHANNELS = 32, 64
SIZES = ["rows", "height", "width", "down", "across"]  # vary; not worth a compilation each


@triton.jit(do_not_specialize=SIZES)
def bias_relu(y, bias, rows, c, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """y = max(y + bias, 0), in place."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = (row < rows) & (channel < c)
    added = tl.load(bias + channel, channel < c).to(tl.float32)
    value = tl.load(y + row * c + channel, inside).to(tl.float32) + added
    value = tl.where(value <= 0, 0.0, value)
    tl.store(y + row * c + channel, value.to(y.dtype.element_ty), inside)


@triton.jit(do_not_specialize=SIZES)
def bias_relu_pool(
    y, bias, pooled, which, height, width, down, across, rows, c,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """pooled = the maximum of max(y + bias, 0) over 2 × 2, and which of the four it was.

    y has height × width positions, pooled down × across, `rows` in all.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = (row < rows) & (channel < c)
    picture, i, j = row // (down * across), row // across % down, row % across
    added = tl.load(bias + channel, channel < c).to(tl.float32)
    best = tl.full((ROWS, CHANNELS), float("-inf"), tl.float32)
    place = tl.zeros((ROWS, CHANNELS), tl.int32)
    for k in tl.static_range(4):
        above, left = 2 * i + k // 2, 2 * j + k % 2
        there = inside & (above < height) & (left < width)
        position = (picture * height + above) * width + left
        value = tl.load(y + position * c + channel, there).to(tl.float32) + added
        value = value.to(y.dtype.element_ty).to(tl.float32)
        value = tl.where(value <= 0, 0.0, value)
        better = there & ((value > best) | (value != value))
        best, place = tl.where(better, value, best), tl.where(better, k, place)
    tl.store(pooled + row * c + channel, best.to(pooled.dtype.element_ty), inside)
    tl.store(which + row * c + channel, place.to(tl.uint8), inside)


@triton.jit(do_not_specialize=SIZES)
def unpool(
    gradient, pooled, which, out, height, width, down, across, rows, c,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The way back through `bias_relu_pool`: out has height × width positions.

    `rows` counts all squares of out, those that were not pooled as well; they are set to 0.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    inside = (row < rows) & (channel < c)
    tall, wide = (height + 1) // 2, (width + 1) // 2
    picture, i, j = row // (tall * wide), row // wide % tall, row % wide
    known = inside & (i < down) & (j < across)
    at = ((picture * down + i) * across + j) * c + channel
    value = tl.load(gradient + at, known, other=0.0)
    value = tl.where(tl.load(pooled + at, known, other=0.0) <= 0, 0.0, value)
    place = tl.load(which + at, known, other=0)
    for k in tl.static_range(4):
        above, left = 2 * i + k // 2, 2 * j + k % 2
        there = inside & (above < height) & (left < width)
        position = (picture * height + above) * width + left
        tl.store(out + position * c + channel, tl.where(place == k, value, 0.0), there)


@triton.jit(do_not_specialize=SIZES)
def add_mask(one, other, y, out, rows, c, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """out = one + other where y > 0, else 0."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)[None, :]
    at, inside = row * c + channel, (row < rows) & (channel < c)
    both = tl.load(one + at, inside).to(tl.float32) + tl.load(other + at, inside).to(tl.float32)
    both = tl.where(tl.load(y + at, inside) <= 0, 0.0, both)
    tl.store(out + at, both.to(out.dtype.element_ty), inside)
