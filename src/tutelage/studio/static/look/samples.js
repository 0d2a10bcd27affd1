// Replies of any step, side by side across steps, with what each token was worth as shading; and search.

import { element, fill } from "../elements.js";
import { say } from "../say.js";
import { asked, keep } from "./address.js";
import { ask } from "./ask.js";
import { field, nothing, runs, scrolled, select } from "./bar.js";
import { plainly, short } from "./words.js";

const SHADES = {
  log_ratio_nats: "log-ratio",
  advantage: "advantage",
  value: "value",
  reward: "reward",
  "": "none",
};
const ABOUT = {
  log_ratio_nats: "log π − log π_ref: orange where the policy says it more often than the reference, blue where less; nats",
  advantage: "how much better than expected, whitened over the batch: orange is made likelier, blue less likely",
  value: "what the critic expected of the rest, the score's units",
  reward: "what was paid here: the score at the end, less the KL penalty",
};
const LEVELS = 5;
const MOST = 4; // steps side by side

let [rows, row, stage, steps] = [[], null, null, []];
let stepsOf = { probe: [], drawn: [] }; // steps with replies to the same prompts, and with those that were learned from
let probing = false; // which of the two are shown
let columns = []; // steps that are shown
let shade = asked("shade", "log_ratio_nats");
let place = null;

export async function open(content) {
  rows = await runs(40, (each) => each.with_samples.length);
  rows = rows.filter((each) => each.with_samples.length);
  if (!rows.length) return content.append(nothing("No run here has samples."));
  row = rows[0];
  stage = asked("stage");
  place = { tools: element("div", { class: "tools-row" }), legend: element("p", { class: "legend soft" }), trouble: element("p", { class: "trouble" }), found: element("div"), columns: element("div", { class: "columns" }) };
  content.append(place.tools, place.legend, place.trouble, place.found, place.columns);
  await load();
}

async function load() {
  const found = await ask("look/steps", { run: row.id, stage });
  stage = found.stage;
  stepsOf = { probe: found.probe_steps.map(([step]) => step), drawn: found.steps.map(([step]) => step) };
  look(asked("probe", "1") === "1");
  told(found);
  const wanted = new URLSearchParams(location.search).getAll("step").map(Number).filter((step) => steps.includes(step));
  columns = wanted.length ? wanted.slice(0, MOST) : steps.length > 1 ? [steps[0], steps.at(-1)] : [...steps];
  place.found.replaceChildren();
  tools();
  await draw();
}

/** same: replies to the same prompts at every step, where there are any; else those of the prompts that a step drew. */
function look(same) {
  probing = stepsOf.probe.length > 0 && (same || !stepsOf.drawn.length);
  steps = probing ? stepsOf.probe : stepsOf.drawn;
}

/** The sentence of an answer on what is damaged or cannot be read; announced once. */
function told({ trouble }) {
  if (trouble && trouble !== place.trouble.textContent) say(trouble);
  place.trouble.textContent = trouble;
}

function tools() {
  const run = select(rows.map((each) => [each.id, each.name]), row.id, (id) => {
    row = rows.find((each) => each.id === id);
    stage = null;
    keep({ run: [id, ...rows.filter((each) => each.id !== id && new URLSearchParams(location.search).getAll("run").includes(each.id)).map((each) => each.id)], stage: null, step: null });
    load();
  });
  const which = select(row.with_samples.map((each) => [each, each || "the run's own"]), stage, (value) => {
    stage = value;
    keep({ stage: value, step: null });
    load();
  });
  const shading = select(Object.entries(SHADES), shade, (value) => {
    shade = value;
    keep({ shade: value });
    draw();
  });
  const prompts = select([["1", "the same at every step"], ["0", "those of each step"]], probing ? "1" : "0", (value) => {
    keep({ probe: value, step: null });
    load();
  });
  const words = element("input", { type: "search", placeholder: "words of a prompt or reply" });
  const form = element("form", { class: "search", role: "search" }, field("Search", words), element("button", { type: "submit" }, "Search"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search(words.value.trim());
  });
  const more = element("button", { type: "button", disabled: columns.length >= MOST || columns.length >= steps.length }, "Another step");
  more.addEventListener("click", () => {
    const middle = steps[Math.floor(steps.length / 2)];
    columns.push(columns.includes(middle) ? (steps.find((step) => !columns.includes(step)) ?? middle) : middle);
    columns.sort((a, b) => a - b);
    kept();
  });
  place.tools.replaceChildren(field("Run", run), ...(row.with_samples.length > 1 ? [field("Stage", which)] : []), ...(stepsOf.probe.length && stepsOf.drawn.length ? [field("Prompts", prompts)] : []), field("Shading", shading), form, more);
}

function kept() {
  keep({ step: columns });
  tools();
  draw();
}

async function draw() {
  const found = await Promise.all(columns.map((step) => samplesOf(step)));
  if (found.length) told(found.find((each) => each.trouble) ?? found[0]);
  const scale = scaleOf(found.flatMap((each) => each.samples));
  legend(scale, found.some((each) => each.samples.some((sample) => sample.tokens?.columns[shade])));
  place.columns.dataset.count = found.length;
  place.columns.replaceChildren(...found.map((each, at) => column(each, at, scale)));
}

const samplesOf = (step) => ask("look/samples", { run: row.id, stage, step, probe: probing ? 1 : null });

function column(found, at, scale) {
  const slider = element("input", { type: "range", min: 0, max: steps.length - 1, value: steps.indexOf(columns[at]), "aria-label": `Step of column ${at + 1}`, "aria-valuetext": `step ${found.step}` });
  const title = element("h2", {}, `Step ${short(found.step)}`);
  let waiting = 0;
  slider.addEventListener("input", () => {
    columns[at] = steps[Number(slider.value)];
    title.textContent = `Step ${short(columns[at])}`;
    slider.setAttribute("aria-valuetext", `step ${columns[at]}`);
    clearTimeout(waiting);
    waiting = setTimeout(() => refill(section, at), 150);
  });
  const close = element("button", { type: "button", class: "quiet", "aria-label": `Without step ${found.step}` }, "×");
  close.addEventListener("click", () => {
    columns.splice(at, 1);
    kept();
  });
  const head = element("header", {}, title, steps.length > 1 ? slider : null, columns.length > 1 ? close : null);
  const section = element("section", { class: "column", "aria-label": `Samples of column ${at + 1}` }, head, element("div", { class: "cards" }, ...found.samples.map((each) => card(each, scale)), rest(found)));
  return section;
}

async function refill(section, at) {
  keep({ step: columns });
  const found = await samplesOf(columns[at]);
  section.querySelector(".cards").replaceChildren(...found.samples.map((each) => card(each, scaleOf(found.samples))), rest(found));
  say(`Step ${found.step}`);
  told(found);
}

function rest(found) {
  const left = found.count - found.first - found.samples.length;
  return left > 0 ? element("p", { class: "soft" }, `${short(left)} more at this step; search finds them.`) : "";
}

function card(sample, scale) {
  const prompt = element("div", { class: "asked", lang: "", dir: "auto" }, sample.prompt.plain);
  const parts = sample.tokens ? [tokens(sample.tokens, scale)] : sample.texts.map((each) => written(each, sample.texts.length > 1));
  const numbers = Object.entries(sample.numbers).map(([name, value]) => element("span", { class: "fact" }, element("b", {}, short(value)), ` ${plainly(name)}`));
  return element("article", { class: "card" }, prompt, ...parts, element("p", { class: "facts" }, ...numbers), sample.tokens ? table(sample.tokens) : null);
}

function written(each, named) {
  const words = fill(element("div", { class: "words", lang: "", dir: "auto" }), each.html);
  return element("div", { class: "written" }, named ? element("p", { class: "who" }, plainly(each.name)) : null, words);
}

function tokens(given, scale) {
  const values = given.columns[shade];
  const pieces = given.pieces.map((piece, at) => {
    const told = Object.entries(given.columns).map(([name, column]) => `${SHADES[name]} ${short(column[at])}`);
    return element("span", { class: `token ${level(values?.[at], scale)}`, title: `${piece.trim() || "blank"}\n${told.join("\n")}` }, piece);
  });
  return element("div", { class: "reply", lang: "", dir: "auto" }, ...pieces);
}

function level(value, scale) {
  if (value === null || value === undefined || !scale) return "";
  const step = Math.round((LEVELS * value) / scale);
  const bounded = Math.max(-LEVELS, Math.min(LEVELS, step));
  return bounded > 0 ? `up-${bounded}` : bounded < 0 ? `down-${-bounded}` : "";
}

/** Where the deepest colour stands: what 98 of 100 tokens stay below, the same for all columns. */
function scaleOf(samples) {
  const found = samples.flatMap((each) => each.tokens?.columns[shade] ?? []).filter((value) => value !== null).map(Math.abs);
  found.sort((a, b) => a - b);
  return found[Math.floor(0.98 * (found.length - 1))] || found.at(-1) || 0;
}

function legend(scale, known) {
  if (!shade) return place.legend.replaceChildren();
  if (!known) return place.legend.replaceChildren(probing && ["advantage", "reward"].includes(shade) ? "Nothing is learned from replies to the same prompts, so their tokens have no advantage and no reward." : "No such numbers of single tokens were recorded here.");
  const boxes = [];
  for (let at = -LEVELS; at <= LEVELS; at++) boxes.push(element("i", { class: `box ${level((at * scale) / LEVELS, scale)}` }));
  const scaled = element("span", { class: "scale", "aria-hidden": "true" }, short(-scale), element("span", { class: "boxes" }, ...boxes), short(scale));
  place.legend.replaceChildren(scaled, ABOUT[shade]);
}

/** The same numbers for who cannot see or point at colours. */
function table(given) {
  const names = Object.keys(given.columns);
  const details = element("details", { class: "tokens" }, element("summary", {}, "Numbers of its tokens"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.children.length > 1) return;
    const head = element("tr", {}, element("th", { scope: "col" }, "token"), ...names.map((name) => element("th", { scope: "col", class: "number" }, SHADES[name])));
    const lines = given.pieces.map((piece, at) => element("tr", {}, element("th", { scope: "row" }, piece), ...names.map((name) => element("td", { class: "number" }, short(given.columns[name][at])))));
    details.append(scrolled("Numbers of its tokens", element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, ...lines))));
  });
  return details;
}

async function search(words) {
  if (!words) return place.found.replaceChildren();
  const answer = await ask("look/search", { run: row.id, stage, words });
  const { hits, more } = answer;
  const scale = scaleOf(hits);
  const cards = hits.map((hit) => {
    const go = element("button", { type: "button", class: "quiet" }, `Step ${short(hit.step)}`);
    go.addEventListener("click", () => {
      if (hit.probe !== probing) {
        look(hit.probe);
        keep({ probe: hit.probe ? "1" : "0" });
        columns = [hit.step];
      }
      columns[columns.length - 1] = hit.step;
      kept();
      place.columns.scrollIntoView();
    });
    const made = card(hit, scale);
    made.prepend(go);
    return made;
  });
  const heading = `${hits.length}${more ? " and more" : ""} with “${words}”`;
  const close = element("button", { type: "button", class: "quiet" }, "Close");
  close.addEventListener("click", () => place.found.replaceChildren());
  place.found.replaceChildren(element("section", { class: "hits", "aria-label": "Found" }, element("header", {}, element("h2", {}, heading), close), element("div", { class: "cards flow" }, ...cards)));
  say(heading);
  told(answer);
}
