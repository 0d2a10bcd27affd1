// How a run ended, where it did not end well, and what it printed.

import { element } from "../elements.js";
import { ask, said } from "./ask.js";
import { scrolled } from "./bar.js";

/** What stands above the plots of runs: those that crashed or were killed, each with its traceback. */
export function endings(rows) {
  const one = (row) => element("article", { class: "ending", "aria-label": `How ${row.name} ended` }, element("p", {}, element("b", {}, row.name), " ", row.ended), traceback(row));
  return rows.filter((row) => row.ended).map(one);
}

/** Where a run crashed; nothing of one that did not. */
export function traceback(row) {
  if (row.status !== "crashed") return "";
  const where = element("pre", { class: "printed" });
  const details = element("details", {}, element("summary", {}, "The last lines of its traceback"), scrolled(`Traceback of ${row.name}`, where));
  asks(details, async () => {
    const found = await ask("look/ending", { run: row.id });
    where.textContent = found.traceback.length ? found.traceback.join("\n") : "None was kept: the run is of an older version.";
  });
  return details;
}

/** What runs printed, a fold each. */
export function logs(rows) {
  return rows.map((row) => {
    const place = element("pre", { class: "printed" });
    const title = rows.length > 1 ? `Log of ${row.name}` : "Log";
    const details = element("details", { class: "section" }, element("summary", {}, element("h2", {}, title)), scrolled(title, place));
    asks(details, async () => {
      const { log, log_left_out } = await ask("look/ending", { run: row.id });
      const before = log_left_out ? "… (log.txt in the folder of the run holds what came before)\n" : "";
      place.textContent = log.length ? before + log.join("\n") : "Nothing was kept: it is of an older version, or was not begun on the command line.";
      place.parentElement.scrollTop = place.parentElement.scrollHeight;
    });
    return details;
  });
}

/** Asks again whenever it is opened: a run that goes on has printed more. */
function asks(details, fill) {
  details.addEventListener("toggle", () => {
    if (details.open) fill().catch((error) => (details.querySelector("pre").textContent = said(error)));
  });
}
