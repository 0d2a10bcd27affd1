// The blind arena: two policies answer, a person says which is better, and only then who is who. Answers are kept.

import { element, fill } from "../elements.js";
import { FEWEST, percent } from "../estimates.js";
import { normal } from "../keys.js";
import { say } from "../say.js";
import { ask, compute } from "./ask.js";
import { field, scrolled } from "./bar.js";
import { message, models, working } from "./play.js";

const DEAD_MS = 250; // what was pressed in the first moment was meant for something else
const ACTS = [
  ["A is better", ["arrowleft", "f"], (shown) => ({ choice: shown[0].id }), ["←"]],
  ["Equal", [" "], () => ({ tie: true }), ["Space"]],
  ["B is better", ["arrowright", "j"], (shown) => ({ choice: shown[1].id }), ["→"]],
  ["Both bad", ["b"], () => ({ no_choice: "all bad" }), ["B"]],
];
let listening = null;

export function arena(bench) {
  const { policies } = bench;
  if (policies.length < 2) return [element("p", { class: "empty" }, "The arena needs two policies.")];
  const [one, other] = [models(policies, policies[0][0]), models(policies, policies[1][0])];
  const trouble = element("p", { class: "trouble", role: "alert" });
  const ring = element("div", { class: "ring" });
  const standing = scrolled("How they stand");
  const { words, place } = message(bench, "Prompt");
  const meet = working("Both answer", trouble, async () => {
    if (!words.value.trim()) return;
    ring.replaceChildren(element("p", { class: "soft" }, "They are writing …"));
    try {
      const given = await compute("play/meet", { models: [one.value, other.value], prompt: words.value, ...bench.sampling.read() });
      question(given);
    } catch (error) {
      ring.replaceChildren();
      throw error;
    }
  });

  function question(given) {
    const shownAt = performance.now();
    const key = crypto.randomUUID();
    const sides = given.shown.map((each, at) => side(each, "AB"[at]));
    const buttons = ACTS.map(([says, , verdict, caps], at) => {
      const made = element("button", { type: "button", class: at % 2 ? "" : "choice" }, says, ...caps.map((cap) => element("kbd", {}, cap)));
      made.addEventListener("click", () => judge(verdict, says));
      return made;
    });
    ring.replaceChildren(element("div", { class: "sides of-2" }, ...sides), element("div", { class: "acts", role: "group", "aria-label": "Answer" }, ...buttons));
    ring.scrollIntoView({ block: "nearest" });
    buttons[1].focus({ preventScroll: true });
    say("Two answers. Which is better?");

    async function judge(verdict, says) {
      if (performance.now() - shownAt < DEAD_MS) return;
      trouble.textContent = "";
      buttons.forEach((each) => (each.disabled = true));
      try {
        const found = await compute("play/judge", { assignment: given.id, lease: given.lease, key, verdict: verdict(given.shown) });
        listen(null);
        found.models.forEach((model, at) => sides[at].querySelector("h2").append(element("span", { class: "revealed" }, model)));
        stands(standing, found.standing);
        say(`${says}. A was ${found.models[0]}, B was ${found.models[1]}.`);
        meet.focus({ preventScroll: true });
      } catch (error) {
        buttons.forEach((each) => (each.disabled = false)); // the same key again is the same answer
        trouble.textContent = error.message;
      }
    }
    listen((event) => {
      const act = ACTS.findIndex(([, keys]) => keys.includes(normal(event).toLowerCase()));
      if (act < 0 || (event.key === " " && event.target.closest("button") && event.target !== buttons[act])) return;
      event.preventDefault();
      buttons[act].click();
    });
  }

  ask("play/standing").then((found) => stands(standing, found.standing)).catch(() => {});
  listen(null);
  return [element("div", { class: "tools-row" }, field("One", one), field("the other", other)), place, element("div", { class: "go" }, meet), trouble, ring, standing];
}

/** One pair of ears for the keys of the question that is open. */
function listen(heard) {
  if (listening) window.removeEventListener("keydown", listening);
  listening = heard && ((event) => {
    const typing = event.target.closest?.("input, textarea, select");
    if (!typing && !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey) heard(event);
  });
  if (listening) window.addEventListener("keydown", listening);
}

function side(shown, letter) {
  const words = fill(element("div", { class: "words", lang: "", dir: "auto" }), shown.html);
  return element("section", { class: "side", "aria-label": `Answer ${letter}` }, element("h2", { class: "who" }, element("span", { class: "letter" }, letter)), words);
}

function stands(place, rows) {
  place.hidden = !rows.length;
  if (!rows.length) return place.replaceChildren();
  const head = ["policy", "against", "preferred", "95 %", "answers", "won", "lost", "equal", "both bad"];
  const lines = rows.map((row) => element("tr", {}, element("th", { scope: "row" }, row.first), element("td", {}, row.second), ...[percent(row.rate), `${percent(row.low)} to ${percent(row.high)}${row.answers < FEWEST ? ": too few to tell" : ""}`, row.answers, row.won, row.lost, row.tied, row.bad].map((cell) => element("td", { class: "number" }, String(cell)))));
  place.replaceChildren(element("h2", {}, "How they stand"), element("table", { class: "plain" }, element("thead", {}, element("tr", {}, ...head.map((says, at) => element("th", { scope: "col", class: at > 1 ? "number" : "" }, says)))), element("tbody", {}, ...lines)));
}
