// Answers on their way. Each is kept in this browser under a key of its own before anything is sent, goes out in order,
// and is forgotten only when the server has said that it is stored. The same key twice is one answer: so it is sent
// again after a cut, a reload or a crash without a thought.

import { forget, names, read, write } from "./keeping.js";
import { Refused, post } from "./requests.js";

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;

export class Outbox {
  /** done(act, answer) and refused(act, error) hear what became of each act, changed() that there are more or fewer. */
  constructor({ done, refused, changed }) {
    Object.assign(this, { done, refused, changed });
    this.acts = names("act:").map((name) => ({ ...read(name), name, tried: true }));
    this.reachable = true;
    this.sending = false;
    this.wait = FIRST_WAIT_MS;
    window.addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => this.hurry());
  }

  /** Keeps an act, then sends it in its turn. path: of the interface; body: without the key. */
  add(path, body) {
    const key = crypto.randomUUID();
    const at = String(Date.now()).padStart(15, "0");
    const act = { path, body: { ...body, key }, name: `act:${at}:${String(this.acts.length).padStart(6, "0")}:${key}` };
    write(act.name, { path: act.path, body: act.body });
    this.acts.push(act);
    this.changed();
    this.send();
    return act;
  }

  /** Takes the last act back, if it never left and may be; the act, or null. */
  takeBack(may) {
    const last = this.acts.at(-1);
    if (!last || last.tried || !may(last)) return null;
    this.drop(last);
    return last;
  }

  /** Whether an answer to this lease of an assignment is on its way. */
  holds(assignment, lease) {
    return this.acts.some((act) => act.body.assignment === assignment && act.body.lease === lease);
  }

  hurry() {
    this.wait = FIRST_WAIT_MS;
    clearTimeout(this.later);
    this.send();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    try {
      while (this.acts.length) await this.sendOne(this.acts[0]);
      this.wait = FIRST_WAIT_MS;
    } catch {
      this.later = setTimeout(() => this.send(), this.wait);
      this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
    } finally {
      this.sending = false;
    }
  }

  async sendOne(act) {
    act.tried = true;
    try {
      const answer = await post(`/api/${act.path}`, act.body);
      this.found(true);
      this.drop(act);
      this.done(act, answer);
    } catch (error) {
      if (!(error instanceof Refused) || error.status === 401) {
        this.found(false, error);
        throw error;
      }
      if (act.path === "answer") write(`refused:${act.name}`, { path: act.path, body: act.body, why: error.message });
      this.drop(act);
      this.refused(act, error);
    }
  }

  found(reachable, error = null) {
    this.reachable = reachable;
    this.over = error instanceof Refused;
    this.changed();
  }

  drop(act) {
    this.acts = this.acts.filter((each) => each !== act);
    forget(act.name);
    this.changed();
  }
}
