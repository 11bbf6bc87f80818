// L-BFGS as in styletutor/descent/lbfgs.py, which says what it is and why, for one picture: without
// a line search, in a box, with steps in a Sobolev metric. Products are summed in float64.

const HISTORY = 8;
const FIRST_STEP = 0.02; // root mean square
const MAX_STEP = 0.1;
const TINY = 1e-30;

/** @param {Float32Array} a @param {Float32Array} b */
function dot(a, b) {
  let [even, odd] = [0, 0];
  const last = a.length - 1;
  for (let i = 0; i < last; i += 2) {
    even += a[i] * b[i];
    odd += a[i + 1] * b[i + 1];
  }
  return even + odd + (last % 2 ? 0 : a[last] * b[last]);
}

export class LBFGS {
  /**
   * @param {number} size of a picture in numbers
   * @param {(first: Float32Array, second: Float32Array, firstOut: Float32Array,
   *   secondOut: Float32Array) => void} damp the first guess of the inverse Hessian, up to a factor
   */
  constructor(size, damp) {
    const room = () => new Float32Array(size);
    this.damp = damp;
    this.pairs = Array.from({ length: HISTORY }, () => ({ s: room(), py: room(), valid: false }));
    this.sy = square(); // s_i · y_j
    this.yy = square(); // y_i · P y_j
    [this.x, this.g, this.pg, this.y, this.free, this.freeG] = Array.from({ length: 6 }, room);
    Object.assign(this, { slot: 0, gamma: 1, trust: 1, noise: 0, f: 0, fresh: true, curved: false });
  }

  /**
   * The next point to evaluate; loss and gradient belong to `x`, which the previous step returned.
   * @param {Float32Array} x @param {number} loss @param {Float32Array} gradient
   */
  step(x, loss, gradient) {
    this.learn(x, loss, gradient);
    return this.move();
  }

  /** Forget the point before, and the curvature: another objective has another. */
  restart() {
    this.fresh = true;
    this.g.fill(0);
    for (const pair of this.pairs) pair.valid = false;
    [this.curved, this.trust] = [false, 1];
  }

  learn(x, f, g) {
    const squared = dot(g, g);
    const finite = Number.isFinite(f) && Number.isFinite(squared);
    const exploded = f > this.f + 0.5 * Math.abs(this.f) + this.noise && !this.fresh;
    const bad = exploded || !finite;
    const failed = bad && !this.fresh;
    const none = bad || this.fresh;
    this.slot = (this.slot + 1) % HISTORY;
    const newest = this.pairs[this.slot];
    const { s, py } = newest;
    for (let i = 0; i < x.length; i++) {
      s[i] = none ? 0 : x[i] - this.x[i];
      // Variables that could not move say nothing about the curvature along the step.
      this.y[i] = none ? 0 : (g[i] - this.g[i]) * this.free[i];
    }
    if (!failed) this.x.set(x);
    if (!bad) this.g.set(g);
    if (this.fresh && finite) this.noise = 1e-6 * Math.abs(f);
    if (!failed) this.f = f;
    this.trust = Math.min(1, Math.max(1e-6, failed ? this.trust / 4 : this.trust * 2));
    this.fresh &&= bad;
    for (let i = 0; i < x.length; i++) {
      const open = (this.x[i] > 0 || this.g[i] < 0) && (this.x[i] < 1 || this.g[i] > 0);
      this.free[i] = open ? 1 : 0;
      this.freeG[i] = open ? this.g[i] : 0;
    }
    this.damp(this.y, this.freeG, py, this.pg);
    const [ss, sy, yy] = [dot(s, s), dot(s, this.y), dot(this.y, py)];
    newest.valid = sy > 1e-5 * Math.sqrt(ss * yy) && Number.isFinite(sy / yy);
    if (newest.valid) this.gamma = sy / yy;
    this.curved = (this.curved || newest.valid) && !failed;
    if (failed) for (const pair of this.pairs) pair.valid = pair === newest && newest.valid;
    for (let i = 0; i < HISTORY; i++) {
      this.sy[i][this.slot] = dot(this.pairs[i].s, this.y);
      this.yy[i][this.slot] = this.yy[this.slot][i] = dot(this.pairs[i].py, this.y);
    }
  }

  move() {
    const size = this.x.length;
    const rms = Math.sqrt(size);
    const steepest = (FIRST_STEP * rms) / Math.max(TINY, Math.sqrt(dot(this.pg, this.pg)));
    const { onS, onY } = this.correction();
    const step = new Float32Array(size);
    const add = (weight, values) => {
      for (let i = 0; weight && i < size; i++) step[i] -= weight * values[i];
    };
    add(this.trust * (this.curved ? this.gamma : steepest), this.pg);
    for (let i = 0; i < HISTORY; i++) {
      add(this.trust * onS[i], this.pairs[i].s);
      add(this.trust * onY[i], this.pairs[i].py);
    }
    const scale = MAX_STEP / Math.max(MAX_STEP, Math.sqrt(dot(step, step)) / rms);
    for (let i = 0; i < size; i++) {
      step[i] = Math.min(1, Math.max(0, this.x[i] + scale * step[i] * this.free[i]));
    }
    return step;
  }

  /** What multiplies each s and P y in H g besides γ P g (Byrd, Nocedal & Schnabel, Eq. 3.13). */
  correction() {
    const onS = Array(HISTORY).fill(0);
    const onY = Array(HISTORY).fill(0);
    const order = Array.from({ length: HISTORY }, (_, i) => (this.slot + 1 + i) % HISTORY);
    const used = order.filter((i) => this.pairs[i].valid); // oldest first
    const count = used.length;
    const sg = used.map((i) => dot(this.pairs[i].s, this.freeG));
    const yg = used.map((i) => dot(this.pairs[i].py, this.freeG));
    const r = (i, j) => this.sy[used[i]][used[j]];
    const u = Array(count).fill(0);
    for (let i = count - 1; i >= 0; i--) {
      let left = sg[i];
      for (let j = i + 1; j < count; j++) left -= r(i, j) * u[j];
      u[i] = left / r(i, i);
    }
    const w = used.map((at, i) => {
      const bent = used.reduce((sum, other, j) => sum + this.yy[at][other] * u[j], 0);
      return r(i, i) * u[i] + this.gamma * (bent - yg[i]);
    });
    const v = Array(count).fill(0);
    for (let i = 0; i < count; i++) {
      let left = w[i];
      for (let j = 0; j < i; j++) left -= r(j, i) * v[j];
      v[i] = left / r(i, i);
    }
    used.forEach((at, i) => {
      onS[at] = v[i];
      onY[at] = -this.gamma * u[i];
    });
    return { onS, onY };
  }
}

const square = () => Array.from({ length: HISTORY }, () => Array(HISTORY).fill(0));
