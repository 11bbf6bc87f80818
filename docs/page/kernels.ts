// What an evaluation is made of, as WebAssembly: AssemblyScript, four float32 numbers at a time.
//
// Feature maps lie as (rows, columns, channels), the channels of a position side by side and a
// multiple of 4 (the picture's three and a zero). Every function that can share its work does the
// part number `part` of `parts`; none keeps anything, and all memory is handed in: pointers are in
// bytes, counts in floats. 3 × 3 convolutions are Winograd's F(2 × 2, 3 × 3) (Lavin & Gray, "Fast
// Algorithms for Convolutional Neural Networks", CVPR 2016): 16 products of matrices, with 2.25
// times fewer multiplications.

const F: usize = 4; // bytes of a float
const ROWS: usize = 6; // of the block of a product that stays in registers, and
const COLUMNS: usize = 8;
const FREQUENCIES: i32 = 16;

// @ts-ignore: decorator
@inline
function fma(a: v128, b: v128, c: v128): v128 {
  // @ts-ignore: a constant of the compiler's command line
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c); // with one rounding
  return f32x4.add(f32x4.mul(a, b), c);
}

// @ts-ignore: decorator
@inline
function splat(at: usize, row: usize): v128 {
  return v128.load_splat<f32>(at + row);
}

/** C = A B for 6 rows of A and 8 columns of B: the sum over k of A[i, k] B[k, j]; times a scale. */
// @ts-ignore: decorator
@inline
function block(
  a: usize, aRow: usize, aStep: usize, b: usize, bStep: usize, c: usize, cRow: usize, count: i32,
  scaled: i32 = 0, scale: f32 = 1,
): void {
  let c00 = f32x4.splat(0), c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00;
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00;
  const a2 = aRow * 2, a3 = aRow * 3, a4 = aRow * 4, a5 = aRow * 5;
  for (let k = 0; k < count; k++) {
    const left = v128.load(b), right = v128.load(b, 16);
    let x = v128.load_splat<f32>(a);
    c00 = fma(x, left, c00); c01 = fma(x, right, c01);
    x = splat(a, aRow);
    c10 = fma(x, left, c10); c11 = fma(x, right, c11);
    x = splat(a, a2);
    c20 = fma(x, left, c20); c21 = fma(x, right, c21);
    x = splat(a, a3);
    c30 = fma(x, left, c30); c31 = fma(x, right, c31);
    x = splat(a, a4);
    c40 = fma(x, left, c40); c41 = fma(x, right, c41);
    x = splat(a, a5);
    c50 = fma(x, left, c50); c51 = fma(x, right, c51);
    a += aStep; b += bStep;
  }
  const times = f32x4.splat(scale);
  put(c, c00, c01, scaled, times); c += cRow;
  put(c, c10, c11, scaled, times); c += cRow;
  put(c, c20, c21, scaled, times); c += cRow;
  put(c, c30, c31, scaled, times); c += cRow;
  put(c, c40, c41, scaled, times); c += cRow;
  put(c, c50, c51, scaled, times);
}

// @ts-ignore: decorator
@inline
function put(at: usize, left: v128, right: v128, scaled: i32, times: v128): void {
  v128.store(at, scaled ? f32x4.mul(left, times) : left);
  v128.store(at, scaled ? f32x4.mul(right, times) : right, 16);
}

/**
 * Kernels (out, in, 3, 3) of so many `step`s of their output channel, as 16 matrices U = G g Gᵀ of
 * (columns of 8, in, 8), zeros where there are fewer. With `turned` they are those of the way back:
 * turned by half a turn, input and output exchanged.
 */
export function prepare(
  codes: usize, step: usize, to: usize, outs: i32, ins: i32, turned: i32,
): void {
  const rows = ((turned ? outs : ins) + 3) & ~3, columns = ((turned ? ins : outs) + 7) & ~7;
  memory.fill(to, 0, <usize>(FREQUENCIES * rows * columns) * F);
  for (let o = 0; o < outs; o++) {
    const scale = load<f32>(step + <usize>o * F);
    for (let i = 0; i < ins; i++) {
      const g = codes + <usize>(9 * (o * ins + i));
      const row = turned ? o : i, column = turned ? i : o;
      const place = <usize>((column >> 3) * rows * 8 + row * 8 + (column & 7)) * F;
      for (let e = 0; e < FREQUENCIES; e++) {
        let sum: f32 = 0;
        for (let y = 0; y < 3; y++) {
          const down = winograd(e >> 2, y);
          if (down == 0) continue;
          for (let x = 0; x < 3; x++) {
            const at = turned ? 8 - 3 * y - x : 3 * y + x;
            sum += down * winograd(e & 3, x) * <f32>load<i8>(g + at);
          }
        }
        store<f32>(to + <usize>(e * rows * columns) * F + place, sum * scale);
      }
    }
  }
}

/** G of F(2, 3): its rows are (1, 0, 0), (½, ½, ½), (½, -½, ½) and (0, 0, 1). */
// @ts-ignore: decorator
@inline
function winograd(row: i32, column: i32): f32 {
  if (row == 0) return column == 0 ? 1 : 0;
  if (row == 3) return column == 2 ? 1 : 0;
  return row == 2 && column == 1 ? -0.5 : 0.5;
}

/**
 * A convolution with zeros around: (height, width, ins) → (height, width, outs), with `bias` if it
 * is not 0, then a ReLU if `relu`; added to what is there if `add`. `tiles` of 2 × 2 positions, a
 * multiple of 6, are done at a time, in `room` for 16 · tiles · (ins + outs) floats, each part
 * `apart` bytes from the other's; at `zeros` are as many as there are inputs.
 */
export function convolve(
  from: usize, to: usize, height: i32, width: i32, ins: i32, outs: i32, weights: usize, bias: usize,
  relu: i32, add: i32, room: usize, apart: usize, tiles: i32, zeros: usize, part: i32, parts: i32,
): void {
  room += <usize>part * apart;
  const across = (width + 1) >> 1, all = across * ((height + 1) >> 1), columns = (outs + 7) & ~7;
  for (let first = part * tiles; first < all; first += parts * tiles) {
    const count = min(tiles, all - first), rows = (count + 5) / 6 * 6;
    const products = room + <usize>(FREQUENCIES * rows * ins) * F;
    for (let t = 0; t < count; t++) {
      const y = (first + t) / across, x = first + t - y * across;
      takeTile(from, room + <usize>(t * ins) * F, <usize>(rows * ins) * F, 2 * y - 1, 2 * x - 1,
        height, width, ins, zeros);
    }
    const aRow = <usize>ins * F, cRow = <usize>columns * F, panel = <usize>ins * COLUMNS * F;
    for (let e = 0; e < FREQUENCIES; e++) {
      const a = room + <usize>(e * rows * ins) * F, c = products + <usize>(e * rows * columns) * F;
      const b = weights + <usize>(e * ins * columns) * F;
      for (let j = 0; j < columns >> 3; j++) {
        for (let i: usize = 0; i < <usize>rows; i += ROWS) {
          block(a + i * aRow, aRow, F, b + <usize>j * panel, COLUMNS * F,
            c + i * cRow + <usize>j * COLUMNS * F, cRow, ins);
        }
      }
    }
    for (let t = 0; t < count; t++) {
      const y = (first + t) / across, x = first + t - y * across;
      giveTile(products + <usize>(t * columns) * F, <usize>(rows * columns) * F, to, 2 * y, 2 * x,
        height, width, outs, bias, relu, add);
    }
  }
}

/** V = Bᵀ d B of the 4 × 4 positions from (y, x) on, its 16 parts `apart` bytes apart. */
// @ts-ignore: decorator
@inline
function takeTile(
  from: usize, to: usize, apart: usize, y: i32, x: i32, height: i32, width: i32, ins: i32,
  zeros: usize,
): void {
  const position = <usize>ins * F, line = <usize>width * position;
  const corner = from + <usize>y * line + <usize>x * position;
  const x0 = x >= 0, x2 = x + 2 < width, x3 = x + 3 < width;
  const y0 = y >= 0, y2 = y + 2 < height, y3 = y + 3 < height;
  const p00 = y0 && x0 ? corner : zeros, p01 = y0 ? corner + position : zeros;
  const p02 = y0 && x2 ? corner + 2 * position : zeros;
  const p03 = y0 && x3 ? corner + 3 * position : zeros;
  const p10 = x0 ? corner + line : zeros, p11 = corner + line + position;
  const p12 = x2 ? corner + line + 2 * position : zeros;
  const p13 = x3 ? corner + line + 3 * position : zeros;
  const p20 = y2 && x0 ? corner + 2 * line : zeros;
  const p21 = y2 ? corner + 2 * line + position : zeros;
  const p22 = y2 && x2 ? corner + 2 * line + 2 * position : zeros;
  const p23 = y2 && x3 ? corner + 2 * line + 3 * position : zeros;
  const p30 = y3 && x0 ? corner + 3 * line : zeros;
  const p31 = y3 ? corner + 3 * line + position : zeros;
  const p32 = y3 && x2 ? corner + 3 * line + 2 * position : zeros;
  const p33 = y3 && x3 ? corner + 3 * line + 3 * position : zeros;
  for (let c: usize = 0; c < position; c += 16) {
    let d1 = v128.load(p10 + c), d2 = v128.load(p20 + c);
    const a0 = f32x4.sub(v128.load(p00 + c), d2), a1 = f32x4.add(d1, d2);
    const a2 = f32x4.sub(d2, d1), a3 = f32x4.sub(d1, v128.load(p30 + c));
    d1 = v128.load(p11 + c); d2 = v128.load(p21 + c);
    const b0 = f32x4.sub(v128.load(p01 + c), d2), b1 = f32x4.add(d1, d2);
    const b2 = f32x4.sub(d2, d1), b3 = f32x4.sub(d1, v128.load(p31 + c));
    d1 = v128.load(p12 + c); d2 = v128.load(p22 + c);
    const c0 = f32x4.sub(v128.load(p02 + c), d2), c1 = f32x4.add(d1, d2);
    const c2 = f32x4.sub(d2, d1), c3 = f32x4.sub(d1, v128.load(p32 + c));
    d1 = v128.load(p13 + c); d2 = v128.load(p23 + c);
    const e0 = f32x4.sub(v128.load(p03 + c), d2), e1 = f32x4.add(d1, d2);
    const e2 = f32x4.sub(d2, d1), e3 = f32x4.sub(d1, v128.load(p33 + c));
    let at = to + c;
    at = giveRow(at, apart, a0, b0, c0, e0);
    at = giveRow(at, apart, a1, b1, c1, e1);
    at = giveRow(at, apart, a2, b2, c2, e2);
    giveRow(at, apart, a3, b3, c3, e3);
  }
}

// @ts-ignore: decorator
@inline
function giveRow(at: usize, apart: usize, a: v128, b: v128, c: v128, e: v128): usize {
  v128.store(at, f32x4.sub(a, c)); at += apart;
  v128.store(at, f32x4.add(b, c)); at += apart;
  v128.store(at, f32x4.sub(c, b)); at += apart;
  v128.store(at, f32x4.sub(b, e));
  return at + apart;
}

/** Y = Aᵀ M A at the 2 × 2 positions from (y, x) on. */
// @ts-ignore: decorator
@inline
function giveTile(
  from: usize, apart: usize, to: usize, y: i32, x: i32, height: i32, width: i32, outs: i32,
  bias: usize, relu: i32, add: i32,
): void {
  const position = <usize>outs * F, line = <usize>width * position;
  const corner = to + <usize>y * line + <usize>x * position;
  const right = x + 1 < width, below = y + 1 < height, zero = f32x4.splat(0);
  const apart2 = apart * 2, apart3 = apart * 3, apart4 = apart * 4;
  for (let c: usize = 0; c < position; c += 16) {
    let at = from + c;
    const a0 = v128.load(at), a1 = v128.load(at + apart);
    const a2 = v128.load(at + apart2), a3 = v128.load(at + apart3);
    at += apart4;
    const b0 = v128.load(at), b1 = v128.load(at + apart);
    const b2 = v128.load(at + apart2), b3 = v128.load(at + apart3);
    at += apart4;
    const c0 = v128.load(at), c1 = v128.load(at + apart);
    const c2 = v128.load(at + apart2), c3 = v128.load(at + apart3);
    at += apart4;
    const e0 = v128.load(at), e1 = v128.load(at + apart);
    const e2 = v128.load(at + apart2), e3 = v128.load(at + apart3);
    const s0 = f32x4.add(f32x4.add(a0, b0), c0), s1 = f32x4.add(f32x4.add(a1, b1), c1);
    const s2 = f32x4.add(f32x4.add(a2, b2), c2), s3 = f32x4.add(f32x4.add(a3, b3), c3);
    const t0 = f32x4.sub(f32x4.sub(b0, c0), e0), t1 = f32x4.sub(f32x4.sub(b1, c1), e1);
    const t2 = f32x4.sub(f32x4.sub(b2, c2), e2), t3 = f32x4.sub(f32x4.sub(b3, c3), e3);
    const more = bias ? v128.load(bias + c) : zero;
    const p = corner + c;
    give(p, f32x4.add(f32x4.add(f32x4.add(s0, s1), s2), more), relu, add);
    if (right) give(p + position, f32x4.add(f32x4.sub(f32x4.sub(s1, s2), s3), more), relu, add);
    if (!below) continue;
    give(p + line, f32x4.add(f32x4.add(f32x4.add(t0, t1), t2), more), relu, add);
    if (right) {
      give(p + line + position, f32x4.add(f32x4.sub(f32x4.sub(t1, t2), t3), more), relu, add);
    }
  }
}

// @ts-ignore: decorator
@inline
function give(at: usize, value: v128, relu: i32, add: i32): void {
  if (add) value = f32x4.add(value, v128.load(at));
  if (relu) value = f32x4.max(value, f32x4.splat(0));
  v128.store(at, value);
}

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
