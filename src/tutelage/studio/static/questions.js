// The next questions, fetched before they are needed, so that an answer never waits for the network.

import { read } from "./keeping.js";
import { post } from "./requests.js";

const AHEAD = 5;
const ENOUGH = 3;
const MOST = 12;

export class Questions {
  /**
   * taken(assignment): whether it is on the screen, answered or on its way; expected(assignment): it comes soon;
   * heard(progress): with every fetch.
   */
  constructor({ taken, expected, heard, changed }) {
    Object.assign(this, { taken, expected, heard, changed });
    this.waiting = [];
    this.fetching = null;
    this.known = false; // whether the server has ever answered
  }

  next() {
    const found = this.waiting.shift() ?? null;
    if (this.waiting.length < ENOUGH) this.fetch().catch(() => {}); // the desk asks again when it needs one
    return found;
  }

  putBack(assignment) {
    if (assignment) this.waiting.unshift(assignment);
  }

  remove(ids) {
    this.waiting = this.waiting.filter((each) => !ids.includes(each.id));
  }

  /** Asks for more; those that this labeller holds already come first, so asking twice takes nothing from others. */
  fetch(besides = 1) {
    this.fetching ??= this.claim(besides).finally(() => (this.fetching = null));
    return this.fetching;
  }

  async claim(besides) {
    const current = this.known ? null : read("current"); // after a reload, what was on the screen comes first
    const isCurrent = (each) => each.id === current;
    let found = await post("/api/claim", { count: Math.min(MOST, AHEAD + besides) });
    if (current && found.assignments.length >= AHEAD && !found.assignments.some(isCurrent)) {
      found = await post("/api/claim", { count: MOST }); // it had been taken back, and stands behind those fetched ahead
    }
    const { assignments, progress } = found;
    this.says = found.says ?? "";
    this.idle = found.idle ?? null; // why nothing is asked
    if (current) assignments.sort((one, other) => isCurrent(other) - isCurrent(one));
    this.known = true;
    const held = new Set(this.waiting.map((each) => each.id + each.lease));
    for (const each of assignments) {
      if (held.has(each.id + each.lease) || this.taken(each)) continue;
      this.waiting.push(each);
      this.expected(each);
    }
    this.heard(progress);
    this.changed();
  }
}
