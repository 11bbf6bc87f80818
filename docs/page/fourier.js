// Fourier transforms of pictures of any size, for the waves that a descent moves first.

/**
 * Transforms along the first axis of (length, width) complex numbers, all columns at once: Stockham's
 * form with a factor of the length at a time, so that nothing has to be put in order afterwards.
 */
class Transform {
  constructor(length) {
    this.length = length;
    this.factors = [];
    for (let left = length, factor = 4; left > 1; ) {
      if (left % factor) factor = { 4: 2, 2: 3 }[factor] ?? factor + 2;
      else {
        this.factors.push(factor);
        left /= factor;
      }
    }
    this.cos = Float64Array.from({ length }, (_, i) => Math.cos((2 * Math.PI * i) / length));
    this.sin = Float64Array.from({ length }, (_, i) => -Math.sin((2 * Math.PI * i) / length));
  }

  /** Transform [re, im] (length, width) in place, with as much `room`; sign -1 for the inverse. */
  run(data, room, width, sign) {
    let [from, to, stride, rest] = [data, room, 1, this.length];
    for (const factor of this.factors) {
      rest /= factor;
      this.pass(from, to, width, sign, factor, rest, stride);
      stride *= factor;
      [from, to] = [to, from];
    }
    if (from !== data) for (const i of [0, 1]) data[i].set(from[i]);
  }

  pass([fromRe, fromIm], [toRe, toIm], width, sign, factor, rest, stride) {
    const { length, cos, sin } = this;
    const turn = length / factor; // a step of ω_factor in the table
    const inner = stride * width;
    for (let p = 0; p < rest; p++) {
      for (let u = 0; u < factor; u++) {
        const at = inner * (factor * p + u);
        for (let t = 0; t < factor; t++) {
          const power = (p * u * stride + t * u * turn) % length;
          const [c, s] = [cos[power], sign * sin[power]];
          const source = inner * (p + rest * t);
          if (t === 0) {
            for (let q = 0; q < inner; q++) {
              toRe[at + q] = fromRe[source + q] * c - fromIm[source + q] * s;
              toIm[at + q] = fromRe[source + q] * s + fromIm[source + q] * c;
            }
          } else {
            for (let q = 0; q < inner; q++) {
              toRe[at + q] += fromRe[source + q] * c - fromIm[source + q] * s;
              toIm[at + q] += fromRe[source + q] * s + fromIm[source + q] * c;
            }
          }
        }
      }
    }
  }
}

const transpose = (from, to, height, width) => {
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) to[x * height + y] = from[y * width + x];
  }
};

/** Damps the wave of f cycles per pixel by 1 / sqrt(1 + (wavelength · f)²). */
export class Damping {
  constructor(height, width, wavelength) {
    const size = height * width;
    Object.assign(this, { height, width, down: new Transform(height), across: new Transform(width) });
    this.data = [new Float64Array(size), new Float64Array(size)];
    this.room = [new Float64Array(size), new Float64Array(size)];
    const frequency = (i, n) => Math.min(i, n - i) / n;
    this.factors = new Float64Array(size); // columns first, as they lie when they are needed
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        const squares = frequency(y, height) ** 2 + frequency(x, width) ** 2;
        this.factors[x * height + y] = 1 / Math.sqrt(1 + wavelength ** 2 * squares) / size;
      }
    }
  }

  /** Two pictures of three planes at once, as real and imaginary part: each in, each out. */
  run(first, second, firstOut, secondOut) {
    const { height, width, data, room, factors } = this;
    const size = height * width;
    for (let plane = 0; plane < 3; plane++) {
      const [from, to] = [plane * size, (plane + 1) * size];
      data[0].set(first.subarray(from, to));
      data[1].set(second.subarray(from, to));
      this.down.run(data, room, width, 1);
      for (const i of [0, 1]) transpose(data[i], room[i], height, width);
      this.across.run(room, data, height, 1);
      for (const values of room) for (let i = 0; i < size; i++) values[i] *= factors[i];
      this.across.run(room, data, height, -1);
      for (const i of [0, 1]) transpose(room[i], data[i], width, height);
      this.down.run(data, room, width, -1);
      firstOut.set(data[0], from);
      secondOut.set(data[1], from);
    }
  }
}
