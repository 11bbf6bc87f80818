// The studio's page: what is chosen and turned goes to the worker, what it finds is shown.
import * as desk from "./desk.js";
import { about, bytes, embedded } from "./embedded.js";
import { Layout } from "./layout.js";
import { resized, toPng } from "./picture.js";
import { row } from "./report.js";
import { links } from "./saving.js";
import { words } from "./words.js";

const WAVELENGTH = 32; // of the recipe "default"; reconstructions have none
const SMALLEST = 32; // pixels of a short side

class Page extends Layout {
  constructor() {
    super();
    this.load();
  }

  /** Which rows of pictures count, and the first of them on the stage while nothing runs. */
  async showChosen() {
    const style = this.mode === "keep" && this.kind.value === "style";
    this.contents.node.hidden = style;
    this.styles.node.hidden = this.mode === "keep" && !style;
    this.nestedRow.hidden = !style;
    if (this.state === "running" || this.state === "paused") return this.idleNote();
    const source = await (style ? this.styles : this.contents).chosen();
    this.view.show({ value: source.image, other: null, alt: words.beforeAlt(source.name), caption: "" });
    this.run = null;
    this.gauges.clear();
    this.progress.value = 0;
    this.downloads.replaceChildren();
    this.shelf.set("selected", []);
    this.setState(this.state);
    this.idleNote();
  }

  async takeDropped({ dataTransfer, target }) {
    const [file] = dataTransfer.files;
    const sources = this.contents.node.hidden || this.styles.node.contains(target) ? this.styles : this.contents;
    if (file) await sources.take(file.name, await file.arrayBuffer());
  }

  // --- a run

  load() {
    try {
      const modules = Object.fromEntries(
        about.kernels.map((name) => [name, bytes(embedded(`kernels-${name}`))]));
      const url = URL.createObjectURL(new Blob([embedded("worker")], { type: "text/javascript" }));
      this.worker = new Worker(url);
      this.worker.onmessage = ({ data }) => this.hear(data);
      this.worker.onerror = (event) => this.fail(event.message);
      this.say(words.loading);
      const weights = bytes(embedded("weights")).buffer;
      this.tell("open", { modules, weights, threads: navigator.hardwareConcurrency ?? 1 });
    } catch (error) {
      this.fail(error.message);
    }
  }

  tell(name, value) {
    this.worker.postMessage({ [name]: value });
  }

  hear(data) {
    for (const [name, value] of Object.entries(data)) this[`on_${name}`](value);
  }

  on_ready({ threads }) {
    this.threads = threads;
    this.describe("processor");
    this.setState("idle");
    this.idleNote();
  }

  /** There is a graphics card; `kind` is what computes, unless there is a reason not to use it. */
  on_card({ kind, reason }) {
    this.machine.title = reason ?? "";
    this.computeRow.hidden = Boolean(reason);
    if (reason) return;
    this.compute.replaceChildren(...Object.entries(words.computes).map(([name, text]) => new Option(text, name)));
    this.compute.value = kind;
    this.describe(kind);
  }

  computeBy(kind) {
    this.tell("compute", kind);
    this.describe(kind);
  }

  describe(kind) {
    this.machine.textContent = words.machine({ threads: this.threads, kind, version: about.version });
  }

  on_failed(message) {
    this.fail(words.errors[message] ?? message);
  }

  fail(message) {
    this.say(message, true);
    this.setState(this.threads ? "idle" : "loading");
  }

  async begin() {
    try {
      const run = await this.gather();
      const other = this.mode === "paint" ? run.content : run.image;
      this.gauges.clear();
      this.downloads.replaceChildren();
      this.shelf.set("selected", []);
      const before = words.before[run.kind ?? "content"];
      const divider = this.view.get("other") ? this.view.get("divider") : 0;
      this.view.show({ other: await toPng(other), tags: [before, words.after], divider });
      this.run = run;
      Object.assign(this.progress, { max: run.evaluations, value: 0 });
      this.setState("running");
      this.say(run.mode === "paint" ? words.running : words.rebuilding(words.kept(run.layers)));
      const { problem, origin: start, seed, evaluations } = run;
      this.tell("begin", { problem, start, seed, evaluations });
    } catch (error) {
      this.say(error.message, true);
    }
  }

  /** All that is chosen, as the problem of a run. */
  async gather() {
    const size = this.size.get("value");
    const ready = async (sources) => {
      const source = await sources.chosen();
      const picture = resized(source.picture, size);
      if (Math.min(picture.height, picture.width) < SMALLEST) throw Error(words.errors.small(source.name));
      const planes = picture.planes.map((value) => Math.round(255 * value) / 255);
      return { ...source, picture: { ...picture, planes } };
    };
    const shared = {
      mode: this.mode, size, seed: Math.trunc(Number(this.seed.value)) || 0, evaluations: this.budget.get("value"),
      threads: this.threads, rows: [], turned: [], seconds: 0,
    };
    if (this.mode === "paint") {
      const sources = { content: await ready(this.contents), style: await ready(this.styles) };
      const [content, style] = [sources.content.picture, sources.style.picture];
      const knobs = desk.knobs(this.desk());
      const silent = !Object.values(desk.shares(this.desk())).some(Boolean);
      return {
        ...shared, sources, content, origin: this.origin.value,
        height: content.height, width: content.width, names: [sources.content.name, sources.style.name],
        contentLayers: { [desk.CONTENT_LAYER]: 1 },
        styleLayers: silent ? Object.fromEntries(desk.STYLE_LAYERS.map((n) => [n, 1])) : desk.shares(this.desk()),
        styleWeight: silent ? 0 : knobs.style, tvWeight: knobs.tv,
        problem: {
          content, style, contentLayers: [desk.CONTENT_LAYER], styleLayers: desk.STYLE_LAYERS, knobs,
          wavelength: WAVELENGTH,
        },
      };
    }
    const kind = this.kind.value;
    const [layer] = this.map.get("selected");
    const before = kind === "style" && this.nested.checked ? desk.STYLE_LAYERS.filter((name) => name < layer) : [];
    const layers = [...before, layer];
    const shares = layers.map((name) => [`${kind} ${name}`, 1 / layers.length]);
    const image = await ready(kind === "content" ? this.contents : this.styles);
    const { height, width } = image.picture;
    return {
      ...shared, kind, layers, sources: { image }, image: image.picture, origin: "noise", tvWeight: 0,
      height, width, names: [image.name],
      problem: {
        content: kind === "content" ? image.picture : null,
        style: kind === "style" ? image.picture : null,
        contentLayers: kind === "content" ? layers : [], styleLayers: kind === "style" ? layers : [],
        knobs: { content: 1, style: 1, tv: 0, ...Object.fromEntries(shares) }, wavelength: 0,
      },
    };
  }

  desk() {
    const [values, muted, solo] = ["values", "muted", "solo"].map((name) => this.board.get(name));
    return { values, muted, solo };
  }

  turn() {
    if (this.run?.mode === "paint" && (this.state === "running" || this.state === "paused")) {
      this.tell("turn", desk.knobs(this.desk()));
    }
  }

  async on_frame(frame) {
    const { run } = this;
    if (!run || (this.state !== "running" && this.state !== "paused")) return;
    const { height, width } = run;
    const now = row(frame.evaluation, [height, width], frame.losses);
    run.rows.push(now);
    run.seconds += frame.seconds;
    if (frame.turned) {
      const weights = Object.entries(frame.turned).map(([name, value]) => [name, [value]]);
      run.turned.push({ evaluation: frame.evaluation, weights: Object.fromEntries(weights) });
    }
    this.progress.value = frame.evaluation;
    this.gauges.show(run, frame);
    await this.showPlanes(run, frame.planes, frame.evaluation);
  }

  async showPlanes(run, planes, evaluation) {
    if (this.drawing) return; // the next one is on its way
    this.drawing = true;
    const value = await toPng({ planes, height: run.height, width: run.width });
    this.drawing = false;
    if (run === this.run && !run.best) this.view.show({ value, alt: words.afterAlt(evaluation), caption: this.captionOf(run, evaluation) });
  }

  captionOf({ mode, names, size, kind, layers }, evaluation) {
    const [content, style] = names;
    if (mode === "paint") return words.caption({ content, style, size, evaluation });
    return words.captionKept({ kind, layers, name: content, size, evaluation });
  }

  pauseOrGo() {
    const paused = this.state === "paused";
    this.tell(paused ? "go" : "pause", null);
    this.setState(paused ? "running" : "paused");
    this.say(paused ? words.running : words.paused);
  }

  on_done(result) {
    this.finish(result, words.done);
  }

  on_stopped(result) {
    this.finish(result, words.stopped(result.evaluation));
  }

  async finish({ planes, losses, evaluation }, text) {
    const { run } = this;
    run.best = { planes, height: run.height, width: run.width };
    run.bestRow = row(evaluation, [run.height, run.width], losses);
    run.done = run.rows.length;
    run.png = await toPng(run.best);
    if (run !== this.run) return;
    this.setState("idle");
    this.say(text);
    this.kept.push(run);
    const label = run.mode === "paint" ? run.names.join(" · ") : words.kept(run.layers);
    this.shelfPart.hidden = false;
    const items = [...this.shelf.get("items"), { image: run.png, label, alt: this.captionOf(run, run.done) }];
    this.shelf.show({ items, selected: [items.length - 1] });
  }

  /** A picture of the shelf on the stage again. */
  async showKept() {
    const [at] = this.shelf.get("selected");
    if (at === undefined || this.state === "running" || this.state === "paused") return;
    const run = this.kept[at];
    this.run = run;
    const other = await toPng(run.mode === "paint" ? run.content : run.image);
    const tags = [words.before[run.kind ?? "content"], words.after];
    this.view.show({ value: run.png, other, tags, alt: words.afterAlt(run.done), caption: this.captionOf(run, run.done) });
    this.gauges.draw(run.rows, run.evaluations);
    this.downloads.replaceChildren();
    this.setState("idle");
  }

  async offer() {
    this.downloads.replaceChildren(await links(this.run, about));
  }
}

if ("serviceWorker" in navigator && location.protocol.startsWith("http")) {
  navigator.serviceWorker.register("offline.js").catch(() => {}); // without it there is one thread
}
new Page();
