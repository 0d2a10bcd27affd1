// Two answers to one prompt.
//
// What every page gives: acts(settings, question) -> what can be done, by which keys; draw(question, how, draft, change);
// told(question, returned), a former answer in words. Those whose answer takes more than one key also have
// begin(question) -> draft and drafted(question, returned) -> draft; their acts give change(draft) -> draft, or
// verdict(question, draft) -> the verdict, or { missing: what is to be told, draft }; place "keys": without a control.

import { differing } from "../diff.js";
import { element } from "../elements.js";
import { LETTERS, differences, letter, prompt, words } from "../said.js";

export const differs = true; // two texts, whose differences can be shown

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
    prompt(question, how),
    element("div", { class: "sides" }, ...sides(question, how)),
  );
}

function sides(question, how) {
  const texts = question.shown.map((each) => each.plain);
  const marked = how.diff ? differing(...texts) : null;
  return question.shown.map((each, place) => {
    const id = `side-${LETTERS[place]}`;
    const body = marked ? differences(marked[place]) : words(each, how);
    return element("section", { class: "side", "data-side": LETTERS[place], "aria-labelledby": id }, letter(place, id), body);
  });
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
