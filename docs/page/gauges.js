// What is read off a run while it goes: figures, curves, and what is gone of each loss.
import curves from "../../styletutor/widgets/static/curves.js";
import { words } from "./words.js";
import { element, make } from "./model.js";

const SECONDS = 3; // over which the speed is averaged
const MOST_POINTS = 200;

export class Gauges {
  /** @param {import("./model.js").Model} board */
  constructor(board) {
    this.board = board;
    this.figures = make("p", { className: "figures" });
    const none = { x: [], series: [], at: 0, most: 2, alt: "" };
    const [terms, termsNode] = element(curves, { ...none });
    const [layers, layersNode] = element(curves, { ...none });
    Object.assign(this, { terms, layers });
    this.node = make("div", { className: "plots" },
      make("section", {}, make("h2", {}, words.curves), termsNode),
      make("section", {}, make("h2", {}, words.curvesByLayer), layersNode));
    this.clear();
  }

  clear() {
    this.times = [];
    this.figures.textContent = "";
    this.node.hidden = true;
    this.board.show({ removed: {}, pulls: {}, terms: {} });
    for (const one of [this.terms, this.layers]) one.show({ x: [], series: [] });
  }

  /** @param {object} run whose `rows` end with this frame */
  show(run, { evaluation, evaluations, removed }) {
    const now = performance.now() / 1000;
    const last = this.times.at(-1);
    if (last && now - last.now > 2 * SECONDS) this.times = []; // it was paused
    this.times.push({ now, evaluation });
    while (this.times.length > 2 && now - this.times[0].now > SECONDS) this.times.shift();
    const [first] = this.times;
    const rate = evaluation > first.evaluation ? (evaluation - first.evaluation) / (now - first.now) : 0;
    const share = (term) => (term in removed ? words.percent(removed[term]) : "");
    this.figures.textContent = words.figures({
      evaluation,
      evaluations,
      rate: rate && Number(rate.toPrecision(2)),
      left: rate ? Math.round((evaluations - evaluation) / rate) : null,
      removed: share("style"),
      matched: run.mode === "keep" && share("content"),
    });
    const strip = (name) => name.replace("style ", "");
    this.board.set("removed", Object.fromEntries(
      Object.entries(removed).map(([name, value]) => [strip(name), value])));
    this.draw(run.rows, evaluations);
  }

  draw(all, evaluations) {
    this.node.hidden = false;
    const every = Math.ceil(all.length / MOST_POINTS);
    const rows = all.filter((_, at) => at % every === 0 || at === all.length - 1);
    const x = rows.map((row) => row.evaluation);
    const terms = ["content", "style", "tv"].filter((name) => rows.some((row) => name in row));
    const parts = [...new Set(rows.flatMap((row) => Object.keys(row.parts)))].filter((n) => n !== "tv");
    const lines = [[this.terms, terms, (row) => row], [this.layers, parts, (row) => row.parts]];
    for (const [model, names, of] of lines) {
      const series = names.map((name) => ({
        name: name.replace("style ", "s ").replace("content ", "c "),
        values: rows.map((row) => of(row)[name] ?? 0),
      }));
      const last = series.map(({ name, values }) => `${name} ${values.at(-1).toPrecision(3)}`);
      model.show({ alt: words.curvesAlt(last.join(", ")), most: evaluations, x, series });
    }
  }
}
