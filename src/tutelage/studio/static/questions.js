// The next questions, fetched before they are needed, so that an answer never waits for the network.

import { post } from "./requests.js";

const AHEAD = 5;
const ENOUGH = 3;
const MOST = 12;

export class Questions {
  /** taken(assignment): whether it is on the screen, answered or on its way; heard(progress): with every fetch. */
  constructor({ taken, heard, changed }) {
    Object.assign(this, { taken, heard, changed });
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
    const count = Math.min(MOST, AHEAD + besides);
    const { assignments, progress } = await post("/api/claim", { count });
    this.known = true;
    const held = new Set(this.waiting.map((each) => each.id + each.lease));
    for (const each of assignments) {
      if (!held.has(each.id + each.lease) && !this.taken(each)) this.waiting.push(each);
    }
    this.heard(progress);
    this.changed();
  }
}
