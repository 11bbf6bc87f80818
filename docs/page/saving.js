// What is saved: the picture, the settings that make it again, and the pictures without a name.
import { words } from "./words.js";
import { make } from "./model.js";
import { toPng } from "./picture.js";
import { report } from "./report.js";

/** Links to download the files of a run, in a row. */
export async function links(run, about) {
  const name = run.mode === "paint" ? "transfer" : run.kind;
  const files = new Map([[`${name}.png`, await toPng(run.best)]]);
  const named = { ...run };
  for (const [place, key] of ["content", "style", "image"].entries()) {
    const source = run.sources[key];
    if (!source) continue;
    named[`${key}File`] = source.sample ? source.name : `${name}-source-${place + 1}.png`;
    if (!source.sample) files.set(named[`${key}File`], await toPng(source.picture));
  }
  const text = JSON.stringify(report(named, about), null, 1);
  files.set(`${name}.json`, new TextEncoder().encode(text));
  const type = (file) => (file.endsWith(".png") ? "image/png" : "application/json");
  const made = [...files].map(([file, data]) =>
    make("a", { download: file, href: URL.createObjectURL(new Blob([data], { type: type(file) })) }, file));
  return make("p", { className: "st-links" }, `${words.download} `,
    ...made.flatMap((link, at) => (at ? [" · ", link] : [link])));
}
