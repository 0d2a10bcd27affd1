// A talk with one policy, or with two at once: each sees what was said to it and what it said itself.

import { element, fill } from "../elements.js";
import { say } from "../say.js";
import { compute } from "./ask.js";
import { field } from "./bar.js";
import { message, models, working } from "./play.js";

export function chat(bench) {
  const { policies } = bench;
  if (!policies.length) return [element("p", { class: "empty" }, "No run here has left a policy.")];
  let talks = [[], []];
  const first = models(policies, policies[0][0], again);
  const second = models([["", "nobody else"], ...policies], "", again);
  const thread = element("div", { class: "thread", role: "log", "aria-label": "Talk" });
  const trouble = element("p", { class: "trouble", role: "alert" });
  const { words, place } = message(bench, "You say", 2);
  const send = working("Send", trouble, speak);
  const anew = element("button", { type: "button", class: "quiet" }, "New talk");
  anew.addEventListener("click", () => {
    again();
    words.focus();
  });
  words.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send.click();
  });

  function again() {
    talks = [[], []];
    thread.replaceChildren();
  }

  async function speak() {
    const content = words.value.trim();
    if (!content) return;
    const who = [first, second].map((each) => each.value).filter(Boolean);
    const spots = who.map(() => element("div", { class: "words soft", lang: "", dir: "auto" }, "…"));
    const replies = who.map((id, at) => element("section", { class: "side", "aria-label": title(id) }, element("h2", { class: "who" }, title(id)), spots[at]));
    const turn = element("div", { class: "exchange" }, element("p", { class: "mine", lang: "", dir: "auto" }, content), element("div", { class: `sides of-${who.length}` }, ...replies));
    thread.append(turn);
    turn.scrollIntoView({ block: "nearest" });
    words.value = "";
    for (const [at, id] of who.entries()) {
      const said = [...talks[at], { role: "user", content }];
      try {
        const reply = await compute("play/reply", { model: id, said, ...bench.sampling.read() });
        fill(spots[at], reply.html || "<p><em>It ended without a word.</em></p>");
        spots[at].classList.remove("soft");
        talks[at] = [...said, { role: "assistant", content: reply.said }];
        say(`${title(id)}: ${reply.plain}`);
      } catch (error) {
        turn.remove();
        words.value = content;
        throw error;
      }
    }
    turn.scrollIntoView({ block: "nearest" });
  }

  const title = (id) => policies.find(([each]) => each === id)?.[1] ?? id;
  return [element("div", { class: "tools-row" }, field("With", first), field("and", second), anew), thread, trouble, place, element("div", { class: "go" }, send)];
}
