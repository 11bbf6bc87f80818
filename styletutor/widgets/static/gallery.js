// Small pictures in rows, of which one or several can be chosen. Arrow keys walk.
function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "st-gallery";
  el.append(root);
  let tiles = [];
  let urls = [];

  function choose(at) {
    const most = model.get("most");
    let chosen = model.get("selected");
    if (most === 1) chosen = [at];
    else if (chosen.includes(at)) chosen = chosen.filter((other) => other !== at);
    else chosen = [...chosen, at].slice(-most);
    model.set("selected", chosen);
    model.save_changes();
  }

  function mark() {
    const chosen = model.get("selected");
    tiles.forEach((tile, at) => {
      if (tile.tagName !== "BUTTON") return;
      tile.setAttribute("aria-pressed", chosen.includes(at));
      const place = chosen.indexOf(at);
      tile.dataset.place = model.get("most") > 1 && place >= 0 ? place + 1 : "";
      tile.tabIndex = at === (chosen[0] ?? 0) ? 0 : -1;
    });
  }

  function show(tile, item, at) {
    const image = tile.querySelector("img");
    const url = URL.createObjectURL(new Blob([item.image]));
    const old = urls[at];
    urls[at] = image.src = url;
    if (old) setTimeout(() => URL.revokeObjectURL(old), 2000);
    image.alt = item.alt ?? item.label;
    tile.title = item.alt ?? item.label;
    tile.querySelector(".st-small").textContent = item.label;
  }

  function draw() {
    const items = model.get("items");
    const tag = model.get("most") ? "BUTTON" : "FIGURE";
    const same = tiles.length === items.length && tiles.every((tile) => tile.tagName === tag);
    root.style.setProperty("--st-tile", `${model.get("side")}px`);
    root.classList.toggle("st-pixelated", model.get("pixelated"));
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", model.get("label"));
    if (!same) {
      urls.forEach((url) => URL.revokeObjectURL(url));
      urls = [];
      tiles = items.map((_, at) => {
        const tile = document.createElement(tag);
        tile.className = "st-tile";
        tile.innerHTML = '<img draggable="false"><span class="st-small"></span>';
        if (tag === "BUTTON") {
          tile.type = "button";
          tile.addEventListener("click", () => choose(at));
        }
        return tile;
      });
      root.replaceChildren(...tiles);
    }
    items.forEach((item, at) => show(tiles[at], item, at));
    mark();
  }

  root.addEventListener("keydown", (event) => {
    const at = tiles.indexOf(event.target);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = (at + step + tiles.length) % tiles.length;
    tiles[next].tabIndex = 0;
    tiles[next].focus();
    if (model.get("most") === 1) choose(next);
  });
  model.on("change:items change:most change:side change:label", draw);
  model.on("change:selected", mark);
  draw();
  return () => {
    model.off("change:items change:most change:side change:label", draw);
    model.off("change:selected", mark);
    urls.forEach((url) => URL.revokeObjectURL(url));
  };
}

export default { render };
