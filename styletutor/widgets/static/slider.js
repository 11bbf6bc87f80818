// A slider with its name and its value, which a keyboard moves and a screen reader can say.
function render({ model, el }) {
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
