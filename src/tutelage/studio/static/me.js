// What concerns the person alone: how far the qualification is, what they want to see, and leaving, which costs nothing.

import { element } from "./elements.js";
import { get, post } from "./requests.js";
import { tell } from "./say.js";

export class Me {
  /** changed(): what may be asked of this person has changed. */
  constructor(dialog, { changed }) {
    Object.assign(this, { dialog, changed });
  }

  async open() {
    const found = await get("/api/me").catch(() => null);
    if (!found) return tell("The server does not answer; try again in a moment.");
    const close = element("button", { type: "button", class: "quiet" }, "Close ", element("kbd", {}, "Esc"));
    close.addEventListener("click", () => this.dialog.close());
    this.dialog.replaceChildren(
      element("header", {}, element("h2", { id: "me-title" }, `You: ${found.name}`), close),
      ...this.standing(found),
      this.warned(found),
      element("h3", {}, "Leaving"),
      element("p", {}, "You can stop at any moment, for a while or for good. What you answered is kept and counts; nobody holds it against you."),
      this.exit(),
    );
    this.dialog.showModal();
  }

  standing({ role, standing, answered }) {
    const lines = [element("p", {}, `Your role is ${role}. You have given ${answered} answers.`)];
    if (standing.total) lines.push(element("p", {}, `Qualification: ${standing.answered} of ${standing.total} answered, ${standing.right} as we would.`));
    return lines;
  }

  warned({ warned, an_hour }) {
    const box = element("input", { type: "checkbox", checked: warned });
    box.addEventListener("change", async () => {
      await post("/api/me/warned", { warned: box.checked }).catch(() => (box.checked = !box.checked));
      this.changed();
    });
    const says = ` Also ask me about texts that may distress (marked, covered until I look; at most ${an_hour} an hour)`;
    return element("label", { class: "line" }, box, says);
  }

  exit() {
    const button = element("button", { type: "button" }, "Leave for good");
    button.addEventListener("click", async () => {
      if (!button.dataset.sure) {
        button.dataset.sure = "yes";
        button.textContent = "Leave for good: press once more";
        return;
      }
      const gone = await post("/api/me/exit").catch(() => null);
      if (!gone) return tell("The server does not answer; try again in a moment.");
      sessionStorage.setItem("left", "yes");
      location.assign("/");
    });
    return button;
  }
}
