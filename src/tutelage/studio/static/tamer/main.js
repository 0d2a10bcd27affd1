// Teaching an agent: it plays at a pace that can be followed, two keys say how good that was, and it learns at once.

import { caps, element } from "../elements.js";
import { Help } from "../help.js";
import { Keys } from "../keys.js";
import { Refused, get, post } from "../requests.js";
import { say, tell } from "../say.js";
import { mountainCar, tetris } from "./drawing.js";
import { Pace } from "./pace.js";
import * as panel from "./panel.js";
import { Signals, nextFrame, now, pauseFor } from "./signals.js";

const GAMES = {
  tetris: { draw: tetris, slowest: 4, fastest: 0.25, pace: 1.5, rest: 1.5, unit: "lines", score: (game) => game.lines, step: "placement" },
  "mountain-car": { draw: mountainCar, slowest: 0.6, fastest: 0.05, pace: 0.15, rest: 1, unit: "steps", score: (game) => game.placements, step: "step" },
};
const name = location.pathname.split("/").at(-1) in GAMES ? location.pathname.split("/").at(-1) : "tetris";
const game = GAMES[name];
const FLASH_MS = 220;
const AGAIN_MS = 1000;
const FALL = 0.45; // share of a step in which the piece comes down
const still = matchMedia("(prefers-reduced-motion: reduce)");

const at = (id) => document.getElementById(id);
const canvas = at("world");
const signals = new Signals({ learned, trouble: (says) => tell(says), changed: saved });
let told = null; // what the server says of the play
let frame = null; // the step on the screen
let paused = false;
let back = null; // the frames of a game that is played back
const pace = new Pace(at("pace"), at("pace-says"), name, game);

const acts = [
  { name: "very-bad", says: "Very bad", value: -10, tone: "bad strong", keys: ["d", "ArrowDown"] },
  { name: "bad", says: "Bad", value: -1, tone: "bad", keys: ["f", "ArrowLeft"] },
  { name: "good", says: "Good", value: 1, tone: "good", keys: ["j", "ArrowRight"] },
  { name: "very-good", says: "Very good", value: 10, tone: "good strong", keys: ["k", "ArrowUp"] },
].map((act) => ({ ...act, run: () => signal(act) }));
const tools = [
  { name: "training", says: "Training", keys: [" "], run: toggleTraining },
  { name: "pause", says: "Pause", keys: ["p"], run: () => (paused ? go() : stop()) },
  { name: "back", says: "Play back", keys: ["b"], run: () => playBack(told.games ? told.games - 1 : 0) },
  { name: "new", says: "New agent", keys: ["n"], run: anew },
];
const menu = [{ name: "help", says: "Keys", keys: ["?"], run: () => help.open() }];
const keys = new Keys([...acts, ...tools, ...menu]);
const help = new Help(at("help"), keys, controls);

// --- what the person does

function signal(act) {
  if (!frame || back) return;
  if (!told.training) return tell("Training is off: the agent plays what it knows. Space switches it on.");
  flash(act);
  signals.say(told.play, act.value);
}

/** Seen at once, whatever the network does. */
function flash(act) {
  canvas.dataset.said = act.value > 0 ? "good" : "bad";
  const pressed = at("acts").querySelector(`[data-act="${act.name}"]`);
  pressed.classList.add("pressed");
  clearTimeout(flash.timer);
  flash.timer = setTimeout(() => {
    delete canvas.dataset.said;
    at("acts").querySelectorAll(".pressed").forEach((each) => each.classList.remove("pressed"));
  }, FLASH_MS);
}

function learned(said, answer) {
  told = { ...told, signals: answer.signals, weights: answer.weights };
  panel.said(at("said"), said.value, answer.about, game.step);
  const ms = 1000 * (now() - said.at);
  document.dispatchEvent(new CustomEvent("learned", { detail: { ...answer, value: said.value, ms } }));
}

async function toggleTraining() {
  const answer = await asked(() => post("/api/tamer/training", { play: told.play, on: !told.training }));
  if (!answer) return;
  told = answer;
  beside();
  controls();
  say(told.training ? "Training is on" : "Training is off");
}

async function anew() {
  if (told.signals && !confirmed("new", "The agent forgets what you taught it. Press again to begin a new one.")) return;
  back = null;
  await open(true);
  tell("A new agent, which knows nothing.");
}

/** True where the same was asked for a moment ago. */
function confirmed(what, says) {
  const again = confirmed.what === what && now() - confirmed.at < 5;
  Object.assign(confirmed, { what: again ? null : what, at: now() });
  if (!again) tell(says, 5);
  return again;
}

// --- the game

async function open(fresh = false) {
  const answer = await asked(() => post("/api/tamer/open", { game: name, new: fresh }));
  if (!answer) return setTimeout(() => open(fresh), AGAIN_MS);
  told = answer;
  frame = null;
  signals.ended();
  at("said").replaceChildren();
  at("empty").hidden = true;
  at("stage").hidden = false;
  document.body.classList.remove("idle");
  canvas.className = name;
  beside();
  controls();
  go();
}

let turn = 0; // only the newest loop goes on

function go() {
  paused = false;
  turn += 1;
  controls();
  next(turn);
}

function stop() {
  paused = true;
  turn += 1;
  signals.ended();
  back = null;
  controls();
}

async function next(mine) {
  if (mine !== turn || document.hidden) return;
  const found = await asked(() => post("/api/tamer/step", { play: told.play, number: told.next }));
  if (mine !== turn) return;
  if (!found) return setTimeout(() => next(mine), AGAIN_MS);
  told.next = found.step + 1;
  signals.began(found.step);
  const last = await shown(found, mine);
  if (!last) return;
  if (found.over) {
    told.finished = [...told.finished, { lines: found.lines, placements: found.placements }].slice(-50);
    told.games += 1;
    signals.ended();
    beside();
    say(`Game ${told.games} is over: ${game.score(found)} ${game.unit}.`);
    await pauseFor(game.rest);
  }
  next(mine);
}

/** Draws a step for as long as it lasts; false where something else is to be shown by now. */
async function shown(found, mine, seconds = pace.seconds) {
  frame = found;
  state();
  panel.expects(at("expects"), found, told.signals);
  const began = now();
  for (;;) {
    const gone = (now() - began) / seconds;
    const fallen = still.matches ? 1 : Math.min(1, gone / FALL);
    game.draw(canvas, found, { fallen, after: gone > FALL + 0.1, marked: true });
    if (gone >= 1) return mine === turn;
    await nextFrame();
    if (mine !== turn) return false;
  }
}

async function playBack(number) {
  if (back) return go();
  stop();
  const found = await asked(() => get(`/api/tamer/back?play=${told.play}&game=${number}`));
  if (!found) return;
  back = found.frames;
  turn += 1;
  const mine = turn;
  controls();
  say(`Game ${number + 1} is played back.`);
  for (const each of back) {
    for (const { value } of each.signals) flash(acts.find((act) => act.value === value));
    if (!(await shown(each, mine, Math.max(0.05, pace.seconds / 4)))) return;
  }
  back = null;
  tell("That was all. P goes on with the game.");
  controls();
}

/** The answer, or null where there is none; then the page says why. */
async function asked(request) {
  try {
    return await request();
  } catch (error) {
    tell(error instanceof Refused ? error.message : "The server does not answer. Trying again…");
    return null;
  }
}

// --- what stands beside it

function state() {
  const lines = "lines" in frame ? `${frame.lines} lines` : "";
  const parts = [
    element("span", {}, "Game ", element("b", {}, `${frame.game + 1}`)),
    element("span", {}, `${game.step} `, element("b", {}, `${frame.placements}`)),
    lines ? element("span", {}, element("b", {}, lines)) : null,
    element("span", { class: "training", "data-on": String(told.training) }, told.training ? "learning from you" : "not learning"),
    back ? element("b", {}, "played back") : null,
  ];
  at("state").replaceChildren(...parts.filter(Boolean));
  canvas.setAttribute("aria-label", `Game ${frame.game + 1}, ${game.step} ${frame.placements}${lines && `, ${lines}`}`);
}

function beside() {
  panel.finished(at("finished"), told, game, playBack);
  at("games-title").textContent = told.games ? "Games; press one to play it back" : "No game is over yet";
}

function saved(waiting) {
  at("saved").dataset.state = waiting ? "sending" : "saved";
  at("saved").textContent = waiting ? `${waiting} on the way` : "All kept";
}

function controls() {
  at("acts").replaceChildren(...acts.map((act) => control(act, act.tone)));
  at("tools").replaceChildren(...tools.map((act) => control(act, "quiet")));
  at("menu").replaceChildren(...menu.map((act) => control(act, "quiet")));
}

function control(act, tone) {
  const shown = keys.on ? caps(keys.keysOf(act)) : [];
  const says = act.name === "back" && back ? "Stop" : act.name === "pause" && paused ? "Go on" : act.says;
  const made = element("button", { type: "button", class: tone, "data-act": act.name }, element("span", {}, says), ...shown);
  if (act.name === "training") made.setAttribute("aria-pressed", String(Boolean(told?.training)));
  if (act.name === "pause") made.setAttribute("aria-pressed", String(paused));
  made.addEventListener("click", (event) => {
    if (event.detail) made.blur(); // Space is training again
    act.run();
  });
  return made;
}

document.querySelector(`.games a[href$="/${name}"]`).setAttribute("aria-current", "page");
document.addEventListener("visibilitychange", () => (document.hidden ? signals.ended() : paused || back ? null : go()));
window.addEventListener("resize", () => frame && game.draw(canvas, frame, { fallen: 1, after: false, marked: true }));
saved(0);
open();
