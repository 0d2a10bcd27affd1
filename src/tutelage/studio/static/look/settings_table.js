// Settings of runs side by side: those that differ, then, on demand, all of them.

import { element } from "../elements.js";
import { ask } from "./ask.js";

export async function differences(place, ids) {
  const found = await ask("look/settings", { run: ids }).catch(() => null);
  if (!found) return place.replaceChildren(element("p", { class: "soft" }, "The settings could not be read."));
  const troubles = found.troubles.filter(Boolean).map((each) => element("p", { class: "trouble" }, each));
  const differing = found.rows.filter((row) => row.differs);
  const same = found.rows.filter((row) => !row.differs);
  if (ids.length < 2) return place.replaceChildren(...troubles, table(found, found.rows));
  const says = differing.length ? null : element("p", { class: "soft" }, "All settings are the same.");
  const rest = element("details", {}, element("summary", {}, `${same.length} that are the same`), table(found, same));
  place.replaceChildren(...troubles, says ?? table(found, differing), rest);
}

function table(found, rows) {
  const head = element("tr", {}, element("th", { scope: "col" }, "setting"), ...found.runs.map((run) => element("th", { scope: "col" }, run)));
  const lines = rows.map((row) =>
    element("tr", {}, element("th", { scope: "row" }, row.name), ...row.values.map((value) => element("td", { class: value === null ? "soft" : "" }, value ?? "not set"))),
  );
  return element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, ...lines));
}
