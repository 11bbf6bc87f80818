// The worker: it holds the network, and moves one picture at a time, so that the page never waits.
import { Descent, Objective } from "./descent.js";
import { help, Machine } from "./machine.js";
import { readNetwork } from "./network.js";
import { greyNoise } from "./noise.js";
import { load } from "./plan.js";

const MOST_THREADS = 8;
const PAGES = { initial: 16, maximum: 16384 };

let machine, network, bottom;
let run = null; // {descent, problem, paused}
let number = 0; // of the run, so that an older loop ends

/** The best module that this browser takes: with products of one rounding, and with threads. */
async function open({ modules, weights, threads }) {
  const shared = threads > 1 && self.crossOriginIsolated;
  const names = ["fused", "plain"].map((name) => (shared ? `${name}-shared` : name));
  const name = names.find((name) => WebAssembly.validate(modules[name]));
  if (!name) throw Error("old");
  const module = await WebAssembly.compile(modules[name]);
  const memory = new WebAssembly.Memory(shared ? { ...PAGES, shared } : PAGES);
  const count = shared ? Math.min(threads, MOST_THREADS) - 1 : 0;
  const helpers = Array.from({ length: count }, () => new Worker(self.location.href));
  machine = new Machine(module, memory, helpers);
  network = load(machine, readNetwork(weights));
  bottom = machine.top;
  postMessage({ ready: { threads: machine.threads, kernels: name } });
}

function begin({ problem, start, seed, evaluations }) {
  machine.release(bottom);
  const objective = new Objective(machine, network, problem);
  const size = 3 * objective.height * objective.width;
  const image = start === "noise" ? greyNoise(size, seed) : problem.content.planes;
  // What is gone of the style is in shares of its loss at the start. Of the content what is missing
  // is the loss itself: the share of the target's sum of squares.
  const first = objective.distances(image);
  for (const { name, term } of objective.parts) if (term === "content") first[name] = 1;
  const descent = new Descent(objective, image, problem.wavelength);
  run = { descent, evaluations, first, paused: false };
  loop(++number);
}

/** After each evaluation the messages that have come. */
async function loop(mine) {
  const channel = new MessageChannel();
  const pause = () => new Promise((done) => {
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  });
  while (mine === number && !run.paused && run.descent.evaluation < run.evaluations) {
    step(run);
    await pause();
  }
  if (mine === number && run.descent.evaluation >= run.evaluations) tell(run, "done");
  channel.port1.close();
}

function step({ descent, evaluations, first }) {
  const began = performance.now();
  const turned = descent.turned && { ...descent.turned };
  const losses = descent.advance();
  const removed = shareRemoved(descent.objective.active, losses, first);
  const seconds = (performance.now() - began) / 1000;
  const { evaluation, image } = descent;
  postMessage({ frame: { evaluation, evaluations, losses, removed, seconds, turned, planes: image } });
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

const actions = {
  open,
  begin,
  help,
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

self.onmessage = async ({ data }) => {
  for (const [name, value] of Object.entries(data)) {
    try {
      await actions[name](value);
    } catch (error) {
      postMessage({ failed: error instanceof RangeError ? "memory" : error.message });
    }
  }
};
