// How long a step lasts, on a slider; each game keeps its own.

import { read, write } from "../keeping.js";

export class Pace {
  /** slowest, fastest: seconds at the two ends; pace: where nothing was chosen yet. */
  constructor(slider, output, name, { slowest, fastest, pace }) {
    Object.assign(this, { output, kept: `pace:${name}`, slowest, ratio: fastest / slowest });
    const chosen = read(this.kept, pace);
    slider.value = Math.round((100 * Math.log(chosen / slowest)) / Math.log(this.ratio));
    slider.addEventListener("input", () => this.set(Number(slider.value)));
    slider.addEventListener("change", () => slider.blur()); // arrows are signals again
    this.set(Number(slider.value));
  }

  set(share) {
    this.seconds = this.slowest * this.ratio ** (share / 100);
    write(this.kept, this.seconds);
    this.output.textContent = `${this.seconds.toPrecision(2)} s`;
  }
}
