// A row of pictures to choose from: our samples, files, dropped files, and the camera.
import drop, { words as dropWords } from "../../styletutor/widgets/static/drop.js";
import gallery from "../../styletutor/widgets/static/gallery.js";
import { words } from "./words.js";
import { element, make } from "./model.js";
import { resized, toPicture, toPng } from "./picture.js";

const TILE = 160; // pixels of a small picture

/**
 * @typedef {object} Source
 * @property {string} name of a sample, or of a file
 * @property {string} alt
 * @property {Uint8Array} image to be shown
 * @property {import("./descent.js").Picture | null} picture of a file; a sample's is read when needed
 */

async function read(bytes) {
  const bitmap = await createImageBitmap(new Blob([bytes]));
  return toPicture(bitmap, bitmap.width, bitmap.height);
}

export class Sources {
  /** @param {Source[]} samples @param {string} chosen a sample's name */
  constructor(title, label, samples, chosen, changed) {
    this.list = [...samples];
    this.changed = changed;
    const selected = [this.list.findIndex(({ name }) => name === chosen)];
    const traits = { items: this.items(), selected, most: 1, side: 64, label, pixelated: false };
    const [model, node] = element(gallery, traits);
    [this.gallery, this.node] = [model, make("section", { className: "sources" })];
    model.on("change:selected", changed);
    const given = { label: words.upload, says: words.orDrop, most_bytes: 64e6, most_pixels: 8192 ** 2 };
    const [zone, zoneNode] = element(drop, given, (content, [buffer]) => this.take(content.name, buffer));
    this.zone = zone;
    if (navigator.mediaDevices?.getUserMedia) {
      const button = make("button", { type: "button", className: "st-button", onclick: () => this.film() });
      button.textContent = words.camera;
      zoneNode.querySelector("button").after(button);
    }
    this.heading = make("h2", {}, title);
    this.node.append(this.heading, node, zoneNode);
  }

  items() {
    return this.list.map(({ name, alt, image }) => ({ image, label: name, alt }));
  }

  /** What is chosen, with its `picture`. @returns {Promise<Source>} */
  async chosen() {
    const source = this.list[this.gallery.get("selected")[0]];
    if (!source) throw Error(words.errors.missing(this.heading.textContent.toLowerCase()));
    return { ...source, picture: source.picture ?? (await read(source.image)) };
  }

  /** Scroll the row, not the page, to what is chosen. */
  reveal() {
    const row = this.node.querySelector(".st-gallery");
    const tile = row.querySelector("[aria-pressed=true]");
    const [box, inner] = [row, tile].map((node) => node.getBoundingClientRect());
    if (inner.right > box.right) row.scrollLeft += inner.left - box.left - box.width / 2;
    if (inner.bottom > box.bottom) row.scrollTop += inner.top - box.top - box.height / 2;
  }

  say(text) {
    this.zone.set("says", ""); // so that the same words are said again
    this.zone.set("says", text);
  }

  async take(name, buffer) {
    try {
      await this.add(name, await read(buffer));
    } catch {
      this.say(dropWords.unreadable(name));
    }
  }

  async add(name, picture) {
    const image = await toPng(resized(picture, TILE));
    this.list.unshift({ name, alt: name, image, picture });
    this.gallery.show({ items: this.items(), selected: [0] });
    this.say(words.there(name));
    this.changed();
  }

  /** The camera in a dialog, until a picture is taken or it is closed. */
  async film() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch {
      this.say(words.noCamera);
      return;
    }
    const video = make("video", { srcObject: stream, muted: true, playsInline: true, autoplay: true });
    video.setAttribute("aria-label", words.cameraView);
    const take = make("button", { type: "button", className: "primary" }, words.cameraTake);
    const close = make("button", { type: "button" }, words.cameraClose);
    const dialog = make("dialog", { className: "camera" }, video, make("div", { className: "row" }, take, close));
    document.body.append(dialog);
    dialog.addEventListener("close", () => {
      for (const track of stream.getTracks()) track.stop();
      dialog.remove();
    });
    close.onclick = () => dialog.close();
    take.onclick = async () => {
      if (!video.videoWidth) return;
      const picture = toPicture(video, video.videoWidth, video.videoHeight);
      dialog.close();
      await this.add(words.cameraName, picture);
    };
    dialog.showModal();
  }
}
