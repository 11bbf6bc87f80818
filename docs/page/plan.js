// Loss and gradient of a picture as a list of kernels: the way in, the losses, and the way back.
// Weights lie in memory, so that a fader needs no new list.

const TILES = 48; // of 2 × 2 positions that a convolution does at a time

/** The network's weights in a machine, ready for convolutions both ways. */
export function load(machine, network) {
  const kernels = network.rows.map((row) => machine.prepare(row));
  const most = Math.max(...network.rows.map((row) => row.outs + Math.max(row.ins, 8)));
  const room = Array.from({ length: machine.threads }, () => machine.take(16 * TILES * most));
  return { ...network, kernels, room: room[0], apart: room.length > 1 ? room[1] - room[0] : 0 };
}

/**
 * The way in as far as the deepest of the `layers`.
 * @returns {{steps: import("./machine.js").Step[], maps: object[], planes: number}} where each
 *   row's features are, and the three planes that the picture is read from
 */
export function wayIn(machine, network, height, width, layers) {
  const deepest = Math.max(...layers.map((name) => network.rows.findIndex((r) => r.relu === name)));
  const planes = machine.take(3 * height * width);
  const entered = machine.take(4 * height * width);
  const steps = [["enter", planes, entered, height * width, ...network.mean]];
  let [from, ins] = [entered, 4];
  const maps = [];
  for (const [at, row] of network.rows.slice(0, deepest + 1).entries()) {
    const map = { row, at, ins, height, width, count: height * width, channels: row.outs };
    map.features = machine.take(map.count * row.outs);
    steps.push(convolution(machine, network, map, from, map.features, true, false));
    maps.push(map);
    [from, ins] = [map.features, row.outs];
    if (row.pooled && at < deepest) {
      map.pooled = machine.take((height >> 1) * (width >> 1) * row.outs);
      steps.push(["pool", from, map.pooled, height, width, row.outs]);
      [height, width, from] = [height >> 1, width >> 1, map.pooled];
    }
  }
  return { steps, maps, planes, entered };
}

/** A convolution on the way in, or on the way back from the gradient of its output. */
function convolution(machine, network, map, from, to, there, add) {
  const { there: kernel, back, bias } = network.kernels[map.at];
  const tiles = Math.ceil(map.height / 2) * Math.ceil(map.width / 2);
  const share = Math.min(TILES, Math.ceil(tiles / machine.threads / 6) * 6);
  const sizes = there ? [map.ins, map.channels] : [map.channels, map.ins];
  const what = there ? [kernel, bias, 1, 0] : [back, 0, 0, Number(add)];
  return ["convolve", from, to, map.height, map.width, ...sizes, ...what, network.room,
    network.apart, share, machine.zeros];
}

/** Room for a Gram matrix and the step that measures it; divided by channels times positions. */
export function measure(machine, map) {
  const gram = machine.take(map.channels ** 2);
  const scale = 1 / (map.channels * map.count);
  return { gram, step: ["gram", map.features, gram, map.count, map.channels, scale] };
}

/**
 * The whole list for the parts of an objective, as {term: "content" | "style", layer, aim, factor,
 * weight} with pointers to what is aimed at and to the weight; and one {term: "tv", weight}.
 * Each part gets where its losses are summed, as `sum`. The gradient comes as three planes.
 */
export function wholeWay(machine, network, height, width, parts) {
  const layers = parts.filter((part) => part.layer).map((part) => part.layer);
  const gradient = machine.take(3 * height * width);
  for (const part of parts) {
    const count = part.term === "tv" ? 1 : machine.threads;
    part.sum = { at: machine.take(2 * machine.threads), count, sum: true };
  }
  const way = layers.length ? wayIn(machine, network, height, width, layers) : null;
  const planes = way ? way.planes : machine.take(3 * height * width);
  const steps = way ? [...way.steps] : [["enter", planes, gradient, 0, 0, 0, 0]];
  if (way) {
    const most = Math.max(...way.maps.map((map) => map.count * map.channels));
    let [here, next] = [machine.take(most), machine.take(most)];
    const small = machine.take(most);
    let above = null; // the step that brings the gradient from above
    for (const map of way.maps.toReversed()) {
      let add = false;
      for (const part of parts.filter((part) => part.layer === map.row.relu)) {
        const to = [part.weight, part.factor];
        if (part.term === "style") {
          const { gram, step } = measure(machine, map);
          const slope = machine.take(map.channels ** 2);
          const along = 2 / (map.channels * map.count);
          steps.push(step);
          steps.push(["compare", gram, part.aim, slope, map.channels ** 2, ...to, along, 0, part.sum.at]);
          steps.push(["spread", map.features, slope, here, map.count, map.channels]);
        } else {
          const count = map.count * map.channels;
          steps.push(["compare", map.features, part.aim, here, count, ...to, 1, Number(add), part.sum.at]);
        }
        add = true;
      }
      if (above) steps.push(above(here, add));
      steps.push(["mask", map.features, here, map.count * map.channels]);
      if (map.at === 0) {
        steps.push(convolution(machine, network, map, here, way.entered, false, false));
        steps.push(["back", way.entered, gradient, height * width]);
        break;
      }
      const below = way.maps[map.at - 1];
      const source = here;
      if (below.pooled) {
        steps.push(convolution(machine, network, map, source, small, false, false));
        const size = [below.height, below.width, below.channels];
        above = (to, add) => ["unpool", below.features, small, to, ...size, Number(add)];
      } else {
        above = (to, add) => convolution(machine, network, map, source, to, false, add);
      }
      [here, next] = [next, here];
    }
  }
  const tv = parts.find((part) => part.term === "tv");
  if (tv) steps.push(["vary", planes, gradient, height, width, tv.weight, tv.sum.at]);
  return { steps, planes, gradient };
}
