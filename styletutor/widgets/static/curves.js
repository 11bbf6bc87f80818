// Losses against evaluations on a logarithmic scale; colours and dashes follow the theme.
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [450, 190, 44, 24, 10, 100];
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2 1 2 1 2", "12 3", "1 2", "5 5"];

function node(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function render({ model, el }) {
  const root = document.createElement("div");
  root.className = "st-curves";
  el.append(root);

  function draw() {
    const [x, series] = [model.get("x"), model.get("series")];
    const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    svg.setAttribute("aria-label", model.get("alt"));
    const all = series.flatMap((one) => one.values).filter((value) => value > 0);
    root.replaceChildren(svg);
    if (!all.length) return;
    // At a start from the content picture its loss begins near zero, far below all that follows.
    const later = series.flatMap((one) => one.values.filter((value, i) => value > 0 && x[i] > 5));
    let [low, high] = [Math.min(...(later.length ? later : all)), Math.max(...all)].map(Math.log10);
    if (high - low < 0.5) [low, high] = [low - 0.25, high + 0.25];
    const last = Math.max(2, model.get("most"), ...x);
    const across = (value) => LEFT + ((WIDTH - LEFT - RIGHT) * (value - 1)) / (last - 1);
    const up = (value) =>
      HEIGHT - BOTTOM - ((HEIGHT - BOTTOM - TOP) * (Math.log10(value) - low)) / (high - low);
    const every = Math.max(1, Math.ceil((high - low) / 5));
    for (let power = Math.ceil(low); power <= high; power += every) {
      const y = up(10 ** power);
      svg.append(node("line", { class: "st-grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y, y2: y }));
      const label = power >= -3 && power <= 4 ? String(Number((10 ** power).toPrecision(1))) : `1e${power}`;
      svg.append(node("text", { class: "st-axis", x: LEFT - 5, y: y + 4, "text-anchor": "end" }, label));
    }
    for (const value of [1, Math.round(last / 2), last]) {
      const place = { class: "st-axis", x: across(value), y: HEIGHT - 8, "text-anchor": "middle" };
      svg.append(node("text", place, value));
    }
    const at = model.get("at");
    if (at > 0) {
      svg.append(node("line", { class: "st-at", x1: across(at), x2: across(at), y1: TOP, y2: HEIGHT - BOTTOM }));
    }
    const labels = [];
    series.forEach((one, place) => {
      let path = "";
      let end = null;
      let gap = true; // zero has no place on this scale
      one.values.forEach((value, i) => {
        if (value > 0) {
          end = Math.min(up(value), HEIGHT - BOTTOM);
          path += `${gap ? "M" : "L"}${across(x[i]).toFixed(1)} ${end.toFixed(1)}`;
        }
        gap = !(value > 0);
      });
      if (end === null) return;
      const style = { class: `st-line st-line-${place % 8}`, d: path };
      svg.append(node("path", { ...style, "stroke-dasharray": DASHES[place % DASHES.length] }));
      labels.push({ place, y: end, name: one.name });
    });
    // Names stand beside the ends of their lines, as far apart as letters need.
    labels.sort((a, b) => a.y - b.y);
    labels.forEach((label, i) => {
      label.y = Math.max(label.y, i ? labels[i - 1].y + 13 : TOP + 4);
    });
    for (let i = labels.length - 1; i >= 0; i--) {
      labels[i].y = Math.min(labels[i].y, i < labels.length - 1 ? labels[i + 1].y - 13 : HEIGHT - BOTTOM);
    }
    const side = WIDTH - RIGHT + 6;
    for (const { place, y, name } of labels) {
      svg.append(node("line", { class: `st-line st-line-${place % 8}`, x1: side, x2: side + 20, y1: y, y2: y,
        "stroke-dasharray": DASHES[place % DASHES.length] }));
      svg.append(node("text", { class: "st-axis", x: side + 25, y: y + 4 }, name));
    }
  }

  const names = "change:x change:series change:at change:alt change:most";
  model.on(names, draw);
  draw();
  return () => model.off(names, draw);
}

export default { render };
