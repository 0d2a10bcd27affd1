// How far: this block, this person, and what the next block is worth to the project.

import { element } from "./elements.js";
import { FEWEST } from "./estimates.js";
import { read, write } from "./keeping.js";
import { settings } from "./settings.js";

const Z = 1.96;
const REST_MS = 5 * 60000; // whoever was away for so long begins a new block

export class Progress {
  constructor(place) {
    this.place = place;
    this.block = read("block", { done: 0, began: Date.now() });
    if (Date.now() - (this.block.last ?? 0) > REST_MS) this.block.done = 0;
    this.server = null;
    this.pending = 0;
  }

  /** Counts an answer or a skip of this block; whether the block is over. */
  count(step) {
    if (Date.now() - (this.block.last ?? 0) > REST_MS) this.block = { done: 0, began: Date.now() };
    this.block.done = Math.max(0, this.block.done + step);
    this.block.last = Date.now();
    write("block", this.block);
    this.draw();
    const minutes = (Date.now() - this.block.began) / 60000;
    return step > 0 && (this.block.done >= settings.block || minutes >= settings.blockMinutes);
  }

  begin() {
    this.block = { done: 0, began: Date.now() };
    write("block", this.block);
    this.draw();
  }

  /** One answer more or less than the store had counted when it was asked. */
  answered(step) {
    this.pending += step;
    this.draw();
  }

  /** server: as the store counts; pending: answers that it does not have yet. */
  heard(server, pending) {
    this.server = server;
    this.pending = pending;
    this.draw();
  }

  draw() {
    const { done } = this.block;
    const value = Math.min(done, settings.block);
    const bar = element("progress", { max: settings.block, value, "aria-label": "This block" });
    const parts = [element("span", { class: "block" }, bar, ` ${done}/${settings.block}`)];
    if (this.server) parts.push(...this.totals());
    this.place.replaceChildren(...parts);
  }

  totals() {
    const { answered, today, counted, wanted } = this.server;
    const mine = `${number(today + this.pending)} today, ${number(answered + this.pending)} in all`;
    const ours = `project ${number(counted + this.pending)} of ${number(wanted)}${this.worth()}`;
    const why = "How well the answers tell a share of pairs (95 %), now and after your next block";
    return [element("span", { class: "total" }, mine), element("span", { class: "total", title: why }, ours)];
  }

  /** The half-width of a 95 % interval of a share near one half, now and a block later. */
  worth() {
    const now = this.server.counted + this.pending;
    const later = Math.min(now + settings.block, this.server.wanted);
    if (now > 0 && now < FEWEST) return ": too few to tell";
    return now > 0 ? `, known to ±${width(now)} → ±${width(later)} %` : "";
  }
}

const width = (count) => ((100 * Z * 0.5) / Math.sqrt(Math.max(count, 1))).toFixed(1);
const number = (value) => value.toLocaleString("en");
