// What is on the page: pictures to choose from, the stage, the faders, and what they say. What they
// do is in page.js, whose class extends this one.
import board from "../../styletutor/widgets/static/board.js";
import galleryElement from "../../styletutor/widgets/static/gallery.js";
import mapElement from "../../styletutor/widgets/static/map.js";
import pictureElement from "../../styletutor/widgets/static/picture.js";
import sliderElement from "../../styletutor/widgets/static/slider.js";
import * as desk from "./desk.js";
import { about, bytes } from "./embedded.js";
import { Gauges } from "./gauges.js";
import { element, make } from "./model.js";
import { Sources } from "./sources.js";
import { words } from "./words.js";

const FIRST = {
  content: "chelsea", style: "swirling-strokes", layer: "relu4_1", size: 192, evaluations: 80,
};

export class Layout {
  constructor() {
    this.mode = "paint";
    this.state = "loading"; // then idle, running, paused
    this.build();
  }

  // --- what is on the page

  build() {
    const samples = (names) => names.map((name) => ({
      name, sample: true, alt: about.samples[name].alt, image: bytes(about.samples[name].image),
    }));
    const changed = () => this.showChosen();
    const { photographs, artworks } = about;
    this.contents = new Sources(words.content, words.contents, samples(photographs), FIRST.content, changed);
    this.styles = new Sources(words.style, words.styles, samples(artworks), FIRST.style, changed);
    const values = { muted: [], solo: [], sources: {}, styles: [], pulls: {}, removed: {}, terms: {} };
    [this.board, this.boardNode] = element(board, { strips: desk.strips(), values: desk.home(), ...values });
    this.board.on("change:values change:muted change:solo", () => this.turn());
    this.gauges = new Gauges(this.board);
    const none = { value: null, other: null, boxes: [], point: [], stroke: [], tool: "" };
    const look = { divider: 0, tags: ["", ""], alt: "", caption: "", nudge: [0, 0], width: 2000 };
    [this.view, this.viewNode] = element(pictureElement, { ...none, ...look, pixelated: false });
    [this.shelf, this.shelfNode] = element(galleryElement, {
      items: [], selected: [], most: 1, side: 92, label: words.shelf, pixelated: false,
    });
    this.shelf.on("change:selected", () => this.showKept());
    this.kept = [];
    [this.map, this.mapNode] = element(mapElement, {
      layers: about.layers, selected: [FIRST.layer], most: 1, label: words.layers,
    });
    this.map.on("change:selected", () => this.idleNote());
    this.lay();
    this.setMode("paint");
    this.setState("loading");
    this.showChosen();
  }

  lay() {
    const button = (name, action, more = {}) => {
      const made = make("button", { type: "button", onclick: action, ...more }, words[name]);
      return (this[name] = made);
    };
    const slider = (traits) => element(sliderElement, { readout: true, unit: "", ...traits });
    const [size, sizeNode] = slider({ label: words.size, unit: words.sizeUnit, value: FIRST.size, min: 96, max: 384, step: 16 });
    const [budget, budgetNode] = slider({ label: words.evaluations, value: FIRST.evaluations, min: 5, max: 300, step: 5 });
    Object.assign(this, { size, budget });
    size.on("change:value", () => this.idleNote());
    this.origin = make("select", {}, ...Object.entries(words.origins).map(([value, text]) => new Option(text, value)));
    this.kind = make("select", { onchange: () => this.showChosen() },
      ...Object.entries(words.kinds).map(([value, text]) => new Option(text, value)));
    this.compute = make("select", { onchange: () => this.computeBy(this.compute.value) });
    this.seed = make("input", { type: "number", value: 0, min: 0, max: 2 ** 31 - 1, step: 1 });
    const labelled = (text, control) => make("label", { className: "labelled" }, make("span", {}, text), control);
    this.originRow = labelled(words.origin, this.origin);
    this.computeRow = labelled(words.compute, this.compute);
    this.computeRow.hidden = true;
    this.kindRow = labelled(words.kind, this.kind);
    this.nested = make("input", { type: "checkbox", checked: true });
    this.nestedRow = make("label", { className: "check" }, this.nested, words.nested);
    this.note = make("p", { className: "note", role: "status" });
    this.downloads = make("div");
    this.progress = make("progress", { max: 1, value: 0 });
    this.progress.setAttribute("aria-label", words.progress);
    this.machine = make("p", { className: "st-small" });
    const tabs = Object.entries(words.modes).map(([mode, text]) =>
      make("button", { type: "button", className: "mode", onclick: () => this.setMode(mode) }, text));
    this.tabs = Object.fromEntries(Object.keys(words.modes).map((mode, at) => [mode, tabs[at]]));
    const theme = make("button", { type: "button", title: words.theme.hint, className: "theme" });
    const paint = (dark) => {
      document.documentElement.dataset.jpThemeLight = String(!dark);
      theme.textContent = dark ? words.theme.light : words.theme.dark;
    };
    const prefers = matchMedia("(prefers-color-scheme: dark)");
    prefers.addEventListener("change", () => paint(prefers.matches));
    theme.onclick = () => paint(document.documentElement.dataset.jpThemeLight === "true");
    paint(prefers.matches);
    this.keepDesk = make("section", { className: "keep" }, this.kindRow, this.mapNode, this.nestedRow);
    const controls = make("div", { className: "row" },
      button("start", () => this.begin(), { className: "primary" }),
      button("pause", () => this.pauseOrGo()),
      button("stop", () => this.tell("stop", null)),
      button("save", () => this.offer()));
    this.shelfPart = make("section", { className: "shelf", hidden: true },
      make("h2", {}, words.shelf), this.shelfNode);
    document.title = words.title;
    // A file that misses the marked places would open in place of the page.
    for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
    document.addEventListener("drop", (event) => this.takeDropped(event));
    document.body.append(
      make("header", {},
        make("div", {}, make("h1", {}, words.title), make("p", {}, words.lead)),
        make("nav", {}, ...tabs, theme)),
      make("main", {},
        make("div", { className: "pictures" }, this.contents.node, this.styles.node),
        make("div", { className: "stage" },
          this.viewNode, this.progress, controls, this.note, this.downloads, this.shelfPart),
        make("div", { className: "desk" },
          this.gauges.figures, this.boardNode, this.keepDesk,
          make("section", { className: "settings" }, make("h2", {}, words.settings),
            sizeNode, budgetNode, this.originRow, labelled(words.seed, this.seed), this.computeRow),
          this.gauges.node)),
      make("footer", {}, this.machine));
    for (const sources of [this.contents, this.styles]) sources.reveal();
  }

  setMode(mode) {
    this.mode = mode;
    for (const [name, tab] of Object.entries(this.tabs)) tab.setAttribute("aria-pressed", name === mode);
    document.body.dataset.mode = mode;
    this.boardNode.hidden = mode !== "paint";
    this.originRow.hidden = mode !== "paint";
    this.keepDesk.hidden = mode !== "keep";
    this.showChosen();
    this.idleNote();
  }

  setState(state) {
    this.state = state;
    document.body.dataset.state = state;
    const busy = state === "running" || state === "paused";
    this.start.disabled = state === "loading";
    this.pause.disabled = this.stop.disabled = !busy;
    this.pause.textContent = state === "paused" ? words.go : words.pause;
    this.save.disabled = !this.run?.best;
  }

  say(text, error = false) {
    this.note.textContent = text;
    this.note.classList.toggle("error", error);
  }

  idleNote() {
    if (this.state === "idle") this.say(this.mode === "paint" ? words.ready : words.readyToKeep);
    else if (this.state === "running" && this.run) this.say(words.again);
  }
}
