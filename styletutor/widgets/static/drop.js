// A place to drop a picture file on, or to choose one. Large photographs are made smaller here,
// because a notebook's connection takes no message above some ten megabytes, and a kernel should
// not have to hold very many pixels.
const SIDE = 2048;

/** What it says, for a page in another language to replace. */
export const words = {
  sending: (name) => `sending ${name} …`,
  unreadable: (name) => `${name} is no picture that can be read; choose a JPEG or PNG file.`,
};

async function shrink(file, mostBytes, mostPixels) {
  const light = file.size <= mostBytes;
  const bitmap = await createImageBitmap(file).catch((error) => {
    if (!light) throw error;
  });
  // What this browser cannot read, Python may.
  if (light && (!bitmap || bitmap.width * bitmap.height <= mostPixels)) return file;
  const factor = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * factor));
  canvas.height = Math.max(1, Math.round(bitmap.height * factor));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

function render({ model, el }) {
  const zone = document.createElement("div");
  zone.className = "st-drop";
  const input = document.createElement("input");
  input.type = "file";
  input.accept = "image/*";
  input.className = "st-hidden";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "st-button";
  const says = document.createElement("span");
  says.className = "st-small";
  says.setAttribute("role", "status");
  zone.append(button, input, says);
  el.append(zone);

  async function take(file) {
    if (!file) return;
    says.textContent = words.sending(file.name);
    try {
      const blob = await shrink(file, model.get("most_bytes"), model.get("most_pixels"));
      model.send({ name: file.name }, undefined, [await blob.arrayBuffer()]);
    } catch {
      says.textContent = words.unreadable(file.name);
    }
  }

  const draw = () => {
    button.textContent = model.get("label");
    input.setAttribute("aria-label", model.get("label"));
  };
  const say = () => (says.textContent = model.get("says"));
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    take(input.files[0]);
    input.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      event.stopPropagation();
      zone.classList.add("st-over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    zone.addEventListener(name, (event) => {
      event.preventDefault();
      event.stopPropagation();
      zone.classList.remove("st-over");
      if (name === "drop") take(event.dataTransfer.files[0]);
    });
  }
  model.on("change:label", draw);
  model.on("change:says", say);
  draw();
  say();
  return () => {
    model.off("change:label", draw);
    model.off("change:says", say);
  };
}

export default { render };
