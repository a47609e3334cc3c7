"use strict";
// Fields of pictures as fragment shaders: what `intfit decode` computes, for the part in view.

/** A triangle over the whole viewport, from nothing but the number of each corner. */
const WHOLE = `#version 300 es
void main() {
  gl_Position = vec4(4 * (gl_VertexID & 1) - 1, 4 * (gl_VertexID >> 1) - 1, 0, 1);
}`;

/** What every shader begins with: which pixel this is, and what becomes of its value. */
const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
uniform vec2 size;      // of the picture, in its own pixels
uniform vec4 view;      // left, top, and a pixel's width and height, in pixels of the picture
uniform ivec2 samples;  // evaluations across and down a pixel
uniform ivec3 tile;     // its first column and row, and its number of rows
out vec4 colour;
`;

/** The mean of the field over a pixel's area, as a colour. */
const MAIN = `
void main() {
  ivec2 place = ivec2(gl_FragCoord.xy);
  vec2 pixel = vec2(tile.x + place.x, tile.y + tile.z - 1 - place.y);
  vec4 total = vec4(0);
  for (int down = 0; down < samples.y; ++down) {
    for (int across = 0; across < samples.x; ++across) {
      vec2 within = (vec2(across, down) + 0.5) / vec2(samples);
      total += evaluate(view.xy + (pixel + within) * view.zw);
    }
  }
  vec4 value = clamp(total / float(samples.x * samples.y), -1.0, 1.0);
  colour = inColour(floor((value + 1.0) * 127.5 + 0.5)) / 255.0;
}`;

/** Levels of channels, 0 to 255, as a colour: by number of channels, and how `decode` maps them. */
function colourCode(picture) {
  const mapped = {
    levels: "",
    threshold: "level = vec4(level.x > 127.0 ? 255.0 : 0.0);",
    palette: `
      float nearest = 1e9;
      vec4 found = level;
      for (int i = 0; i < ${picture.colours}; ++i) {
        vec4 entry = texelFetch(palette, ivec2(i, 0), 0) * 255.0;
        vec4 off = (entry - level) * vec4(1, 1, 1, ${picture.channels === 4 ? 1 : 0});
        if (dot(off, off) < nearest) { nearest = dot(off, off); found = entry; }
      }
      level = found;`,
  }[picture.mapping];
  const spread = {
    1: "vec4(level.xxx, 255)", 2: "vec4(level.xxx, level.y)", 3: "vec4(level.xyz, 255)", 4: "level",
  }[picture.channels];
  return `uniform sampler2D palette;
vec4 inColour(vec4 level) { ${mapped} return ${spread}; }`;
}

/** Pixels that were decoded from latents, and between them the cubic of Catmull and Rom. */
const CUBIC = `
uniform sampler2D pixels;
uniform sampler2D beyond;  // what the pixels exceed 0..255 by, above 128
uniform bool exceeds;
uniform bool grey2;        // grey with alpha, which PNG unpacks to (v, v, v, a)

vec4 sampleAt(ivec2 at) {
  ivec2 last = ivec2(size) - 1;
  at = ivec2(at.x < 0 ? -1 - at.x : at.x, at.y < 0 ? -1 - at.y : at.y);
  at = ivec2(at.x > last.x ? 2 * last.x + 1 - at.x : at.x, at.y > last.y ? 2 * last.y + 1 - at.y : at.y);
  at = clamp(at, ivec2(0), last);
  vec4 level = texelFetch(pixels, at, 0) * 255.0;
  if (exceeds) level += texelFetch(beyond, at, 0) * 255.0 - 128.0;
  return (grey2 ? level.xwzw : level) / 127.5 - 1.0;
}

vec4 taps(float t) {
  return 0.5 * vec4(((2.0 - t) * t - 1.0) * t, (3.0 * t - 5.0) * t * t + 2.0,
                    ((4.0 - 3.0 * t) * t + 1.0) * t, (t - 1.0) * t * t);
}

vec4 evaluate(vec2 position) {
  // positions are rounded to a 1024th of a pixel, as decoding does
  vec2 place = floor((position - 0.5) * 1024.0 + 0.5) / 1024.0;
  vec2 base = floor(place);
  vec4 across = taps(place.x - base.x), down = taps(place.y - base.y);
  vec4 total = vec4(0);
  for (int j = 0; j < 4; ++j) {
    if (down[j] == 0.0) continue;
    for (int i = 0; i < 4; ++i) {
      if (across[i] == 0.0) continue;
      total += down[j] * across[i] * sampleAt(ivec2(base) + ivec2(i - 1, j - 1));
    }
  }
  return total;
}`;

/** A SIREN of so many sine layers; neurons are kept four by four. */
const SIREN = (groups, depth) => `
uniform sampler2D weights;

vec4 texel(int i) { return texelFetch(weights, ivec2(i & 1023, i >> 10), 0); }

// The sine that a graphics card computes by itself is too coarse for large arguments.
vec4 sine(vec4 x) {
  vec4 half_turns = floor(x * 0.31830988618 + 0.5);
  vec4 r = x - half_turns * 3.140625;
  r -= half_turns * 9.676535897932e-4;
  vec4 s = r * r;
  vec4 odd = half_turns - 2.0 * floor(half_turns * 0.5);
  vec4 series = -1.9841270e-4 + s * (2.7557319e-6 + s * -2.5052108e-8);
  return (1.0 - 2.0 * odd) * (r + r * s * (-0.16666667 + s * (8.3333333e-3 + s * series)));
}

vec4 rows(int at, vec4 x) {
  return vec4(dot(texel(at), x), dot(texel(at + 1), x), dot(texel(at + 2), x), dot(texel(at + 3), x));
}

vec4 evaluate(vec2 position) {
  vec2 place = (2.0 * position - size) / max(size.x, size.y);
  vec4 coordinate = vec4(place.y, place.x, 0, 0);
  vec4 before[${groups}];
  vec4 after[${groups}];
  int at = 0;
  for (int g = 0; g < ${groups}; ++g, at += 5) {
    before[g] = sine(texel(at) + rows(at + 1, coordinate));
  }
  for (int layer = 1; layer < ${depth}; ++layer) {
    for (int g = 0; g < ${groups}; ++g) {
      vec4 total = texel(at++);
      for (int h = 0; h < ${groups}; ++h, at += 4) total += rows(at, before[h]);
      after[g] = sine(total);
    }
    before = after;
  }
  vec4 total = texel(at++);
  for (int h = 0; h < ${groups}; ++h, at += 4) total += rows(at, before[h]);
  return total;
}`;

/**
 * The texels of a SIREN's weights: for every four neurons of a layer their biases, then for every
 * four neurons of the layer before, a texel of each neuron's four weights. The frequency omega of
 * a layer is multiplied in.
 */
function packWeights(field, inputs, outputs) {
  const values = new Float32Array(bytesOf(field.weights).buffer);
  const texels = [];
  let first = 0;
  for (let layer = 0; layer <= field.depth; layer += 1) {
    const n = layer ? field.width : inputs;
    const m = layer < field.depth ? field.width : outputs;
    const omega = layer === field.depth ? 1 : layer ? field.omega : field.omega_first;
    const bias = first + m * n;
    const weight = (row, column) => (row < m && column < n ? omega * values[first + row * n + column] : 0);
    for (let g = 0; g < m; g += 4) {
      for (let r = g; r < g + 4; r += 1) texels.push(r < m ? omega * values[bias + r] : 0);
      for (let h = 0; h < n; h += 4) {
        for (let r = g; r < g + 4; r += 1) {
          for (let c = h; c < h + 4; c += 1) texels.push(weight(r, c));
        }
      }
    }
    first = bias + m;
  }
  return Float32Array.from(texels);
}

/** The field of a picture, ready to be drawn: a program, its textures, and the cost of a sample. */
async function makeField(picture) {
  const field = picture.field;
  const names = [];
  const textures = [];
  const add = (name, texture) => { names.push(name); textures.push(texture); };
  let code = CUBIC;
  let cost = 100;
  if (field.type === "siren") {
    const texels = packWeights(field, 2, picture.channels);
    const rows = Math.ceil(texels.length / 4096);
    const whole = new Float32Array(4096 * rows);
    whole.set(texels);
    add("weights", makeTexture(() => {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 1024, rows, 0, gl.RGBA, gl.FLOAT, whole);
    }));
    code = SIREN(Math.ceil(field.width / 4), field.depth);
    cost = texels.length;
  } else {
    add("pixels", makePixelTexture(await pictureOf(field.pixels)));
    if (field.beyond) add("beyond", makePixelTexture(await pictureOf(field.beyond)));
  }
  if (picture.mapping === "palette") {
    const colours = bytesOf(picture.palette);
    add("palette", makeTexture(() => {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, picture.colours, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, colours);
    }));
  }
  const made = makeProgram(WHOLE, HEAD + colourCode(picture) + code + MAIN);
  /**
   * Draw a tile of a view into the lower left of the current framebuffer, rows from top to bottom.
   * `view` has left, top, and the width and height of a pixel, in pixels of the picture.
   */
  function draw(view, most, x, y, width, height) {
    const {program, at} = made;
    gl.viewport(0, 0, width, height);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.CULL_FACE);
    gl.useProgram(program);
    gl.uniform2f(at("size"), picture.width, picture.height);
    gl.uniform4f(at("view"), view.left, view.top, view.across, view.down);
    const samples = [view.across, view.down].map((span) => Math.min(most, Math.max(1, Math.ceil(span - 1e-6))));
    gl.uniform2i(at("samples"), ...samples);
    gl.uniform3i(at("tile"), x, y, height);
    gl.uniform1i(at("exceeds"), names.includes("beyond") ? 1 : 0);
    gl.uniform1i(at("grey2"), picture.channels === 2 ? 1 : 0);
    textures.forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(at(names[unit]), unit);
    });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
  return {draw, cost, most: field.type === "siren" ? 4 : 16};
}

/** Pixels [height * width * 4], RGBA, of a part of a picture: of `decode --region --size`. */
function renderPixels(field, region, width, height) {
  const target = gl.createFramebuffer();
  const buffer = gl.createRenderbuffer();
  const tall = Math.min(height, Math.max(1, Math.floor(65536 / width)));
  gl.bindFramebuffer(gl.FRAMEBUFFER, target);
  gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
  gl.renderbufferStorage(gl.RENDERBUFFER, gl.RGBA8, width, tall);
  gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.RENDERBUFFER, buffer);
  const [left, top, across, down] = region;
  const view = {left, top, across: across / width, down: down / height};
  const pixels = new Uint8ClampedArray(4 * width * height);
  const part = new Uint8Array(4 * width * tall);
  for (let y = 0; y < height; y += tall) {
    const rows = Math.min(tall, height - y);
    field.draw(view, 64, 0, y, width, rows);
    gl.readPixels(0, 0, width, rows, gl.RGBA, gl.UNSIGNED_BYTE, part);
    for (let row = 0; row < rows; row += 1) {
      const from = 4 * width * (rows - 1 - row);
      pixels.set(part.subarray(from, from + 4 * width), 4 * width * (y + row));
    }
  }
  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  gl.deleteFramebuffer(target);
  gl.deleteRenderbuffer(buffer);
  return pixels;
}
