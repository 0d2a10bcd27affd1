// Above a page: which runs are looked at, each in its colour; they can be taken out here and chosen on the first page.

import { element } from "../elements.js";
import { chosen, keep, link } from "./address.js";
import { ask } from "./ask.js";
import { runClass } from "./colours.js";

/** The runs of the address; where it names none, the newest `most` that can be shown. Rows as the list has them. */
export async function runs(most, shows = () => true) {
  const { runs: all } = await ask("look/runs");
  const byId = new Map(all.map((row) => [row.id, row]));
  const wanted = chosen();
  if (!wanted.length) return all.filter(shows).slice(0, most);
  return wanted.filter((id) => byId.has(id)).map((id) => byId.get(id));
}

/** changed(rows): after one was taken out. */
export function runBar(rows, page, changed) {
  const place = element("div", { class: "chips", role: "group", "aria-label": "Runs" });
  const draw = (left) => {
    const choose = element("a", { class: "button quiet", href: link("runs", left.map((row) => row.id)) }, "Choose runs");
    place.replaceChildren(...left.map((row, at) => chip(row, at, left)), choose);
  };
  const chip = (row, at, left) => {
    const close = element("button", { type: "button", class: "quiet close", "aria-label": `Without ${row.name}` }, "×");
    close.addEventListener("click", () => {
      const rest = left.filter((each) => each !== row);
      keep({ run: rest.map((each) => each.id) });
      draw(rest);
      changed(rest);
      place.querySelector(".close, a").focus();
    });
    const title = element("span", { class: "chip-name" }, row.name);
    return element("span", { class: "chip" }, element("i", { class: `swatch ${runClass(at)}`, "aria-hidden": "true" }), title, left.length > 1 ? close : null);
  };
  draw(rows);
  return place;
}

/** A labelled control. */
export function field(says, control, tone = "") {
  return element("label", { class: `field ${tone}` }, element("span", {}, says), control);
}

/** options: [[value, says]]. */
export function select(options, value, changed) {
  const made = element("select", {}, ...options.map(([each, says]) => element("option", { value: each }, says)));
  made.value = value;
  made.addEventListener("change", () => changed(made.value));
  return made;
}

/** A box that scrolls by itself, by keyboard too, where what it holds is wider than the page. */
export function scrolled(name, ...children) {
  return element("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": name }, ...children);
}

export function nothing(says, ...more) {
  return element("p", { class: "empty" }, says, ...more);
}
