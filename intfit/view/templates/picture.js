"use strict";
// A picture: the original left of a line, the decoded field right of it, at any zoom.

/** The most pixels of the screen that a pixel of the picture takes: beyond, float32 is too coarse. */
const LARGEST_ZOOM = 2048;
/** Multiply-adds that are asked of the graphics card at once, to begin with; and bounds on them. */
const FIRST_WORK = 1e8;
const WORK_RANGE = [2e6, 4e9];
/** Of a frame that takes fewer milliseconds, more is asked; of one that takes more, less. */
const FRAME_RANGE = [25, 60];
/** Pixels of the screen for one of a coarse drawing, across and down. */
const COARSE = 6;

class Picture {
  constructor(item, place) {
    const picture = item.picture;
    this.picture = picture;
    this.name = item.name;
    place.append(copyOf("picture"));
    this.stage = place.querySelector(".stage");
    this.canvas = place.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.handle = place.querySelector(".handle");
    this.status = place.querySelector(".status");
    this.slider = place.querySelector(".split input");
    this.drawn = document.createElement("canvas");  // the field, as far as it is drawn
    this.drawnView = null;
    this.rows = 0;  // of the view that have been drawn
    this.work = FIRST_WORK;
    this.canvas.setAttribute("aria-label", `${item.name}: move with the arrow keys, zoom with + and -`);
    this.stage.style.aspectRatio = `${picture.width} / ${picture.height}`;
    this.stage.classList.toggle("clear", picture.channels === 2 || picture.channels === 4);
    listenTo(this.canvas, {
      move: (dx, dy) => this.move(dx, dy),
      zoom: (factor, x, y) => this.zoomBy(factor, x, y),
      key: (key) => this.key(key),
    });
    listenToButtons(place, {
      in: () => this.zoomBy(1.5), out: () => this.zoomBy(1 / 1.5),
      fit: () => this.key("0"), one: () => this.key("1"), save: () => this.save(),
    });
    this.slider.addEventListener("input", () => this.compose());
    this.listenToHandle();
    this.ready = this.load();
  }

  async load() {
    const {picture} = this;
    if (picture.original) {
      this.original = await pictureOf(picture.original);
      for (const part of this.stage.parentElement.querySelectorAll(".split, .label, .handle")) {
        part.hidden = false;
      }
    }
    if (gl) {
      this.field = await makeField(picture);
    } else if (picture.field.pixels) {
      this.plain = await pictureOf(picture.field.pixels);
    }
    watchSize(this.stage, (width, height, scale) => this.resize(width, height, scale));
    if (!this.field && !this.plain) throw new Error("it lacks WebGL 2, which evaluates the network");
  }

  resize(width, height, scale) {
    const first = !this.zoom;
    this.scale = scale;
    this.canvas.width = width;
    this.canvas.height = height;
    const wasWhole = first || this.zoom <= this.fit * 1.001;
    this.fit = Math.min(width / this.picture.width, height / this.picture.height);
    if (wasWhole) this.key("0");
    else this.changeView();
  }

  move(dx, dy) {
    this.centre[0] -= (dx * this.scale) / this.zoom;
    this.centre[1] -= (dy * this.scale) / this.zoom;
    this.changeView();
  }

  zoomBy(factor, x, y) {
    const before = this.zoom;
    this.zoom = Math.min(Math.max(this.zoom * factor, this.fit), LARGEST_ZOOM);
    if (x !== undefined) {  // what is under the pointer stays there
      const off = [x * this.scale - this.canvas.width / 2, y * this.scale - this.canvas.height / 2];
      off.forEach((distance, axis) => {
        this.centre[axis] += distance / before - distance / this.zoom;
      });
    }
    this.changeView();
  }

  key(key) {
    if (key !== "0" && key !== "1") return false;
    if (key === "0") this.centre = [this.picture.width / 2, this.picture.height / 2];
    this.zoom = key === "0" ? this.fit : Math.max(1, this.fit);
    this.changeView();
    return true;
  }

  /** Left, top and scale of what is seen, in pixels of the picture; kept within it. */
  changeView() {
    const sides = [this.picture.width, this.picture.height];
    [this.canvas.width, this.canvas.height].forEach((size, axis) => {
      const half = Math.min(size / this.zoom, sides[axis]) / 2;
      this.centre[axis] = Math.min(Math.max(this.centre[axis], half), sides[axis] - half);
    });
    const step = 1 / this.zoom;
    this.view = {
      left: this.centre[0] - (this.canvas.width / 2) * step,
      top: this.centre[1] - (this.canvas.height / 2) * step,
      across: step,
      down: step,
    };
    this.keepDrawn();
    this.rows = 0;
    this.canvas.dataset.state = "drawing";
    const percent = Math.round(100 * this.zoom);
    this.status.textContent = `${percent} %`;
    drawSoon(this.part ??= (now) => this.drawPart(now));
    this.compose();
  }

  /** Show what was drawn of the last view where it lies in this one, until that is drawn. */
  keepDrawn() {
    const {view, drawn, canvas} = this;
    const next = document.createElement("canvas");
    next.width = canvas.width;
    next.height = canvas.height;
    const old = this.drawnView;
    if (old) {
      const factor = old.across / view.across;
      next.getContext("2d").drawImage(
        drawn, (old.left - view.left) / view.across, (old.top - view.top) / view.down,
        drawn.width * factor, drawn.height * factor,
      );
    }
    this.drawn = next;
    this.drawnView = view;
  }

  /** The rectangle of the canvas that the picture covers: left, top, right, bottom. */
  covered() {
    const {view, picture, canvas} = this;
    const edge = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
    return [
      edge(-view.left / view.across, canvas.width), edge(-view.top / view.down, canvas.height),
      edge((picture.width - view.left) / view.across, canvas.width),
      edge((picture.height - view.top) / view.down, canvas.height),
    ];
  }

  /** Draw some rows of the field; whether more are left. */
  drawPart(now) {
    const [left, top, right, bottom] = this.covered();
    const context = this.drawn.getContext("2d");
    if (!this.field) {
      if (this.plain) this.drawPixels(context, this.plain, true);
      this.rows = bottom - top;
    } else {
      if (this.last && this.rows) {
        const took = now - this.last;
        if (took < FRAME_RANGE[0]) this.work = Math.min(this.work * 1.5, WORK_RANGE[1]);
        if (took > FRAME_RANGE[1]) this.work = Math.max(this.work / 2, WORK_RANGE[0]);
      }
      this.last = now;
      if (!this.rows) this.drawCoarsely(context, left, top, right - left, bottom - top);
      const {cost, most} = this.field;
      const samples = Math.min(most, Math.max(1, Math.ceil(this.view.across - 1e-6))) ** 2;
      const width = right - left;
      const height = Math.min(
        Math.max(1, Math.floor(this.work / (cost * samples * Math.max(1, width)))),
        bottom - top - this.rows,
      );
      if (width > 0 && height > 0) {
        growCanvas(width, height);
        this.field.draw(this.view, most, left, top + this.rows, width, height);
        copyDrawing(context, width, height, left, top + this.rows);
      }
      this.rows += height;
    }
    this.compose();
    const more = this.rows < bottom - top;
    if (!more) this.canvas.dataset.state = "drawn";
    return more;
  }

  /** Draw a view that takes long once in few pixels, enlarged. */
  drawCoarsely(context, left, top, width, height) {
    const columns = Math.ceil(width / COARSE);
    const rows = Math.ceil(height / COARSE);
    if (width * height * this.field.cost < 2 * this.work || !columns || !rows) return;
    const {view} = this;
    const coarse = {
      left: view.left + left * view.across, top: view.top + top * view.down,
      across: (view.across * width) / columns, down: (view.down * height) / rows,
    };
    growCanvas(columns, rows);
    this.field.draw(coarse, 1, 0, 0, columns, rows);
    const bottom = gl.canvas.height - rows;
    context.clearRect(left, top, width, height);
    context.drawImage(gl.canvas, 0, bottom, columns, rows, left, top, width, height);
  }

  /** Draw a bitmap of the whole picture at the place of the view. */
  drawPixels(context, bitmap, smooth) {
    const {view, picture} = this;
    context.imageSmoothingEnabled = smooth || view.across > 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(
      bitmap, -view.left / view.across, -view.top / view.down,
      picture.width / view.across, picture.height / view.down,
    );
  }

  /** Put the original and the field together, with the line between them. */
  compose() {
    const {context, canvas} = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.drawn, 0, 0);
    if (!this.original) return;
    const line = (this.slider.value / 100) * canvas.width;
    context.clearRect(0, 0, line, canvas.height);
    context.save();
    context.beginPath();
    context.rect(0, 0, line, canvas.height);
    context.clip();
    this.drawPixels(context, this.original, false);
    context.restore();
    this.handle.style.left = `${this.slider.value}%`;
    this.slider.setAttribute("aria-valuetext", `${Math.round(this.slider.value)} % original`);
  }

  listenToHandle() {
    this.handle.addEventListener("pointerdown", (event) => {
      this.handle.setPointerCapture(event.pointerId);
      this.slider.focus({preventScroll: true});
      event.preventDefault();
    });
    this.handle.addEventListener("pointermove", (event) => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      const box = this.stage.getBoundingClientRect();
      this.slider.value = (100 * (event.clientX - box.left)) / box.width;
      this.compose();
    });
  }

  /** Pixels, RGBA, of a region [x, y, width, height], as `intfit decode` gives them. */
  render(region, width, height) {
    return renderPixels(this.field, region, width, height);
  }

  /** Save what is in view, without the original. */
  save() {
    this.drawn.toBlob((blob) => saveAs(blob, `${this.name.replace(/\.safetensors$/, "")}.view.png`));
  }
}
