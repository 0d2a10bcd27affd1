// Plots by plotly, which comes from this server; drawn when they come into sight, in the colours of the page.

import { colour } from "./colours.js";
import { level } from "./smooth.js";

const script = document.getElementById("plotly");
const ready = window.Plotly ? Promise.resolve() : new Promise((done) => script.addEventListener("load", done));
const coarse = matchMedia("(pointer: coarse)").matches; // a finger that scrolls must not draw a frame
const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };
const makers = new Map(); // place -> () => { traces, layout }
const stale = new Set();
const seen = new Set();

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) seen.add(target);
      else seen.delete(target);
      if (isIntersecting && stale.has(target)) paint(target);
    }
  },
  { rootMargin: "200px" },
);
document.addEventListener("theme", () => [...makers.keys()].forEach((place) => plot(place, makers.get(place))));

/** make() gives { traces, layout, says }; says: the plot in words. Again for the same place: it is brought up to date. */
export function plot(place, make) {
  if (!makers.has(place)) watcher.observe(place);
  makers.set(place, make);
  stale.add(place);
  if (seen.has(place)) paint(place);
}

export function drop(place) {
  watcher.unobserve(place);
  makers.delete(place);
  stale.delete(place);
  seen.delete(place);
  if (window.Plotly && place.classList.contains("js-plotly-plot")) window.Plotly.purge(place);
}

async function paint(place) {
  await ready;
  if (!stale.delete(place) || !makers.has(place)) return;
  const { traces, layout, says } = makers.get(place)();
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", says);
  await window.Plotly.react(place, traces, styled(layout, level(traces.flatMap((trace) => trace.y ?? []).filter(Number.isFinite))), CONFIG);
}

/** range: of the vertical axis, where what is drawn is a constant: rounding would fill the plot with a zigzag. */
function styled(layout, range) {
  const [ink, soft, line, card] = ["--ink", "--soft", "--line", "--card"].map(colour);
  const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: false, tickfont: { color: soft } };
  return {
    height: 220,
    margin: { l: 54, r: 12, t: 8, b: 42 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: soft },
    hoverlabel: { bgcolor: card, bordercolor: line, font: { family: "system-ui, sans-serif", color: ink, size: 12 } },
    hovermode: "x unified",
    showlegend: false,
    dragmode: coarse ? false : "zoom",
    ...layout,
    xaxis: { ...axis, ...layout.xaxis, title: titled(layout.xaxis, soft) },
    yaxis: { ...axis, ...(range ? { range } : {}), ...layout.yaxis, title: titled(layout.yaxis, soft) },
  };
}

const titled = (axis, color) => (axis?.title ? { text: axis.title, font: { size: 12, color }, standoff: 8 } : undefined);

/** A name as it stands in a plot, which would take some of it for markup. */
export const name = (text) => text.replaceAll("<", "‹").replaceAll(">", "›").replaceAll("%{", "% {");
