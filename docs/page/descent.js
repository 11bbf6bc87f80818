// An objective in a machine, and a picture that is moved downhill on it, an evaluation at a time.
// The same as styletutor/loss/objective.py, in shares, and styletutor/descent/engine.py.
import { Damping } from "./fourier.js";
import { LBFGS } from "./lbfgs.js";
import { measure, wayIn, wholeWay } from "./plan.js";

/**
 * A picture: three planes of numbers in [0, 1], one after the other.
 * @typedef {{planes: Float32Array, height: number, width: number}} Picture
 */

/**
 * What to descend on. Layers are named by their ReLUs.
 * @typedef {object} Problem
 * @property {Picture | null} content
 * @property {Picture | null} style
 * @property {string[]} contentLayers
 * @property {string[]} styleLayers
 * @property {Record<string, number>} knobs weights by name: "content", "style", "tv", and shares as
 *   "style relu1_1"
 * @property {number} wavelength of the optimiser; 0: all waves alike
 */

const squares = (values) => values.reduce((sum, value) => sum + value * value, 0);

/** The features and Gram matrices that a picture has at those layers. */
function look(machine, network, picture, layers, kind) {
  const found = new Map();
  if (!layers.length) return found;
  const { top } = machine;
  const way = wayIn(machine, network, picture.height, picture.width, layers);
  const maps = way.maps.filter((map) => layers.includes(map.row.relu));
  const measured = kind === "style" ? maps.map((map) => measure(machine, map)) : [];
  const steps = [...way.steps, ...measured.map(({ step }) => step)];
  machine.floats(way.planes, picture.planes.length).set(picture.planes);
  machine.run(steps);
  maps.forEach((map, at) => {
    const place = kind === "style" ? measured[at].gram : map.features;
    const count = map.channels * (kind === "style" ? map.channels : map.count);
    found.set(map.row.relu, machine.floats(place, count).slice());
  });
  machine.release(top);
  return found;
}

export class Objective {
  /** @param {Problem} problem */
  constructor(machine, network, problem) {
    const { content, style } = problem;
    this.machine = machine;
    this.network = network;
    const { height, width } = content ?? style;
    Object.assign(this, { height, width });
    const features = look(machine, network, content, problem.contentLayers, "content");
    const grams = look(machine, network, style, problem.styleLayers, "style");
    this.parts = [];
    for (const [term, aims] of [["content", features], ["style", grams]]) {
      for (const [layer, aim] of aims) {
        const factor = 1 / (squares(aim) || 1);
        this.parts.push({ term, layer, name: `${term} ${layer}`, factor, aim: machine.put(aim) });
      }
    }
    this.parts.push({ term: "tv", name: "tv" });
    for (const part of this.parts) part.weight = machine.take(1);
    this.top = machine.top;
    this.turn(problem.knobs);
  }

  /** Take up other weights. */
  turn(knobs) {
    this.knobs = { ...this.knobs, ...knobs };
    const own = (part) => (part.layer ? this.knobs[part.name] ?? 0 : 1);
    this.weigh((part) => (this.knobs[part.term] ?? 0) * own(part));
  }

  weigh(weightOf) {
    const active = [];
    for (const part of this.parts) {
      part.value = weightOf(part);
      this.machine.floats(part.weight, 1)[0] = part.value;
      if (part.value > 0) active.push(part);
    }
    if (this.whole && active.every((part, at) => part === this.active[at]) &&
        active.length === this.active.length) return;
    this.machine.release(this.top);
    this.whole = wholeWay(this.machine, this.network, this.height, this.width, active);
    this.active = active;
  }

  /**
   * Weighted losses by part, their total, and the gradient (a view, good until the next call).
   * @param {Float32Array} planes
   */
  evaluate(planes) {
    const { machine, whole } = this;
    machine.floats(whole.planes, planes.length).set(planes);
    machine.floats(whole.gradient, planes.length).fill(0);
    machine.run(whole.steps);
    const losses = {};
    let total = 0;
    for (const part of this.active) {
      const sums = machine.doubles(part.sum, part.term === "tv" ? 1 : machine.threads);
      losses[part.name] = sums.reduce((sum, value) => sum + value, 0);
      total += losses[part.name];
    }
    return { losses, total, gradient: machine.floats(whole.gradient, planes.length) };
  }

  /** How far a picture is from each target, whatever the weights are. */
  distances(planes) {
    this.weigh((part) => (part.layer ? 1 : 0));
    const { losses } = this.evaluate(planes);
    this.turn({});
    return losses;
  }
}

export class Descent {
  /** @param {Objective} objective @param {Float32Array} start */
  constructor(objective, start, wavelength) {
    this.objective = objective;
    const size = [objective.height, objective.width];
    const damping = wavelength ? new Damping(...size, wavelength) : null;
    this.optimiser = new LBFGS(start.length, (y, g, py, pg) => {
      if (damping) return damping.run(y, g, py, pg);
      py.set(y);
      pg.set(g);
    });
    this.evaluation = 0;
    this.image = start;
    this.turned = null;
  }

  /** Other weights, from the next evaluation on. */
  turn(knobs) {
    this.turned = { ...this.turned, ...knobs };
  }

  /** One evaluation: the start's first, then after a move. Returns the losses by part. */
  advance() {
    const { objective, optimiser, turned } = this;
    const first = this.evaluation === 0;
    if (!first) this.image = optimiser.step(this.image, this.total, this.gradient);
    if (turned) objective.turn(turned);
    const found = objective.evaluate(this.image);
    // What was best or learnt under other weights is forgotten; the move still followed them.
    if (turned && !first) optimiser.restart();
    if (first || turned || found.total < this.bestTotal) {
      [this.best, this.bestTotal, this.bestLosses] = [this.image, found.total, found.losses];
    }
    this.turned = null;
    [this.losses, this.total, this.gradient] = [found.losses, found.total, found.gradient];
    this.evaluation += 1;
    return found.losses;
  }
}
