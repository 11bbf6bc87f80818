// The kernels with their memory, alone or with helpers that share it.

const PAGE = 65536;
const MOST_PAGES = 16384; // 1 GiB
const SLACK = 16384; // bytes after each piece: blocks of six rows may write over the end
const [BEGIN, LEFT, TURN, ROUND] = [0, 1, 2, 3]; // places of the numbers that threads meet at

/** Kernels that are too small to share, done by the first thread alone. */
const ALONE = new Set(["enter", "back", "vary", "prepare"]);

/**
 * One kernel and its arguments, all of which stay as they are: what changes lies in memory.
 * @typedef {[string, ...number[]]} Step
 */

export class Machine {
  /**
   * @param {WebAssembly.Module} module
   * @param {WebAssembly.Memory} memory
   * @param {Worker[]} helpers who call `help`, in memory that can be shared
   */
  constructor(module, memory, helpers = []) {
    Object.assign(this, { module, memory, helpers, threads: helpers.length + 1 });
    this.kernels = new WebAssembly.Instance(module, { env: { memory } }).exports;
    this.top = 1024; // below it are the numbers that threads meet at
    this.zeros = this.take(1024);
  }

  /** Room for so many floats, at a multiple of 16 bytes; returns a pointer. */
  take(count) {
    const at = this.top;
    this.top += Math.ceil((4 * count + SLACK) / 16) * 16;
    const more = Math.ceil((this.top - this.memory.buffer.byteLength) / PAGE);
    if (more > 0) this.memory.grow(Math.max(more, 256));
    return at;
  }

  /** Give back all that was taken after `top` was this. */
  release(top) {
    this.top = top;
  }

  write(at, values) {
    new values.constructor(this.memory.buffer, at, values.length).set(values);
  }

  /** Put floats or bytes into memory of their own. */
  put(values) {
    const at = this.take(Math.ceil(values.byteLength / 4));
    this.write(at, values);
    return at;
  }

  /** A convolution's weights, ready for both ways. @param {import("./network.js").Row} row */
  prepare(row) {
    const pad = (count, to) => Math.ceil(count / to) * to;
    const size = (rows, columns) => 16 * pad(rows, 4) * pad(columns, 8);
    const there = this.take(size(row.ins, row.outs));
    const back = this.take(size(row.outs, row.ins));
    const bias = this.put(row.bias);
    const { top } = this;
    const [codes, step] = [this.put(row.codes), this.put(row.step)];
    for (const [to, turned] of [[there, 0], [back, 1]]) {
      this.kernels.prepare(codes, step, to, row.outs, row.ins, turned);
    }
    this.release(top);
    return { there, back, bias };
  }

  /**
   * Run a list, and give back what is wanted of memory: so many floats, or a sum.
   * @param {Step[]} steps
   * @param {{at: number, count: number, sum?: boolean}[]} wanted
   * @returns {Promise<(Float32Array | number)[]>}
   */
  async run(steps, wanted) {
    this.work(steps);
    const { buffer } = this.memory;
    return wanted.map(({ at, count, sum }) => {
      if (!sum) return new Float32Array(buffer, at, count).slice();
      return new Float64Array(buffer, at, count).reduce((all, value) => all + value, 0);
    });
  }

  work(steps) {
    const { kernels, threads } = this;
    if (threads === 1) {
      for (const [name, ...given] of steps) kernels[name](...given, 0, 1); // what is alone takes less
      return;
    }
    const meet = new Int32Array(this.memory.buffer, 0, 4);
    if (steps !== this.shared) this.handOut(steps, meet);
    Atomics.store(meet, LEFT, threads);
    Atomics.add(meet, BEGIN, 1);
    Atomics.notify(meet, BEGIN);
    share(kernels, steps, meet, 0, threads);
  }

  /** The helpers leave the list that they have, and get another. */
  handOut(steps, meet) {
    this.shared = steps;
    const round = Atomics.add(meet, ROUND, 1) + 1;
    const begun = Atomics.add(meet, BEGIN, 1) + 1;
    Atomics.notify(meet, BEGIN);
    const { module, memory, threads: parts } = this;
    this.helpers.forEach((helper, at) => {
      helper.postMessage({ help: { module, memory, steps, round, begun, part: at + 1, parts } });
    });
  }
}

/** Do one's part of all steps; nobody begins with the next before all have done theirs. */
function share(kernels, steps, meet, part, parts) {
  for (const [name, ...given] of steps) {
    const turn = Atomics.load(meet, TURN);
    if (!ALONE.has(name)) kernels[name](...given, part, parts);
    else if (part === 0) kernels[name](...given);
    if (Atomics.sub(meet, LEFT, 1) === 1) {
      Atomics.store(meet, LEFT, parts);
      Atomics.add(meet, TURN, 1);
      Atomics.notify(meet, TURN);
    } else {
      for (let i = 0; i < 5000 && Atomics.load(meet, TURN) === turn; i++);
      while (Atomics.load(meet, TURN) === turn) Atomics.wait(meet, TURN, turn);
    }
  }
}

/** What a helper does as long as nobody hands out another list: wait, then its part of the steps. */
export function help({ module, memory, steps, round, begun, part, parts }) {
  const { exports: kernels } = new WebAssembly.Instance(module, { env: { memory } });
  const meet = new Int32Array(memory.buffer, 0, 4);
  for (let seen = begun; ; seen++) {
    while (Atomics.load(meet, BEGIN) === seen) Atomics.wait(meet, BEGIN, seen);
    if (Atomics.load(meet, ROUND) !== round) return;
    share(kernels, steps, meet, part, parts);
  }
}
