// The dialog behind `?`: all keys, which can be changed or switched off, and how the page looks.

import { caps, element } from "./elements.js";
import { normal } from "./keys.js";

const NOT_FOR_ACTS = new Set(["Tab", "Escape", "Enter", "Shift", "Control", "Alt", "Meta", "CapsLock"]);
const THEMES = { auto: "as the system", light: "light", dark: "dark" };

export class Help {
  constructor(dialog, keys, changed) {
    Object.assign(this, { dialog, keys, changed, waiting: null });
    dialog.addEventListener("keydown", (event) => this.pressed(event), true);
    dialog.addEventListener("close", () => (this.waiting = null));
  }

  open() {
    this.draw();
    this.dialog.showModal();
  }

  draw() {
    const close = element("button", { type: "button", class: "quiet" }, "Close ", element("kbd", {}, "Esc"));
    close.addEventListener("click", () => this.dialog.close());
    this.dialog.replaceChildren(
      element("header", {}, element("h2", { id: "help-title" }, "Keys"), close),
      element("div", { class: "keylist" }, ...this.keys.acts.map((act) => this.row(act))),
      element("p", { class: "soft" }, element("kbd", {}, "Ctrl"), "+", element("kbd", {}, "Z"), " undoes, too."),
      this.toggle(),
      this.themes(),
      this.button("Restore all keys", () => this.keys.restore()),
    );
  }

  row(act) {
    const waiting = this.waiting === act;
    const shown = waiting ? ["press a key"] : caps(this.keys.keysOf(act));
    const about = element("span", { class: "spoken" }, `Change the key of: ${act.says}. `);
    const button = element("button", { type: "button", class: "quiet" }, about, ...shown);
    button.addEventListener("click", () => {
      this.waiting = act;
      this.draw();
      this.dialog.querySelector(`[data-waiting]`)?.focus();
    });
    if (waiting) button.dataset.waiting = "";
    return element("div", {}, element("span", {}, act.says), button);
  }

  pressed(event) {
    if (!this.waiting) return;
    event.preventDefault();
    event.stopPropagation();
    if (!NOT_FOR_ACTS.has(event.key)) this.keys.change(this.waiting, normal(event));
    if (!["Shift", "Control", "Alt", "Meta"].includes(event.key)) this.waiting = null;
    this.changed();
    this.draw();
  }

  toggle() {
    const box = element("input", { type: "checkbox", checked: this.keys.on });
    box.addEventListener("change", () => {
      this.keys.switch(box.checked);
      this.changed();
    });
    return element("label", { class: "line" }, box, " Single keys answer (off: only the controls do)");
  }

  themes() {
    const options = Object.entries(THEMES).map(([value, says]) => element("option", { value }, says));
    const select = element("select", {}, ...options);
    select.value = document.documentElement.dataset.theme;
    select.addEventListener("change", () => {
      document.documentElement.dataset.theme = select.value;
      try {
        localStorage.setItem("theme", select.value);
      } catch {
        // it holds until the page is closed
      }
    });
    return element("label", { class: "line" }, "Colours: ", select);
  }

  button(says, act) {
    const made = element("button", { type: "button", class: "quiet" }, says);
    made.addEventListener("click", () => {
      act();
      this.changed();
      this.draw();
    });
    return made;
  }
}

