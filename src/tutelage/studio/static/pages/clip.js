// Two clips of one policy's doing. Both play in step and begin again together; one key says in which it is done better.

import { element } from "../elements.js";
import { Player, material } from "../player.js";

const better = (side) => (question) => ({ choice: question.shown[side].id });
const ACTS = [
  { name: "first", says: "A is better", keys: ["ArrowLeft", "f"], tone: "choice", verdict: better(0) },
  { name: "tie", says: "Equal", keys: ["ArrowDown", " "], tone: "neither", verdict: () => ({ tie: true }) },
  { name: "none", says: "Can't tell", keys: ["c"], tone: "neither", verdict: () => ({ no_choice: "incomparable" }) },
  { name: "second", says: "B is better", keys: ["ArrowRight", "j"], tone: "choice", verdict: better(1) },
];
let player = null;

export const acts = () => ACTS;

/** Keys of this kind of question that answer nothing. */
export const controls = [
  { name: "hold", says: "Hold or play", keys: ["k"], run: () => player?.hold() },
  { name: "back", says: "A frame back", keys: [","], run: () => player?.step(-1) },
  { name: "on", says: "A frame on", keys: ["."], run: () => player?.step(1) },
  { name: "slower", says: "Slower", keys: ["["], run: () => player?.faster(-1) },
  { name: "faster", says: "Faster", keys: ["]"], run: () => player?.faster(1) },
  { name: "restart", says: "From the start", keys: ["0"], run: () => player?.restart() },
];

/** Those of the common ones that clips have no use for. */
export const without = ["diff", "raw"];

/** Whether there is something to judge: nobody answers what is not yet on the screen. */
export const ready = () => player?.ready ?? false;

/** A question that comes soon: its pictures are fetched now. */
export function expect(question) {
  for (const each of question.shown) if (each.clip) material(each.clip);
}

export function draw(question) {
  const clips = question.shown.map((each) => each.clip);
  if (clips.some((each) => !each)) {
    player = null;
    return element("div", { class: "pair clips" }, element("p", { class: "empty" }, "A clip of this question is gone. Skip it: S."));
  }
  const state = element("p", { class: "playing soft", role: "status" });
  const made = element("div", { class: "pair clips", "data-ready": "false" });
  player = new Player(clips, (now) => {
    made.dataset.ready = String(now.ready);
    state.textContent = now.held ? "Held: K plays" : now.speed === 1 ? "" : `× ${now.speed}`;
  });
  const sides = player.canvases.map((canvas, place) => {
    const letter = "AB"[place];
    const id = `side-${letter}`;
    const heading = element("h2", { id }, element("span", { class: "spoken" }, "Clip "), element("span", { class: "letter" }, letter));
    return element("section", { class: "side", "data-side": letter, "aria-labelledby": id }, heading, canvas);
  });
  made.append(element("div", { class: "sides" }, ...sides), state);
  return made;
}

/** What a former answer was, in words, for whoever took it back. */
export function told(question, returned) {
  if (returned.skipped) return "skipped";
  if (returned.no_choice) return "can't tell";
  if (returned.tie) return "equal";
  return `${"AB"[question.shown.findIndex((each) => each.id === returned.choice)]} is better`;
}
