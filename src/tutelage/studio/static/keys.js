// Keys to acts. One key, one act; each key can be another, and all of them can be switched off (WCAG 2.1.4).

import { read, write } from "./keeping.js";

const TYPING = "input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]";
const CIRCLES_AND_BOXES = "input[type=radio], input[type=checkbox]";
const PRESSED_BY_SPACE = "button, summary, a, dialog";

export class Keys {
  /** acts: [{ name, says, keys, run }]; the keys of each may have been changed in this browser. */
  constructor(acts) {
    this.acts = acts;
    this.changed = read("keys", {});
    this.on = read("singleKeys", true);
    this.held = null; // what it repeats until it is let go is meant for nothing, wherever the focus has gone
    window.addEventListener("keydown", (event) => this.pressed(event));
    window.addEventListener("keyup", () => (this.held = null));
  }

  keysOf(act) {
    return this.changed[act.name] ?? act.keys;
  }

  switch(on) {
    this.on = on;
    write("singleKeys", on);
  }

  /** Gives an act this key alone, and takes it from whoever had it. */
  change(act, key) {
    for (const other of this.acts) {
      if (other !== act && this.keysOf(other).includes(key)) {
        this.changed[other.name] = this.keysOf(other).filter((each) => each !== key);
      }
    }
    this.changed[act.name] = [key];
    write("keys", this.changed);
  }

  restore() {
    this.changed = {};
    write("keys", {});
  }

  pressed(event) {
    if (event.repeat && event.key === this.held) event.preventDefault();
    if (event.repeat || event.isComposing || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) return; // a dialog has keys of its own
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return this.run(this.actOf("Ctrl+Enter"), event);
    if (event.target.closest?.(TYPING)) return;
    if (event.target.closest?.(CIRCLES_AND_BOXES) && (event.key === " " || event.key.startsWith("Arrow"))) return;
    const undo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    if (!undo && (!this.on || event.ctrlKey || event.metaKey || event.altKey)) return;
    const pressing = event.target.closest?.(PRESSED_BY_SPACE);
    if (pressing && (event.key === " " || event.key === "Enter")) return; // it belongs to the control in focus
    const key = undo ? "u" : normal(event);
    this.run(undo ? this.acts.find((each) => each.name === "undo") : this.actOf(key), event);
  }

  run(act, event) {
    if (!act) return;
    event.preventDefault();
    this.held = event.key;
    act.run();
  }

  actOf(key) {
    return this.acts.find((each) => this.keysOf(each).includes(key));
  }
}

/** A key's name, the same with and without Shift for letters. */
export function normal(event) {
  if (event.key.length === 1) return event.key.toLowerCase();
  return event.shiftKey && event.key !== "Shift" ? `Shift+${event.key}` : event.key;
}
