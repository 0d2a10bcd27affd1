// Nothing is asked: whether that is the end, whether questions are being prepared, or whether other people have them.

import { element } from "./elements.js";

const LOOK_MS = 5000; // between two looks for questions, while some may come
const HEADS = { finished: "Nothing is left to answer", preparing: "The next questions are being prepared", waiting: "Nothing is asked at the moment" };

export class Idle {
  /** acts: { mine(), again(), look() }: the last answers, the skipped questions once more, whether there are new ones. */
  constructor(place, acts) {
    Object.assign(this, { place, acts, shown: "" });
  }

  /** known: whether the server has answered; why: a sentence that stands instead; idle: as the server tells it. */
  show(known, why, idle) {
    clearTimeout(this.later);
    if (idle?.state !== "finished") this.later = setTimeout(() => this.look(), LOOK_MS);
    const now = JSON.stringify([known, why, idle]);
    if (now === this.shown && this.place.childNodes.length) return; // what is in focus stays in focus
    this.shown = now;
    if (!known || why || !idle) {
      this.place.textContent = known ? why || `${HEADS.waiting}. New questions appear here by themselves.` : "One moment…";
      return;
    }
    const focused = document.activeElement?.dataset?.idle;
    this.place.replaceChildren(element("b", { class: "idle-state" }, `${HEADS[idle.state]}. `), element("span", {}, idle.says), ...this.left(idle), ...this.next(idle), this.buttons(idle));
    if (focused) this.place.querySelector(`[data-idle="${focused}"]`)?.focus();
  }

  /** A page that nobody looks at waits. What is found is shown by `show`, which looks again. */
  look() {
    if (this.place.hidden) return;
    if (document.hidden) this.later = setTimeout(() => this.look(), LOOK_MS);
    else this.acts.look();
  }

  left({ seconds_left: seconds }) {
    return seconds === null ? [] : [element("span", { class: "idle-left" }, ` About ${lasting(seconds)} left.`)];
  }

  next({ command }) {
    return command ? [element("span", { class: "idle-next" }, "Next, in the terminal: ", element("code", {}, command))] : [];
  }

  buttons({ skipped }) {
    const mine = element("button", { type: "button", "data-idle": "mine" }, "My answers");
    mine.addEventListener("click", () => this.acts.mine());
    const again = element("button", { type: "button", "data-idle": "again" }, skipped === 1 ? "The skipped one again" : `The ${skipped} skipped ones again`);
    again.addEventListener("click", () => this.acts.again());
    return element("span", { class: "idle-acts" }, mine, skipped ? again : null);
  }
}

/** Rounded as what is estimated is. */
export function lasting(seconds) {
  if (seconds < 10) return "10 s";
  if (seconds < 90) return `${10 * Math.round(seconds / 10)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
