// A question that may distress is not shown before somebody wants to see it, and not answered unseen.

import { element } from "./elements.js";

let seen = null;

export const covered = (question) => Boolean(question.form.warning) && seen !== question.id;

/** What covers the question, or null where nothing does; shown() once somebody looks. */
export function cover(question, shown) {
  if (!covered(question)) return null;
  const look = element("button", { type: "button", class: "primary" }, "Show it");
  look.addEventListener("click", () => {
    seen = question.id;
    shown();
  });
  const says = element("p", {}, `This may distress: ${question.form.warning}. You may skip it; nobody asks why.`);
  return element("div", { class: "pair cover" }, says, look);
}
