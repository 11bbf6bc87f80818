// What an evaluation is made of, as WebAssembly: AssemblyScript, four float32 numbers at a time.
//
// Feature maps lie as (rows, columns, channels), the channels of a position side by side and a
// multiple of 4 (the picture's three and a zero). Every function that can share its work does the
// part number `part` of `parts`; none keeps anything, and all memory is handed in: pointers are in
// bytes, counts in floats.
import { block, COLUMNS, F, give } from "./blocks";

export { convolve, prepare } from "./winograd";

/** The maxima of 2 × 2 positions; sides are rounded down. */
export function pool(
  from: usize, to: usize, height: i32, width: i32, channels: i32, part: i32, parts: i32,
): void {
  const position = <usize>channels * F, line = <usize>width * position;
  const down = height >> 1, across = width >> 1;
  for (let y = part; y < down; y += parts) {
    for (let x = 0; x < across; x++) {
      const p = from + <usize>(2 * y) * line + <usize>(2 * x) * position;
      const q = to + <usize>(y * across + x) * position;
      for (let c: usize = 0; c < position; c += 16) {
        const upper = f32x4.max(v128.load(p + c), v128.load(p + c + position));
        const lower = f32x4.max(v128.load(p + c + line), v128.load(p + c + line + position));
        v128.store(q + c, f32x4.max(upper, lower));
      }
    }
  }
}

/**
 * The way back through `pool`: `gradient` of the maxima goes to the first of the four `features`
 * that was the largest, row by row, as in PyTorch; nothing to the others, nor to what was cut off.
 */
export function unpool(
  features: usize, gradient: usize, to: usize, height: i32, width: i32, channels: i32, add: i32,
  part: i32, parts: i32,
): void {
  const position = <usize>channels * F, line = <usize>width * position, zero = f32x4.splat(0);
  const down = height >> 1, across = width >> 1, rows = (height + 1) >> 1;
  for (let y = part; y < rows; y += parts) {
    const p = <usize>(2 * y) * line;
    if (!add && (y == down || width & 1)) {
      memory.fill(to + p, 0, y == down ? line : 2 * line);
    }
    for (let x = 0; y < down && x < across; x++) {
      const q = gradient + <usize>(y * across + x) * position, r = p + <usize>(2 * x) * position;
      for (let c: usize = 0; c < position; c += 16) {
        const at = features + r + c, put = to + r + c, g = v128.load(q + c);
        const v0 = v128.load(at), v1 = v128.load(at + position);
        const v2 = v128.load(at + line), v3 = v128.load(at + line + position);
        const most = f32x4.max(f32x4.max(v0, v1), f32x4.max(v2, v3));
        const is0 = f32x4.eq(v0, most);
        const is1 = v128.andnot(f32x4.eq(v1, most), is0), until1 = v128.or(is0, is1);
        const is2 = v128.andnot(f32x4.eq(v2, most), until1), until2 = v128.or(until1, is2);
        give(put, v128.bitselect(g, zero, is0), 0, add);
        give(put + position, v128.bitselect(g, zero, is1), 0, add);
        give(put + line, v128.bitselect(g, zero, is2), 0, add);
        give(put + line + position, v128.andnot(g, until2), 0, add);
      }
    }
  }
}

/** The way back through a ReLU, in place: no gradient where its `features` are 0. */
export function mask(features: usize, gradient: usize, count: i32, part: i32, parts: i32): void {
  const zero = f32x4.splat(0), end = <usize>count * F;
  for (let i: usize = <usize>part * 16; i < end; i += <usize>parts * 16) {
    const open = f32x4.gt(v128.load(features + i), zero);
    v128.store(gradient + i, v128.and(v128.load(gradient + i), open));
  }
}

/** G = Fᵀ F · scale of `count` positions with so many channels. */
export function gram(
  features: usize, to: usize, count: i32, channels: i32, scale: f32, part: i32, parts: i32,
): void {
  const row = <usize>channels * F, blocks = (channels + 5) / 6;
  for (let number = part; number < blocks; number += parts) {
    const i = <usize>min(6 * number, channels - 6); // the last block may be over another's rows
    for (let j: usize = 0; j < row; j += COLUMNS * F) {
      block(features + i * F, F, row, features + j, row, to + i * row + j, row, count, 1, scale);
    }
  }
}

/**
 * Σ (value - aim)² · weight · factor as a float64 to `sum + 8 · part`; `slope` gets its derivative
 * by the value times `along`, added to what is there if `add`. The weight is read where it lies.
 */
export function compare(
  value: usize, aim: usize, slope: usize, count: i32, weight: usize, factor: f32, along: f32,
  add: i32, sum: usize, part: i32, parts: i32,
): void {
  const scale = load<f32>(weight) * factor, twice = f32x4.splat(2 * scale * along);
  let total: f64 = 0;
  const share = ((count + parts * 4 - 1) / (parts * 4)) * 4; // a multiple of 4
  const end = <usize>min(count, share * (part + 1)) * F;
  for (let first = <usize>(share * part) * F; first < end; first += 4096) {
    let squares = f32x4.splat(0);
    for (let i = first; i < min(end, first + 4096); i += 16) {
      const off = f32x4.sub(v128.load(value + i), v128.load(aim + i));
      squares = f32x4.add(squares, f32x4.mul(off, off));
      give(slope + i, f32x4.mul(off, twice), 0, add);
    }
    total += <f64>f32x4.extract_lane(squares, 0) + <f64>f32x4.extract_lane(squares, 1);
    total += <f64>f32x4.extract_lane(squares, 2) + <f64>f32x4.extract_lane(squares, 3);
  }
  store<f64>(sum + <usize>part * 8, total * <f64>scale);
}

/** F D: the derivative of a Gram matrix, a symmetric D for every position. */
export function spread(
  features: usize, d: usize, to: usize, count: i32, channels: i32, part: i32, parts: i32,
): void {
  const row = <usize>channels * F, blocks = (count + 5) / 6;
  for (let number = part; number < blocks; number += parts) {
    const i = <usize>max(0, min(6 * number, count - 6)) * row;
    for (let j: usize = 0; j < row; j += COLUMNS * F) {
      block(features + i, row, F, d + j, row, to + i + j, row, channels);
    }
  }
}

/** A picture of three planes, less its mean, as features; `back` gives their gradient as planes. */
export function enter(
  planes: usize, to: usize, count: i32, red: f32, green: f32, blue: f32,
): void {
  const plane = <usize>count * F;
  for (let i: usize = 0; i < plane; i += F) {
    const at = to + 4 * i;
    store<f32>(at, load<f32>(planes + i) - red);
    store<f32>(at + 4, load<f32>(planes + plane + i) - green);
    store<f32>(at + 8, load<f32>(planes + 2 * plane + i) - blue);
    store<f32>(at + 12, 0);
  }
}

export function back(gradient: usize, planes: usize, count: i32): void {
  const plane = <usize>count * F;
  for (let i: usize = 0; i < plane; i += F) {
    const at = gradient + 4 * i;
    store<f32>(planes + i, load<f32>(at));
    store<f32>(planes + plane + i, load<f32>(at + 4));
    store<f32>(planes + 2 * plane + i, load<f32>(at + 8));
  }
}

/** Total variation: mean dy² + mean dx² over all planes, weighted, to `sum`; its gradient added. */
export function vary(
  planes: usize, gradient: usize, height: i32, width: i32, weight: usize, sum: usize,
): void {
  const scale = load<f32>(weight);
  const down = scale / <f32>max(1, 3 * (height - 1) * width);
  const across = scale / <f32>max(1, 3 * height * (width - 1));
  const line = <usize>width * F;
  let rows: f64 = 0, columns: f64 = 0;
  for (let y = 0; y < 3 * height; y++) {
    const last = y % height == height - 1;
    for (let x = 0; x < width; x++) {
      const at = <usize>(y * width + x) * F, value = load<f32>(planes + at);
      if (x + 1 < width) {
        const off = load<f32>(planes + at + F) - value, slope = across * off * 2;
        columns += <f64>(off * off);
        store<f32>(gradient + at, load<f32>(gradient + at) - slope);
        store<f32>(gradient + at + F, load<f32>(gradient + at + F) + slope);
      }
      if (!last) {
        const off = load<f32>(planes + at + line) - value, slope = down * off * 2;
        rows += <f64>(off * off);
        store<f32>(gradient + at, load<f32>(gradient + at) - slope);
        store<f32>(gradient + at + line, load<f32>(gradient + at + line) + slope);
      }
    }
  }
  store<f64>(sum, rows * <f64>down + columns * <f64>across);
}
