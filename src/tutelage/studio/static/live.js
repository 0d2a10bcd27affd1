// What moved: how the policy that learns from these answers does, as its run tells it.

import { element } from "./elements.js";
import { estimated, percent, range, sized } from "./estimates.js";

export class Live {
  constructor(place) {
    this.place = place;
  }

  show(live) {
    this.place.hidden = !live;
    if (!live) return;
    const open = this.place.querySelector("details")?.open ?? false;
    const focused = this.place.contains(document.activeElement);
    const summary = element("summary", {}, element("b", {}, "What moved"), ...this.line(live));
    const rows = live.wins.map((win) => bar(win.name, win.value, win.low, win.high, win.n));
    if (live.win_rate !== undefined) {
      rows.unshift(bar("wins over the first policy", live.win_rate, live.win_rate_low, live.win_rate_high, live.win_rate_n));
    }
    const says = "Shares of pairs, with 95 % intervals where they are known; the line is one half.";
    const about = element("p", { class: "soft" }, says);
    const details = element("details", { open }, summary, element("div", { class: "bars" }, ...rows), about);
    this.place.replaceChildren(details);
    if (focused) summary.focus();
  }

  line(live) {
    const parts = [];
    if (live.waiting) parts.push(element("span", { class: "waiting" }, "training waits for answers"));
    const within = range(live.win_rate_low, live.win_rate_high);
    if (live.win_rate !== undefined) parts.push(`wins ${percent(live.win_rate)} over the first policy${within}, ${sized(live.win_rate_n)}`);
    if (live.kl_nats !== undefined) parts.push(`KL ${live.kl_nats.toFixed(1)} nats`);
    if (live.labels !== undefined) parts.push(`learned from ${live.labels.toLocaleString("en")} answers`);
    if (live.says) parts.push(live.says);
    return parts.map((part) => element("span", { class: "part" }, part));
  }
}

/** A share on a line from 0 to 1; the interval as a band. Lengths are set by script: the policy forbids style in HTML. */
function bar(name, value, low, high, n) {
  const band = element("i", { class: "band" });
  const dot = element("i", { class: "dot" });
  band.style.left = `${100 * (low ?? value)}%`;
  band.style.width = `${100 * ((high ?? value) - (low ?? value))}%`;
  dot.style.left = `${100 * value}%`;
  const track = element("span", { class: "track", "aria-hidden": "true" }, element("i", { class: "half" }), band, dot);
  const shown = element("span", { class: "value" }, estimated(value, low, high, n));
  return element("div", { class: "share" }, element("span", {}, name), track, shown);
}
