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
async function look(machine, network, picture, layers, kind) {
  const found = new Map();
  if (!layers.length) return found;
  const { top } = machine;
  const way = wayIn(machine, network, picture.height, picture.width, layers);
  const maps = way.maps.filter((map) => layers.includes(map.row.relu));
  const measured = kind === "style" ? maps.map((map) => measure(machine, map)) : [];
  const steps = [...way.steps, ...measured.map(({ step }) => step)];
  machine.write(way.planes, picture.planes);
  const wanted = maps.map((map, i) => kind === "style"
    ? { at: measured[i].gram, count: map.channels ** 2 }
    : { at: map.features, count: map.channels * map.count });
  const values = await machine.run(steps, wanted);
  maps.forEach((map, i) => found.set(map.row.relu, values[i]));
  machine.release(top);
  return found;
}

export class Objective {
  /** @param {Problem} problem */
  static async of(machine, network, problem) {
    const { content, style, contentLayers, styleLayers } = problem;
    const features = await look(machine, network, content, contentLayers, "content");
    const grams = await look(machine, network, style, styleLayers, "style");
    const { height, width } = content ?? style;
    return new Objective(machine, network, { height, width }, features, grams, problem.knobs);
  }

  constructor(machine, network, size, features, grams, knobs) {
    Object.assign(this, { machine, network, ...size, parts: [] });
    for (const [term, aims] of [["content", features], ["style", grams]]) {
      for (const [layer, aim] of aims) {
        const factor = 1 / (squares(aim) || 1);
        this.parts.push({ term, layer, name: `${term} ${layer}`, factor, aim: machine.put(aim) });
      }
    }
    this.parts.push({ term: "tv", name: "tv" });
    for (const part of this.parts) part.weight = machine.take(1);
    this.top = machine.top;
    this.turn(knobs);
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
      this.machine.write(part.weight, Float32Array.of(part.value));
      if (part.value > 0) active.push(part);
    }
    if (this.whole && active.every((part, at) => part === this.active[at]) &&
        active.length === this.active.length) return;
    this.machine.release(this.top);
    this.whole = wholeWay(this.machine, this.network, this.height, this.width, active);
    this.active = active;
  }

  /**
   * Weighted losses by part, their total, and the gradient.
   * @param {Float32Array} planes
   */
  async evaluate(planes) {
    const { machine, whole, active } = this;
    machine.write(whole.planes, planes);
    machine.write(whole.gradient, new Float32Array(planes.length));
    const wanted = [{ at: whole.gradient, count: planes.length }, ...active.map((part) => part.sum)];
    const [gradient, ...sums] = await machine.run(whole.steps, wanted);
    const losses = Object.fromEntries(active.map((part, i) => [part.name, sums[i]]));
    return { losses, total: sums.reduce((all, loss) => all + loss, 0), gradient };
  }

  /** How far a picture is from each target, whatever the weights are. */
  async distances(planes) {
    this.weigh((part) => (part.layer ? 1 : 0));
    const { losses } = await this.evaluate(planes);
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
  async advance() {
    const { objective, optimiser, turned } = this;
    this.turned = null;
    const first = this.evaluation === 0;
    if (!first) this.image = optimiser.step(this.image, this.total, this.gradient);
    if (turned) objective.turn(turned);
    const found = await objective.evaluate(this.image);
    // What was best or learnt under other weights is forgotten; the move still followed them.
    if (turned && !first) optimiser.restart();
    if (first || turned || found.total < this.bestTotal) {
      [this.best, this.bestTotal, this.bestLosses] = [this.image, found.total, found.losses];
    }
    [this.losses, this.total, this.gradient] = [found.losses, found.total, found.gradient];
    this.evaluation += 1;
    return found.losses;
  }
}
