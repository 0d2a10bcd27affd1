// Any number of answers, from the best to the worst; equal ones share a place. Keys, buttons and dragging do the same.

import { draggable } from "../drag.js";
import { element } from "../elements.js";
import { drop, flat, move, placeOf, put, tie } from "../ranks.js";
import { LETTERS, letter, prompt, words } from "../said.js";

const UNTOUCHED = "That is the order in which they came. Once more, if it is your ranking.";

/** The acts: the last ones have no control of their own, since every card has its. */
export function acts(settings, question) {
  const count = question?.shown.length ?? 0;
  const digits = Array.from({ length: Math.min(count, 9) }, (_, place) => put_at(place + 1));
  return [
    { name: "rank", says: "That is my ranking", keys: ["Enter"], tone: "primary", verdict },
    { name: "bad", says: "None is any good", keys: ["b"], tone: "neither", verdict: () => ({ no_choice: "all bad" }) },
    { name: "above", says: "The answer above", keys: ["ArrowUp"], place: "keys", change: (draft) => walk(draft, -1) },
    { name: "below", says: "The answer below", keys: ["ArrowDown"], place: "keys", change: (draft) => walk(draft, 1) },
    { name: "up", says: "Move up", keys: ["Shift+ArrowUp"], place: "keys", change: with_(move, -1) },
    { name: "down", says: "Move down", keys: ["Shift+ArrowDown"], place: "keys", change: with_(move, 1) },
    { name: "tie", says: "As good as the one above", keys: ["="], place: "keys", change: with_(tie) },
    ...digits,
  ];
}

const put_at = (number) => ({
  name: `put${number}`,
  says: `To place ${number}`,
  keys: [String(number)],
  place: "keys",
  change: with_(put, number),
});

function with_(moving, argument) {
  return (draft) => moved(draft, draft.at, (places) => moving(places, draft.at, argument));
}

function moved(draft, at, moving) {
  return { ...draft, at, places: moving(draft.places), touched: true };
}

function walk(draft, step) {
  const names = flat(draft.places);
  const next = names.indexOf(draft.at) + step;
  return { ...draft, at: names[Math.max(0, Math.min(next, names.length - 1))] };
}

export function begin(question) {
  const names = question.shown.map((each) => each.id);
  return { places: names.map((each) => [each]), at: names[0], touched: false };
}

export function drafted(question, returned) {
  const names = question.shown.map((each) => each.id);
  const places = returned.tie ? [names] : returned.ranking;
  return places ? { places, at: places[0][0], touched: true } : begin(question);
}

function verdict(question, draft) {
  if (!draft.touched) return { missing: UNTOUCHED, draft: { ...draft, touched: true } };
  return draft.places.length === 1 ? { tie: true } : { ranking: draft.places };
}

export function draw(question, how, draft, change) {
  const places = draft.places.map((names, place) =>
    element(
      "li",
      { class: "place", "aria-label": `Place ${place + 1}${names.length > 1 ? ", tied" : ""}` },
      element("span", { class: "number", "aria-hidden": "true" }, String(place + 1)),
      element("div", { class: "tied" }, ...names.map((name) => card(question, name, how, draft, change))),
    ),
  );
  const list = element("ol", { class: "ranking", "aria-label": "Your ranking, the best first" }, ...places);
  return element("div", { class: "pair ranks" }, prompt(question, how), list);
}

function card(question, name, how, draft, change) {
  const place = question.shown.findIndex((each) => each.id === name);
  const own = LETTERS[place];
  const id = `side-${own}`;
  const handle = element("span", { class: "handle", "aria-hidden": "true", title: "Drag" }, "⠿");
  const act = (key, label, sign, moving) => {
    const made = element("button", { type: "button", class: "quiet", "aria-label": label, "data-key": `${name}:${key}` }, sign);
    made.addEventListener("click", () => change(moved(draft, name, moving)));
    return made;
  };
  const buttons = element(
    "div",
    { class: "moves", role: "group", "aria-label": `Move ${own}` },
    act("up", `Move ${own} up`, "↑", (places) => move(places, name, -1)),
    act("tie", `${own} is as good as the one above`, "=", (places) => tie(places, name)),
    act("down", `Move ${own} down`, "↓", (places) => move(places, name, 1)),
  );
  const attributes = { "aria-labelledby": id, "data-key": name, "data-side": own, tabindex: name === draft.at ? 0 : -1 };
  const top = element("header", {}, handle, letter(place, id), buttons);
  const made = element("section", { class: "side card", ...attributes }, top, words(question.shown[place], how));
  made.classList.toggle("at", name === draft.at);
  made.addEventListener("focus", () => {
    made.parentElement.closest(".ranking").querySelectorAll(".at").forEach((each) => each.classList.remove("at"));
    made.classList.add("at");
    change({ ...draft, at: name }, false);
  });
  draggable(handle, made, (other, where) => change(moved(draft, name, (places) => drop(places, name, other.dataset.key, where))));
  return made;
}

/** What changed, for those who do not see it. */
export function says(question, draft) {
  const own = LETTERS[question.shown.findIndex((each) => each.id === draft.at)];
  const at = placeOf(draft.places, draft.at);
  const others = draft.places[at].filter((each) => each !== draft.at);
  const tied = others.map((name) => LETTERS[question.shown.findIndex((each) => each.id === name)]);
  return `Answer ${own}: place ${at + 1} of ${draft.places.length}${tied.length ? `, as good as ${tied.join(" and ")}` : ""}`;
}

export function told(question, returned) {
  if (returned.skipped) return "skipped";
  if (returned.no_choice) return "none is any good";
  if (returned.tie) return "all equal";
  const letters = (place) => place.map((name) => LETTERS[question.shown.findIndex((each) => each.id === name)]);
  return returned.ranking.map((place) => letters(place).join(" = ")).join(", then ");
}
