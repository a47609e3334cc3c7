"use strict";
// A recording: what is decoded and the original, heard in turn at one place.

/** Seconds in which one sound gives way to the other: without a click. */
const FADE = 0.01;
/** What plays all sounds of the page, once a person has asked for one. */
let player = null;

class Recording {
  constructor(item, place) {
    const recording = item.recording;
    this.seconds = recording.seconds;
    this.at = 0;  // seconds, where it does not play
    this.heard = "decoded";
    place.append(copyOf("recording"));
    this.playButton = place.querySelector(".play");
    this.position = place.querySelector(".position input");
    this.status = place.querySelector(".status");
    this.position.max = this.seconds;
    this.tracks = {};
    for (const [which, title] of [["decoded", "intfit"], ["original", "original"]]) {
      if (recording[which]) this.addTrack(which, title, recording, place.querySelector(".tracks"));
    }
    if (this.tracks.original) this.offerChoice(place.querySelector(".which"), item.id);
    this.playButton.addEventListener("click", () => this.toggle());
    this.position.addEventListener("input", () => this.seek(Number(this.position.value)));
    this.ready = Promise.resolve();
    this.show();
  }

  addTrack(which, title, recording, place) {
    place.append(copyOf("track"));
    const figure = place.lastElementChild;
    const {sound, wave, spectrogram} = recording[which];
    figure.querySelector("figcaption").textContent = `${title}: waveform, and spectrogram to ${recording.top} kHz`;
    const image = figure.querySelector("img");
    image.src = `data:image/png;base64,${spectrogram}`;
    image.alt = `spectrogram, ${title}`;
    figure.querySelector(".top").textContent = `${recording.top} kHz`;
    const canvas = figure.querySelector(".wave");
    canvas.setAttribute("aria-label", `waveform, ${title}: Space plays, the arrow keys move`);
    for (const part of [canvas, image]) {
      part.addEventListener("pointerdown", (event) => {
        const box = part.getBoundingClientRect();
        this.seek(((event.clientX - box.left) / box.width) * this.seconds);
      });
    }
    canvas.addEventListener("keydown", (event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (event.key === " ") this.toggle();
      else if (step) this.seek(this.now() + (step * this.seconds) / 50);
      else return;
      event.preventDefault();
    });
    this.tracks[which] = {sound, playhead: figure.querySelector(".playhead")};
    const extremes = new Int8Array(bytesOf(wave).buffer);
    watchSize(canvas, (width, height) => {
      canvas.width = width;
      canvas.height = height;
      drawWave(canvas, extremes);
    });
  }

  offerChoice(choice, id) {
    choice.hidden = false;
    for (const radio of choice.querySelectorAll("input")) {
      radio.name = `which-${id}`;
      radio.addEventListener("change", () => this.hear(radio.value));
    }
  }

  /** Both sounds play at once, one of them silently: hear the other. */
  hear(which) {
    this.heard = which;
    for (const [name, {gain}] of Object.entries(this.tracks)) {
      if (gain) gain.gain.linearRampToValueAtTime(name === which ? 1 : 0, player.currentTime + FADE);
    }
  }

  /** Seconds from the beginning. */
  now() {
    if (this.started === undefined) return this.at;
    return Math.min(this.at + player.currentTime - this.started, this.seconds);
  }

  async toggle() {
    if (this.started !== undefined) {
      this.stop();
      return;
    }
    player ??= new AudioContext();
    await player.resume();
    for (const track of Object.values(this.tracks)) {
      track.samples ??= await player.decodeAudioData(bytesOf(track.sound).buffer);
    }
    if (this.at >= this.seconds) this.at = 0;
    this.start();
    drawSoon(this.part ??= () => this.show());
  }

  start() {
    this.started = player.currentTime;
    for (const [name, track] of Object.entries(this.tracks)) {
      track.source = new AudioBufferSourceNode(player, {buffer: track.samples});
      track.gain = new GainNode(player, {gain: name === this.heard ? 1 : 0});
      track.source.connect(track.gain).connect(player.destination);
      track.source.start(0, this.at);
    }
  }

  stop() {
    this.at = this.now();
    this.started = undefined;
    for (const {source} of Object.values(this.tracks)) source.stop();
    this.show();
  }

  seek(seconds) {
    const playing = this.started !== undefined;
    if (playing) this.stop();
    this.at = Math.min(Math.max(seconds, 0), this.seconds);
    if (playing) this.start();
    this.show();
  }

  /** Bring the button, the slider and the lines up to date; whether it plays on. */
  show() {
    const now = this.now();
    if (this.started !== undefined && now >= this.seconds) {
      this.stop();
      return false;
    }
    this.playButton.textContent = this.started === undefined ? "play" : "pause";
    this.position.value = now;
    const clock = `${now.toFixed(1)} of ${this.seconds.toFixed(1)} s`;
    this.status.textContent = clock;
    this.position.setAttribute("aria-valuetext", clock);
    for (const {playhead} of Object.values(this.tracks)) {
      playhead.style.left = `${(100 * now) / this.seconds}%`;
    }
    return this.started !== undefined;
  }
}

/** Draw pairs of the least and the greatest sample, -127 to 127, as columns of a canvas. */
function drawWave(canvas, extremes) {
  const context = canvas.getContext("2d");
  const {width, height} = canvas;
  const columns = extremes.length / 2;
  context.clearRect(0, 0, width, height);
  context.fillStyle = getComputedStyle(canvas).getPropertyValue("--wave");
  for (let x = 0; x < width; x += 1) {
    let low = 127;
    let high = -127;
    const last = Math.max(Math.floor((x * columns) / width) + 1, Math.ceil(((x + 1) * columns) / width));
    for (let c = Math.floor((x * columns) / width); c < Math.min(last, columns); c += 1) {
      low = Math.min(low, extremes[2 * c]);
      high = Math.max(high, extremes[2 * c + 1]);
    }
    const top = ((127 - high) / 254) * height;
    context.fillRect(x, top, 1, Math.max(1, ((high - low) / 254) * height));
  }
}
