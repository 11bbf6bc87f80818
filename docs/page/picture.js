// Pictures between a canvas and three planes of numbers, and their sizes as `styletutor` has them.

const MOST = 1024; // pixels of the long side that is kept of a file

/** @typedef {import("./descent.js").Picture} Picture */

/** Height and width with the long side at `size`; a smaller picture keeps its own. */
export function fitted(height, width, size) {
  const long = Math.max(height, width);
  if (size >= long) return [height, width];
  return [height, width].map((side) => Math.max(1, Math.round((side * size) / long)));
}

/** Anything that can be drawn, on white, as planes. @returns {Picture} */
export function toPicture(source, sourceWidth, sourceHeight) {
  const [height, width] = fitted(sourceHeight, sourceWidth, MOST);
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, 0, 0, width, height);
  const { data } = pen.getImageData(0, 0, width, height);
  const planes = new Float32Array(3 * height * width);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) planes[c * height * width + i] = data[4 * i + c] / 255;
  }
  return { planes, height, width };
}

/** A picture on a canvas of its size, rounded to 8 bits. */
export function toCanvas({ planes, height, width }) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * planes[c * height * width + i];
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** The bytes of a PNG file. */
export async function toPng(picture) {
  const blob = await new Promise((done) => toCanvas(picture).toBlob(done, "image/png"));
  return new Uint8Array(await blob.arrayBuffer());
}

/** Scaled so that the long side has `size` pixels, as by PyTorch's antialiased bicubic. */
export function resized(picture, size) {
  const [height, width] = fitted(picture.height, picture.width, size);
  if (height === picture.height) return picture;
  const tall = along(picture.planes, 3, picture.height, picture.width, height);
  const planes = new Float32Array(3 * height * width);
  const lines = along(turned(tall, 3 * height, picture.width), 1, picture.width, 3 * height, width);
  planes.set(turned(lines, width, 3 * height));
  for (let i = 0; i < planes.length; i++) planes[i] = Math.min(1, Math.max(0, planes[i]));
  return { planes, height, width };
}

function turned(values, height, width) {
  const out = new Float32Array(values.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) out[x * height + y] = values[y * width + x];
  }
  return out;
}

/** (planes, before, width) → (planes, after, width), for after < before. */
function along(values, planes, before, width, after) {
  const out = new Float32Array(planes * after * width);
  const scale = before / after;
  for (let y = 0; y < after; y++) {
    const center = scale * (y + 0.5);
    const first = Math.max(0, Math.trunc(center - 2 * scale + 0.5));
    const end = Math.min(before, Math.trunc(center + 2 * scale + 0.5));
    const weights = [];
    for (let j = first; j < end; j++) weights.push(cubic((j - center + 0.5) / scale));
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    for (let plane = 0; plane < planes; plane++) {
      const to = (plane * after + y) * width;
      weights.forEach((weight, j) => {
        const from = (plane * before + first + j) * width;
        for (let x = 0; x < width; x++) out[to + x] += (weight / whole) * values[from + x];
      });
    }
  }
  return out;
}

/** Keys' kernel with a = -½. */
function cubic(x) {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}
