// What the faders mean, as styletutor/widgets/studio/desk.py says it: from positions to weights.

export const STYLE_LAYERS = [1, 2, 3, 4, 5].map((block) => `relu${block}_1`);
export const CONTENT_LAYER = "relu4_2";
const STYLE_WEIGHT = 40; // of the recipe "default"
const TV_UNIT = STYLE_WEIGHT / 8;
const OFF = -3; // total variation's fader at the bottom

/** Where the faders are the recipe as it is. */
export const home = () =>
  Object.fromEntries([["style", 0], ["tv", OFF], ...STYLE_LAYERS.map((layer) => [layer, 1])]);

export function strips() {
  const start = home();
  const log = { scale: "log", step: 0.05, kind: "term", max: 2 };
  const layer = { scale: "linear", step: 0.05, kind: "layer", min: 0, max: 3, off: true };
  return [
    { name: "style", title: "style", min: -2, ...log },
    { name: "tv", title: "tv", min: OFF, off: true, ...log },
    ...STYLE_LAYERS.map((name) => ({ name, title: name, ...layer })),
  ].map((strip) => ({ ...strip, home: start[strip.name] }));
}

/** The layers' shares, which sum to 1, or are all 0. */
export function shares({ values, muted, solo }) {
  const sounds = (name) => !muted.includes(name) && (!solo.length || solo.includes(name));
  const faded = STYLE_LAYERS.map((name) => [name, sounds(name) ? values[name] : 0]);
  const whole = faded.reduce((sum, [, value]) => sum + value, 0);
  return Object.fromEntries(faded.map(([name, value]) => [name, whole ? value / whole : 0]));
}

export const styleWeight = ({ values }) => STYLE_WEIGHT * 10 ** values.style;
export const tvWeight = ({ values }) => (values.tv <= OFF ? 0 : TV_UNIT * 10 ** values.tv);

/** All weights by name, for a descent under way. */
export function knobs(desk) {
  const layers = Object.entries(shares(desk)).map(([name, share]) => [`style ${name}`, share]);
  const terms = { content: 1, style: styleWeight(desk), tv: tvWeight(desk) };
  return { ...terms, [`content ${CONTENT_LAYER}`]: 1, ...Object.fromEntries(layers) };
}
