// VGG-19 as columns of buttons, a block in each. Arrow keys walk, Enter or Space chooses.

/** What it says, for a page in another language to replace. */
export const words = {
  block: (number) => `block ${number}`,
  channels: (count) => `${count} channels`,
  about: ({ name, channels, receptive_field: side, stride }) =>
    `${name}: ${channels} channels, one position sees ${side} × ${side} pixels, positions are ${stride} apart`,
  legend: "numbers: the side, in pixels, of what one position sees",
};

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "st-map";
  root.setAttribute("role", "group");
  el.append(root);
  let buttons = [];

  const chosen = () => model.get("selected");

  function choose(name) {
    const most = model.get("most");
    let names = chosen();
    if (most === 1) names = [name];
    else if (names.includes(name)) names = names.filter((other) => other !== name);
    else if (names.length < most) names = [...names, name];
    model.set("selected", names);
    model.save_changes();
  }

  function mark() {
    const names = chosen();
    const home = buttons.find((b) => b.dataset.name === names[0]) ?? buttons[0];
    for (const button of buttons) {
      button.setAttribute("aria-pressed", names.includes(button.dataset.name));
      button.tabIndex = button === home ? 0 : -1;
    }
  }

  function walk(event) {
    const at = buttons.indexOf(event.target);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = buttons[(at + step + buttons.length) % buttons.length];
    next.tabIndex = 0;
    next.focus();
    if (model.get("most") === 1) choose(next.dataset.name);
  }

  function draw() {
    root.replaceChildren();
    root.setAttribute("aria-label", model.get("label"));
    buttons = [];
    const columns = new Map();
    for (const layer of model.get("layers")) {
      if (!columns.has(layer.block)) {
        const column = document.createElement("div");
        column.className = "st-block";
        const title = document.createElement("div");
        title.className = "st-block-title";
        title.textContent = words.block(layer.block);
        const note = document.createElement("div");
        note.className = "st-small";
        note.textContent = words.channels(layer.channels);
        column.append(title, note);
        columns.set(layer.block, column);
        root.append(column);
      }
      const button = document.createElement("button");
      button.type = "button";
      button.className = `st-layer st-${layer.kind}`;
      button.dataset.name = layer.name;
      button.innerHTML = `<span>${layer.name}</span><span class="st-small">${layer.receptive_field}</span>`;
      button.title = words.about(layer);
      button.setAttribute("aria-label", button.title);
      button.addEventListener("click", () => choose(layer.name));
      columns.get(layer.block).append(button);
      buttons.push(button);
    }
    const legend = document.createElement("div");
    legend.className = "st-small st-legend";
    legend.textContent = words.legend;
    root.append(legend);
    mark();
  }

  root.addEventListener("keydown", walk);
  model.on("change:layers change:label", draw);
  model.on("change:selected", mark);
  draw();
  return () => {
    model.off("change:layers change:label", draw);
    model.off("change:selected", mark);
  };
}

export default { render };
