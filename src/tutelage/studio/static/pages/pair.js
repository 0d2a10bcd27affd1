// Two answers to one prompt. A page gives its acts (what can be answered, by which keys) and draws a question.

import { differing } from "../diff.js";
import { element, fill } from "../elements.js";

const GRADES = [
  ["A much better", 0, 1],
  ["A better", 0, 2 / 3],
  ["A slightly better", 0, 1 / 3],
  ["Equal", null, 0],
  ["B slightly better", 1, 1 / 3],
  ["B better", 1, 2 / 3],
  ["B much better", 1, 1],
];
const BOTH_BAD = { name: "bad", says: "Both bad", keys: ["b"], tone: "neither", verdict: () => ({ no_choice: "all bad" }) };

/** settings: { scale: "binary" | "graded" }; the acts, in the order of their controls. */
export function acts(settings) {
  return settings.scale === "graded" ? [...GRADES.map(graded), BOTH_BAD] : [...BINARY, BOTH_BAD];
}

const better = (side) => (question) => ({ choice: question.shown[side].id });
const BINARY = [
  { name: "first", says: "A is better", keys: ["ArrowLeft", "f"], tone: "choice", verdict: better(0) },
  { name: "tie", says: "Equal", keys: [" "], tone: "neither", verdict: () => ({ tie: true }) },
  { name: "second", says: "B is better", keys: ["ArrowRight", "j"], tone: "choice", verdict: better(1) },
];

function graded([says, side, strength], place) {
  const verdict = side === null ? () => ({ tie: true }) : (question) => ({ ...better(side)(question), strength });
  const short = String(place + 1);
  return { name: `grade${short}`, says, short, keys: [short], tone: "grade", verdict };
}

/** The question as an element. how: { raw, diff }. */
export function draw(question, how) {
  return element(
    "div",
    { class: "pair" },
    element("section", { class: "prompt", "aria-label": "Prompt" }, ...question.context.map((each) => turn(each, how))),
    element("div", { class: "sides" }, ...sides(question, how)),
  );
}

function turn(said, how) {
  const who = said.who ? element("h3", { class: "who" }, said.who) : null;
  return element("div", { class: "turn" }, who, words(said, how));
}

function sides(question, how) {
  const texts = question.shown.map((each) => each.plain);
  const marked = how.diff ? differing(...texts) : null;
  return question.shown.map((each, place) => {
    const letter = "AB"[place];
    const id = `side-${letter}`;
    const spoken = element("span", { class: "spoken" }, "Answer ");
    const heading = element("h2", { id }, spoken, element("span", { class: "letter" }, letter));
    const body = marked ? differences(marked[place]) : words(each, how);
    return element("section", { class: "side", "data-side": letter, "aria-labelledby": id }, heading, body);
  });
}

/** lang is unknown and said to be; the direction follows the letters. */
function words(said, how) {
  const place = element("div", { class: how.raw ? "words raw" : "words", lang: "", dir: "auto" });
  if (!how.raw) return fill(place, said.html);
  place.textContent = said.plain;
  return place;
}

function differences(runs) {
  const marks = runs.map(([text, only]) => (only ? element("mark", {}, text) : text));
  return element("div", { class: "words raw", lang: "", dir: "auto" }, ...marks);
}

/** What a former answer was, in words, for whoever took it back. */
export function told(question, returned) {
  if (returned.skipped) return "skipped";
  if (returned.no_choice) return "both bad";
  if (returned.tie) return "equal";
  const side = question.shown.findIndex((each) => each.id === returned.choice);
  const grade = GRADES.find(([, place, strength]) => place === side && Math.abs(strength - returned.strength) < 0.01);
  return grade ? grade[0] : `${"AB"[side]} is better`;
}
