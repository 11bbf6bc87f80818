// The kernels of kernels.ts for a graphics card: the same names, arguments and layouts, but for the
// weights, which lie as (taps, in, out), and sums, which are float32. All memory is one buffer, in
// fours of floats; an argument that is a pointer counts those.

@group(0) @binding(0) var<storage, read_write> memory: array<vec4f>;
@group(0) @binding(1) var<uniform> given: array<vec4u, 4>;

fn arg(i: u32) -> u32 { return given[i / 4u][i % 4u]; }
fn number(i: u32) -> f32 { return bitcast<f32>(arg(i)); }
fn one(at: u32, i: u32) -> f32 { return memory[at + i / 4u][i % 4u]; }

fn give(at: u32, value: vec4f, relu: bool, add: bool) {
  var v = value;
  if (add) { v += memory[at]; }
  if (relu) { v = max(v, vec4f(0)); }
  memory[at] = v;
}

var<workgroup> left: array<vec4f, 128>;
var<workgroup> right: array<vec4f, 128>;

// from, to, height, width, ins / 4, outs / 4, weights, bias, relu, add, taps (9, or 1 for a product)
@compute @workgroup_size(8, 8)
fn convolve(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) place: vec3u,
            @builtin(local_invocation_index) lane: u32) {
  let height = arg(2u); let width = arg(3u); let ins = arg(4u); let outs = arg(5u);
  let taps = arg(10u); let deep = taps * ins; let count = height * width;
  var sums: array<vec4f, 4>;
  for (var k = 0u; k < deep; k += 4u) {
    for (var i = lane; i < 128u; i += 64u) {
      let position = group.y * 32u + i / 4u; let at = k + i % 4u; let tap = at / ins;
      var value = vec4f(0);
      if (position < count && at < deep) {
        var y = i32(position / width); var x = i32(position % width);
        if (taps == 9u) { y += i32(tap / 3u) - 1; x += i32(tap % 3u) - 1; }
        if (y >= 0 && y < i32(height) && x >= 0 && x < i32(width)) {
          value = memory[arg(0u) + (u32(y) * width + u32(x)) * ins + at % ins];
        }
      }
      left[i] = value;
      let row = 4u * k + i / 8u; let column = group.x * 8u + i % 8u;
      var weight = vec4f(0);
      if (row < 4u * deep && column < outs) { weight = memory[arg(6u) + row * outs + column]; }
      right[i] = weight;
    }
    workgroupBarrier();
    for (var q = 0u; q < 4u; q++) {
      let b0 = right[32u * q + place.x]; let b1 = right[32u * q + 8u + place.x];
      let b2 = right[32u * q + 16u + place.x]; let b3 = right[32u * q + 24u + place.x];
      for (var i = 0u; i < 4u; i++) {
        let a = left[(4u * place.y + i) * 4u + q];
        sums[i] += a.x * b0 + a.y * b1 + a.z * b2 + a.w * b3;
      }
    }
    workgroupBarrier();
  }
  let column = group.x * 8u + place.x;
  var bias = vec4f(0);
  if (arg(7u) != 0u && column < outs) { bias = memory[arg(7u) + column]; }
  for (var i = 0u; i < 4u; i++) {
    let position = group.y * 32u + 4u * place.y + i;
    if (position < count && column < outs) {
      give(arg(1u) + position * outs + column, sums[i] + bias, arg(8u) == 1u, arg(9u) == 1u);
    }
  }
}

// features, room, count, channels / 4, of each slab of positions
@compute @workgroup_size(8, 8)
fn gram(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
        @builtin(local_invocation_id) place: vec3u, @builtin(local_invocation_index) lane: u32) {
  let count = arg(2u); let channels = arg(3u);
  let share = (count + groups.z - 1u) / groups.z;
  let end = min(count, (group.z + 1u) * share);
  var sums: array<vec4f, 4>;
  for (var first = group.z * share; first < end; first += 16u) {
    for (var i = lane; i < 128u; i += 64u) {
      let n = first + i / 8u; let row = group.y * 8u + i % 8u; let column = group.x * 8u + i % 8u;
      let is = n < end;
      left[i] = select(vec4f(0), memory[arg(0u) + n * channels + row], is && row < channels);
      right[i] = select(vec4f(0), memory[arg(0u) + n * channels + column], is && column < channels);
    }
    workgroupBarrier();
    for (var n = 0u; n < 16u; n++) {
      let a = left[8u * n + place.y]; let b = right[8u * n + place.x];
      for (var i = 0u; i < 4u; i++) { sums[i] += a[i] * b; }
    }
    workgroupBarrier();
  }
  let row = 4u * (group.y * 8u + place.y); let column = group.x * 8u + place.x;
  if (row < 4u * channels && column < channels) {
    let to = arg(1u) + group.z * 4u * channels * channels + column;
    for (var i = 0u; i < 4u; i++) { memory[to + (row + i) * channels] = sums[i]; }
  }
}

// room, to, count / 4, slabs, scale
@compute @workgroup_size(64)
fn fold(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= arg(2u)) { return; }
  var sum = vec4f(0);
  for (var slab = 0u; slab < arg(3u); slab++) { sum += memory[arg(0u) + slab * arg(2u) + id.x]; }
  memory[arg(1u) + id.x] = sum * number(4u);
}

fn together(value: vec4f, lane: u32) -> f32 {
  left[lane] = value;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) { left[lane] += left[lane + half]; }
    workgroupBarrier();
  }
  return dot(left[0], vec4f(1));
}

// value, aim, slope, count / 4, weight, factor, along, add, room
@compute @workgroup_size(64)
fn compare(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let scale = memory[arg(4u)].x * number(5u);
  var squares = vec4f(0);
  for (var i = id.x; i < arg(3u); i += 64u * groups.x) {
    let off = memory[arg(0u) + i] - memory[arg(1u) + i];
    squares += off * off;
    give(arg(2u) + i, off * (2.0 * scale * number(6u)), false, arg(7u) == 1u);
  }
  let sum = together(squares, lane);
  if (lane == 0u) { memory[arg(8u) + group.x] = vec4f(sum * scale, 0, 0, 0); }
}

// room, sum, count: what so many groups have summed
@compute @workgroup_size(64)
fn total(@builtin(local_invocation_index) lane: u32) {
  var sum = vec4f(0);
  for (var i = lane; i < arg(2u); i += 64u) { sum += memory[arg(0u) + i]; }
  let all = together(sum, lane);
  if (lane == 0u) { memory[arg(1u)] = vec4f(all, 0, 0, 0); }
}

// from, to, height, width, channels / 4
@compute @workgroup_size(64)
fn pool(@builtin(global_invocation_id) id: vec3u) {
  let width = arg(3u); let channels = arg(4u); let across = width / 2u;
  let cell = id.x / channels; let c = id.x % channels;
  if (cell >= across * (arg(2u) / 2u)) { return; }
  let p = arg(0u) + (2u * (cell / across) * width + 2u * (cell % across)) * channels + c;
  let line = width * channels;
  let upper = max(memory[p], memory[p + channels]);
  let lower = max(memory[p + line], memory[p + line + channels]);
  memory[arg(1u) + id.x] = max(upper, lower);
}

// features, gradient, to, height, width, channels / 4, add
@compute @workgroup_size(64)
fn unpool(@builtin(global_invocation_id) id: vec3u) {
  let height = arg(3u); let width = arg(4u); let channels = arg(5u); let add = arg(6u) == 1u;
  let across = (width + 1u) / 2u; let cell = id.x / channels; let c = id.x % channels;
  let y = 2u * (cell / across); let x = 2u * (cell % across);
  if (y >= height) { return; }
  let line = width * channels; let at = (y * width + x) * channels + c;
  let p = arg(0u) + at; let q = arg(2u) + at;
  if (y + 1u >= height || x + 1u >= width) {
    if (add) { return; }
    memory[q] = vec4f(0);
    if (x + 1u < width) { memory[q + channels] = vec4f(0); }
    if (y + 1u < height) { memory[q + line] = vec4f(0); }
    return;
  }
  let g = memory[arg(1u) + ((y / 2u) * (width / 2u) + x / 2u) * channels + c];
  let v0 = memory[p]; let v1 = memory[p + channels];
  let v2 = memory[p + line]; let v3 = memory[p + line + channels];
  let most = max(max(v0, v1), max(v2, v3)); let none = vec4f(0);
  let is0 = v0 == most; let is1 = !is0 & (v1 == most); let until1 = is0 | is1;
  let is2 = !until1 & (v2 == most); let until2 = until1 | is2;
  give(q, select(none, g, is0), false, add);
  give(q + channels, select(none, g, is1), false, add);
  give(q + line, select(none, g, is2), false, add);
  give(q + line + channels, select(g, none, until2), false, add);
}

// features, gradient, count / 4
@compute @workgroup_size(64)
fn mask(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= arg(2u)) { return; }
  let at = arg(1u) + id.x;
  memory[at] = select(vec4f(0), memory[at], memory[arg(0u) + id.x] > vec4f(0));
}

// planes, to, count, red, green, blue
@compute @workgroup_size(64)
fn enter(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x; let count = arg(2u);
  if (i >= count) { return; }
  let colour = vec3f(one(arg(0u), i), one(arg(0u), count + i), one(arg(0u), 2u * count + i));
  memory[arg(1u) + i] = vec4f(colour - vec3f(number(3u), number(4u), number(5u)), 0);
}

// gradient, planes, count
@compute @workgroup_size(64)
fn back(@builtin(global_invocation_id) id: vec3u) {
  let count = arg(2u);
  if (4u * id.x >= 3u * count) { return; }
  var four = vec4f(0);
  for (var e = 0u; e < 4u; e++) {
    let i = 4u * id.x + e;
    if (i < 3u * count) { four[e] = memory[arg(0u) + i % count][i / count]; }
  }
  memory[arg(1u) + id.x] = four;
}

// planes, gradient, height, width, weight, room
@compute @workgroup_size(64)
fn vary(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u,
        @builtin(local_invocation_index) lane: u32) {
  let planes = arg(0u); let height = arg(2u); let width = arg(3u);
  let scale = memory[arg(4u)].x; let all = 3u * height * width;
  let down = scale / f32(max(1u, 3u * (height - 1u) * width));
  let across = scale / f32(max(1u, 3u * height * (width - 1u)));
  var squares = vec4f(0); var slope = vec4f(0);
  for (var e = 0u; e < 4u; e++) {
    let i = 4u * id.x + e;
    if (i >= all) { continue; }
    let x = i % width; let y = (i / width) % height; let value = one(planes, i);
    if (x > 0u) { slope[e] += 2.0 * across * (value - one(planes, i - 1u)); }
    if (y > 0u) { slope[e] += 2.0 * down * (value - one(planes, i - width)); }
    if (x + 1u < width) {
      let off = one(planes, i + 1u) - value;
      slope[e] -= 2.0 * across * off; squares[e] += across * off * off;
    }
    if (y + 1u < height) {
      let off = one(planes, i + width) - value;
      slope[e] -= 2.0 * down * off; squares[e] += down * off * off;
    }
  }
  if (4u * id.x < all) { memory[arg(1u) + id.x] += slope; }
  let sum = together(squares, lane);
  if (lane == 0u) { memory[arg(5u) + group.x] = vec4f(sum, 0, 0, 0); }
}
