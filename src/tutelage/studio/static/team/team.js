// The overview of a team: numbers with their intervals, and, for those who lead, what can be done about them.

import { element } from "../elements.js";
import { sized } from "../estimates.js";
import { Refused, get } from "../requests.js";
import { settings } from "../settings.js";
import { invitations, members } from "./acts.js";
import { interval, number, section, table } from "./figures.js";

const AGAIN_MS = 2000;
const at = (id) => document.getElementById(id);

export async function load() {
  try {
    draw(await get("/api/team"));
  } catch (error) {
    const refused = error instanceof Refused;
    at("empty").hidden = false;
    at("empty").textContent = refused ? error.message : "The server does not answer; trying again.";
    if (!refused) setTimeout(load, AGAIN_MS);
  }
}

function draw(found) {
  const parts = [
    advice(found),
    agreement(found.agreement),
    people(found),
    biases(found.biases),
    ratings(found.ratings),
    ...(found.leads ? [disputed(found, load), members(found, load), invitations(found, load)] : []),
  ];
  at("overview").replaceChildren(...parts.filter(Boolean));
  at("overview").hidden = false;
  at("empty").hidden = true;
}

function advice({ advice: told, questions }) {
  const says = { "go on": "Go on", stop: "Stop", "nobody knows": "Open" }[told.advice];
  const means = (told.means ?? []).map((each) => [number(each.labels), interval(each.accuracy, each.accuracy_low, each.accuracy_high, null, each.accuracy_n ?? null), each.fitted ? "yes" : "no: at chance"]);
  return section(
    "advice",
    "Is it worth going on?",
    element("p", { class: "large" }, element("b", {}, `${says}. `), told.says),
    element("p", {}, `${number(questions.counted)} of ${number(questions.wanted)} answers wanted are there, ${number(questions.open)} questions are open.`),
    element("p", { class: "soft" }, "Measured with a model of words that learns in a second; a reward model learns more from the same answers (tutelage evaluate learning-curve)."),
    means.length ? table("Accuracy of the probe on questions that it never saw", ["answers", "accuracy", "on the curve"], means) : null,
  );
}

function agreement(found) {
  const scales = found.scales ?? [];
  const rows = scales.map((each) => [
    `${each.kind}${each.axis ? `, ${each.axis}` : ""}`,
    interval(each.percent, each.percent_low, each.percent_high),
    each.alpha === null ? "–" : `${each.alpha.toFixed(2)}${each.alpha_low === null ? "" : ` (${each.alpha_low.toFixed(2)} to ${each.alpha_high.toFixed(2)})`}`,
    each.scale,
    number(each.units),
    sized(each.percent_n),
  ]);
  const again = [
    ["one person, asked again", share(found.test_repeat)],
    ["one person, sides swapped", share(found.test_swap)],
  ];
  const kappas = scales.flatMap((scale) => scale.kappas.map((each) => [`${scale.kind} ${scale.axis}`, each.first, each.second, each.kappa === null ? "–" : each.kappa.toFixed(2), number(each.units)]));
  return section(
    "agreement",
    "How far people agree",
    element("p", { class: "soft" }, "Each kind of question and each axis by itself, 95 % intervals over questions. Nobody can agree with others more than with themselves: that is the ceiling."),
    rows.length ? table("Agreement", ["", "same answer", "Krippendorff's α", "scale", "units", "questions"], rows) : null,
    table("Agreement with themselves", ["", "agreement"], again),
    found.why ? element("p", { class: "why" }, `No α: ${found.why}.`) : null,
    kappas.length ? element("details", {}, element("summary", {}, "Cohen's κ of each pair of people"), table("Kappas", ["", "", "", "κ", "of"], kappas)) : null,
  );
}

function people({ people: rows, standing }) {
  const cells = rows.map((row) => [
    row.name,
    number(row.answers),
    row.seconds === null ? "–" : `${row.seconds} s`,
    share(row.with_others),
    share(row.repeat),
    share(row.swap),
    share(row.gold),
    standing[row.labeller]?.total ? `${standing[row.labeller].right}/${standing[row.labeller].total}` : share(row.qualification),
    share(row.first_place),
    share(row.longer),
    number(row.skips),
  ]);
  const heads = ["", "answers", "median time", "as others", "as before", "swapped", "known answers", "qualified", "first place wins", "longer wins", "skipped"];
  const none = element("p", {}, "Nobody has answered yet.");
  return section("people", "Labellers", rows.length ? table("Labellers", heads, cells) : none);
}

function biases(rows) {
  const says = { position: "what stands first wins", length: "the longer one wins", "first seen": "what was met before wins" };
  const cells = rows.map((row) => [says[row.name], share(row), row.share !== null && (row.low > 0.5 || row.high < 0.5) ? "pulls" : "–"]);
  return section(
    "biases",
    "What pulls at the answers",
    element("p", { class: "soft" }, "Shares of decided pairs, 95 % intervals over people; 50 % pulls at nobody. Length may be a taste, position never is."),
    table("Biases", ["", "share", ""], cells),
  );
}

function ratings(found) {
  const rows = found.policies.map((each) => [each.policy, each.elo === null ? "–" : `${each.elo}${each.low === null ? "" : ` (${each.low} to ${each.high})`}`, number(each.games)]);
  return section(
    "ratings",
    "Policies",
    element("p", { class: "soft" }, "Elo points by Bradley and Terry, the first at 0; 95 % intervals over annotators. Nobody sees these names while they judge."),
    rows.length ? table("Policies", ["", "Elo", "comparisons"], rows) : null,
    found.why ? element("p", { class: "why" }, found.why) : null,
  );
}

function disputed({ disputed: rows }, again) {
  if (!rows.length) return section("disputed", "To decide", element("p", {}, "Nothing that people answered differently waits for a decision."));
  const list = element("ul", { class: "votes" }, ...rows.slice(0, 20).map((each) => element("li", {}, `${each.question}: ${each.votes.join(" against ")}`)));
  const button = element("button", { type: "button", class: "primary" }, `Put ${rows.length} before me`);
  button.addEventListener("click", async () => {
    const { act } = await import("./acts.js");
    await act("adjudicate", { questions: rows.map((each) => each.question) }, "They are your next questions.", again);
  });
  return section("disputed", "To decide", element("p", {}, "Answered differently by different people. You decide them on the same page, as blind as they were."), list, button);
}

const share = (found) => (found?.of ? interval(found.share, found.low, found.high, found.of, found.n) : "–");

at("desk").hidden = !settings.may.label;
load();
