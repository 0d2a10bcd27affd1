// What was said, as every page draws it: the prompt or talk above, an answer's words, where two texts differ.

import { element, fill } from "./elements.js";

export const LETTERS = "ABCDEFGHIJKL";

/** The prompt, or the turns of a talk. how: { raw } */
export function prompt(question, how) {
  const turns = question.context.map((each) => turn(each, how));
  return element("section", { class: "prompt", "aria-label": "Prompt" }, ...turns);
}

export function turn(said, how) {
  const who = said.who ? element("p", { class: "who" }, said.who) : null;
  return element("div", { class: "turn" }, who, words(said, how));
}

/** lang is unknown and said to be; the direction follows the letters. */
export function words(said, how) {
  const place = element("div", { class: how.raw ? "words raw" : "words", lang: "", dir: "auto" });
  if (!how.raw) return fill(place, said.html);
  place.textContent = said.plain;
  return place;
}

export function differences(runs) {
  const marks = runs.map(([text, only]) => (only ? element("mark", {}, text) : text));
  return element("div", { class: "words raw", lang: "", dir: "auto" }, ...marks);
}

/** The heading of an answer: its letter, with what a screen reader says before it. */
export function letter(place, id) {
  const spoken = element("span", { class: "spoken" }, "Answer ");
  return element("h2", { id }, spoken, element("span", { class: "letter" }, LETTERS[place]));
}

/** The only answer of a question, without a letter. */
export function alone(question, how) {
  const heading = element("h2", { id: "side-A" }, "Answer");
  return element("section", { class: "side alone", "aria-labelledby": "side-A" }, heading, words(question.shown[0], how));
}
