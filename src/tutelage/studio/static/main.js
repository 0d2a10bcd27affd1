// The page: what is shown where, and which key does what. The desk decides, the pages know their kind of question.

import { cover, covered } from "./cover.js";
import { Desk } from "./desk.js";
import { caps, element } from "./elements.js";
import { guideline, unread } from "./guideline.js";
import { Help } from "./help.js";
import { durable, read, write } from "./keeping.js";
import { Idle } from "./idle.js";
import { Keys } from "./keys.js";
import { Live } from "./live.js";
import { Me } from "./me.js";
import { Mine } from "./mine.js";
import { listen } from "./news.js";
import { Pause } from "./pause.js";
import { Progress } from "./progress.js";
import { flag, skip } from "./reasons.js";
import { redrawn } from "./redrawn.js";
import { hush, say, tell } from "./say.js";
import { settings } from "./settings.js";

const BEAT_MS = 60000;
const PRESSED_MS = 200;
const at = (id) => document.getElementById(id);
const names = Object.keys(settings.pages);
const modules = await Promise.all(names.map((kind) => import(`./pages/${kind}.js`)));
const pages = Object.fromEntries(names.map((kind, place) => [kind, modules[place]]));
const how = { raw: read("raw", false), diff: false };

const desk = new Desk({ view: { show, expect, busy, ready, empty, saved }, progress: new Progress(at("progress")), rest });
const pause = new Pause(at("pause"), () => at("question").focus());
const live = new Live(at("live"));
const mine = new Mine(at("mine"), { pages, back: (event) => desk.takeBack(event) });
const again = () => desk.skippedAgain().catch((error) => tell(error.message));
const idle = new Idle(at("empty"), { mine: () => mine.open(), again, look: () => desk.fetch() });
const me = new Me(at("me"), { changed: () => desk.fetch() });

const common = [
  { name: "undo", says: "Undo", keys: ["u"], run: () => desk.undo(), place: "tools" },
  { name: "skip", says: "Skip", keys: ["s"], run: () => skip(desk), place: "tools" },
  { name: "flag", says: "Flag", keys: ["x"], run: () => flag(desk), place: "tools" },
  { name: "rationale", says: "Reason", keys: ["r"], run: () => reason(true), place: "tools" },
  { name: "diff", says: "Differences", keys: ["d"], run: () => toggle("diff"), place: "tools" },
  { name: "raw", says: "As written", keys: ["m"], run: () => toggle("raw"), place: "tools" },
  { name: "guideline", says: "Guideline", keys: ["g"], run: () => guideline(desk.question?.guideline), place: "menu" },
  { name: "pause", says: "Pause", keys: ["p"], run: stop, place: "menu" },
  { name: "mine", says: "My answers", keys: ["o"], run: () => mine.open(), place: "menu" },
  { name: "me", says: "You", keys: ["i"], run: () => me.open(), place: "menu" },
  { name: "help", says: "Keys", keys: ["?"], run: () => help.open(), place: "menu" },
];
const keys = new Keys(common);
const help = new Help(at("help"), keys, controls);
let kind = names.includes("pair") ? "pair" : names[0];
let draft = null;

function actsOf(of) {
  return pages[of].acts(settings.pages[of], desk.question).map((act) => ({ ...act, run: () => answer(act) }));
}

function answer(act) {
  if (!desk.ready || pages[kind].ready?.() === false || covered(desk.question)) return;
  if (act.focus) return document.querySelector(act.focus)?.focus();
  if (act.change) return change(act.change(draft));
  const verdict = act.verdict(desk.question, draft);
  if (verdict.missing) {
    if (verdict.draft) change(verdict.draft);
    return tell(verdict.missing);
  }
  const pressed = at("acts").querySelector(`[data-act="${act.name}"]`);
  desk.answer(verdict, act.says);
  pressed?.classList.add("pressed");
  setTimeout(() => pressed?.classList.remove("pressed"), PRESSED_MS);
}

/** What a person has done to a question before it is answered; it outlives a reload. */
function change(next, redraw = true) {
  draft = next;
  write("work", { id: desk.question.id, draft });
  if (!redraw) return;
  redrawn(at("question"), () => draw(desk.question));
  if (pages[kind].says) say(pages[kind].says(desk.question, draft));
}

/** As it was left, as it had been answered before, or new. */
function begun(question) {
  const page = pages[question.kind];
  if (!page.begin) return null;
  if (question.returned && !question.returned.skipped) return page.drafted(question, question.returned);
  const kept = read("work");
  return kept?.id === question.id ? kept.draft : page.begin(question);
}

/** The controls, each with its key; the one in focus stays in focus. */
function controls() {
  const focused = document.activeElement?.dataset.act;
  const acts = actsOf(kind);
  const ours = common.filter((act) => act.name !== "diff" || pages[kind].differs);
  const shared = ours.filter((act) => !pages[kind].without?.includes(act.name));
  const own = (pages[kind].controls ?? []).map((act) => ({ ...act, place: "tools" }));
  const shown = acts.filter((act) => act.place !== "keys");
  keys.acts = [...acts, ...own, ...shared];
  at("acts").dataset.count = shown.length;
  at("acts").replaceChildren(...shown.map((act) => control(act, act.tone)));
  for (const place of ["tools", "menu"]) {
    at(place).replaceChildren(...[...own, ...shared].filter((act) => act.place === place).map((act) => control(act, "quiet")));
  }
  if (focused) document.querySelector(`[data-act="${focused}"]`)?.focus();
}

/** What a pointer pressed loses the focus, so that Space does not press it again. */
function control(act, tone) {
  const own = keys.keysOf(act);
  const shown = keys.on && own.join() !== act.short ? caps(own) : [];
  const short = act.short ? element("b", { "aria-hidden": "true" }, act.short) : null;
  const says = element("span", {}, act.says);
  const made = element("button", { type: "button", class: tone, "data-act": act.name }, short, says, ...shown);
  if (act.name === "raw" || act.name === "diff") made.setAttribute("aria-pressed", String(how[act.name]));
  made.addEventListener("click", (event) => {
    if (event.detail > 1) return; // the second click of a double click
    if (event.detail === 1) made.blur();
    act.run();
  });
  return made;
}

function show(question, says, note) {
  hush();
  if (question.kind !== kind || how.diff || pages[kind].begin) {
    kind = question.kind;
    how.diff = false;
    controls();
  }
  draft = begun(question);
  busy();
  draw(question);
  reason(false, note);
  at("empty").hidden = true;
  document.body.classList.remove("idle");
  const before = question.returned ? ` Before: ${pages[kind].told(question, question.returned)}.` : "";
  if (question.returned) tell(`Taken back.${before}`);
  say(`${says ? `${says}. ` : ""}${question.returned ? before : "Next question."}`);
  window.scrollTo(0, 0);
}

/** It comes soon: what it needs from the network is fetched now. */
function expect(question) {
  pages[question.kind].expect?.(question);
}

/** A key that is pressed now is not meant for this question. */
function busy() {
  at("question").setAttribute("aria-busy", "true");
}

/** From here on it is. */
function ready() {
  at("question").removeAttribute("aria-busy");
}

function draw(question) {
  const drawn = cover(question, () => draw(question)) ?? pages[question.kind].draw(question, how, draft, change);
  at("question").replaceChildren(drawn);
}

function empty(known, says, why, about) {
  if (at("question").childNodes.length) hush();
  at("question").replaceChildren();
  at("empty").hidden = false;
  document.body.classList.add("idle");
  idle.show(known, why, about);
  if (says) say(`${says}. ${at("empty").textContent}`);
}

function saved(outbox) {
  const count = outbox.acts.length;
  const state = outbox.over ? "over" : outbox.reachable ? (count ? "sending" : "saved") : "offline";
  const kept = durable ? "kept in this browser" : "not kept if you close this page";
  const before = at("saved").dataset.state;
  at("saved").dataset.state = state;
  at("saved").textContent = {
    saved: "All saved",
    sending: `${count} on the way`,
    offline: count ? `No server: ${count} ${kept}` : "No server",
    over: "Session over: open a new link from the terminal",
  }[state];
  const heard = state === "offline" || state === "over" || before === "offline" || before === "over";
  if (heard && state !== before) say(at("saved").textContent); // every single answer need not be told as saved
}

function stop() {
  pause.begin("Pause", "The question waits for you.", 0);
}

function rest() {
  const { progress } = desk;
  const totals = progress.server ? progress.totals().map((each) => each.textContent) : [];
  pause.begin(`${progress.block.done} done.`, totals.join("; "));
  progress.begin();
}

function reason(open, note = null) {
  if (note !== null) at("note").value = note;
  at("rationale").hidden = !open && !at("note").value;
  if (open) at("note").focus();
}

function toggle(name) {
  how[name] = !how[name];
  if (name === "raw") write("raw", how.raw);
  if (desk.question) draw(desk.question);
  controls();
}

at("note").addEventListener("input", () => desk.write(at("note").value));
at("note").addEventListener("keydown", (event) => {
  if (event.key === "Escape" || (event.key === "Enter" && event.ctrlKey)) {
    event.preventDefault();
    reason(false);
    at("question").focus();
  }
});
window.addEventListener("beforeunload", (event) => {
  if (!durable && desk.outbox.acts.length) event.preventDefault();
});
document.addEventListener("click", (event) => {
  if (event.detail) event.target.closest?.("summary")?.blur(); // Space is an answer again
});
setInterval(() => desk.beat(), BEAT_MS);
at("overview").hidden = !settings.may.look;
at("talks").hidden = !settings.talks;
if (settings.may.label) open();
else at("empty").textContent = "Your role is to look, not to answer: the overview is above.";

function open() {
  controls();
  desk.progress.draw();
  desk.open();
  unread();
}

listen((news) => {
  if ("live" in news) live.show(news.live);
  if (news.seq && settings.may.label) desk.news(news.seq);
});
