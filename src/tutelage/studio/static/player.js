// Clips that play in step: one clock for all of them, so that they begin again together.

import { element } from "./elements.js";

const HOLD_S = 0.35; // at the end, before it begins again
const SPEEDS = [0.25, 0.5, 1, 2, 4];
const SIZE = [480, 360];
const pictures = new Map(); // address -> promise of a picture: fetched once, also ahead

export class Player {
  /** clips: as the server's Shelf tells them; changed(): when they can be seen, and when they are held. */
  constructor(clips, changed) {
    Object.assign(this, { clips, changed, at: 0, speed: 1, last: null, drawn: null, ready: false });
    this.held = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.canvases = clips.map(() => element("canvas", { width: SIZE[0], height: SIZE[1], "aria-hidden": "true" }));
    this.count = Math.max(...clips.map(length));
    this.seconds = clips[0].seconds;
    Promise.all(clips.map(material)).then((found) => {
      this.found = found;
      this.ready = true;
      this.changed(this);
      requestAnimationFrame((now) => this.tick(now));
    });
  }

  tick(now) {
    if (!this.canvases[0].isConnected) return (this.last = null); // drawn away: the next question has its own player
    if (this.last !== null && !this.held) this.at += ((now - this.last) / 1000) * this.speed;
    this.last = now;
    if (this.at > (this.count - 1) * this.seconds + HOLD_S) this.at = 0;
    this.draw();
    requestAnimationFrame((then) => this.tick(then));
  }

  get frame() {
    return Math.min(this.count - 1, Math.floor(this.at / this.seconds + 1e-9));
  }

  draw() {
    if (this.drawn === this.frame) return;
    this.drawn = this.frame;
    this.canvases.forEach((canvas, place) => {
      const clip = this.clips[place];
      const frame = Math.min(this.frame, length(clip) - 1);
      const context = canvas.getContext("2d");
      context.clearRect(0, 0, canvas.width, canvas.height);
      DRAWINGS[clip.draws](context, canvas, clip, frame, this.found[place]);
      canvas.dataset.frame = frame;
    });
  }

  hold(held = !this.held) {
    this.held = held;
    this.changed(this);
  }

  step(by) {
    this.hold(true);
    this.at = ((this.frame + by + this.count) % this.count) * this.seconds;
  }

  faster(by) {
    this.speed = SPEEDS[Math.max(0, Math.min(SPEEDS.length - 1, SPEEDS.indexOf(this.speed) + by))];
    this.changed(this);
  }

  restart() {
    this.at = 0;
    this.hold(false);
  }
}

const length = (clip) => clip.count ?? clip.scenes.length;

/** What a clip is drawn from, when it is there; asked for ahead, it is there at once. */
export function material(clip) {
  if (clip.draws !== "frames") return Promise.resolve(null);
  if (!pictures.has(clip.address)) pictures.set(clip.address, picture(clip.address));
  return pictures.get(clip.address);
}

function picture(address) {
  const found = new Image();
  found.src = address;
  return found.decode().then(
    () => found,
    () => null,
  );
}

const DRAWINGS = { pendulum, "cart-pole": cartPole, frames };

function frames(context, canvas, clip, frame, found) {
  if (!found) return says(context, canvas, "This clip could not be drawn. Skip it: S.");
  const { width, height } = clip;
  context.drawImage(found, 0, frame * height, width, height, 0, 0, canvas.width, canvas.height);
}

function pendulum(context, canvas, clip, frame) {
  const [angle] = clip.scenes[frame];
  const { ink, accent } = colours(canvas);
  const [x, y] = [canvas.width / 2, canvas.height / 2];
  const reach = 0.4 * canvas.height;
  line(context, [[x, y], [x - reach * Math.sin(angle), y - reach * Math.cos(angle)]], 16, accent);
  dot(context, x, y, 7, ink);
}

const TRACK = 2.4; // the cart must stay within, in metres

function cartPole(context, canvas, clip, frame) {
  const [position, angle] = clip.scenes[frame];
  const { ink, accent } = colours(canvas);
  const metre = canvas.width / (2 * TRACK + 1);
  const ground = 0.8 * canvas.height;
  const left = canvas.width / 2 - TRACK * metre;
  const right = canvas.width / 2 + TRACK * metre;
  line(context, [[left, ground], [right, ground]], 3, ink);
  for (const end of [left, right]) line(context, [[end, ground - 14], [end, ground + 14]], 3, ink);
  const x = canvas.width / 2 + position * metre;
  if (x < 0 || x > canvas.width) return says(context, canvas, position < 0 ? "← off the track" : "off the track →");
  context.fillStyle = ink;
  context.fillRect(x - 28, ground - 30, 56, 30);
  line(context, [[x, ground - 30], [x + 2 * metre * Math.sin(angle), ground - 30 - 2 * metre * Math.cos(angle)]], 11, accent);
}

function line(context, points, width, colour) {
  context.beginPath();
  points.forEach(([x, y], place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
  Object.assign(context, { lineWidth: width, lineCap: "round", strokeStyle: colour });
  context.stroke();
}

function dot(context, x, y, radius, colour) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
}

function says(context, canvas, words) {
  Object.assign(context, { fillStyle: colours(canvas).ink, font: "20px system-ui, sans-serif", textAlign: "center" });
  context.fillText(words, canvas.width / 2, canvas.height / 2);
}

/** The page's colours, light or dark, as a canvas can use them. */
function colours(canvas) {
  const style = getComputedStyle(canvas);
  return { ink: style.color, accent: style.outlineColor };
}
