// One answer: good or bad.

import { element } from "../elements.js";
import { alone, prompt } from "../said.js";

const AXIS = "label";
const rated = (value) => (question) => ({ ratings: { [AXIS]: { [question.shown[0].id]: value } } });

export function acts() {
  return [
    { name: "first", says: "Bad", keys: ["ArrowLeft", "f"], tone: "choice", verdict: rated(0) },
    { name: "second", says: "Good", keys: ["ArrowRight", "j"], tone: "choice", verdict: rated(1) },
  ];
}

export function draw(question, how) {
  return element("div", { class: "pair" }, prompt(question, how), alone(question, how));
}

export function told(question, returned) {
  return returned.skipped ? "skipped" : returned.ratings[AXIS][question.shown[0].id] ? "good" : "bad";
}
