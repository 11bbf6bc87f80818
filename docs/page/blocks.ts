// What the kernels are made of: products of matrices, six rows by eight columns at a time.

export const F: usize = 4; // bytes of a float
export const ROWS: usize = 6; // of the block of a product that stays in registers, and
export const COLUMNS: usize = 8;

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
export function block(
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

/** Store four floats, added to what is there if `add`, after a ReLU if `relu`. */
// @ts-ignore: decorator
@inline
export function give(at: usize, value: v128, relu: i32, add: i32): void {
  if (add) value = f32x4.add(value, v128.load(at));
  if (relu) value = f32x4.max(value, f32x4.splat(0));
  v128.store(at, value);
}
