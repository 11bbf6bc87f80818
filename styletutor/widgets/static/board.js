// A mixing board: a fader for each strip, mute and solo, and how strongly each strip pulls.

/** What it says, for a page in another language to replace. */
export const words = {
  board: "mixing board",
  legend: `pull: share of the gradient on the pixels · gone: how much of the loss at the
    start is removed · M mutes a layer, S lets only it sound · tv: total variation, smooths`,
  off: "off",
  fader: (title) => `fader of ${title}`,
  drag: (title) => `${title}: drag, or use the arrow keys; a double click sets it back`,
  muted: ["M", (title) => `mute ${title}`],
  solo: ["S", (title) => `solo ${title}`],
  source: (title) => `style picture for ${title}, from the next start on`,
  sourceHint: "which style picture this layer takes; counts from the next Start",
  blend: "blend",
  pull: (share) => `pull ${share}`,
  gone: (share) => `gone ${share}`,
  pulls: "pull on the pixels",
};

const percent = (share) => (share >= 0.0995 ? Math.round(100 * share) : (100 * share).toFixed(1)) + "%";

// Near the end the last percent is what still changes.
const gone = (share) => (share > 0.98 ? Math.floor(1000 * share) / 10 : Math.floor(100 * share)) + "%";

function reading(strip, value) {
  if (strip.off && value <= strip.min) return words.off;
  const factor = strip.scale === "log" ? 10 ** value : value;
  return `× ${factor >= 100 ? factor.toFixed(0) : factor.toPrecision(2)}`;
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "st-board";
  root.innerHTML = `
    <div class="st-tug" role="img"></div>
    <div class="st-strips" role="group"></div><div class="st-small"></div>`;
  root.querySelector(".st-strips").setAttribute("aria-label", words.board);
  root.lastElementChild.textContent = words.legend;
  el.append(root);
  const [tug, board] = [root.querySelector(".st-tug"), root.querySelector(".st-strips")];
  let strips = new Map();

  function send(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  function toggle(trait, name) {
    const names = model.get(trait);
    send(trait, names.includes(name) ? names.filter((n) => n !== name) : [...names, name]);
  }

  function build() {
    strips = new Map();
    board.replaceChildren();
    for (const strip of model.get("strips")) {
      const part = document.createElement("div");
      part.className = `st-strip st-${strip.kind}`;
      part.dataset.name = strip.name;
      part.innerHTML = `
        <div class="st-strip-title"></div>
        <div class="st-fader"><div class="st-meter" aria-hidden="true"><div></div></div>
          <input type="range" orient="vertical"></div>
        <output class="st-small" aria-live="off"></output>
        <div class="st-small st-pull"></div><div class="st-small st-done"></div>`;
      part.querySelector(".st-strip-title").textContent = strip.title;
      const input = part.querySelector("input");
      Object.assign(input, { min: strip.min, max: strip.max, step: strip.step });
      input.setAttribute("aria-label", words.fader(strip.title));
      input.title = words.drag(strip.title);
      const move = (value) => send("values", { ...model.get("values"), [strip.name]: value });
      input.addEventListener("input", () => move(Number(input.value)));
      input.addEventListener("dblclick", () => move(strip.home));
      input.addEventListener("keydown", (event) => {
        event.stopPropagation();
        if (event.key === " ") event.preventDefault(); // it would scroll the page
      });
      if (strip.kind === "layer") {
        const row = document.createElement("div");
        row.className = "st-row";
        for (const trait of ["muted", "solo"]) {
          const [letter, does] = words[trait];
          const button = document.createElement("button");
          button.type = "button";
          button.className = `st-switch st-${trait}`;
          button.textContent = letter;
          button.title = does(strip.title);
          button.setAttribute("aria-label", button.title);
          button.addEventListener("click", () => toggle(trait, strip.name));
          row.append(button);
        }
        part.append(row);
        const select = document.createElement("select");
        select.className = "st-source";
        select.setAttribute("aria-label", words.source(strip.title));
        select.title = words.sourceHint;
        select.addEventListener("change", () =>
          send("sources", { ...model.get("sources"), [strip.name]: Number(select.value) }));
        select.addEventListener("keydown", (event) => event.stopPropagation());
        part.append(select);
      }
      board.append(part);
      strips.set(strip.name, { strip, part });
    }
    styles();
    values();
    switches();
    meters();
  }

  function styles() {
    const names = model.get("styles");
    for (const [name, { part }] of strips) {
      const select = part.querySelector("select");
      if (!select) continue;
      select.hidden = names.length < 2;
      const options = [...names.map((style, at) => [at, `${at + 1} ${style}`]), [-1, words.blend]];
      select.replaceChildren(...options.map(([at, style]) => new Option(style, at)));
      const at = model.get("sources")[name] ?? -1;
      select.value = at < names.length ? at : -1;
    }
  }

  function values() {
    const all = model.get("values");
    for (const [name, { strip, part }] of strips) {
      const value = all[name] ?? strip.home;
      const input = part.querySelector("input");
      if (Number(input.value) !== value) input.value = value;
      const says = reading(strip, value);
      part.querySelector("output").textContent = says;
      input.setAttribute("aria-valuetext", says);
    }
  }

  function switches() {
    const [muted, solo] = [model.get("muted"), model.get("solo")];
    for (const [name, { part }] of strips) {
      part.querySelector(".st-muted")?.setAttribute("aria-pressed", muted.includes(name));
      part.querySelector(".st-solo")?.setAttribute("aria-pressed", solo.includes(name));
      const silent = muted.includes(name) || (solo.length > 0 && !solo.includes(name));
      part.classList.toggle("st-silent", Boolean(part.querySelector(".st-solo")) && silent);
    }
  }

  function meters() {
    const [pull, done] = [model.get("pulls"), model.get("removed")];
    for (const [name, { part }] of strips) {
      part.querySelector(".st-meter div").style.height = `${100 * (pull[name] ?? 0)}%`;
      part.querySelector(".st-pull").textContent = name in pull ? words.pull(percent(pull[name])) : "";
      part.querySelector(".st-done").textContent =
        name in done ? words.gone(gone(done[name])) : "";
    }
    const terms = Object.entries(model.get("terms"));
    tug.hidden = terms.length === 0;
    tug.setAttribute("aria-label",
      `${words.pulls}: ${terms.map(([name, share]) => `${name} ${percent(share)}`).join(", ")}`);
    tug.replaceChildren(...terms.map(([name, share]) => {
      const part = document.createElement("div");
      part.className = `st-pull-${name}`;
      part.style.flexGrow = Math.max(share, 0.001);
      part.textContent = share > 0.12 ? `${name} ${percent(share)}` : "";
      part.title = `${name}: ${words.pull(percent(share))}`;
      return part;
    }));
  }

  const changes = {
    "change:strips": build,
    "change:styles change:sources": styles,
    "change:values": values,
    "change:muted change:solo": switches,
    "change:pulls change:removed change:terms": meters,
  };
  for (const [names, change] of Object.entries(changes)) model.on(names, change);
  build();
  return () => {
    for (const [names, change] of Object.entries(changes)) model.off(names, change);
  };
}

export default { render };
