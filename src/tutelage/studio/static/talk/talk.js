// A talk: the person says something, two policies reply, the preferred reply goes on. What was said stands on the
// server; this page keeps the talk's name, the message that is being written and a choice that is on its way.

import { caps, element } from "../elements.js";
import { forget, read, write } from "../keeping.js";
import { Keys } from "../keys.js";
import { acts } from "../pages/pair.js";
import { letter, turn, words } from "../said.js";
import { Refused, post } from "../requests.js";
import { say as announce, tell } from "../say.js";
import { settings } from "../settings.js";
import { attackEnds, begins } from "./ends.js";

const AGAIN_MS = 1500;
const DEAD_MS = 250;
const at = (id) => document.getElementById(id);
const HOW = { raw: false };

let talk = read("talk", null); // { id, kind, task, turn }
let question = null;
let ready = false;
let shownAt = 0;

const choices = acts(settings.pages.pair).map((act) => ({ ...act, run: () => choose(act) }));
const keys = new Keys(choices);

/** A request that is sent until it is answered: the server may be away for a moment. */
async function surely(path, body) {
  for (;;) {
    try {
      const found = await post(path, body);
      at("saved").dataset.state = "saved";
      at("saved").textContent = "";
      return found;
    } catch (error) {
      if (error instanceof Refused && error.status !== 401) throw error;
      at("saved").dataset.state = error instanceof Refused ? "over" : "offline";
      at("saved").textContent = error instanceof Refused ? "Session over: open a new link" : "No server: trying again";
      await new Promise((after) => setTimeout(after, AGAIN_MS));
    }
  }
}

function keep(changes) {
  talk = { ...talk, ...changes };
  write("talk", talk);
}

async function open() {
  if (!settings.talks) return nothing("Nobody answers here: the server was started without --chat.");
  if (!settings.may.label) return nothing("Your role is to look, not to talk.");
  if (!talk) return begins(at("begin"), (begun) => start(begun));
  const choice = read("choice");
  if (choice) await sent(choice);
  await look();
}

function nothing(says) {
  at("empty").hidden = false;
  at("empty").textContent = says;
}

function start(begun) {
  keep({ id: crypto.randomUUID().replaceAll("-", ""), turn: 0, ...begun });
  at("begin").hidden = true;
  look();
}

/** Where the talk stands, by the server's word. */
async function look() {
  const found = await surely("/api/talk/state", { talk: talk.id });
  keep({ turn: found.turn });
  at("log").replaceChildren(...found.said.map((each) => turn(each, HOW)));
  at("log").hidden = !found.said.length;
  if (found.assignment) show(found.assignment);
  else await waits();
}

/** The floor is the person's; what they had sent before a crash is sent again. */
async function waits() {
  question = null;
  ready = false;
  at("question").replaceChildren();
  at("acts").hidden = true;
  at("say").hidden = false;
  at("text").value = read("message", "");
  at("text").focus();
  if (read("sending")) await send();
}

async function send() {
  const text = at("text").value.trim();
  if (!text) return;
  write("sending", true);
  at("say").hidden = true;
  at("log").hidden = false;
  announce("Sent. Two replies are coming.");
  at("question").replaceChildren(element("p", { class: "soft coming" }, "Two replies are coming…"));
  try {
    const { id, kind, task } = talk;
    const body = { talk: id, turn: talk.turn, text, kind, task };
    await surely("/api/talk/say", body);
    forget("message");
    forget("sending");
    await look();
  } catch (error) {
    forget("sending");
    tell(`That was not taken: ${error.message}`, 0);
    await waits();
  }
}

function show(given) {
  question = given;
  at("say").hidden = true;
  const sides = given.shown.map((each, place) => {
    const id = `side-${"AB"[place]}`;
    return element("section", { class: "side", "data-side": "AB"[place], "aria-labelledby": id }, letter(place, id), words(each, HOW));
  });
  const asks = talk.kind === "attack" ? "Which reply is less harmful? It goes on." : "Which reply is better? It goes on.";
  at("question").replaceChildren(element("p", { class: "asks" }, asks), element("div", { class: "sides" }, ...sides));
  at("acts").dataset.count = choices.length;
  at("acts").replaceChildren(...choices.map(control));
  at("acts").hidden = false;
  at("question").focus();
  announce(`Two replies. ${asks}`);
  setTimeout(() => {
    if (question !== given) return;
    ready = true;
    shownAt = Date.now() / 1000;
    document.dispatchEvent(new CustomEvent("question", { detail: given.id }));
  }, DEAD_MS);
  window.scrollTo(0, document.body.scrollHeight);
}

function control(act) {
  const own = keys.keysOf(act);
  const shown = own.join() === act.short ? [] : caps(own);
  const short = act.short ? element("b", { "aria-hidden": "true" }, act.short) : null;
  const made = element("button", { type: "button", class: act.tone, "data-act": act.name }, short, element("span", {}, act.says), ...shown);
  made.addEventListener("click", (event) => event.detail <= 1 && act.run());
  return made;
}

async function choose(act) {
  if (!ready || !question) return;
  ready = false;
  const times = { shown_at: shownAt, answered_at: Date.now() / 1000 };
  const choice = { assignment: question.id, lease: question.lease, key: crypto.randomUUID(), verdict: act.verdict(question), times };
  write("choice", choice);
  announce(`${act.says}.`);
  await sent(choice);
  await look();
}

/** A choice under its own key: sent twice it is one. */
async function sent(choice) {
  try {
    await surely("/api/answer", choice);
  } catch (error) {
    tell(`The choice was not taken: ${error.message}`, 0);
  }
  forget("choice");
}

async function finish() {
  const over = () => {
    forget("talk");
    forget("message");
    location.assign("/talk");
  };
  if (talk.kind !== "attack" || talk.turn === 0) return over();
  at("say").hidden = true;
  attackEnds(at("question"), async (rating, notes) => {
    const key = talk.endKey ?? crypto.randomUUID();
    keep({ endKey: key });
    try {
      await surely("/api/talk/end", { talk: talk.id, key, rating, notes });
      over();
    } catch (error) {
      tell(`The rating was not taken: ${error.message}`, 0);
    }
  });
}

at("say").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
at("text").addEventListener("input", () => write("message", at("text").value));
at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
at("finish").addEventListener("click", finish);
open();
