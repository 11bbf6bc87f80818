// 3 × 3 convolutions as Winograd's F(2 × 2, 3 × 3) (Lavin & Gray, "Fast Algorithms for Convolutional
// Neural Networks", CVPR 2016): 16 products of matrices, with 2.25 times fewer multiplications.
import { block, COLUMNS, F, give, ROWS } from "./blocks";

const FREQUENCIES: i32 = 16;

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
