// Colours of the page as the plots need them, and one for every run that is looked at.

const RUNS = 8;
const DASHES = ["solid", "dash", "dot", "dashdot"];
const probe = document.createElement("i");

/** What a custom property comes to in the colours of now. */
export function colour(name) {
  if (!probe.isConnected) {
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

export const runColour = (place) => colour(`--run-${place % RUNS}`);

/** A class that colours a swatch. */
export const runClass = (place) => `of-run-${place % RUNS}`;

/** More than eight runs: the same colours again, dashed. */
export const dash = (place, metric = 0) => DASHES[(Math.floor(place / RUNS) + metric) % DASHES.length];

export function faded(rgb, alpha) {
  return rgb.replace("rgb(", "rgba(").replace(")", `, ${alpha})`);
}
