// A slider with its name and its value, which a keyboard moves and a screen reader can say.
// A letter typed on a button of the panel is no command for the notebook, where x cuts the cell.
function guard(event) {
  const leaves = event.key === "Escape" || (event.key === "Enter" && event.shiftKey);
  if (!leaves && !event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
}

function protect(el, tries = 100) {
  const panel = el.closest(".st-panel");
  if (panel) panel.addEventListener("keydown", guard); // the same function counts once
  else if (tries) requestAnimationFrame(() => protect(el, tries - 1));
}

function render({ model, el }) {
  protect(el);
  const root = document.createElement("label");
  root.className = "st-slider";
  root.innerHTML = '<span></span><input type="range"><output class="st-small" aria-live="off"></output>';
  el.append(root);
  const [name, input, says] = root.children;

  function draw() {
    name.textContent = model.get("label");
    for (const trait of ["min", "max", "step"]) input[trait] = model.get(trait);
    input.disabled = model.get("max") <= model.get("min");
    if (Number(input.value) !== model.get("value")) input.value = model.get("value");
    says.textContent = model.get("readout") ? `${model.get("value")} ${model.get("unit")}` : "";
  }

  input.addEventListener("input", () => {
    model.set("value", Number(input.value));
    model.save_changes();
  });
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === " ") event.preventDefault(); // it would scroll the page
  });
  model.on("change", draw);
  draw();
  return () => model.off("change", draw);
}

export default { render };
