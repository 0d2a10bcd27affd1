// A small line in a row of a table.

import { flat } from "./smooth.js";

const SVG = document.getElementById("drawing").namespaceURI;
const [WIDTH, HEIGHT, EDGE] = [96, 24, 3];

export function spark(values, says) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, class: "spark", role: "img", "aria-label": says })) {
    svg.setAttribute(name, value);
  }
  if (values.length < 2) return svg;
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const level = flat(values);
  const across = (place) => EDGE + (place * (WIDTH - 2 * EDGE)) / (values.length - 1);
  const up = (value) => HEIGHT - EDGE - (!level ? (value - low) / (high - low) : 0.5) * (HEIGHT - 2 * EDGE);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", values.map((value, place) => `${across(place).toFixed(1)},${up(value).toFixed(1)}`).join(" "));
  const end = document.createElementNS(SVG, "circle");
  for (const [name, value] of Object.entries({ cx: across(values.length - 1), cy: up(values.at(-1)), r: 2 })) end.setAttribute(name, value);
  svg.append(line, end);
  return svg;
}
