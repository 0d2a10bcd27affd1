// A small dialog that asks for one of a few reasons: a digit answers, Esc goes back.

import { element } from "./elements.js";

/** Resolves to { name, note } or null. options: [[name, says]]; note: the label of a line of text, if one is wanted. */
export function choose(title, options, note = null) {
  const line = note ? element("input", { type: "text", maxlength: 500, id: "choice-note", autocomplete: "off" }) : null;
  const buttons = options.map(([name, says], place) =>
    element("button", { type: "button", value: name }, element("kbd", {}, String(place + 1)), says),
  );
  const dialog = element(
    "dialog",
    { class: "choices", "aria-labelledby": "choice-title" },
    element("h2", { id: "choice-title" }, title),
    element("div", { class: "options" }, ...buttons),
    line ? element("label", { for: "choice-note" }, note, line) : null,
    element("p", { class: "soft" }, element("kbd", {}, "Esc"), " goes back"),
  );
  document.body.append(dialog);
  return new Promise((resolve) => {
    const finish = (name) => {
      dialog.returnValue = name;
      dialog.close();
    };
    buttons.forEach((button) => button.addEventListener("click", () => finish(button.value)));
    dialog.addEventListener("keydown", (event) => {
      const picked = options[Number(event.key) - 1];
      if (event.repeat || event.target === line || !picked) return;
      event.preventDefault();
      finish(picked[0]);
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue ? { name: dialog.returnValue, note: line?.value.trim() ?? "" } : null);
    });
    dialog.showModal();
    buttons[0].focus();
  });
}
