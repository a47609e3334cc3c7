"use strict";
// What all items share: one WebGL 2 context, its programs, and a queue of drawing.

/** The context, or null where the browser has none. One for the page: browsers allow few. */
const gl = document.createElement("canvas").getContext("webgl2", {
  alpha: true, premultipliedAlpha: false, antialias: true, depth: true,
});

/** The bytes of a text in base64. */
function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i += 1) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The pixels of a PNG in base64, as they are in the file: alpha and colours unchanged. */
function pictureOf(text) {
  const blob = new Blob([bytesOf(text)], {type: "image/png"});
  return createImageBitmap(blob, {premultiplyAlpha: "none", colorSpaceConversion: "none"});
}

/** A copy of the contents of a <template> of the page. */
function copyOf(id) {
  return document.getElementById(id).content.cloneNode(true);
}

/** A linked program of two shaders, and a function that finds its uniforms by name. */
function makeProgram(vertex, fragment) {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source.trim());
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(`shader: ${gl.getShaderInfoLog(shader)}`);
    }
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`program: ${gl.getProgramInfoLog(program)}`);
  }
  return {program, at: (name) => gl.getUniformLocation(program, name)};
}

/** A texture that is read by whole texels; `upload` gives it its contents. */
function makeTexture(upload) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) {
    gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
  }
  for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) {
    gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  }
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  upload();
  return texture;
}

/** A texture of 8-bit pixels: those of an ImageBitmap. */
function makePixelTexture(bitmap) {
  return makeTexture(() => {
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  });
}

/** Make the context's own canvas at least so large: it never shrinks, which would cost time. */
function growCanvas(width, height) {
  if (gl.canvas.width < width) gl.canvas.width = width;
  if (gl.canvas.height < height) gl.canvas.height = height;
}

/** Copy the lower left part of the context's canvas, as it was just drawn, to a 2D context. */
function copyDrawing(target, width, height, x, y) {
  target.clearRect(x, y, width, height);
  target.drawImage(gl.canvas, 0, gl.canvas.height - height, width, height, x, y, width, height);
}

/** Drawing still to be done: functions that do a part, and return whether more is left. */
const queue = new Set();
let scheduled = false;

function drawSoon(part) {
  queue.add(part);
  if (!scheduled) {
    scheduled = true;
    requestAnimationFrame(drawSome);
  }
}

function drawSome(now) {
  scheduled = false;
  const parts = [...queue];
  queue.clear();
  for (const part of parts) {
    if (part(now)) queue.add(part);
  }
  if (queue.size) {
    scheduled = true;
    requestAnimationFrame(drawSome);
  }
}

/** Call `change` once with each new size in pixels of the screen of an element. */
function watchSize(element, change) {
  const observer = new ResizeObserver(() => {
    const box = element.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(box.width * scale));
    const height = Math.max(1, Math.round(box.height * scale));
    change(width, height, scale);
  });
  observer.observe(element);
}

/** Hand a file to the person. */
function saveAs(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
