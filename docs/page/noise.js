// The noise that PyTorch draws on a CPU for a seed, so that a seed means the same here and there:
// the Mersenne Twister (Matsumoto & Nishimura, 1998), then Box and Muller's transform, 16 at a time.

class Twister {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed;
    for (let i = 1; i < 624; i++) {
      const before = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, before) + i;
    }
    this.at = 624;
  }

  next() {
    const { state } = this;
    if (this.at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      this.at = 0;
    }
    let y = state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }
}

/** `torch.randn(count)` of a generator with that seed, for at least 16 numbers. */
export function normal(count, seed) {
  const twister = new Twister(seed);
  const values = new Float32Array(count);
  const draw = (from) => {
    for (let i = from; i < from + 16; i++) values[i] = (twister.next() & 0xffffff) / 2 ** 24;
  };
  const transform = (from) => {
    for (let i = from; i < from + 8; i++) {
      const radius = Math.sqrt(-2 * Math.log(1 - values[i]));
      const angle = 2 * Math.PI * values[i + 8];
      [values[i], values[i + 8]] = [radius * Math.cos(angle), radius * Math.sin(angle)];
    }
  };
  for (let i = 0; i < count; i++) values[i] = (twister.next() & 0xffffff) / 2 ** 24;
  for (let i = 0; i < count - 15; i += 16) transform(i);
  if (count % 16) {
    draw(count - 16);
    transform(count - 16);
  }
  return values;
}

/** Grey noise in [0, 1], as `styletutor.descent.starts.GREY_NOISE`. */
export function greyNoise(count, seed) {
  return normal(count, seed).map((value) => Math.min(1, Math.max(0, 0.5 + 0.1 * value)));
}
