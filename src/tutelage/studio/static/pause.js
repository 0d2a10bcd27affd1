// Between blocks the question is covered, the eyes rest, and nothing is lost by staying away.

import { element } from "./elements.js";
import { settings } from "./settings.js";

export class Pause {
  /** over(): the person goes on. */
  constructor(dialog, over) {
    this.dialog = dialog;
    this.button = element("button", { type: "button", class: "primary" }, "Go on ", element("kbd", {}, "Enter"));
    this.button.addEventListener("click", () => this.dialog.close());
    dialog.addEventListener("close", () => {
      clearInterval(this.ticking);
      document.body.classList.remove("paused");
      over();
    });
    // What was meant for the question must not end a pause that has just begun.
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.repeat || performance.now() - this.began < 250)) event.preventDefault();
    });
  }

  get open() {
    return this.dialog.open;
  }

  begin(says, detail, rest = settings.pauseSeconds) {
    if (this.open) return;
    this.began = performance.now();
    document.body.classList.add("paused");
    const left = element("p", { class: "soft" });
    const tick = () => {
      const seconds = Math.ceil(rest - (performance.now() - this.began) / 1000);
      left.textContent = seconds > 0 ? `Look out of the window for ${seconds} s.` : "Whenever you like.";
    };
    tick();
    this.ticking = setInterval(tick, 1000);
    this.dialog.replaceChildren(element("h2", { id: "pause-title" }, says), element("p", {}, detail), left, this.button);
    this.dialog.showModal();
    this.button.focus();
  }
}
