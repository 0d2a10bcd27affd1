// Curves of one run or of several over each other, as they grow; below them the last numbers and the settings.

import { element } from "../elements.js";
import { asked, keep } from "./address.js";
import { again, ask } from "./ask.js";
import { field, nothing, runBar, runs, scrolled, select } from "./bar.js";
import { dash, faded, runColour } from "./colours.js";
import { endings, logs } from "./ending.js";
import { drop, name as safe, plot } from "./plots.js";
import { differences } from "./settings_table.js";
import { smoothed } from "./smooth.js";
import { plainly, short } from "./words.js";

const MOST = 12;
const PANELS = [
  ["Score", "the reward model's, and who looks on", ["score", "gold_score", "held_out_score"]],
  ["KL to the reference", "nats a reply", ["kl_nats_per_sequence", "kl_nats_to_first"]],
  ["Length", "actions, or words, a reply", ["actions", "words", "words_first"]],
  ["Entropy", "nats an action", ["entropy_nats"]],
  ["Win rate", "share, against the first policy", ["win_rate_by_reward_model", "shorter"]],
  ["Seconds by phase", "s a step", ["seconds_sampling", "seconds_scoring", "seconds_learning", "seconds_probe"]],
  ["Loss", "", ["loss", "reward_model_loss"]],
  ["Accuracy", "share of the minibatch", ["accuracy", "reward_model_accuracy"]],
];
const MORE = [
  ["Losses of policy and critic", "", ["policy_loss", "value_loss"]],
  ["Explained variance", "of the critic, share", ["explained_variance"]],
  ["Clip fraction", "share of actions", ["clip_fraction", "value_clipped_fraction"]],
  ["KL coefficient", "reward a nat", ["kl_coefficient"]],
  ["Gradient norms", "before clipping", ["gradient_norm_policy", "gradient_norm_value", "gradient_norm_reward_model"]],
];

const held = new Map(); // run -> what the server told
let rows = [];
let place = null;
let view = { stage: asked("stage"), smooth: Number(asked("smooth", "0")), x: asked("x", "step"), find: asked("find", "") };
const panels = new Map(); // title -> { figure, plot, names }

export async function open(content) {
  rows = await runs(1, (row) => row.with_events.length);
  if (!rows.length) return content.append(nothing("There is no run with events to draw here."));
  if (rows.length > MOST) rows = rows.slice(0, MOST);
  place = { grid: element("div", { class: "grid" }), more: element("div", { class: "grid" }), numbers: scrolled("Numbers"), trouble: element("p", { class: "trouble" }), settings: scrolled("Settings"), endings: element("div", { class: "endings" }), logs: element("div") };
  const bar = runBar(rows, "curves", (left) => {
    rows = left;
    draw();
    ended();
    differences(place.settings, rows.map((row) => row.id));
  });
  const everything = element("details", { class: "section", open: asked("all") === "1" }, element("summary", {}, element("h2", {}, "Everything else that was recorded")), place.more);
  everything.addEventListener("toggle", () => keep({ all: everything.open ? "1" : null }));
  const numbers = element("details", { class: "section" }, element("summary", {}, element("h2", {}, "Numbers")), place.numbers);
  const settings = element("details", { class: "section", open: rows.length > 1 }, element("summary", {}, element("h2", {}, "Settings")), place.settings);
  content.append(bar, place.endings, controls(), place.trouble, place.grid, everything, numbers, settings, place.logs);
  ended();
  await load();
  draw();
  differences(place.settings, rows.map((row) => row.id));
  again(async () => (await load()) && draw());
}

function ended() {
  place.endings.replaceChildren(...endings(rows));
  place.logs.replaceChildren(...logs(rows));
}

/** Whether anything has come. */
async function load() {
  const found = await Promise.all(
    rows.map((row) => ask("look/curves", { run: row.id, stage: view.stage ?? undefined, known: held.get(row.id)?.version ?? -1 }).catch((error) => ({ run: row.id, unchanged: true, error }))),
  );
  if (found.every((each) => each.error)) throw found[0].error;
  const fresh = found.filter((each) => !each.unchanged);
  for (const each of fresh) held.set(each.run, each);
  return fresh.length > 0;
}

function controls() {
  const stages = [...new Set(rows.flatMap((row) => row.with_events))];
  const change = (changes) => {
    view = { ...view, ...changes };
    keep(changes);
    draw();
  };
  const stage = select([["", "as each has it"], ...stages.filter(Boolean).map((each) => [each, each])], view.stage ?? "", async (value) => {
    held.clear();
    view.stage = value || null;
    keep({ stage: view.stage });
    await load();
    draw();
  });
  const smooth = element("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: view.smooth });
  smooth.addEventListener("input", () => change({ smooth: Number(smooth.value) }));
  const x = select([["step", "steps"], ["t", "time"]], view.x, (value) => change({ x: value }));
  const find = element("input", { type: "search", value: view.find, placeholder: "kl, loss …" });
  find.addEventListener("input", () => change({ find: find.value }));
  return element("div", { class: "tools-row" }, stages.filter(Boolean).length ? field("Stage", stage) : null, field("Over", x), field("Smoothing", smooth), field("Find", find));
}

function draw() {
  const known = new Set(rows.flatMap((row) => Object.keys(held.get(row.id)?.series ?? {})));
  const listed = new Set([...PANELS, ...MORE].flatMap(([, , names]) => names));
  const rest = [...known].filter((name) => !listed.has(name)).sort().map((name) => [plainly(name), "", [name]]);
  const wanted = ([title, , names]) => !view.find || [title, ...names].some((each) => each.toLowerCase().includes(view.find.toLowerCase().trim()));
  const there = (all) => all.map(([title, unit, names]) => [title, unit, names.filter((name) => known.has(name))]).filter((each) => each[2].length && wanted(each));
  const [first, more] = [there(PANELS), there([...MORE, ...rest])];
  arrange(place.grid, first);
  arrange(place.more, more);
  place.more.closest("details").hidden = !more.length;
  if (view.find && more.length && !first.length) place.more.closest("details").open = true;
  const titles = new Set([...first, ...more].map(([title]) => title));
  for (const [title, { figure, at }] of panels) {
    if (titles.has(title)) continue;
    drop(at);
    figure.remove();
    panels.delete(title);
  }
  place.trouble.textContent = rows.map((row) => held.get(row.id)?.trouble && `${row.name}: ${held.get(row.id).trouble}`).filter(Boolean).join(" ");
  numbers(known);
}

function arrange(grid, wanted) {
  for (const [title, unit, names] of wanted) {
    const panel = panels.get(title) ?? made(title, unit);
    panel.keys.replaceChildren(...(names.length > 1 ? names.map((name, at) => key(name, at)) : []));
    if (panel.figure.parentNode !== grid) grid.append(panel.figure);
    plot(panel.at, () => figureOf(title, names));
  }
  const order = wanted.map(([title]) => panels.get(title).figure);
  if (order.some((figure, at) => grid.children[at] !== figure)) grid.append(...order);
}

function made(title, unit) {
  const at = element("div", { class: "plot" });
  const keys = element("span", { class: "keys" });
  const figure = element("figure", { class: "panel" }, element("figcaption", {}, element("b", {}, title), unit ? element("span", { class: "soft" }, unit) : null, keys), at);
  panels.set(title, { figure, at, keys });
  return panels.get(title);
}

/** One run: a colour a metric. Several: a colour a run, a dash a metric. */
const hue = (run, metric) => (rows.length > 1 ? runColour(run) : runColour(metric));
const stroke = (run, metric) => (rows.length > 1 ? dash(run, metric) : "solid");

function key(name, at) {
  const mark = rows.length > 1 ? element("i", { class: `stroke dash-${dash(0, at)}` }) : element("i", { class: `swatch of-run-${at}` });
  return element("span", { class: "key" }, mark, plainly(name).replace("seconds ", ""));
}

function figureOf(title, names) {
  const traces = [];
  const spoken = [];
  rows.forEach((row, run) =>
    names.forEach((metric, at) => {
      const series = held.get(row.id)?.series?.[metric];
      if (!series?.y.length) return;
      const x = view.x === "t" && series.t ? series.t : series.x;
      const label = rows.length > 1 ? (names.length > 1 ? `${row.name}, ${plainly(metric)}` : row.name) : plainly(metric);
      const line = { color: hue(run, at), width: 1.8, dash: stroke(run, at) };
      if (view.smooth) traces.push({ x, y: series.y, mode: "lines", line: { ...line, color: faded(line.color, 0.22), width: 1 }, hoverinfo: "skip" });
      const y = view.smooth ? smoothed(series.y, view.smooth) : series.y;
      traces.push({ x, y, name: safe(label), mode: series.y.length < 3 ? "lines+markers" : "lines", line, hovertemplate: "%{y:.4g}" });
      spoken.push(`${label} from ${short(series.y[0])} to ${short(series.y.at(-1))}`);
    }),
  );
  return { traces, layout: { xaxis: { title: view.x === "t" ? "seconds" : "step" } }, says: `${title}: ${spoken.join("; ")}` };
}

function numbers(known) {
  const head = element("tr", {}, element("th", { scope: "col" }, "last value"), ...rows.map((row) => element("th", { scope: "col", class: "number" }, row.name)));
  const lines = [...known].sort().map((metric) =>
    element("tr", {}, element("th", { scope: "row" }, plainly(metric)), ...rows.map((row) => element("td", { class: "number" }, short(held.get(row.id)?.series?.[metric]?.y.at(-1) ?? null, 4)))),
  );
  place.numbers.replaceChildren(element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, ...lines)));
}
