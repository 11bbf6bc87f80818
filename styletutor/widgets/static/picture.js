// A picture to look at: a divider against another one, boxes, a position to click, a brush.

/** What it says, for a page in another language to replace. */
export const words = {
  divider: "divider between the two pictures",
  keys: (does) => `Arrow keys move the position; ${does}.`,
  paints: "Space paints there",
  chooses: "it is chosen at once",
};

function render({ model, el }) {
  const figure = document.createElement("figure");
  figure.className = "st-picture";
  figure.innerHTML = `
    <div class="st-stage">
      <img class="st-after" draggable="false"><img class="st-before" draggable="false" alt="">
      <svg class="st-overlay" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true"></svg>
      <canvas class="st-overlay"></canvas>
      <div class="st-bar" aria-hidden="true"></div>
      <span class="st-tag st-left"></span><span class="st-tag st-right"></span>
      <input class="st-divider" type="range" min="0" max="1" step="0.01">
    </div>
    <figcaption></figcaption>`;
  el.append(figure);
  const find = (name) => figure.querySelector(name);
  const stage = find(".st-stage");
  const [after, before, overlay, canvas] = [".st-after", ".st-before", "svg", "canvas"].map(find);
  const [bar, divider, caption] = [".st-bar", ".st-divider", "figcaption"].map(find);
  divider.setAttribute("aria-label", words.divider);
  const urls = {};

  function show(image, trait) {
    const bytes = model.get(trait);
    const old = urls[trait];
    urls[trait] = null;
    image.hidden = !(bytes && bytes.byteLength);
    if (image.hidden) image.removeAttribute("src");
    else image.src = urls[trait] = URL.createObjectURL(new Blob([bytes]));
    if (old) setTimeout(() => URL.revokeObjectURL(old), 2000);
  }

  function compare() {
    const two = !before.hidden;
    const at = model.get("divider");
    for (const part of [bar, divider, find(".st-left"), find(".st-right")]) part.hidden = !two;
    before.style.clipPath = `inset(0 ${100 - 100 * at}% 0 0)`;
    bar.style.left = `${100 * at}%`;
    divider.value = at;
    const [left, right] = model.get("tags");
    find(".st-left").textContent = left ?? "";
    find(".st-right").textContent = right ?? "";
  }

  function annotate() {
    overlay.replaceChildren();
    for (const box of model.get("boxes")) {
      for (const kind of ["st-box-under", "st-box"]) {
        const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        rect.setAttribute("class", box.strong ? `${kind} st-strong` : kind);
        for (const name of ["x", "y", "width", "height"]) rect.setAttribute(name, box[name]);
        overlay.append(rect);
      }
    }
    const point = model.get("point");
    if (model.get("tool") === "" || point.length !== 2) return;
    for (const kind of ["st-box-under", "st-box"]) {
      for (const [dx, dy] of [[0.025, 0], [0, 0.025]]) {
        const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
        line.setAttribute("class", kind);
        const ends = { x1: point[0] - dx, x2: point[0] + dx, y1: point[1] - dy, y2: point[1] + dy };
        for (const [name, value] of Object.entries(ends)) line.setAttribute(name, value);
        overlay.append(line);
      }
    }
  }

  function describe() {
    after.alt = model.get("alt");
    caption.textContent = model.get("caption");
    stage.style.maxWidth = `${model.get("width")}px`;
    for (const image of [after, before]) image.classList.toggle("st-pixels", model.get("pixelated"));
    const active = model.get("tool") !== "";
    stage.classList.toggle("st-active", active);
    if (active) {
      stage.tabIndex = 0;
      stage.setAttribute("role", "application");
      const does = model.get("tool") === "paint" ? words.paints : words.chooses;
      stage.setAttribute("aria-label", `${model.get("alt")} ${words.keys(does)}`);
    } else {
      stage.removeAttribute("tabindex");
      stage.removeAttribute("role");
    }
  }

  const where = (event) => {
    const box = stage.getBoundingClientRect();
    const inside = (value) => Math.min(0.9999, Math.max(0, value));
    return [
      inside((event.clientX - box.left) / box.width),
      inside((event.clientY - box.top) / box.height),
    ];
  };

  function send(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  let stroke = null;
  function trace() {
    const pen = canvas.getContext("2d");
    canvas.width = stage.clientWidth;
    canvas.height = stage.clientHeight;
    if (!stroke) return;
    pen.strokeStyle = pen.fillStyle = model.get("brush_colour");
    pen.lineWidth = model.get("brush") * canvas.width;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    for (const [x, y] of stroke) pen.lineTo(x * canvas.width, y * canvas.height);
    pen.lineTo(stroke[0][0] * canvas.width + 0.01, stroke[0][1] * canvas.height);
    pen.stroke();
  }

  stage.addEventListener("pointerdown", (event) => {
    const tool = model.get("tool");
    if (tool === "" || event.target === divider) return;
    event.preventDefault();
    stage.focus();
    if (tool === "point") send("point", where(event));
    else {
      stroke = [where(event)];
      stage.setPointerCapture(event.pointerId);
      trace();
    }
  });
  stage.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    stroke.push(where(event));
    trace();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, () => {
      if (stroke) send("stroke", stroke);
      stroke = null;
    });
  }
  stage.addEventListener("keydown", (event) => {
    const tool = model.get("tool");
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (tool === "" || event.target === divider) return;
    const point = model.get("point").length ? model.get("point") : [0.5, 0.5];
    if (event.key in move) {
      const inside = (value) => Math.min(0.9999, Math.max(0, value));
      send("point", point.map((value, i) => inside(value + model.get("nudge")[i] * move[event.key][i])));
    } else if (event.key === " " && tool === "paint") send("stroke", [point]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  divider.addEventListener("input", () => send("divider", Number(divider.value)));
  divider.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === " ") event.preventDefault(); // it would scroll the page
  });
  after.addEventListener("load", trace);

  const changes = {
    "change:value": () => show(after, "value"),
    "change:other": () => (show(before, "other"), compare()),
    "change:divider change:tags": compare,
    "change:boxes change:point change:tool": annotate,
    "change:alt change:caption change:width change:pixelated change:tool": describe,
  };
  for (const [names, change] of Object.entries(changes)) {
    model.on(names, change);
    change();
  }
  return () => {
    for (const [names, change] of Object.entries(changes)) model.off(names, change);
    for (const url of Object.values(urls)) if (url) URL.revokeObjectURL(url);
  };
}

export default { render };
