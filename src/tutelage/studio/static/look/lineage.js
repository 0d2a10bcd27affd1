// Which labels made which reward model made which policy: choose one, and what it came from and went into lights up.

import { element } from "../elements.js";
import { estimated } from "../estimates.js";
import { say } from "../say.js";
import { asked, keep, link } from "./address.js";
import { ask } from "./ask.js";
import { field, nothing } from "./bar.js";
import { plainly, short } from "./words.js";

const COLUMNS = [
  ["start", "Where it began"],
  ["labels", "Labels and data"],
  ["models", "Reward models"],
  ["policies", "Policies"],
  ["results", "Evaluations"],
];
const REWARDS = ["reward", "held out reward", "learned from"];
const SVG = document.getElementById("drawing").namespaceURI;

let [nodes, edges] = [new Map(), []];
let picked = asked("node");
let place = null;

export async function open(content) {
  const found = await ask("look/lineage");
  if (!found.nodes.length) return content.append(nothing("No run here has made a model or kept labels."));
  nodes = new Map(found.nodes.map((node) => [node.id, node]));
  edges = found.edges.filter((edge) => nodes.has(edge.from) && nodes.has(edge.to));
  for (const node of nodes.values()) node.column = columnOf(node);
  const words = element("input", { type: "search", placeholder: "run, stage, labeller …" });
  words.addEventListener("input", () => find(words.value));
  place = { map: element("div", { class: "map" }), lines: document.createElementNS(SVG, "svg"), told: element("section", { class: "told", "aria-label": "Chosen", "aria-live": "polite" }) };
  place.lines.setAttribute("class", "lines");
  place.lines.setAttribute("aria-hidden", "true");
  content.append(element("div", { class: "tools-row" }, field("Find", words), element("p", { class: "soft" }, "A labeller's name finds every snapshot that holds their labels.")), place.told, place.map);
  draw();
  new ResizeObserver(connect).observe(place.map);
  choose(nodes.has(picked) ? picked : null);
}

/** A policy that was optimised stands behind the reward models, one that was only taught before the labels. */
function columnOf(node) {
  const [into, from] = [edges.filter((edge) => edge.to === node.id), edges.filter((edge) => edge.from === node.id)];
  const rewarded = into.some((edge) => REWARDS.includes(edge.by) || nodes.get(edge.from).kind === "reward model");
  if (node.kind === "policy") return rewarded ? "policies" : "start";
  if (node.kind !== "elsewhere") return { "reward model": "models", labels: "labels" }[node.kind] ?? "results";
  if (from.some((edge) => REWARDS.includes(edge.by))) return "models";
  return from.some((edge) => edge.by === "model" || edge.by === "baseline") ? "start" : "labels";
}

function draw() {
  const columns = COLUMNS.map(([name, title]) => {
    const mine = [...nodes.values()].filter((node) => node.column === name).sort((a, b) => (b.changed ?? 0) - (a.changed ?? 0));
    return mine.length ? element("section", { class: `made ${name}`, "aria-label": title }, element("h2", {}, title), ...mine.map(button)) : null;
  });
  place.map.replaceChildren(place.lines, ...columns.filter(Boolean));
}

const SHARES = ["accuracy", "win_rate"];

/** [name, what is written]: shares with their interval and size, everything else as it is. */
function numbers(node) {
  const all = node.numbers ?? {};
  const told = Object.keys(all).filter((name) => !SHARES.some((share) => name.startsWith(`${share}_`)));
  return told.map((name) => [plainly(name), SHARES.includes(name) ? estimated(all[name], all[`${name}_low`], all[`${name}_high`], all[`${name}_n`]) : short(all[name])]);
}

function button(node) {
  const facts = numbers(node).slice(0, 2).map(([name, value]) => `${value} ${name}`);
  const made = element("button", { type: "button", class: "node", "data-node": node.id, "aria-pressed": "false" }, element("span", {}, node.title), facts.length ? element("small", { class: "soft" }, facts.join(" · ")) : null, node.trouble ? element("small", { class: "trouble" }, node.trouble) : null);
  made.addEventListener("click", () => choose(picked === node.id ? null : node.id));
  return made;
}

/** Everything on the way from here; along(edge) gives [the end where one stands, the other end]. */
function reached(start, along) {
  const found = new Map();
  const waiting = [start];
  while (waiting.length) {
    const here = waiting.pop();
    for (const edge of edges) {
      const [near, far] = along(edge);
      if (near !== here || found.has(far)) continue;
      found.set(far, edge);
      waiting.push(far);
    }
  }
  return found;
}

function choose(id) {
  picked = id;
  keep({ node: id });
  const before = id ? reached(id, (edge) => [edge.to, edge.from]) : new Map();
  const after = id ? reached(id, (edge) => [edge.from, edge.to]) : new Map();
  place.map.classList.toggle("choosing", Boolean(id));
  for (const each of place.map.querySelectorAll(".node")) {
    const { node } = each.dataset;
    each.classList.toggle("lit", node === id || before.has(node) || after.has(node));
    each.setAttribute("aria-pressed", String(node === id));
  }
  connect();
  tell(id && nodes.get(id), before, after);
}

function tell(node, before, after) {
  if (!node) return place.told.replaceChildren(element("p", { class: "soft" }, "Choose one to see what made it and what it made."));
  const people = Object.entries(node.people ?? {}).sort((a, b) => b[1] - a[1]);
  const facts = numbers(node).map(([name, value]) => element("span", { class: "fact" }, element("b", {}, value), ` ${name}`));
  const open = node.run && node.kind !== "labels" ? element("a", { class: "button", href: link("curves", [node.run], { stage: node.stage || null }) }, "Curves") : null;
  place.told.replaceChildren(
    element("h2", {}, node.title),
    element("p", { class: "facts" }, element("span", { class: "fact" }, node.kind), ...facts, node.taken_back ? element("span", { class: "trouble" }, `${node.taken_back} of its labels were taken back since`) : null),
    people.length ? element("p", {}, element("b", {}, "From "), people.map(([name, count]) => `${name} (${short(count)})`).join(", ")) : "",
    listed("Made of", before, "from"),
    listed("Went into", after, "to"),
    open ?? "",
  );
}

function listed(title, found, end) {
  if (!found.size) return "";
  const items = [...found].map(([id, edge]) => {
    const go = element("button", { type: "button", class: "quiet" }, nodes.get(id).title);
    go.addEventListener("click", () => {
      choose(id);
      place.map.querySelector(`[data-node="${CSS.escape(id)}"]`)?.scrollIntoView({ block: "nearest" });
    });
    const by = edge[end] === id ? element("span", { class: "soft" }, ` ${nodes.get(id).kind}${edge.by === "stage" ? "" : `, as ${edge.by}`}`) : null;
    return element("li", {}, go, by);
  });
  return element("div", { class: "ends" }, element("h3", {}, title), element("ul", {}, ...items));
}

/** Lines between neighbours; only what is lit where something is chosen. */
function connect() {
  const area = place.map.getBoundingClientRect();
  place.lines.setAttribute("viewBox", `0 0 ${area.width} ${place.map.scrollHeight}`);
  place.lines.setAttribute("width", area.width);
  place.lines.setAttribute("height", place.map.scrollHeight);
  const at = (id) => place.map.querySelector(`[data-node="${CSS.escape(id)}"]`);
  const made = [];
  for (const edge of edges) {
    const [one, other] = [at(edge.from), at(edge.to)];
    if (!one || !other || one.hidden || other.hidden) continue;
    const lit = one.classList.contains("lit") && other.classList.contains("lit");
    const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("d", route(a, b, area));
    line.setAttribute("class", lit ? "lit" : "");
    made.push(line);
  }
  place.lines.replaceChildren(...made);
}

function route(a, b, area) {
  const [ya, yb] = [a.top + a.height / 2 - area.top, b.top + b.height / 2 - area.top];
  const forward = b.left >= a.right;
  const [xa, xb] = forward ? [a.right - area.left, b.left - area.left] : b.right <= a.left ? [a.left - area.left, b.right - area.left] : [a.left - area.left, b.left - area.left];
  const bend = forward ? (xb - xa) / 2 : b.right <= a.left ? (xb - xa) / 2 : -18;
  return `M${xa} ${ya} C${xa + bend} ${ya} ${xb - (forward || b.right <= a.left ? bend : -bend)} ${yb} ${xb} ${yb}`;
}

function find(words) {
  const wanted = words.toLowerCase().trim();
  let count = 0;
  for (const each of place.map.querySelectorAll(".node")) {
    const node = nodes.get(each.dataset.node);
    const fits = !wanted || `${node.title} ${node.kind} ${Object.keys(node.people ?? {}).join(" ")}`.toLowerCase().includes(wanted);
    each.hidden = !fits;
    count += fits;
  }
  connect();
  say(`${count} found`);
}
