// Runs the page's modules in node for test_page.py: `node page.mjs FOLDER`, where `given.json` says
// what to do and `NAME.bin` are float32 numbers; writes what it found beside them.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { argv } from "node:process";

import { Objective } from "../docs/page/descent.js";
import { Damping } from "../docs/page/fourier.js";
import { Machine } from "../docs/page/machine.js";
import { readNetwork } from "../docs/page/network.js";
import { normal } from "../docs/page/noise.js";
import { resized } from "../docs/page/picture.js";
import { load } from "../docs/page/plan.js";

const folder = argv[2];
const read = (name) => new Uint8Array(readFileSync(join(folder, name))).buffer;
const floats = (name) => new Float32Array(read(`${name}.bin`));
const write = (name, values) => writeFileSync(join(folder, `${name}.bin`), Float32Array.from(values));

const actions = {
  noise: ({ count, seed, to }) => write(to, normal(count, seed)),
  resize: ({ from, height, width, size, to }) =>
    write(to, resized({ planes: floats(from), height, width }, size).planes),
  damp: ({ first, second, height, width, wavelength, to }) => {
    const out = [0, 1].map(() => new Float32Array(3 * height * width));
    new Damping(height, width, wavelength).run(floats(first), floats(second), ...out);
    out.forEach((values, at) => write(to[at], values));
  },
  objective: async ({ kernels, content, style, knobs, contentLayers, styleLayers, at, turns, to }) => {
    const module = new WebAssembly.Module(read(kernels));
    const machine = new Machine(module, new WebAssembly.Memory({ initial: 16, maximum: 16384 }));
    const network = load(machine, readNetwork(read("network.safetensors")));
    const picture = (given) => given && { ...given, planes: floats(given.name) };
    const problem = { contentLayers, styleLayers, knobs };
    const pictures = { content: picture(content), style: picture(style) };
    const objective = await Objective.of(machine, network, { ...problem, ...pictures });
    const found = [];
    for (const [number, turn] of [{}, ...turns].entries()) {
      objective.turn(turn);
      const { losses, gradient } = await objective.evaluate(floats(at));
      write(`${to}-${number}`, gradient);
      found.push(losses);
    }
    return found;
  },
};

const given = JSON.parse(readFileSync(join(folder, "given.json"), "utf8"));
const found = [];
for (const [name, about] of given) found.push((await actions[name](about)) ?? null);
writeFileSync(join(folder, "found.json"), JSON.stringify(found));
