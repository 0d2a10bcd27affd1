// What the doctor finds in runs: what went wrong, where it shows, what to do about it.

import { element, fill } from "../elements.js";
import { say } from "../say.js";
import { chosen, link } from "./address.js";
import { ask, said } from "./ask.js";
import { nothing, runBar, runs } from "./bar.js";
import { colour } from "./colours.js";
import { endings, traceback } from "./ending.js";
import { plot } from "./plots.js";
import { plainly, short } from "./words.js";

const UNASKED = 6; // runs that are looked at where none was chosen
const BADGES = { stop: "Stop", warning: "Warning", notice: "Notice" };

export async function open(content) {
  let rows = await runs(UNASKED);
  if (!rows.length) return content.append(nothing("There is no run in this folder yet."));
  const bar = runBar(rows, "doctor", (left) => {
    const ids = new Set(left.map((row) => row.id));
    for (const section of content.querySelectorAll("[data-run]")) if (!ids.has(section.dataset.run)) section.remove();
  });
  content.append(bar, chosen().length ? "" : element("p", { class: "soft" }, `The newest ${rows.length}; choose others on the first page.`));
  const sections = rows.map((row) => element("section", { class: "patient", "data-run": row.id, "aria-label": row.name }, element("h2", {}, row.name), element("p", { class: "soft" }, "looking …")));
  content.append(...sections);
  examine(rows, sections);
}

/** One after the other: the doctor reads whole runs. */
async function examine(rows, sections) {
  for (const [at, row] of rows.entries()) {
    try {
      told(sections[at], row, await ask("look/doctor", { run: row.id }));
    } catch (error) {
      sections[at].replaceChildren(element("h2", {}, row.name), element("p", { class: "trouble" }, said(error)));
    }
  }
  say("All were looked at.");
}

function told(section, row, found) {
  const title = element("h2", {}, element("a", { href: link("curves", [row.id]) }, row.name));
  if (found.trouble) return section.replaceChildren(title, element("p", { class: "trouble" }, `The doctor could not look: ${found.trouble}`));
  const healthy = element("p", { class: "healthy" }, `Nothing found of ${found.diseases} diseases that its records can tell.`);
  const missing = element("p", { class: "trouble" }, element("b", {}, "No diagnosis: "), `${found.missing}.`);
  const first = found.missing ? [missing, traceback(row)] : found.findings.length ? [] : [healthy];
  const unseen = found.unseen.length
    ? element("details", {}, element("summary", {}, `${found.unseen.length} not looked for: the run does not record what it takes`), element("p", { class: "soft" }, `${found.unseen.join(", ")}.`))
    : null;
  section.replaceChildren(title, ...first, ...(found.missing ? [] : endings([row])), ...found.findings.map((each) => finding(row, each)), unseen ?? "");
}

function finding(row, each) {
  const where = [each.stage, each.step === null ? "" : `from step ${short(each.step)}`].filter(Boolean).join(", ");
  const head = element("header", {}, element("span", { class: `badge ${each.severity}` }, BADGES[each.severity] ?? each.severity), element("h3", {}, each.disease), element("span", { class: "soft" }, where));
  const evidence = element("ul", { class: "evidence" }, ...each.evidence.map((line) => element("li", {}, line)));
  const words = each.samples.map((sample) => fill(element("blockquote", { class: "words", lang: "", dir: "auto" }), sample.html));
  const remedy = element("div", { class: "remedy" }, element("p", {}, element("b", {}, "Remedy. "), each.remedy), each.changes.length ? flags(each.changes) : null);
  const more = element(
    "details",
    {},
    element("summary", {}, "Causes, proof, and what resembles it"),
    element("h4", {}, "Likely causes, the likeliest first"),
    element("ol", {}, ...each.causes.map((cause) => element("li", {}, cause))),
    element("h4", {}, "What would confirm it"),
    element("p", {}, each.confirm),
    element("h4", {}, "What it looks like"),
    element("p", {}, each.look),
    element("h4", {}, "Healthy, and like it"),
    element("p", {}, each.look_alike),
  );
  const plots = element("div", { class: "small-plots" });
  const article = element("article", { class: `finding ${each.severity}` }, head, element("div", { class: "two" }, element("div", {}, evidence, ...words, remedy, more), plots));
  if (each.in !== null && each.metrics.length) draw(plots, row, each);
  return article;
}

function flags(changes) {
  const text = changes.map(([flag, value]) => `${flag} ${value}`).join(" ");
  const copy = element("button", { type: "button", class: "quiet" }, "Copy");
  copy.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(text).catch(() => {});
    say("Copied");
    copy.textContent = "Copied";
  });
  return element("p", { class: "flags" }, element("code", {}, text), copy);
}

async function draw(place, row, each) {
  const found = await ask("look/curves", { run: row.id, stage: each.in }).catch(() => null);
  for (const metric of each.metrics) {
    const series = found?.series?.[metric];
    if (!series || series.y.length < 2) continue;
    const at = element("div", { class: "plot" });
    place.append(element("figure", { class: "panel" }, element("figcaption", {}, element("b", {}, plainly(metric))), at));
    plot(at, () => figure(metric, series, each));
  }
}

function figure(metric, series, each) {
  const traces = [{ x: series.x, y: series.y, mode: "lines", line: { color: colour("--accent"), width: 1.8 }, hovertemplate: "%{y:.4g}", name: plainly(metric) }];
  const warn = colour("--warn");
  const since = each.step === null ? [] : [{ type: "line", x0: each.step, x1: each.step, yref: "paper", y0: 0, y1: 1, line: { color: warn, width: 1.5, dash: "dot" } }];
  const says = `${plainly(metric)} from ${short(series.y[0])} to ${short(series.y.at(-1))}${each.step === null ? "" : `, the finding begins at step ${each.step}`}`;
  return { traces, layout: { height: 150, shapes: since }, says };
}
