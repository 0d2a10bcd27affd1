// The last answers of this person, each to be looked at and taken back.

import { element } from "./elements.js";
import { get } from "./requests.js";
import { tell } from "./say.js";

const LETTERS = 160; // of a prompt

export class Mine {
  /** pages: by kind, which say what was answered; back(event): takes it back. */
  constructor(dialog, { pages, back }) {
    Object.assign(this, { dialog, pages, back });
  }

  async open() {
    const found = await get("/api/mine").catch(() => null);
    if (!found) return tell("The server does not answer; try again in a moment.");
    const close = element("button", { type: "button", class: "quiet" }, "Close ", element("kbd", {}, "Esc"));
    close.addEventListener("click", () => this.dialog.close());
    const rows = found.acts.filter(({ question }) => this.pages[question.kind]).map((act) => this.row(act));
    const about = rows.length ? `Your last ${rows.length}, the newest first. One that is taken back is asked again, and can be answered otherwise.` : "There are none yet.";
    this.dialog.replaceChildren(element("header", {}, element("h2", { id: "mine-title" }, "My answers"), close), element("p", { class: "soft" }, about), element("ol", { class: "mine-list" }, ...rows));
    this.dialog.showModal();
  }

  row({ event, question }) {
    const prompt = question.context.map((turn) => turn.plain).join(" ").replace(/\s+/g, " ");
    const shown = prompt.length > LETTERS ? `${prompt.slice(0, LETTERS)} …` : prompt;
    const said = this.pages[question.kind].told(question, question.returned);
    const button = element("button", { type: "button", "aria-label": `Take back: ${said}, of ${shown}` }, "Take back");
    button.addEventListener("click", () => {
      this.dialog.close();
      this.back(event);
    });
    return element("li", {}, element("span", { lang: "", dir: "auto" }, shown || "(no prompt)"), element("b", {}, said), button);
  }
}
