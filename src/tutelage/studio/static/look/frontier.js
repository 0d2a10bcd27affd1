// What was gained for how much KL, step by step, run over run; and gold against the proxy over √KL.

import { element } from "../elements.js";
import { FEWEST } from "../estimates.js";
import { asked, keep } from "./address.js";
import { ask } from "./ask.js";
import { field, nothing, runBar, runs, scrolled, select } from "./bar.js";
import { colour, dash, faded, runColour } from "./colours.js";
import { drop, name as safe, plot } from "./plots.js";
import { plainly, short } from "./words.js";

const MOST = 12;
const NOBODY = "no KL and no judge recorded";
let rows = [];
let found = [];
let judge = asked("judge");
let place = null;

export async function open(content) {
  rows = (await runs(MOST, (row) => row.with_events.length)).slice(0, MOST);
  if (!rows.length) return content.append(nothing("There is no run with events to draw here."));
  found = await Promise.all(rows.map((row) => ask("look/frontier", { run: row.id })));
  place = { tools: element("div", { class: "tools-row" }), walks: element("div", { class: "plot tall" }), table: scrolled("Where each run ends"), over: element("div", { class: "grid" }), sweeps: element("div", { class: "content" }) };
  const bar = runBar(rows, "frontier", (left) => {
    found = found.filter((each) => left.some((row) => row.id === each.run));
    rows = left;
    draw();
  });
  const figure = element("figure", { class: "panel" }, element("figcaption", {}, element("b", {}, "Reward over KL"), element("span", { class: "soft" }, "each line a run, from its first step to its last (the ring)")), place.walks);
  const over = element("section", { class: "section", "aria-labelledby": "over" }, element("h2", { id: "over" }, "Overoptimisation"), element("p", { class: "soft" }, "Gains over the initial policy; the band spans the seeds. Where gold falls while the proxy rises, the proxy is being fooled."), place.over);
  content.append(bar, place.tools, figure, place.table, place.sweeps, over);
  draw();
}

const walksOf = (each) => each.walks.filter((walk) => judge in walk.judges);

function draw() {
  const known = new Set(found.flatMap((each) => each.walks.flatMap((walk) => Object.keys(walk.judges))));
  const judges = ["gold_score", "held_out_score", "score", "win_rate_by_reward_model"].filter((name) => known.has(name));
  if (!judges.includes(judge)) judge = judges[0] ?? "score";
  const choose = select(judges.map((name) => [name, plainly(name)]), judge, (value) => {
    judge = value;
    keep({ judge });
    draw();
  });
  place.tools.replaceChildren(judges.length > 1 ? field("Judge", choose) : "");
  plot(place.walks, walks);
  ends();
  sweeps();
  overoptimised();
}

function walks() {
  const traces = [];
  const spoken = [];
  found.forEach((each, run) => {
    const at = rows.findIndex((row) => row.id === each.run);
    const color = runColour(at < 0 ? run : at);
    walksOf(each).forEach((walk, place) => {
      const y = walk.judges[judge];
      const label = safe(walk.stage && found.length + each.walks.length > 2 ? `${each.run}, ${walk.stage}` : each.run);
      const line = { color: faded(color, 0.55), width: 1.4, dash: dash(0, place) };
      const sizes = y.map((_, step) => (step === y.length - 1 ? 13 : 4));
      const symbols = y.map((_, step) => (step === y.length - 1 ? "circle-open" : "circle"));
      traces.push({ x: walk.kl, y, name: label, mode: "lines+markers", line, marker: { color, size: sizes, symbol: symbols, line: { width: 2 } }, customdata: walk.step, hovertemplate: "%{y:.3g} at %{x:.3g} nats, step %{customdata}" });
      spoken.push(`${label} ends at ${short(y.at(-1))} with ${short(walk.kl.at(-1))} nats`);
    });
    if (each.optimal.length && judge === "gold_score") {
      traces.push({ x: each.optimal.map((point) => point.x), y: each.optimal.map((point) => point.y), name: "the optimal policy", mode: "lines", line: { color: colour("--soft"), dash: "dot", width: 2 }, hovertemplate: "%{y:.3g} at %{x:.3g} nats" });
    }
  });
  const layout = { height: 420, hovermode: "closest", xaxis: { title: "KL to the reference, nats a reply" }, yaxis: { title: plainly(judge) } };
  return { traces, layout, says: `${plainly(judge)} over KL: ${spoken.join("; ") || NOBODY}` };
}

function ends() {
  const head = element("tr", {}, ...["run", "stage", "steps", "KL, nats", plainly(judge), "best on the way", "at KL"].map((says, at) => element("th", { scope: "col", class: at > 1 ? "number" : "" }, says)));
  const lines = found.flatMap((each) =>
    walksOf(each).map((walk) => {
      const y = walk.judges[judge];
      const best = y.reduce((top, value, at) => (value !== null && (top < 0 || value > y[top]) ? at : top), -1);
      const cells = [short(walk.step.at(-1) + 1), short(walk.kl.at(-1)), short(y.at(-1)), short(y[best] ?? null), short(walk.kl[best] ?? null)];
      return element("tr", {}, element("th", { scope: "row" }, each.run), element("td", {}, walk.stage), ...cells.map((cell) => element("td", { class: "number" }, cell)));
    }),
  );
  const troubles = found.filter((each) => each.trouble).map((each) => element("p", { class: "trouble" }, `${each.run}: ${each.trouble}`));
  place.table.replaceChildren(...troubles, lines.length ? element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, ...lines)) : nothing(`None of these runs has both: ${NOBODY}.`));
}

/** What `tutelage frontier` measured: each objective, which of them no other beats, and the one to take. */
function sweeps() {
  for (const each of place.sweeps.querySelectorAll(".plot")) drop(each);
  const panels = found.filter((each) => each.objectives).map((each) => {
    const at = element("div", { class: "plot tall" });
    plot(at, () => objectives(each));
    const head = ["objective", "kind", "price of a broken rule", "KL budget", "pleased", "rules broken", "prompts", "KL, nats", ""];
    const lines = each.objectives.rows.map((row) =>
      element("tr", {}, element("th", { scope: "row" }, row.name), element("td", {}, row.kind), ...[short(row.weight), short(row.budget), interval(row, "pleased", row.pleased_mean), interval(row, "broken", row.broken_fraction), row.prompts === null ? "not recorded" : `${row.prompts}${row.prompts < FEWEST ? ": too few to tell" : ""}`, short(row.kl_nats)].map((cell) => element("td", { class: "number" }, cell)), element("td", {}, [row.pareto_optimal ? "on the frontier" : "", row.name === each.objectives.best ? "to take" : ""].filter(Boolean).join(", "))),
    );
    const table = element("table", { class: "plain" }, element("thead", {}, element("tr", {}, ...head.map((says, col) => (says ? element("th", { scope: "col", class: col > 1 && col < 8 ? "number" : "" }, says) : element("td"))))), element("tbody", {}, ...lines));
    const caption = element("figcaption", {}, element("b", {}, "Objectives"), element("span", { class: "soft" }, `${each.run}: pleased over broken rules; a ring: no other objective beats it; the dotted line: the limit`));
    return element("section", { class: "section" }, element("figure", { class: "panel" }, caption, at), scrolled("Objectives", table));
  });
  place.sweeps.replaceChildren(...panels);
}

const interval = (row, axis, mean) => `${short(mean)} [${short(row[`${axis}_low`])}, ${short(row[`${axis}_high`])}]`;

function objectives({ run, objectives: { rows: all, limit, best } }) {
  const kinds = [...new Set(all.map((row) => row.kind))];
  const traces = kinds.map((kind, at) => {
    const mine = all.filter((row) => row.kind === kind);
    const bars = (axis, mean) => ({ type: "data", array: mine.map((row) => row[`${axis}_high`] - row[mean]), arrayminus: mine.map((row) => row[mean] - row[`${axis}_low`]), thickness: 1, width: 3, color: faded(runColour(at), 0.5) });
    const marker = { color: runColour(at), size: mine.map((row) => (row.pareto_optimal ? 14 : 8)), symbol: mine.map((row) => (row.pareto_optimal ? "circle-open-dot" : "circle")), line: { width: 2 } };
    const text = mine.map((row) => safe(`${row.name}, ${short(row.kl_nats)} nats`));
    return { x: mine.map((row) => row.broken_fraction), y: mine.map((row) => row.pleased_mean), error_x: bars("broken", "broken_fraction"), error_y: bars("pleased", "pleased_mean"), name: safe(kind), mode: "markers", marker, text, hovertemplate: "%{text}<br>%{y:.2f} pleased, %{x:.1%} broken" };
  });
  const shapes = limit ? [{ type: "line", x0: limit, x1: limit, yref: "paper", y0: 0, y1: 1, line: { color: colour("--soft"), dash: "dot", width: 1.5 } }] : [];
  const layout = { height: 380, hovermode: "closest", showlegend: true, legend: { orientation: "h", y: 1.1, x: 0, font: { color: colour("--soft") } }, margin: { l: 52, r: 10, t: 30, b: 40 }, xaxis: { title: "replies that break the rule", tickformat: ".0%" }, yaxis: { title: "pleased" }, shapes };
  return { traces, layout, says: `${run}: ${all.filter((row) => row.pareto_optimal).length} of ${all.length} objectives are on the frontier${best ? `; to take: ${best}` : ""}` };
}

function overoptimised() {
  for (const each of place.over.querySelectorAll(".plot")) drop(each);
  const all = found.flatMap((each) => each.curves.map((curve) => ({ run: each.run, curve })));
  place.over.closest("section").hidden = !all.length;
  const panels = all.map(({ run, curve }) => {
    const at = element("div", { class: "plot" });
    const keys = element("span", { class: "keys" }, element("span", { class: "key" }, element("i", { class: "swatch of-run-0" }), "gold"), element("span", { class: "key" }, element("i", { class: "swatch of-run-1" }), "proxy"));
    plot(at, () => over(run, curve));
    return element("figure", { class: "panel" }, element("figcaption", {}, element("b", {}, curve.title), element("span", { class: "soft" }, run), keys), at);
  });
  place.over.replaceChildren(...panels);
}

function over(run, curve) {
  const traces = ["gold", "proxy"].flatMap((name, at) => {
    const color = runColour(at);
    const band = { x: [...curve.sqrt_kl, ...curve.sqrt_kl.toReversed()], y: [...curve[`${name}_high`], ...curve[`${name}_low`].toReversed()], fill: "toself", fillcolor: faded(color, 0.14), line: { width: 0 }, hoverinfo: "skip", mode: "lines" };
    return [band, { x: curve.sqrt_kl, y: curve[name], name, mode: "lines", line: { color, width: 2 }, hovertemplate: "%{y:.3g}" }];
  });
  const top = Math.max(...curve.gold);
  const says = `${curve.title}: gold peaks at ${short(top)} at √KL ${short(curve.sqrt_kl[curve.gold.indexOf(top)])} and ends at ${short(curve.gold.at(-1))}; the proxy ends at ${short(curve.proxy.at(-1))}`;
  return { traces, layout: { height: 240, xaxis: { title: "√KL, √nats" }, yaxis: { title: "gain" } }, says };
}
