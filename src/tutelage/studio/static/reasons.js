// Why a question is skipped, and what may be wrong with one.

import { choose } from "./choices.js";

const FLAGS = [
  ["leak", "Tells which model wrote it"],
  ["personal data", "Personal data"],
  ["distressing", "Distressing: flag and skip"],
  ["broken", "Broken or unreadable"],
  ["other", "Something else"],
];
const REASONS = [
  ["cannot judge", "I cannot judge this"],
  ["incomparable", "They cannot be compared"],
  ["unclear", "The prompt is unclear"],
  ["language", "Not a language I read"],
  ["other", "Something else"],
];

/** Asks for a reason; nothing happens where none is given, or where the question changed meanwhile. */
function because(desk, title, reasons, note, act) {
  const question = desk.ready ? desk.question : null;
  if (question) choose(title, reasons, note, (found) => question === desk.question && act(found));
}

export const skip = (desk) => because(desk, "Skip: why?", REASONS, null, ({ name }) => desk.skip(name));

export function flag(desk) {
  because(desk, "What is wrong?", FLAGS, "In words, if you like", ({ name, note }) => {
    desk.flag(name, note);
    if (name === "distressing") desk.skip(name);
  });
}
