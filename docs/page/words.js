// All that the page says. For another language: a table of the same form in place of this one.
import { words as board } from "../../styletutor/widgets/static/board.js";
import { words as drop } from "../../styletutor/widgets/static/drop.js";

export const words = {
  title: "Transfer studio",
  lead: "One picture descends on one loss, here, in this page. Nothing leaves this machine.",
  modes: { paint: "Paint a picture", keep: "What does a layer keep?" },
  theme: { light: "Light", dark: "Dark", hint: "light or dark" },
  content: "Content",
  style: "Style",
  contents: "photographs",
  styles: "artworks",
  upload: "Choose a file …",
  orDrop: "or drop it here",
  there: (name) => `${name} is there`,
  camera: "Camera …",
  cameraTake: "Take the picture",
  cameraClose: "Close",
  cameraView: "what the camera sees",
  cameraName: "from the camera",
  noCamera: "The camera does not answer; allow it for this page, or choose a file.",
  settings: "Settings",
  size: "size",
  sizeUnit: "px",
  evaluations: "evaluations",
  origin: "start from",
  origins: { content: "the photograph", noise: "noise" },
  seed: "seed",
  compute: "computed by",
  computes: { processor: "the processor (WebAssembly)", graphics: "the graphics card (WebGPU)" },
  start: "Start",
  pause: "Pause",
  go: "Continue",
  stop: "Stop",
  save: "Save",
  download: "Download",
  loading: "the network is being unpacked …",
  ready: "choose pictures, then press Start; the faders work while it runs",
  readyToKeep: "choose a layer, then press Start: the page looks for a picture of which the layer says the same",
  running: "running; the faders count at once",
  rebuilding: (layer) => `looking for a picture with the same ${layer}`,
  paused: "paused",
  stopped: (count) => `stopped after ${count} evaluation${count === 1 ? "" : "s"}; this is the best picture so far`,
  done: "done",
  again: "other pictures or settings count from the next Start",
  progress: "evaluations done",
  figures: ({ evaluation, evaluations, rate, left, removed, matched }) =>
    [
      `evaluation ${evaluation} of ${evaluations}`,
      rate && `${rate} per second`,
      left !== null && `${left} s left`,
      removed && `style removed ${removed}`,
      matched && `features matched ${matched}`,
    ].filter(Boolean).join(" · "),
  percent: (share) => {
    if (!Number.isFinite(share)) return "?";
    return `${share > 0.98 ? Math.floor(1000 * share) / 10 : Math.floor(100 * share)}\u00a0%`;
  },
  before: { content: "photograph", style: "artwork" },
  after: "now",
  beforeAlt: (name) => `the picture ${name}`,
  afterAlt: (evaluation) => `the picture after ${evaluation} evaluations`,
  caption: ({ content, style, size, evaluation }) =>
    `${content} in the manner of ${style} · ${size} px, ${evaluation} evaluations, pocket network`,
  kept: (layers) => (layers.length > 1 ? `${layers[0]} to ${layers.at(-1)}` : layers[0]),
  captionKept: ({ kind, layers, name, size, evaluation }) =>
    `${kind === "content" ? "what" : "the style that"} ${words.kept(layers)} ` +
    `${layers.length > 1 ? "keep" : "keeps"} of ${name} · ${size} px, ` +
    `${evaluation} evaluations, pocket network`,
  shelf: "Shelf",
  kind: "keeps",
  kinds: { content: "content: what is where", style: "style: what goes together" },
  nested: "with the layers before it, as far as a transfer uses them",
  layers: "layers of the network",
  curves: "Loss by term",
  curvesByLayer: "Loss by layer",
  curvesAlt: (last) => `weighted losses on a logarithmic scale, now ${last}`,
  machine: ({ threads, kind, version }) =>
    `${kind === "graphics" ? "WebGPU" : `${threads} ${threads === 1 ? "thread" : "threads"} of WebAssembly`}` +
    ` · pocket network, a student ` +
    `of VGG-19 (Simonyan & Zisserman, CC BY) · photographs from scikit-image · styletutor ${version}`,
  errors: {
    network: "the network's file is damaged; load the page again",
    memory: "there is not enough memory for this size; choose a smaller one",
    old: "this browser is too old: it needs WebAssembly with SIMD, as browsers have since 2023",
    graphics: "the graphics card has stopped; choose the processor in the settings, and press Start",
    small: (name) => `${name} is too narrow; its short side must have 32 pixels at this size`,
    missing: (what) => `no ${what} picture is chosen; choose one and press Start`,
  },
};

board.legend = `gone: how much of the loss at the start is removed · M mutes a layer, S lets only it
  sound · tv: total variation, smooths`;
drop.sending = (name) => `reading ${name} …`;
