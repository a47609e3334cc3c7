"use strict";
// A surface: what was decoded, and the original beside it, turned together.

const SOLID_VERTEX = `#version 300 es
precision highp float;
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec3 paint;
uniform mat4 place;
uniform mat3 turn;
out vec3 smoothNormal;
out vec3 seen;
out vec3 own;
void main() {
  own = paint;
  gl_Position = place * vec4(position, 1);
  smoothNormal = turn * normal;
  seen = turn * position;
}`;

const SOLID_FRAGMENT = `#version 300 es
precision highp float;
in vec3 smoothNormal;
in vec3 seen;
in vec3 own;
uniform int shading;  // 0 lit, 1 normals, 2 lit in its own colours
uniform mat3 turnBack;
out vec4 colour;
void main() {
  vec3 flatNormal = normalize(cross(dFdx(seen), dFdy(seen)));
  vec3 normal = normalize(smoothNormal);
  if (dot(normal, flatNormal) < 0.0) normal = -normal;
  // a sharp edge stays sharp
  if (dot(normal, flatNormal) < 0.75) normal = flatNormal;
  if (shading == 1) {
    colour = vec4(turnBack * normal * 0.5 + 0.5, 1);
    return;
  }
  float key = max(0.0, dot(normal, normalize(vec3(-0.5, 0.7, 0.8))));
  float fill = max(0.0, dot(normal, normalize(vec3(0.8, 0.1, 0.4))));
  vec3 half_way = normalize(vec3(-0.5, 0.7, 1.8));
  float shine = pow(max(0.0, dot(normal, half_way)), 40.0);
  vec3 base = shading == 2 ? own : vec3(0.62, 0.68, 0.76);
  colour = vec4(base * (0.25 + 0.65 * key + 0.2 * fill) + (shading == 2 ? 0.0 : 0.15 * shine), 1);
}`;

const EDGE_FRAGMENT = `#version 300 es
precision highp float;
in vec3 smoothNormal;
in vec3 seen;
in vec3 own;
out vec4 colour;
void main() { colour = vec4(0.08, 0.1, 0.14, 1); }`;

/** Degrees that a surface turns by in a second. */
const TURN_SPEED = 24;
/** How far the eye is from the middle of a surface, whose sphere has radius 1; half its angle. */
const EYE = 4;
const SPREAD = 0.23;

let solidProgram = null;
let edgeProgram = null;

/**
 * Vertices [V, 3], float32 in the unit sphere, triangles [F, 3] and, where there are any, colours
 * [V, 3] of a solid in the page.
 */
function readSolid(solid) {
  const whole = new Uint16Array(bytesOf(solid.vertices).buffer);
  const faces = new Uint32Array(bytesOf(solid.faces).buffer);
  const vertices = new Float32Array(whole.length);
  for (let i = 0; i < whole.length; i += 1) {
    vertices[i] = solid.low[i % 3] + (whole[i] / 65535) * solid.extent[i % 3];
  }
  const colours = solid.colours ? bytesOf(solid.colours) : null;
  return {vertices, faces, colours};
}

/** A normal for each vertex: the mean of those of its triangles, by their areas. */
function findNormals(vertices, faces) {
  const normals = new Float32Array(vertices.length);
  for (let f = 0; f < faces.length; f += 3) {
    const [a, b, c] = [3 * faces[f], 3 * faces[f + 1], 3 * faces[f + 2]];
    const u = [0, 1, 2].map((k) => vertices[b + k] - vertices[a + k]);
    const v = [0, 1, 2].map((k) => vertices[c + k] - vertices[a + k]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) {
      for (let k = 0; k < 3; k += 1) normals[corner + k] += n[k];
    }
  }
  return normals;
}

/** The lines of all triangles' sides, once for each triangle. */
function findEdges(faces) {
  const edges = new Uint32Array(2 * faces.length);
  for (let f = 0; f < faces.length; f += 3) {
    edges.set([faces[f], faces[f + 1], faces[f + 1], faces[f + 2], faces[f + 2], faces[f]], 2 * f);
  }
  return edges;
}

class Surface {
  constructor(item, place) {
    place.append(copyOf("surface"));
    this.angles = [-35, 20];
    this.zoom = 1;
    this.shading = "light";
    this.turning = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.button = place.querySelector("[data-do=turn]");
    this.solids = [];
    const pair = place.querySelector(".pair");
    for (const [which, title] of [["decoded", "intfit"], ["original", "original"]]) {
      if (item.surface[which]) this.addSolid(item, item.surface[which], title, pair);
    }
    listenToButtons(place, {
      turn: () => this.setTurning(!this.turning),
      in: () => this.zoomBy(1.3), out: () => this.zoomBy(1 / 1.3), fit: () => this.key("0"),
    });
    const choice = place.querySelector(".coloured");
    choice.hidden = !(item.surface.decoded.colours || item.surface.original?.colours);
    if (!choice.hidden) {
      choice.querySelector("input").checked = true;
      this.shading = "colours";
    }
    for (const radio of place.querySelectorAll(".shading input")) {
      radio.name = `shading-${item.id}`;
      radio.addEventListener("change", () => {
        this.shading = radio.value;
        this.redraw();
      });
    }
    new IntersectionObserver((entries) => {
      this.seen = entries[entries.length - 1].isIntersecting;
      this.redraw();
    }).observe(place);
    this.setTurning(this.turning);
    this.ready = Promise.resolve();
  }

  addSolid(item, solid, title, pair) {
    pair.append(copyOf("solid"));
    const figure = pair.lastElementChild;
    const canvas = figure.querySelector("canvas");
    figure.querySelector("figcaption").textContent = `${title}: ${solid.text}`;
    if (!gl) {
      figure.querySelector("figcaption").textContent += "; this browser has no WebGL 2 to show it with";
      return;
    }
    canvas.setAttribute("aria-label", `${item.name}, ${title}: turn with the arrow keys, zoom with + and -`);
    const made = {canvas, context: canvas.getContext("2d"), ...this.upload(solid)};
    this.solids.push(made);
    watchSize(canvas, (width, height) => {
      canvas.width = width;
      canvas.height = height;
      this.redraw();
    });
    listenTo(canvas, {
      move: (dx, dy) => {
        this.setTurning(false);
        this.angles[0] += dx * 0.5;
        this.angles[1] = Math.min(Math.max(this.angles[1] + dy * 0.5, -90), 90);
        this.redraw();
      },
      zoom: (factor) => this.zoomBy(factor),
      key: (key) => this.key(key),
    });
  }

  /** Give a solid's triangles and edges to the graphics card. */
  upload(solid) {
    const {vertices, faces, colours} = readSolid(solid);
    const arrays = gl.createVertexArray();
    gl.bindVertexArray(arrays);
    [vertices, findNormals(vertices, faces)].forEach((values, index) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(index);
      gl.vertexAttribPointer(index, 3, gl.FLOAT, false, 0, 0);
    });
    if (colours) {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, colours, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(2);
      gl.vertexAttribPointer(2, 3, gl.UNSIGNED_BYTE, true, 0, 0);
    }
    const buffers = [faces, findEdges(faces)].map((indices) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
      return {buffer, count: indices.length};
    });
    gl.bindVertexArray(null);
    return {arrays, triangles: buffers[0], edges: buffers[1]};
  }

  setTurning(turning) {
    this.turning = turning;
    this.button.setAttribute("aria-pressed", String(turning));
    this.button.textContent = turning ? "turning" : "turn";
    this.last = null;
    this.redraw();
  }

  zoomBy(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), 50);
    this.redraw();
  }

  key(key) {
    if (key === " ") this.setTurning(!this.turning);
    else if (key === "0") this.zoom = 1;
    else return false;
    this.redraw();
    return true;
  }

  redraw() {
    for (const {canvas} of this.solids) canvas.dataset.state = "drawing";
    drawSoon(this.part ??= (now) => this.drawPart(now));
  }

  drawPart(now) {
    const moves = this.turning && this.seen;
    if (moves && this.last) this.angles[0] += (TURN_SPEED * Math.min(now - this.last, 100)) / 1000;
    this.last = moves ? now : null;
    for (const solid of this.solids) this.drawSolid(solid);
    return moves;
  }

  drawSolid(solid) {
    const {canvas, context} = solid;
    const {width, height} = canvas;
    growCanvas(width, height);
    const turn = rotation(...this.angles);
    gl.viewport(0, 0, width, height);
    gl.enable(gl.DEPTH_TEST);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.bindVertexArray(solid.arrays);
    solidProgram ??= makeProgram(SOLID_VERTEX, SOLID_FRAGMENT);
    gl.enable(gl.POLYGON_OFFSET_FILL);
    gl.polygonOffset(1, 1);
    this.drawWith(solidProgram, turn, width / height, solid.triangles, gl.TRIANGLES);
    gl.disable(gl.POLYGON_OFFSET_FILL);
    if (this.shading === "edges") {
      edgeProgram ??= makeProgram(SOLID_VERTEX, EDGE_FRAGMENT);
      this.drawWith(edgeProgram, turn, width / height, solid.edges, gl.LINES);
    }
    gl.bindVertexArray(null);
    copyDrawing(context, width, height, 0, 0);
    canvas.dataset.state = "drawn";
  }

  drawWith({program, at}, turn, aspect, indices, mode) {
    gl.useProgram(program);
    gl.uniformMatrix4fv(at("place"), false, placement(turn, aspect, this.zoom));
    gl.uniformMatrix3fv(at("turn"), false, turn);
    gl.uniformMatrix3fv(at("turnBack"), true, turn);
    gl.vertexAttrib3f(2, 0.62, 0.68, 0.76);  // of a solid without colours
    gl.uniform1i(at("shading"), {normals: 1, colours: 2}[this.shading] ?? 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, indices.buffer);
    gl.drawElements(mode, indices.count, gl.UNSIGNED_INT, 0);
  }
}

/** A rotation by degrees about the vertical axis, then about the horizontal one; by columns. */
function rotation(around, over) {
  const [a, b] = [(around * Math.PI) / 180, (over * Math.PI) / 180];
  const [c, s, d, t] = [Math.cos(a), Math.sin(a), Math.cos(b), Math.sin(b)];
  return [c, s * t, -s * d, 0, d, t, s, -c * t, c * d];
}

/** Turned, seen from EYE away in perspective, and enlarged; by columns. */
function placement(turn, aspect, zoom) {
  const near = EYE - 1.5;
  const far = EYE + 1.5;
  const focal = zoom / SPREAD;
  const [fx, fy] = aspect > 1 ? [focal / aspect, focal] : [focal, focal * aspect];
  const [k, m] = [-(far + near) / (far - near), (-2 * far * near) / (far - near)];
  const columns = [0, 1, 2].flatMap((axis) => {
    const [x, y, z] = turn.slice(3 * axis, 3 * axis + 3);
    return [fx * x, fy * y, k * z, -z];
  });
  return [...columns, 0, 0, -k * EYE + m, EYE];
}
