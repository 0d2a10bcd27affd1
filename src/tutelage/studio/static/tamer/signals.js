// What the person said, on its way to the server: one after the other, sent again until it is there. The moment of the
// key and the moments at which the last steps were seen go with it, so the way may take long.

import { Refused, post } from "../requests.js";

const AGAIN_SECONDS = 0.5;
const SEEN_SECONDS = 5;

export const now = () => performance.now() / 1000;
export const pauseFor = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
export const nextFrame = () => (document.hidden ? pauseFor(0.1) : new Promise((done) => requestAnimationFrame(done)));

export class Signals {
  /** learned(said, answer) hears what a signal did, trouble(text) what went wrong, changed(count) how many wait. */
  constructor({ learned, trouble, changed }) {
    Object.assign(this, { learned, trouble, changed });
    this.waiting = [];
    this.spans = [];
    this.sending = false;
  }

  /** A step is on the screen from now on. */
  began(step) {
    this.ended();
    this.spans.push({ step, began: now(), ended: null });
    this.spans = this.spans.slice(-60);
  }

  /** No step is on the screen: the game is over, paused, or played back. */
  ended() {
    const last = this.spans.at(-1);
    if (last && last.ended === null) last.ended = now();
  }

  say(play, value) {
    const at = now();
    const steps = this.spans.filter((span) => span.ended === null || at - span.ended < SEEN_SECONDS);
    const said = { play, key: crypto.randomUUID(), value, at, steps: steps.map((span) => ({ ...span })) };
    this.waiting.push(said);
    this.changed(this.waiting.length);
    this.send();
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    while (this.waiting.length) {
      const said = this.waiting[0];
      try {
        const answer = await post("/api/tamer/signal", said);
        this.waiting.shift();
        this.learned(said, answer);
      } catch (error) {
        if (error instanceof Refused) this.waiting.shift();
        this.trouble(error instanceof Refused ? error.message : "The server does not answer. What you said is kept here.");
        if (!(error instanceof Refused)) await pauseFor(AGAIN_SECONDS);
      }
      this.changed(this.waiting.length);
    }
    this.sending = false;
  }
}
