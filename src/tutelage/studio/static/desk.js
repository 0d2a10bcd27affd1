// The desk: one question on it, the next ones beside it, answers leaving it. Nothing here waits for the network.

import { Clock } from "./clock.js";
import { forget, read, write } from "./keeping.js";
import { Outbox } from "./outbox.js";
import { Questions } from "./questions.js";
import { Refused, post } from "./requests.js";
import { say, tell } from "./say.js";

const DEAD_MS = 250; // after a question is painted, no key answers it: what was pressed was meant for the one before
const DEAD_AFTER_CHANGE_MS = 800; // when it was not the person who changed the question
const NEWS_MS = 500; // a burst of news is looked at once
const RECENT = 20;

const nameOf = (question) => question.id + question.lease;

export class Desk {
  /** view: { show, expect, busy, ready, empty, saved }; progress: counts blocks; rest(): a block is over. */
  constructor({ view, progress, rest }) {
    Object.assign(this, { view, progress, rest, question: null, seq: 0, heard: 0, note: "" });
    this.done = new Set(); // what was answered here: a fetch that was under way may still bring it
    this.recent = new Map(); // key of an act -> its question, to take back what never left
    this.clock = new Clock();
    this.readyFor = null;
    this.outbox = new Outbox({
      done: (act, answer) => this.stored(act, answer),
      refused: (act, error) => this.refused(act, error),
      changed: () => this.changed(),
    });
    this.questions = new Questions({
      taken: (each) => this.taken(each),
      expected: (each) => this.view.expect(each),
      heard: (progress) => this.progress.heard(progress, this.pending()),
      changed: () => this.question ?? this.advance(),
    });
  }

  async open() {
    window.addEventListener("online", () => this.question ?? this.fetch());
    document.addEventListener("visibilitychange", () => this.beat());
    this.view.saved(this.outbox);
    this.outbox.send();
    await this.fetch();
  }

  changed() {
    this.view.saved(this.outbox);
    if (!this.outbox.reachable) this.goOn();
  }

  taken(each) {
    const here = this.question && nameOf(this.question) === nameOf(each);
    return here || this.done.has(nameOf(each)) || this.outbox.holds(each.id, each.lease);
  }

  /** Answers that the server does not count yet. */
  pending() {
    return this.outbox.acts.filter((act) => act.path === "answer").length;
  }

  /** Whether an answer would be meant for what is on the screen. */
  get ready() {
    return this.question !== null && this.readyFor === this.question;
  }

  answer(verdict, says) {
    if (!this.ready) return;
    const notes = this.note.trim();
    this.send("answer", { verdict: notes ? { ...verdict, notes } : verdict, times: this.clock.times() }, says);
  }

  skip(reason) {
    if (this.question) this.send("skip", { reason }, "Skipped");
  }

  flag(flag, note) {
    if (this.question) this.outbox.add("flag", { ...this.lease(), flag, note });
  }

  lease() {
    return { assignment: this.question.id, lease: this.question.lease };
  }

  send(path, body, says) {
    const question = this.question;
    const act = this.outbox.add(path, { ...this.lease(), ...body });
    this.done.add(nameOf(question));
    this.recent.set(act.body.key, question);
    if (this.recent.size > RECENT) this.recent.delete(this.recent.keys().next().value);
    if (path === "answer") this.progress.answered(1);
    const over = this.progress.count(1);
    this.advance(says);
    if (over) this.rest();
  }

  /** Takes back the last answer or skip: here, if it never left; else the server does, also after a reload. */
  undo() {
    const back = this.outbox.takeBack((act) => this.recent.has(act.body.key));
    if (!back) {
      this.readyFor = null; // the next key is meant for the question that comes back
      this.view.busy();
      this.outbox.add("undo", {});
      if (!this.outbox.reachable) tell("The last answer is taken back as soon as the server can be reached.");
      this.goOn();
      return;
    }
    const question = this.recent.get(back.body.key);
    this.takenBack({ ...question, returned: back.body.verdict ?? { skipped: back.body.reason } });
  }

  /** The question on the screen can be answered again, where an undo came to nothing or has to wait for the server. */
  goOn(whatever = false) {
    if (!this.question || this.unseen || !(whatever || !this.outbox.reachable)) return;
    this.readyFor = this.question;
    this.view.ready();
  }

  takenBack(question) {
    this.done.delete(nameOf(question));
    this.questions.remove([question.id]);
    if (this.question?.id !== question.id) this.questions.putBack(this.question);
    if (!question.returned?.skipped) this.progress.answered(-1);
    this.progress.count(-1);
    this.show(question, "Taken back", DEAD_MS);
  }

  advance(says = "") {
    const next = this.questions.next();
    if (next) this.show(next, says, DEAD_MS);
    else this.clear(says);
  }

  clear(says = "") {
    this.question = null;
    this.view.empty(this.questions.known, says, this.questions.says, this.questions.idle);
    this.fetch();
  }

  /** The questions that were skipped, once more. */
  async skippedAgain() {
    await post("/api/again", { key: crypto.randomUUID() });
    await this.fetch();
  }

  /** Takes one of the last answers back: its question comes next. */
  takeBack(event) {
    this.outbox.add("undo", { event });
  }

  show(question, says, dead) {
    this.question = question;
    this.readyFor = null;
    this.unseen = true;
    write("current", question.id);
    const draft = read("draft");
    this.note = question.returned?.notes ?? (draft?.id === question.id ? draft.note : "");
    if (this.note) this.write(this.note);
    this.view.show(question, says, this.note);
    // Two frames: in the first it is drawn, at the second it is on the screen. A hidden page paints nothing.
    requestAnimationFrame(() => requestAnimationFrame(() => this.seen(question, dead)));
  }

  seen(question, dead) {
    if (question !== this.question) return;
    this.clock.start();
    setTimeout(() => {
      if (question !== this.question) return;
      this.unseen = false;
      this.readyFor = question;
      this.view.ready();
    }, dead);
    document.dispatchEvent(new CustomEvent("question", { detail: question.id }));
  }

  write(note) {
    this.note = note;
    if (note) write("draft", { id: this.question?.id, note });
    else forget("draft");
  }

  async fetch() {
    try {
      await this.questions.fetch(this.outbox.acts.length + (this.question ? 1 : 0));
      this.found(true);
    } catch (error) {
      this.found(false, error);
      clearTimeout(this.again);
      this.again = setTimeout(() => this.fetch(), 2000);
    }
  }

  found(reachable, error = null) {
    this.outbox.found(reachable, error instanceof Refused && error.status === 401 ? error : null);
  }

  /** Renews the leases of what is here, and clears away what is not asked any more. */
  async beat() {
    const here = [this.question, ...this.questions.waiting].filter(Boolean);
    if (!here.length || document.hidden) return;
    const held = here.map((each) => ({ assignment: each.id, lease: each.lease }));
    const { gone } = await post("/api/extend", { held: held.slice(0, 12) }).catch(() => ({ gone: [] }));
    this.questions.remove(gone);
    if (!this.question || !gone.includes(this.question.id) || this.outbox.holds(this.question.id, this.question.lease)) return;
    this.question = null;
    const next = this.questions.next();
    if (next) this.show(next, "", DEAD_AFTER_CHANGE_MS);
    else this.clear();
    tell(`That question is not asked any more: what it was about has moved on.${next ? " Here is the next one." : ""}`);
  }

  /** Something happened in the store: perhaps there are questions again, perhaps some are gone. */
  news(seq) {
    this.heard = Math.max(this.heard, seq);
    if (this.heard <= this.seq || this.listening) return;
    this.listening = setTimeout(() => {
      this.listening = null;
      if (this.heard <= this.seq) return; // it was what happened here
      this.seq = this.heard;
      if (this.question) this.beat();
      else this.fetch();
    }, NEWS_MS);
  }

  stored(act, answer) {
    this.seq = Math.max(this.seq, answer.seq ?? 0);
    if (act.path === "undo") this.takenBack(answer.assignment);
    if (act.path === "flag") tell("Flagged. Thank you.");
    if (answer.told) tell(`${answer.told.right ? "That is right." : "We would have said otherwise."} ${answer.told.says}`, 0);
    if (act.path === "answer" && read("draft")?.id === act.body.assignment) forget("draft");
    this.askAgain();
  }

  /** What was stored may bring new questions; a fetch that is under way could not know of it yet. */
  async askAgain() {
    await this.questions.fetching?.catch(() => {});
    if (!this.question) this.fetch();
  }

  refused(act, error) {
    const what = { answer: "An answer", skip: "A skip", flag: "A flag", undo: "Undo" }[act.path];
    if (act.path === "undo") this.goOn(true);
    tell(`${what} was not taken: ${error.message}`, act.path === "undo" ? 6 : 0);
    say(error.message);
  }
}
