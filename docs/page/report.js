// The settings of a run as `styletutor transfer --settings` and `reconstruct --settings` read them.

const DESCENT = {
  optimiser: "lbfgs", learning_rate: 0.02, coarse_to_fine: false, precision: "exact", weights: "pocket",
};

/** @param {object} run a finished one @param {object} about the build: version, network */
export function report(run, about) {
  const { size, seed, evaluations, origin: start, rows } = run;
  const shared = { ...DESCENT, size, seed, evaluations, start, pooling: null };
  const command = run.mode === "paint" ? "transfer" : `reconstruct ${run.kind}`;
  const settings = run.mode === "paint"
    ? {
        ...shared, content: run.contentFile, styles: [run.styleFile], blend: null, masks: null,
        width: null, style_scale: null, colours: "style", recipe: "default", noise_blend: 0,
        content_layers: run.contentLayers, style_layers: run.styleLayers, content_weight: 1,
        style_weight: run.styleWeight, tv_weight: run.tvWeight, epsilon: 1e-8, beta1: 0.9, beta2: 0.999,
      }
    : { ...shared, image: run.imageFile, layers: run.layers, tv_weight: run.tvWeight };
  if (run.mode !== "paint") delete settings.pooling;
  const terms = ({ evaluation, size, parts, ...losses }) => losses;
  return {
    version: about.version,
    command,
    settings,
    backbone: { name: about.network, sha256: about.sha256, trained_on: about.trainedOn },
    device: "browser",
    threads: run.threads,
    dtype: "float32",
    size: [run.height, run.width],
    evaluations: rows.length,
    interrupted: rows.length < evaluations,
    turned: run.turned,
    seconds: Math.round(1000 * run.seconds) / 1000,
    loss: { start: terms(rows[0]), end: terms(run.bestRow) },
    history: rows,
  };
}

/** A row of the history: weighted losses by part, added up by term. */
export function row(evaluation, size, losses) {
  const terms = {};
  let total = 0;
  for (const [name, value] of Object.entries(losses)) {
    const term = name.split(" ")[0];
    terms[term] = (terms[term] ?? 0) + value;
    total += value;
  }
  return { evaluation, size, ...terms, total, parts: losses };
}

