// The pocket network's file, read as it is: safetensors with weights in 8 bits.
/**
 * A convolution with what follows it.
 * @typedef {object} Row
 * @property {string} conv its name, as conv4_1
 * @property {string} relu the name of its ReLU
 * @property {number} ins
 * @property {number} outs
 * @property {Int8Array} codes (outs, ins, 3, 3)
 * @property {Float32Array} step what a code of each output channel is worth
 * @property {Float32Array} bias
 * @property {boolean} pooled does a pooling come after it?
 */

/**
 * @typedef {object} Network
 * @property {Row[]} rows
 * @property {number[]} mean of red, green and blue
 * @property {Record<string, string>} about
 */

const DEPTHS = [2, 2, 4, 4, 4]; // convolutions of VGG-19's five blocks

/** @param {ArrayBuffer} file @returns {Network} @throws an Error with the name of what the page says */
export function readNetwork(file) {
  try {
    const length = Number(new DataView(file).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
    const tensor = (name, kind) => {
      const [from, to] = header[name].data_offsets;
      const bytes = file.slice(8 + length + from, 8 + length + to);
      return { values: new kind(bytes), shape: header[name].shape };
    };
    const rows = [];
    for (const [block, depth] of DEPTHS.entries()) {
      for (let number = 1; number <= depth; number++) {
        const conv = `conv${block + 1}_${number}`;
        if (!(`${conv}.weight` in header)) break;
        const { values: codes, shape } = tensor(`${conv}.weight`, Int8Array);
        const step = tensor(`${conv}.step`, Float32Array).values;
        const bias = tensor(`${conv}.bias`, Float32Array).values;
        const [outs, ins] = shape;
        if (codes.length !== 9 * outs * ins || bias.length !== outs || outs % 8) throw Error(conv);
        const row = { conv, relu: conv.replace("conv", "relu"), ins, outs, codes, step, bias };
        rows.push({ ...row, pooled: number === depth });
      }
    }
    const about = header.__metadata__;
    if (!rows.length || about.pooling !== "max") throw Error("pooling");
    return { rows, mean: JSON.parse(about.mean), about };
  } catch (error) {
    throw Error("network", { cause: error });
  }
}
