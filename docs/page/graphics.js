// The kernels on a graphics card, through WebGPU: the same lists of steps as machine.js runs.
import shaders from "./shaders.wgsl";

const SLOT = 256; // bytes from one step's arguments to the next one's
const SLABS = 16; // at most, that a Gram matrix's positions are divided into
const GROUPS = 32; // that sum squares
const FIRST = 2 ** 26; // bytes of memory at first

/** The step as dispatches: `[kernel, arguments, groups]`, pointers counted in fours of floats. */
function dispatches([name, ...given], room) {
  const at = (bytes) => bytes / 16;
  const [a, b, c, d, e, f, g, h] = given;
  const flat = (count) => [Math.ceil(count / 64)];
  const product = (count, outs) => [Math.ceil(outs / 32), Math.ceil(count / 32)];
  switch (name) {
    case "enter":
      return c ? [["enter", [at(a), at(b), c, float(d), float(e), float(f)], flat(c)]] : [];
    case "back":
      return [["back", [at(a), at(b), c], flat((3 * c) / 4)]];
    case "convolve": {
      const [weights, bias, relu, add] = given.slice(6);
      const sizes = [c, d, e / 4, f / 4];
      return [["convolve", [at(a), at(b), ...sizes, at(weights), at(bias), relu, add, 9], product(c * d, f)]];
    }
    case "spread": // features, d, to, count, channels
      return [["convolve", [at(a), at(c), d, 1, e / 4, e / 4, at(b), 0, 0, 0, 1], product(d, e)]];
    case "pool":
      return [["pool", [at(a), at(b), c, d, e / 4], flat(((c >> 1) * (d >> 1) * e) / 4)]];
    case "unpool": {
      const cells = Math.ceil(d / 2) * Math.ceil(e / 2);
      return [["unpool", [at(a), at(b), at(c), d, e, f / 4, g], flat((cells * f) / 4)]];
    }
    case "mask":
      return [["mask", [at(a), at(b), c / 4], flat(c / 4)]];
    case "gram": { // features, to, count, channels, scale
      const slabs = Math.min(SLABS, Math.ceil(c / 1024));
      const blocks = Math.ceil(d / 32);
      return [
        ["gram", [at(a), at(room), c, d / 4], [blocks, blocks, slabs]],
        ["fold", [at(room), at(b), (d * d) / 4, slabs, float(e)], flat((d * d) / 4)],
      ];
    }
    case "compare": // value, aim, slope, count, weight, factor, along, add, sum
      return [
        ["compare", [at(a), at(b), at(c), d / 4, at(e), float(f), float(g), h, at(room)], [GROUPS]],
        ["total", [at(room), at(given[8]), GROUPS], [1]],
      ];
    case "vary": { // planes, gradient, height, width, weight, sum
      const groups = flat((3 * c * d) / 4);
      return [
        ["vary", [at(a), at(b), c, d, at(e), at(room)], groups],
        ["total", [at(room), at(f), groups[0]], [1]],
      ];
    }
  }
  throw Error(name);
}

/** The bits of a float32, as a whole number. */
function float(value) {
  return new Uint32Array(Float32Array.of(value).buffer)[0];
}

export class Graphics {
  /** @returns {Promise<Graphics | null>} null where there is no graphics card to be had */
  static async open() {
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return null;
    const { maxStorageBufferBindingSize: binding, maxBufferSize: most } = adapter.limits;
    const requiredLimits = { maxStorageBufferBindingSize: binding, maxBufferSize: most };
    const device = await adapter.requestDevice({ requiredLimits });
    const isSoftware = adapter.info?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;
    return new Graphics(device, Math.min(binding, most), isSoftware);
  }

  constructor(device, most, isSoftware) {
    Object.assign(this, { device, most, isSoftware, threads: 1, lists: new WeakMap() });
    const module = device.createShaderModule({ code: shaders });
    const { COMPUTE } = GPUShaderStage;
    this.layout = device.createBindGroupLayout({
      entries: [
        { binding: 0, visibility: COMPUTE, buffer: { type: "storage" } },
        { binding: 1, visibility: COMPUTE, buffer: { type: "uniform", hasDynamicOffset: true } },
      ],
    });
    const layout = device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
    const names = [...shaders.matchAll(/^fn (\w+)\(@builtin/gm)].map(([, name]) => name);
    this.pipelines = Object.fromEntries(names.map((name) =>
      [name, device.createComputePipeline({ layout, compute: { module, entryPoint: name } })]));
    this.buffer = this.allocate(FIRST);
    this.top = 1024;
    this.zeros = 0;
    this.room = this.take(2 ** 20);
  }

  allocate(size) {
    const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
    return this.device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
  }

  /** Room for so many floats; returns a pointer in bytes, as a `Machine` does. */
  take(count) {
    const at = this.top;
    this.top += Math.ceil(count / 4) * 16 + 16;
    if (this.top > this.buffer.size) this.grow();
    return at;
  }

  grow() {
    if (this.top > this.most) throw RangeError("the graphics card has not that much memory");
    const before = this.buffer;
    this.buffer = this.allocate(Math.min(this.most, Math.ceil(this.top / 2 ** 24 + 2) * 2 ** 24));
    const encoder = this.device.createCommandEncoder();
    encoder.copyBufferToBuffer(before, 0, this.buffer, 0, before.size);
    this.device.queue.submit([encoder.finish()]);
    before.destroy();
  }

  release(top) {
    this.top = top;
  }

  write(at, values) {
    this.device.queue.writeBuffer(this.buffer, at, values);
  }

  put(values) {
    const at = this.take(values.length);
    this.write(at, values);
    return at;
  }

  /** Weights as (taps, in, out), and turned for the way back, with zeros up to fours. */
  prepare({ codes, step, ins, outs, bias }) {
    const pad = (count) => Math.ceil(count / 4) * 4;
    const there = new Float32Array(9 * pad(ins) * pad(outs));
    const back = new Float32Array(9 * pad(outs) * pad(ins));
    for (let o = 0; o < outs; o++) {
      for (let i = 0; i < ins; i++) {
        for (let tap = 0; tap < 9; tap++) {
          const weight = step[o] * codes[9 * (o * ins + i) + tap];
          there[(tap * pad(ins) + i) * pad(outs) + o] = weight;
          back[((8 - tap) * pad(outs) + o) * pad(ins) + i] = weight;
        }
      }
    }
    return { there: this.put(there), back: this.put(back), bias: this.put(bias) };
  }

  /** See `Machine.run`. */
  async run(steps, wanted) {
    const { device } = this;
    const { bindings, calls } = this.compiled(steps);
    const sizes = wanted.map(({ count }) => 4 * Math.ceil(count));
    const size = sizes.reduce((sum, bytes) => sum + bytes, 0);
    const { MAP_READ, COPY_DST } = GPUBufferUsage;
    const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    calls.forEach(([name, , groups], at) => {
      pass.setPipeline(this.pipelines[name]);
      pass.setBindGroup(0, bindings, [SLOT * at]);
      pass.dispatchWorkgroups(...groups);
    });
    pass.end();
    let place = 0;
    wanted.forEach(({ at }, i) => {
      encoder.copyBufferToBuffer(this.buffer, at, staging, place, sizes[i]);
      place += sizes[i];
    });
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ).catch(() => {
      throw Error("graphics"); // it was lost, as to another program or a crash of its driver
    });
    const all = new Float32Array(staging.getMappedRange().slice(0));
    staging.destroy();
    place = 0;
    return wanted.map(({ count, sum }) => {
      const values = all.subarray(place, (place += Math.ceil(count)));
      return sum ? values[0] : values.slice();
    });
  }

  /** The list with its arguments on the card, as long as the memory is the same. */
  compiled(steps) {
    const known = this.lists.get(steps);
    if (known?.buffer === this.buffer) return known;
    const { device, buffer } = this;
    const calls = steps.flatMap((step) => dispatches(step, this.room));
    const { UNIFORM, COPY_DST } = GPUBufferUsage;
    const size = Math.max(1, calls.length) * SLOT;
    const given = device.createBuffer({ size, usage: UNIFORM | COPY_DST });
    const words = new Uint32Array(size / 4);
    calls.forEach(([, values], at) => words.set(values, (at * SLOT) / 4));
    device.queue.writeBuffer(given, 0, words);
    const bindings = device.createBindGroup({
      layout: this.layout,
      entries: [
        { binding: 0, resource: { buffer } },
        { binding: 1, resource: { buffer: given, size: 64 } },
      ],
    });
    const list = { buffer, bindings, calls };
    this.lists.set(steps, list);
    return list;
  }
}
