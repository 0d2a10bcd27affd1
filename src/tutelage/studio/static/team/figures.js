// Numbers as the overview writes them, and tables of them.

import { element } from "../elements.js";
import { percent, sized } from "../estimates.js";

export const number = (value) => value.toLocaleString("en");

/** A share with its interval. of: how many it is a share of; n: the questions or people that they belong to. */
export function interval(value, low, high, of = null, n = null) {
  if (value === null || value === undefined) return "–";
  const range = low === null || low === undefined ? "" : ` (${Math.round(100 * low)}–${Math.round(100 * high)})`;
  return `${percent(value)}${range}${of === null ? "" : ` of ${number(of)}`}${n === null ? "" : `, ${sized(n)}`}`;
}

export function section(id, title, ...children) {
  return element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title), ...children);
}

/** A table in a box that scrolls by itself, also by keyboard, where it is wider than the page. */
export function table(name, heads, rows) {
  const head = element("tr", {}, ...heads.map((each) => (each ? element("th", { scope: "col" }, each) : element("td"))));
  const cell = (value, place) => {
    const content = value instanceof Node ? value : String(value);
    return place ? element("td", {}, content) : element("th", { scope: "row" }, content);
  };
  const body = rows.map((row) => element("tr", {}, ...row.map(cell)));
  const made = element("table", { "aria-label": name }, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "wide", role: "group", tabindex: "0", "aria-label": name }, made);
}
