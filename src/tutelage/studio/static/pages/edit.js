// One answer, written as it should have been, with what changed word by word; or a reply where there is none yet.

import { differing } from "../diff.js";
import { element } from "../elements.js";
import { differences, prompt, words } from "../said.js";

const LONGEST = 16000; // letters; what one request can carry
const UNCHANGED = "Nothing was changed. Once more, if it is right as it is.";

export function acts() {
  return [
    { name: "done", says: "Done", keys: ["Ctrl+Enter"], tone: "primary", verdict },
    { name: "write", says: "Write", keys: ["e", "Enter"], tone: "neither", focus: "[data-key=text]" },
  ];
}

export const begin = (question) => ({ text: question.shown[0].exact, sure: false });

export function drafted(question, returned) {
  return { ...begin(question), text: returned.edits?.[question.shown[0].id] ?? question.shown[0].exact };
}

function verdict(question, draft) {
  const found = question.shown[0];
  if (!draft.text.trim()) return { missing: "Nothing is written yet." };
  if (draft.text === found.exact && !draft.sure) return { missing: UNCHANGED, draft: { ...draft, sure: true } };
  return { edits: { [found.id]: draft.text } };
}

export function draw(question, how, draft, change) {
  const found = question.shown[0];
  const fresh = !found.exact.trim();
  const field = element("textarea", { id: "text", "data-key": "text", rows: 8, maxlength: LONGEST, lang: "", dir: "auto", spellcheck: true });
  field.value = draft.text;
  const changes = element("div", { class: "changes" });
  const compare = () => changes.replaceChildren(...(fresh ? [] : compared(found.exact, field.value)));
  field.addEventListener("input", () => {
    change({ text: field.value, sure: false }, false);
    compare();
  });
  field.addEventListener("keydown", (event) => event.key === "Escape" && field.blur());
  compare();
  const label = element("label", { for: "text", class: "label" }, fresh ? "Your answer" : "As it should be");
  const before = element("section", { class: "side", "aria-labelledby": "side-A" }, element("h2", { id: "side-A" }, "Answer"), words(found, how));
  const written = element("section", { class: "side", "aria-label": "Edit" }, label, field, changes);
  const sides = element("div", { class: fresh ? "sides one" : "sides" }, ...(fresh ? [written] : [before, written]));
  return element("div", { class: "pair edited" }, prompt(question, how), sides);
}

/** What was taken out and what was put in. */
function compared(before, after) {
  const [out, into] = differing(before, after);
  const heading = element("h3", { class: "who" }, "What changed");
  if (before === after) return [heading, element("p", { class: "soft" }, "Nothing yet.")];
  const gone = differences(out);
  gone.querySelectorAll("mark").forEach((each) => each.replaceWith(element("del", {}, each.textContent)));
  const come = differences(into);
  come.querySelectorAll("mark").forEach((each) => each.replaceWith(element("ins", {}, each.textContent)));
  return [heading, gone, come];
}

export function told(question, returned) {
  return returned.skipped ? "skipped" : "your text";
}
