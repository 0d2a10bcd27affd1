// What a reward model makes of replies: the best of n with every score, and its opinion of a text that you type.

import { element, fill } from "../elements.js";
import { say } from "../say.js";
import { compute } from "./ask.js";
import { field } from "./bar.js";
import { message, models, working } from "./play.js";
import { short } from "./words.js";

const LEVELS = 5;

export function best(bench) {
  const { policies, rewards } = bench;
  if (!policies.length || !rewards.length) return [element("p", { class: "empty" }, "This needs a policy and a reward model.")];
  const [policy, reward] = [models(policies), models(rewards)];
  const n = element("input", { type: "number", min: 2, max: 64, value: 8 });
  const trouble = element("p", { class: "trouble", role: "alert" });
  const list = element("div", { class: "ranked" });
  const { words, place } = message(bench, "Prompt");
  const go = working("Draw and score", trouble, async () => {
    if (!words.value.trim()) return;
    const found = await compute("play/best", { model: policy.value, reward: reward.value, prompt: words.value, n: Math.min(64, Math.max(2, Number(n.value) || 8)), ...bench.sampling.read() });
    const scores = found.replies.map((each) => each.score);
    const told = `Best ${short(scores[0])}, mean ${short(found.mean)}; choosing the best of ${scores.length} costs at most ${short(found.kl_nats_at_most)} nats of KL.`;
    const [high, low] = [scores[0], scores.at(-1)];
    const rows = found.replies.map((each, at) => {
      const meter = element("i", { class: "meter", "aria-hidden": "true" });
      meter.style.inlineSize = `${high > low ? (100 * (each.score - low)) / (high - low) : 100}%`;
      const head = element("header", {}, element("b", {}, short(each.score)), element("span", { class: "track" }, meter));
      return element("li", { class: at ? "" : "winner" }, head, fill(element("div", { class: "words", lang: "", dir: "auto" }), each.html || "<p><em>Not a word.</em></p>"));
    });
    list.replaceChildren(element("p", {}, told), element("ol", {}, ...rows));
    say(told);
  });
  return [element("div", { class: "tools-row" }, field("Policy", policy), field("Judged by", reward), field("n", n)), place, element("div", { class: "go" }, go), trouble, list];
}

export function opinion(bench) {
  const { rewards } = bench;
  if (!rewards.length) return [element("p", { class: "empty" }, "No run here has left a reward model.")];
  const reward = models(rewards);
  const trouble = element("p", { class: "trouble", role: "alert" });
  const list = element("div", { class: "opinions" });
  const { words, place } = message(bench, "Prompt", 2);
  const reply = element("textarea", { rows: 3, maxlength: 20000 });
  const go = working("What does it say?", trouble, async () => {
    if (!words.value.trim() || !reply.value.trim()) return;
    const found = await compute("play/opinion", { reward: reward.value, prompt: words.value, reply: reply.value, template: bench.sampling.template() });
    list.prepend(told(found, rewards.find(([id]) => id === reward.value)[1]));
    say(`Score ${short(found.score)}`);
  });
  const about = element("p", { class: "soft" }, "Shaded by what each word changed: orange raised the score, blue lowered it, as if the reply had ended there.");
  return [element("div", { class: "tools-row" }, field("Judged by", reward)), place, field("Reply", reply, "grows"), element("div", { class: "go" }, go), trouble, about, list];
}

function told(found, judge) {
  const changes = found.scores.map((score, at) => (at ? score - found.scores[at - 1] : 0));
  const scale = Math.max(...changes.map(Math.abs), 1e-9);
  const pieces = found.words.map((word, at) => {
    const step = Math.round((LEVELS * changes[at]) / scale);
    const tone = step > 0 ? `up-${step}` : step < 0 ? `down-${-step}` : "";
    return element("span", { class: `token ${tone}`, title: `${word.trim()}: ${short(found.scores[at])}, ${changes[at] < 0 ? "" : "+"}${short(changes[at])}` }, word);
  });
  return element("article", { class: "card" }, element("header", {}, element("b", { class: "score" }, short(found.score)), element("span", { class: "soft" }, judge)), element("div", { class: "reply", lang: "", dir: "auto" }, ...pieces));
}
