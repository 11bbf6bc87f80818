// A card opens its picture before and after, under a divider; without this script it is a link.
const [dialog, cards] = [document.querySelector("dialog"), [...document.querySelectorAll("a.card")]];
const find = (name) => dialog.querySelector(name);
const [stage, after, before, divider] = [".stage", ".after", ".before", ".divider"].map(find);
const [title, settings, command, copy] = ["h2", ".settings", "code", ".copy"].map(find);
let at = 0;

function divide() {
  before.style.clipPath = `inset(0 ${100 - 100 * divider.value}% 0 0)`;
  find(".bar").style.left = `${100 * divider.value}%`;
}

function show(place) {
  at = (place + cards.length) % cards.length;
  const [card, small] = [cards[at], cards[at].querySelector("img")];
  stage.style.setProperty("--shape", small.getAttribute("width") / small.getAttribute("height"));
  after.src = card.href;
  after.alt = small.alt;
  before.src = card.dataset.before;
  title.textContent = card.dataset.title;
  command.textContent = card.dataset.command;
  settings.hidden = !card.dataset.command;
  copy.textContent = "Copy";
  divide();
  if (!dialog.open) dialog.showModal();
}

async function copied() {
  try {
    await navigator.clipboard.writeText(command.textContent);
    return true;
  } catch { // some browsers have no clipboard for a page from disk
    getSelection().selectAllChildren(command);
    return document.execCommand("copy");
  }
}

cards.forEach((card, place) => card.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(place);
  divider.focus();
}));
divider.addEventListener("input", divide);
find(".back").addEventListener("click", () => show(at - 1));
find(".on").addEventListener("click", () => show(at + 1));
find(".close").addEventListener("click", () => dialog.close());
copy.addEventListener("click", async () => {
  copy.textContent = (await copied()) ? "Copied" : "Select and copy";
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("keydown", (event) => {
  const step = { PageUp: -1, PageDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault(); // the divider would take it
  show(at + step);
});
dialog.addEventListener("close", () => cards[at].focus());
