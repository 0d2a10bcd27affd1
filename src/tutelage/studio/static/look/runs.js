// All runs of the folder, as they are now. What is broken in one is told in its row.

import { element } from "../elements.js";
import { estimated } from "../estimates.js";
import { say } from "../say.js";
import { asked, chosen, keep, link } from "./address.js";
import { again, ask } from "./ask.js";
import { field, nothing, scrolled, select } from "./bar.js";
import { spark } from "./spark.js";
import { ago, lasting, plainly, short } from "./words.js";

const SILENT = 120; // seconds after which a run that says it runs is told to be silent
const NEXT = { curves: "Curves", samples: "Samples", doctor: "Doctor", frontier: "Frontier", play: "Play" };
const latest = (name) => (row) => row.latest[name] ?? null;
const COLUMNS = [
  { name: "name", says: "Run", value: (row) => row.name, draw: named },
  { name: "status", says: "State", value: (row) => row.status, draw: stated },
  { name: "step", says: "Step", value: (row) => row.step, draw: stepped, number: true },
  { name: "line", says: "Score", value: (row) => row.line.values.at(-1) ?? null, draw: lined, number: true },
  { name: "kl", says: "KL, nats", value: latest("kl_nats_per_sequence"), wide: true, number: true },
  { name: "length", says: "Length", value: latest("actions"), wide: true, number: true },
  { name: "entropy", says: "Entropy", value: latest("entropy_nats"), wide: true, number: true },
  { name: "wins", says: "Wins", value: (row) => row.win_rate, draw: (row) => estimated(row.win_rate, row.win_rate_low, row.win_rate_high, row.win_rate_n), wide: true, number: true },
  { name: "seconds", says: "Took", value: (row) => row.seconds, draw: (row) => lasting(row.seconds), wide: true, number: true },
  { name: "changed", says: "Changed", value: (row) => row.changed, draw: changed, number: true },
];

const rows = new Map(); // id -> { row, made }
const picked = new Set(chosen());
let order = { name: asked("by", "changed"), down: asked("down", "1") === "1" };
let filter = { words: asked("words", ""), status: asked("status", "") };
let now = 0;
let mark = null;
let place = null;

export async function open(content) {
  place = {
    body: element("tbody"),
    head: element("tr"),
    count: element("p", { class: "soft count" }),
    next: element("div", { class: "next" }),
    empty: element("div"),
  };
  const table = element("table", { class: "runs" }, element("thead", {}, place.head), place.body);
  content.append(filters(), scrolled("Runs", table), place.empty, place.next);
  await look();
  again(look);
}

async function look() {
  const found = await ask("look/runs", { mark });
  now = found.now;
  mark = found.mark;
  if (found.runs) {
    const ids = new Set(found.runs.map((row) => row.id));
    for (const id of rows.keys()) if (!ids.has(id)) rows.delete(id);
    for (const row of found.runs) {
      const before = rows.get(row.id);
      if (!before || JSON.stringify(before.row) !== JSON.stringify(row)) rows.set(row.id, { row, made: null });
    }
    for (const id of picked) if (!ids.has(id)) picked.delete(id);
  }
  draw();
}

function filters() {
  const words = element("input", { type: "search", value: filter.words, placeholder: "name, verb …" });
  words.addEventListener("input", () => narrow({ words: words.value }));
  const states = [["", "any"], ["running", "running"], ["finished", "finished"], ["interrupted", "interrupted"], ["crashed", "crashed"], ["killed", "killed"], ["broken", "with trouble"]];
  const status = select(states, filter.status, (value) => narrow({ status: value }));
  return element("div", { class: "tools-row" }, field("Find", words), field("State", status), place.count);
}

function narrow(change) {
  filter = { ...filter, ...change };
  keep(change);
  draw();
}

function shown() {
  const words = filter.words.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = ({ row }) => words.every((word) => `${row.name} ${row.verb} ${row.status}`.toLowerCase().includes(word));
  const state = ({ row }) => !filter.status || (filter.status === "broken" ? row.trouble : row.status === filter.status);
  const { value } = COLUMNS.find((each) => each.name === order.name) ?? COLUMNS[0];
  const compare = (one, other) => {
    const [a, b] = [value(one.row), value(other.row)];
    if (a === null || b === null) return (a === null) - (b === null);
    return (a < b ? -1 : a > b ? 1 : 0) * (order.down ? -1 : 1);
  };
  return [...rows.values()].filter((each) => fits(each) && state(each)).sort(compare);
}

function draw() {
  heads();
  const found = shown();
  const lines = found.map(lineOf);
  const same = lines.length === place.body.children.length && lines.every((line, at) => line === place.body.children[at]);
  if (!same) place.body.replaceChildren(...lines);
  place.count.textContent = `${found.length} of ${rows.size} runs`;
  place.empty.replaceChildren();
  if (!rows.size) place.empty.append(nothing("There is no run in this folder yet. One begins with ", element("code", {}, "tutelage demo"), "; it appears here by itself."));
  nexts();
}

function heads() {
  if (place.head.children.length) {
    COLUMNS.forEach((column, at) => place.head.children[at + 1].setAttribute("aria-sort", sorted(column)));
    return;
  }
  const all = element("input", { type: "checkbox", "aria-label": "All runs that are shown" });
  all.addEventListener("change", () => {
    for (const { row } of shown()) all.checked ? picked.add(row.id) : picked.delete(row.id);
    changedChoice();
  });
  place.head.append(element("th", { class: "pick" }, all), ...COLUMNS.map(head));
}

const sorted = (column) => (column.name === order.name ? (order.down ? "descending" : "ascending") : "none");

function head(column) {
  const button = element("button", { type: "button", class: "quiet sort" }, column.says);
  button.addEventListener("click", () => {
    order = { name: column.name, down: order.name === column.name ? !order.down : column.name !== "name" };
    keep({ by: order.name, down: order.down ? "1" : "0" });
    draw();
  });
  return element("th", { scope: "col", class: classes(column), "aria-sort": sorted(column) }, button);
}

const classes = (column) => `${column.wide ? "wide" : ""} ${column.number ? "number" : ""} at-${column.name}`;

function lineOf(each) {
  const { row } = each;
  each.made ??= line(row);
  each.made.querySelector("input").checked = picked.has(row.id);
  each.made.classList.toggle("picked", picked.has(row.id));
  const age = each.made.querySelector(".at-changed");
  const text = ago(Math.max(0, now - row.changed));
  if (age.textContent !== text) age.textContent = text;
  each.made.classList.toggle("silent", row.status === "running" && now - row.changed > SILENT);
  return each.made;
}

function line(row) {
  const box = element("input", { type: "checkbox", "aria-label": `Choose ${row.name}` });
  box.addEventListener("change", () => {
    box.checked ? picked.add(row.id) : picked.delete(row.id);
    changedChoice();
  });
  const cells = COLUMNS.map((column) => element(column.name === "name" ? "th" : "td", { class: classes(column), scope: column.name === "name" ? "row" : null }, column.draw ? column.draw(row) : short(column.value(row))));
  return element("tr", {}, element("td", { class: "pick" }, box), ...cells);
}

function named(row) {
  const about = [row.verb, row.stage].filter(Boolean).join(" · ");
  return element(
    "span",
    { class: "run-name" },
    element("a", { href: link("curves", [row.id]) }, row.name),
    about ? element("small", { class: "soft" }, about) : null,
    row.ended ? element("small", { class: "trouble" }, row.ended) : null,
    row.trouble ? element("small", { class: "trouble" }, row.trouble) : null,
  );
}

function stated(row) {
  const silent = row.status === "running" && now - row.changed > SILENT;
  const says = silent ? `silent for ${lasting(now - row.changed)}` : row.stopped_by ? `${row.status}: ${row.stopped_by}` : row.status;
  return element("span", { class: `state ${row.status}` }, says);
}

function stepped(row) {
  if (row.step === null) return "–";
  const done = row.step + 1;
  const told = row.steps ? `${short(done)} / ${short(row.steps)}` : short(done);
  const going = row.status === "running" && row.steps;
  return going ? element("span", {}, told, element("progress", { max: row.steps, value: Math.min(done, row.steps), "aria-label": "Steps" })) : told;
}

function lined(row) {
  const { metric, values } = row.line;
  if (!values.length) return "–";
  const says = `${plainly(metric)}: ${short(values[0])} to ${short(values.at(-1))}`;
  return element("span", { class: "lined", title: says }, spark(values, says), element("span", {}, short(values.at(-1))), element("small", { class: "soft" }, plainly(metric)));
}

function changed(row) {
  return ago(Math.max(0, now - row.changed));
}

function changedChoice() {
  keep({ run: [...picked] });
  draw();
  say(`${picked.size} chosen`);
}

/** Where to go with what was chosen. */
function nexts() {
  place.next.hidden = !picked.size;
  if (!picked.size) return;
  const links = Object.entries(NEXT).map(([page, says]) => element("a", { class: "button", href: link(page, [...picked]) }, says));
  const none = element("button", { type: "button", class: "quiet" }, "None");
  none.addEventListener("click", () => {
    picked.clear();
    changedChoice();
    place.body.querySelector("input")?.focus();
  });
  place.next.replaceChildren(element("span", { class: "soft" }, `${picked.size} chosen`), ...links, none);
}
