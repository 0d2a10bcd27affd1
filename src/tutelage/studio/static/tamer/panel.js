// What stands beside the game: what the agent expects, what the person said, and the games so far.

import { element } from "../elements.js";

const SAID_SHOWN = 5;

/** Ĥ of what it does, between the worst and the best that it could do. */
export function expects(place, frame, signals) {
  const largest = Math.max(Math.abs(frame.low), Math.abs(frame.high)) || 1;
  const bar = element("i", { class: frame.expected < 0 ? "bar below" : "bar" });
  const share = frame.expected / largest / 2;
  bar.style.left = `${50 + 100 * Math.min(0, share)}%`;
  bar.style.width = `${100 * Math.abs(share)}%`;
  const track = element("div", { class: "track", "aria-hidden": "true" }, bar, element("i", { class: "half" }));
  const text =
    frame.low === frame.high
      ? `All ${frame.options} ways look the same to it: it draws one.`
      : `for the best of ${frame.options} ways; ${signed(frame.low)} for the worst. After ${signals} signals.`;
  place.replaceChildren(element("div", { class: "number" }, signed(frame.expected)), track, element("p", {}, text));
}

function signed(value) {
  const size = Math.abs(value) < 0.00005 ? "0" : Math.abs(value).toPrecision(2);
  return `${value < 0 && size !== "0" ? "−" : "+"}${size}`;
}

/** One more line of what the person said, and which steps were credited. about: [[step, credit], …]; step: its name. */
export function said(place, value, about, step) {
  const shares = about.filter(([, credit]) => credit >= 0.005).reverse();
  const parts = shares.map(([number, credit]) => `${Math.round(100 * credit)} % ${step} ${number + 1}`);
  const text = parts.slice(0, 3).join(", ") || "about nothing that was seen";
  const number = value > 0 ? `+${value}` : `−${-value}`;
  place.prepend(
    element("li", { class: value > 0 ? "good" : "bad" }, element("b", {}, number), element("span", {}, text)),
  );
  while (place.children.length > SAID_SHOWN) place.lastChild.remove();
}

/** The games that are over, the newest first; each can be played back. told: what the server says of the play. */
export function finished(place, told, { score, unit }, playBack) {
  const most = Math.max(1, ...told.finished.map(score));
  const first = told.games - told.finished.length;
  const rows = told.finished.map((each, at) => {
    const bar = element("i", {});
    bar.style.width = `${(100 * score(each)) / most}%`;
    const track = element("span", { class: "track", "aria-hidden": "true" }, bar);
    const value = element("span", { class: "value" }, `${score(each)} ${unit}`);
    const row = element("button", { type: "button", title: "Play this game back" }, `Game ${first + at + 1}`, track, value);
    row.addEventListener("click", () => playBack(first + at));
    return element("li", {}, row);
  });
  place.replaceChildren(...rows.reverse());
}
