// The guideline, in the version that holds for the question; a labeller reads it once before the first answer.

import { element, fill } from "./elements.js";
import { read, write } from "./keeping.js";
import { get } from "./requests.js";
import { settings } from "./settings.js";

const dialog = document.getElementById("guideline");

export async function guideline(version = null) {
  const query = version ? `?version=${encodeURIComponent(version)}` : "";
  const found = await get(`/api/guideline${query}`).catch(() => null);
  show(found?.html || "<p>There is no guideline for these questions.</p>");
}

/** Opens it where this person has not seen its present version in this browser. */
export async function unread() {
  if (settings.role !== "labeller" || !settings.guideline || read("guideline") === settings.guideline) return;
  await guideline();
  write("guideline", settings.guideline);
}

function show(html) {
  const text = fill(element("div", { class: "words" }), html);
  const close = element("button", { type: "button", class: "quiet" }, "Close ", element("kbd", {}, "Esc"));
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(element("header", {}, element("h2", { id: "guideline-title" }, "Guideline"), close), text);
  dialog.showModal();
}
