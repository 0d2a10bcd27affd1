// One answer on every axis, then the flags that fit it (Ouyang et al. 2022). A digit rates and goes on to the next line.

import { element } from "../elements.js";
import { alone, prompt } from "../said.js";

const axes = (question) => question.form.axes ?? [];
const flags = (question) => question.form.flags ?? [];
const low = (axis) => axis.low ?? 1;
const high = (axis) => axis.high ?? 7;
const key = (value) => (value === 10 ? "-" : String(value));
const atOnce = (question) => axes(question).length === 1 && !flags(question).length;

export function acts(settings, question) {
  const known = question ? axes(question) : [];
  const values = [...new Set(known.flatMap((axis) => range(axis)))].sort((one, other) => one - other);
  const first = Number(values[0] < 0); // negative grades have no keys; the circles do
  return [
    { name: "rate", says: "Done", keys: ["Enter"], tone: "primary", verdict },
    { name: "above", says: "The line above", keys: ["ArrowUp"], place: "keys", change: (draft) => walk(draft, -1) },
    { name: "below", says: "The line below", keys: ["ArrowDown"], place: "keys", change: (draft) => walk(draft, 1) },
    { name: "set", says: "Set or unset the flag", keys: [" "], place: "keys", change: (draft) => toggled(draft) },
    ...values.slice(first * values.filter((value) => value < 0).length).map((value) => grade(value, question)),
  ];
}

function range(axis) {
  return Array.from({ length: high(axis) - low(axis) + 1 }, (_, step) => low(axis) + step);
}

function grade(value, question) {
  const made = { name: `grade${value}`, says: `Rate it ${value}`, keys: [key(value)], place: "keys" };
  if (atOnce(question)) return { ...made, verdict: (_, draft) => said(question, rated(draft, axes(question)[0].name, value)) };
  return {
    ...made,
    change: (draft) => {
      const axis = axes(question)[draft.line];
      return axis && value >= low(axis) && value <= high(axis) ? walk(rated(draft, axis.name, value), 1) : draft;
    },
  };
}

export function begin(question) {
  return { ratings: {}, flags: {}, line: 0, lines: [...axes(question).map((axis) => axis.name), ...flags(question)], axes: axes(question).length };
}

export function drafted(question, returned) {
  const draft = begin(question);
  const own = question.shown[0].id;
  for (const [name, value] of Object.entries(returned.ratings ?? {})) {
    if (flags(question).includes(name)) draft.flags[name] = value[own] === 1;
    else draft.ratings[name] = value[own];
  }
  return draft;
}

const rated = (draft, axis, value) => ({ ...draft, ratings: { ...draft.ratings, [axis]: value } });
const walk = (draft, step) => ({ ...draft, line: Math.max(0, Math.min(draft.line + step, draft.lines.length - 1)) });

function toggled(draft, name = draft.line >= draft.axes ? draft.lines[draft.line] : null) {
  return name === null ? draft : { ...draft, flags: { ...draft.flags, [name]: !draft.flags[name] } };
}

function verdict(question, draft) {
  const open = axes(question).find((axis) => !(axis.name in draft.ratings));
  if (open) return { missing: `Not rated yet: ${open.name}.`, draft: { ...draft, line: draft.lines.indexOf(open.name) } };
  return said(question, draft);
}

function said(question, draft) {
  const own = question.shown[0].id;
  const ratings = Object.entries(draft.ratings).map(([axis, value]) => [axis, { [own]: value }]);
  const set = flags(question).map((flag) => [flag, { [own]: draft.flags[flag] ? 1 : 0 }]);
  return { ratings: Object.fromEntries([...ratings, ...set]) };
}

export function draw(question, how, draft, change) {
  const lines = axes(question).map((axis, line) => scale(axis, line, draft, change));
  const boxes = flags(question).map((flag, place) => box(flag, axes(question).length + place, draft, change));
  const flagged = boxes.length ? [element("fieldset", { class: "flags" }, element("legend", {}, "What fits it"), ...boxes)] : [];
  const form = element("div", { class: "form" }, ...lines, ...flagged);
  return element("div", { class: "pair rated" }, prompt(question, how), element("div", { class: "beside" }, alone(question, how), form));
}

function scale(axis, line, draft, change) {
  const circles = range(axis).map((value) => {
    const id = `axis-${line}-${value}`;
    const circle = element("input", { type: "radio", name: `axis-${line}`, id, value, "data-key": id, checked: draft.ratings[axis.name] === value });
    circle.addEventListener("change", () => change({ ...rated(draft, axis.name, value), line }));
    return element("label", { for: id, class: "grade" }, circle, element("span", {}, String(value)));
  });
  const ends = axis.worst || axis.best ? [element("p", { class: "ends soft" }, element("span", {}, axis.worst ?? ""), element("span", {}, axis.best ?? ""))] : [];
  const fieldset = element("fieldset", { class: "axis" }, element("legend", {}, axis.name), element("div", { class: "grades" }, ...circles), ...ends);
  fieldset.classList.toggle("at", draft.line === line);
  return fieldset;
}

function box(flag, line, draft, change) {
  const id = `flag-${line}`;
  const made = element("input", { type: "checkbox", id, "data-key": id, checked: Boolean(draft.flags[flag]) });
  made.addEventListener("change", () => change({ ...toggled(draft, flag), line }));
  const label = element("label", { for: id, class: "flag" }, made, ` ${flag}`);
  label.classList.toggle("at", draft.line === line);
  return label;
}

export function says(question, draft) {
  const name = draft.lines[draft.line];
  if (draft.line >= draft.axes) return `${name}: ${draft.flags[name] ? "set" : "not set"}`;
  return `${name}: ${draft.ratings[name] ?? "not rated yet"}`;
}

export function told(question, returned) {
  if (returned.skipped) return "skipped";
  const own = question.shown[0].id;
  const grades = axes(question).map((axis) => `${axis.name} ${returned.ratings[axis.name]?.[own]}`);
  return [...grades, ...flags(question).filter((flag) => returned.ratings[flag]?.[own])].join(", ");
}
