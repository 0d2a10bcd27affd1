// Playing with the models of runs: talk, blind arena, best of n, a reward model's opinion.

import { element } from "../elements.js";
import { asked, chosen, keep } from "./address.js";
import { ask } from "./ask.js";
import { field, nothing, select } from "./bar.js";
import { arena } from "./play_arena.js";
import { chat } from "./play_chat.js";
import { best, opinion } from "./play_scores.js";

const MODES = { chat: ["Chat", chat], arena: ["Blind arena", arena], best: ["Best of n", best], opinion: ["Opinion", opinion] };

export async function open(content) {
  const found = await ask("play/models", { run: chosen() });
  const of = (kind) => found.models.filter((each) => each.kind === kind).map((each) => [each.id, each.title]);
  const bench = { policies: of("policy"), rewards: of("reward model"), prompts: found.prompts, sampling: sampling(found.template) };
  if (!bench.policies.length && !bench.rewards.length) {
    return content.append(nothing("No run here has left a model yet: a run leaves it in ", element("code", {}, "RUN/model"), " at its end."));
  }
  const place = element("div", { class: "game" });
  const tabs = element("div", { class: "tabs", role: "tablist", "aria-label": "Ways to play" });
  const show = (name) => {
    const known = MODES[name] ? name : "chat";
    keep({ mode: known });
    for (const tab of tabs.children) tab.setAttribute("aria-selected", String(tab.dataset.mode === known));
    for (const tab of tabs.children) tab.tabIndex = tab.dataset.mode === known ? 0 : -1;
    place.setAttribute("aria-labelledby", `tab-${known}`);
    bench.sampling.shown(known !== "opinion");
    place.replaceChildren(...MODES[known][1](bench));
  };
  for (const [name, [says]] of Object.entries(MODES)) {
    const tab = element("button", { type: "button", role: "tab", id: `tab-${name}`, "data-mode": name, "aria-controls": "game" }, says);
    tab.addEventListener("click", () => show(name));
    tabs.append(tab);
  }
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = [...tabs.children];
    const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    next.focus();
    show(next.dataset.mode);
  });
  place.id = "game";
  place.setAttribute("role", "tabpanel");
  content.append(tabs, bench.sampling.place, place);
  show(asked("mode", "chat"));
}

/** How replies are drawn: the same for all ways to play. */
function sampling(template) {
  const range = (value, low, high, step) => element("input", { type: "range", min: low, max: high, step, value });
  const temperature = range(0.7, 0.05, 2, 0.05); // as `tutelage chat` draws where a model recommends nothing
  const topP = range(0.9, 0.05, 1, 0.05);
  const tokens = element("input", { type: "number", min: 1, max: 512, value: 64 });
  const around = element("input", { type: "text", value: template.replaceAll("\n", "\\n"), placeholder: "the model's own", spellcheck: "false" });
  const shown = (control) => {
    const value = element("output", {}, control.value);
    control.addEventListener("input", () => (value.textContent = control.value));
    return element("span", { class: "ranged" }, control, value);
  };
  const drawn = [field("Temperature", shown(temperature)), field("Top-p", shown(topP)), field("Tokens", tokens)];
  const place = element("div", { class: "tools-row" }, ...drawn, field("Around a message", around, "grows"));
  return {
    place,
    template: () => around.value,
    shown: (all) => drawn.forEach((each) => (each.hidden = !all)),
    read: () => ({ temperature: Number(temperature.value), top_p: Number(topP.value), max_new_tokens: Math.min(512, Math.max(1, Number(tokens.value) || 64)), template: around.value }),
    /** The message within a prompt of the run, without what stands around it. */
    message(prompt) {
      const [before, after = ""] = around.value.replaceAll("\\n", "\n").split("{message}");
      const fits = around.value && prompt.startsWith(before) && prompt.endsWith(after);
      return fits ? prompt.slice(before.length, prompt.length - after.length) : prompt;
    },
  };
}

/** A text to type, with the prompts that the run was asked behind a button. */
export function message(bench, says, rows = 3) {
  const words = element("textarea", { rows, maxlength: 20000 });
  const label = field(says, words, "grows");
  let next = 0;
  const another = element("button", { type: "button", class: "quiet" }, "A prompt of the run");
  another.addEventListener("click", () => {
    words.value = bench.sampling.message(bench.prompts[next++ % bench.prompts.length]);
    words.focus();
  });
  return { words, place: element("div", { class: "message" }, label, bench.prompts.length ? another : null) };
}

export function models(options, value, changed = () => {}) {
  return select(options, value ?? options[0]?.[0] ?? "", changed);
}

/** A button that is busy while it works, and says what went wrong. */
export function working(says, place, work) {
  const button = element("button", { type: "button", class: "primary" }, says);
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    place.textContent = "";
    try {
      await work();
    } catch (error) {
      place.textContent = error.message;
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  return button;
}
