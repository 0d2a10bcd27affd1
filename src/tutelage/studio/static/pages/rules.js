// One answer, one rule above it, three verdicts: one rule at a time makes people agree more (Glaese et al. 2022).

import { element } from "../elements.js";
import { alone, prompt } from "../said.js";

const said = (broken) => (question) => ({ rules: { [question.form.rule]: { [question.shown[0].id]: broken } } });

export function acts() {
  return [
    { name: "first", says: "Breaks the rule", keys: ["y", "1"], tone: "choice", verdict: said(true) },
    { name: "unsure", says: "Unsure", keys: [" ", "2"], tone: "neither", verdict: said(null) },
    { name: "second", says: "Follows it", keys: ["n", "3"], tone: "choice", verdict: said(false) },
  ];
}

export function draw(question, how) {
  const rule = element(
    "section",
    { class: "rule", "aria-labelledby": "rule-title" },
    element("h2", { id: "rule-title" }, "Does the answer break this rule?"),
    element("p", { lang: "", dir: "auto" }, question.form.rule),
  );
  return element("div", { class: "pair ruled" }, rule, prompt(question, how), alone(question, how));
}

export function told(question, returned) {
  if (returned.skipped) return "skipped";
  const broken = Object.values(returned.rules)[0][question.shown[0].id];
  return broken === null ? "unsure" : broken ? "breaks the rule" : "follows it";
}
