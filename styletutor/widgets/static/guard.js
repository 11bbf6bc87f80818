// Shows nothing. A letter typed on a control of its panel is no command for the notebook, where x
// cuts the cell.
function guard(event) {
  const leaves = event.key === "Escape" || (event.key === "Enter" && event.shiftKey);
  if (!leaves && !event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
}

function protect(el, tries = 100) {
  const panel = el.closest(".st-panel");
  if (panel) panel.addEventListener("keydown", guard); // the same function counts once
  else if (tries) requestAnimationFrame(() => protect(el, tries - 1));
}

function render({ el }) {
  el.style.display = "none";
  protect(el);
}

export default { render };
