// A small dialog that asks for one of a few reasons: a digit answers, Esc goes back.

import { element } from "./elements.js";

/**
 * options: [[name, says]]; note: the label of a line of text, if one is wanted. chosen({ name, note }) is called within
 * the very key press, so that the next key is meant for what is on the screen then; not at all where nothing was chosen.
 */
export function choose(title, options, note, chosen) {
  const line = note ? element("input", { type: "text", maxlength: 500, id: "choice-note", autocomplete: "off" }) : null;
  const buttons = options.map(([name, says], place) =>
    element("button", { type: "button", value: name }, element("kbd", {}, String(place + 1)), says),
  );
  const back = element("button", { type: "button", class: "quiet" }, "Go back ", element("kbd", {}, "Esc"));
  const dialog = element(
    "dialog",
    { class: "choices", "aria-labelledby": "choice-title" },
    element("h2", { id: "choice-title" }, title),
    element("div", { class: "options" }, ...buttons),
    line ? element("label", { for: "choice-note" }, note, line) : null,
    back,
  );
  const finish = (name) => {
    dialog.close();
    dialog.remove();
    chosen({ name, note: line?.value.trim() ?? "" });
  };
  buttons.forEach((button) => button.addEventListener("click", () => finish(button.value)));
  dialog.addEventListener("keydown", (event) => {
    const picked = options[Number(event.key) - 1];
    if (event.repeat || event.target === line || !picked) return;
    event.preventDefault();
    finish(picked[0]);
  });
  back.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  buttons[0].focus();
}
