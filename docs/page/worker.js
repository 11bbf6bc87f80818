// The worker: it holds the network, and moves one picture at a time, so that the page never waits.
import { Descent, Objective } from "./descent.js";
import { Graphics } from "./graphics.js";
import { help, Machine } from "./machine.js";
import { readNetwork } from "./network.js";
import { greyNoise } from "./noise.js";
import { load } from "./plan.js";

const MOST_THREADS = 8;
const PAGES = { initial: 16, maximum: 16384 };

let known = null; // the network as it is in its file
let card = null; // a graphics card, if there is one
const kinds = {}; // "processor" and, once it has been used, "graphics": {machine, network, bottom}
let kind = "processor";
let run = null; // {descent, evaluations, first, paused}
let number = 0; // of the run, so that an older loop ends

async function open({ modules, weights, threads }) {
  known = readNetwork(weights);
  const machine = await processor(modules, threads);
  kinds.processor = withNetwork(machine);
  postMessage({ ready: { threads: machine.threads } });
  try {
    card = await Graphics.open();
    if (!card) return;
    if (!card.isSoftware) await compute("graphics");
    postMessage({ card: { kind } });
  } catch (error) {
    postMessage({ card: { reason: error.message } });
  }
}

/** Let the next run be computed by this kind of machine. */
async function compute(name) {
  if (name === "graphics" && !kinds.graphics) {
    kinds.graphics = withNetwork(card);
    if (!(await agree())) {
      delete kinds.graphics;
      throw Error("graphics");
    }
  }
  kind = name;
}

/** The best module that this browser takes: with products of one rounding, and with threads. */
async function processor(modules, threads) {
  const shared = threads > 1 && self.crossOriginIsolated;
  const names = ["fused", "plain"].map((name) => (shared ? `${name}-shared` : name));
  const name = names.find((name) => WebAssembly.validate(modules[name]));
  if (!name) throw Error("old");
  const module = await WebAssembly.compile(modules[name]);
  const memory = new WebAssembly.Memory(shared ? { ...PAGES, shared } : PAGES);
  const count = shared ? Math.min(threads, MOST_THREADS) - 1 : 0;
  const helpers = Array.from({ length: count }, () => new Worker(self.location.href));
  return new Machine(module, memory, helpers);
}

function withNetwork(machine) {
  const network = load(machine, known);
  return { machine, network, bottom: machine.top };
}

/** Does the graphics card say what the processor says? Some drivers do not. */
async function agree() {
  const side = 32;
  const [first, second] = [0, 1].map((seed) =>
    ({ planes: greyNoise(3 * side * side, seed), height: side, width: side }));
  const layers = { contentLayers: ["relu4_2"], styleLayers: ["relu1_1", "relu5_1"] };
  const knobs = { content: 1, style: 1, tv: 1, "content relu4_2": 1, "style relu1_1": 1, "style relu5_1": 1 };
  const found = [];
  for (const { machine, network, bottom } of Object.values(kinds)) {
    machine.release(bottom);
    const problem = { ...layers, knobs, content: first, style: first };
    const objective = await Objective.of(machine, network, problem);
    const { total, gradient } = await objective.evaluate(second.planes);
    found.push([total, ...gradient]);
  }
  const [ours, theirs] = found;
  const off = ours.reduce((sum, value, i) => sum + (value - theirs[i]) ** 2, 0);
  return off < 1e-6 * ours.reduce((sum, value) => sum + value ** 2, 0);
}

async function begin({ problem, start, seed, evaluations }) {
  const mine = ++number;
  const { machine, network, bottom } = kinds[kind];
  machine.release(bottom);
  const objective = await Objective.of(machine, network, problem);
  const size = 3 * objective.height * objective.width;
  const image = start === "noise" ? greyNoise(size, seed) : problem.content.planes;
  // What is gone of the style is in shares of its loss at the start. Of the content what is missing
  // is the loss itself: the share of the target's sum of squares.
  const first = await objective.distances(image);
  for (const { name, term } of objective.parts) if (term === "content") first[name] = 1;
  const descent = new Descent(objective, image, problem.wavelength);
  run = { descent, evaluations, first, paused: false };
  loop(mine);
}

/** After each evaluation the messages that have come. */
async function loop(mine) {
  const channel = new MessageChannel();
  const pause = () => new Promise((done) => {
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
  const mayGoOn = () => mine === number && !run.paused && run.descent.evaluation < run.evaluations;
  try {
    while (mayGoOn()) {
      const frame = await step(run);
      if (mine === number) postMessage({ frame });
      await pause();
    }
    if (mine === number && run.descent.evaluation >= run.evaluations) tell(run, "done");
  } catch (error) {
    fail(error);
  }
  channel.port1.close();
}

async function step({ descent, evaluations, first }) {
  const began = performance.now();
  const turned = descent.turned && { ...descent.turned };
  const losses = await descent.advance();
  const removed = shareRemoved(descent.objective.active, losses, first);
  const seconds = (performance.now() - began) / 1000;
  const { evaluation, image: planes } = descent;
  return { evaluation, evaluations, losses, removed, seconds, turned, planes };
}

/** Which share of the loss has gone, by part and by term, as the weights are now. */
function shareRemoved(parts, losses, first) {
  const [now, before] = [{}, {}];
  for (const { name, term, value } of parts) {
    for (const key of first[name] > 0 ? new Set([name, term]) : []) {
      now[key] = (now[key] ?? 0) + losses[name];
      before[key] = (before[key] ?? 0) + value * first[name];
    }
  }
  return Object.fromEntries(Object.keys(now).map((key) => [key, 1 - now[key] / before[key]]));
}

function tell({ descent }, what) {
  const { best, bestLosses, evaluation } = descent;
  postMessage({ [what]: { planes: best, losses: bestLosses, evaluation } });
}

function fail(error) {
  postMessage({ failed: error instanceof RangeError ? "memory" : error.message });
}

const actions = {
  open,
  begin,
  help,
  compute,
  turn: (knobs) => run?.descent.turn(knobs),
  pause: () => run && (run.paused = true),
  go: () => {
    if (run?.paused) {
      run.paused = false;
      loop(++number);
    }
  },
  stop: () => {
    if (!run || run.descent.evaluation >= run.evaluations) return;
    run.evaluations = run.descent.evaluation;
    number += 1;
    tell(run, "stopped");
  },
};

let last = Promise.resolve(); // one after the other: two may not use a machine at once

self.onmessage = ({ data }) => {
  for (const [name, value] of Object.entries(data)) {
    last = last.then(() => actions[name](value)).catch(fail);
  }
};
