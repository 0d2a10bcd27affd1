"""Drift after deployment: the world asks, or the policy answers, otherwise than at home.

Two-sample tests between the run's own prompts and replies and those that came back: lengths and likelihoods by
Kolmogorov and Smirnov's distance, words by a classifier that tries to tell them apart on texts it did not learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.doctor.chart import Chart, Stage
from tutelage.doctor.deployed import Deployment, Spoken
from tutelage.doctor.finding import Disease, Sign
from tutelage.evaluation.told_apart import ToldApart, told_apart
from tutelage.formulas.two_samples import kolmogorov_smirnov

TELLS = 0.6  # area under the curve of the classifier, at the lower end of its interval; 0.5 is chance
DISTANCE = 0.2  # between two distribution functions
CHANCE = 1e-3  # how often chance may make it as large; five such tests are made
NATS = 0.1  # by how much mean likelihoods of replies, nats an action, must differ to be told
SCORE = 0.3  # by how many deviations at home the mean score must differ

NAMES = {
    "policy_excess": "Nats an action by which the run's policy finds the replies less likely than its own would be",
    "reference_excess": "The same for the reference",
    "score": "The reward model's score",
}


@dataclass(frozen=True)
class Moved:
    """A number whose distribution moved. home, out: means"""

    name: str
    home: float
    out: float
    distance: float

    @property
    def said(self) -> str:
        return f"{self.name}: {self.home:.3g} at home, {self.out:.3g} deployed (distance {self.distance:.2f})."


def examine(stage: Stage, run: Chart) -> Sign | None:
    return None if run.deployed is None else sign_of(run.deployed)


def sign_of(found: Deployment) -> Sign | None:
    asked, answered = words_moved(found, "prompts"), words_moved(found, "replies")
    lengths = {side: moved_length(found, side) for side in ("prompts", "replies")}
    numbers = {name: moved_number(found, name) for name in NAMES}
    likely = numbers["policy_excess"]
    prompts_moved = [each for each in (asked, lengths["prompts"]) if each]
    replies_moved = [each for each in (answered, lengths["replies"], likely, numbers["score"]) if each]
    if not prompts_moved and not replies_moved:
        return None
    remedy = advice(bool(prompts_moved), likely, found.out.numbers.get("reference_excess"))
    evidence = [apart_said(side, each) for side, each in (("prompts", asked), ("replies", answered)) if each]
    evidence += [each.said for each in (*lengths.values(), *numbers.values()) if each]
    strong = bool(asked or likely or (answered and numbers["score"]))
    area = max((each.area for each in (asked, answered) if each), default=TELLS)
    return Sign(
        severity="warning" if strong else "notice",
        step=None,
        evidence=(f"{len(found.home)} replies at home, {len(found.out)} deployed.", *evidence),
        remedy=remedy,
        samples=strangest(found.out),
        weight=area / TELLS,
    )


def words_moved(found: Deployment, side: str) -> ToldApart | None:
    """The classifier's answer, where it tells the two apart."""
    home, out = getattr(found.home, side), getattr(found.out, side)
    told = told_apart(home, out, [*found.home.prompts, *found.out.prompts])
    return told if told is not None and told.low > TELLS else None


def moved_length(found: Deployment, side: str) -> Moved | None:
    home, out = (np.array([len(text.split()) for text in getattr(each, side)]) for each in (found.home, found.out))
    return moved(f"words a {'prompt' if side == 'prompts' else 'reply'}", home, out, 0.0)


def moved_number(found: Deployment, name: str) -> Moved | None:
    home, out = found.home.numbers.get(name), found.out.numbers.get(name)
    if home is None or out is None:
        return None
    least = SCORE * float(home.std()) if name == "score" else NATS
    return moved(NAMES[name], home, out, least)


def moved(name: str, home_N: np.ndarray, out_M: np.ndarray, least: float) -> Moved | None:
    """least: how far the means must lie apart, too."""
    distance, chance = kolmogorov_smirnov(home_N, out_M)
    home, out = float(home_N.mean()), float(out_M.mean())
    told = distance >= DISTANCE and chance < CHANCE and abs(out - home) >= least
    return Moved(name, home, out, distance) if told else None


def apart_said(side: str, told: ToldApart) -> str:
    return (
        f"A classifier tells {side} at home from deployed ones in {told.area:.0%} of pairs, 95 % interval "
        f"{told.low:.0%} to {told.high:.0%} (a coin: 50 %); at home stand {quoted(told.of_first)}, deployed "
        f"{quoted(told.of_second)}."
    )


def quoted(words: Sequence[str]) -> str:
    return ", ".join(f"“{each}”" for each in words[:4])


def advice(prompts_moved: bool, likely: Moved | None, reference_N: np.ndarray | None) -> str:
    """What to do: whose fault it is shows in how likely the replies are, whatever the prompts."""
    if likely is not None and likely.out < likely.home:
        return (
            "The replies are likelier than the policy's own: it is sampled colder. Serve it at the temperature of its "
            "training, or train at the one that is served (--temperature)."
        )
    if likely is not None and reference_N is not None and abs(float(reference_N.mean())) < NATS:
        return (
            "The replies are strange to the policy and what its reference would say: an older model, or one without "
            "its adapter, is being served. Serve RUN/model."
        )
    if likely is not None:
        return (
            "The policy would not say this: another model is served, it is sampled hotter, or somebody edits replies "
            "behind it. Compare what is served with RUN/model."
        )
    if prompts_moved:
        return (
            "The world asks other things than the run was trained on, and the policy answers as it is. Have replies to "
            "the new prompts judged (`tutelage label`), train the reward model on them and the policy on those prompts "
            "(--data)."
        )
    return "The replies moved a little, and the policy finds them as likely as its own. Look at the samples."


def strangest(out: Spoken) -> tuple[str, ...]:
    """Replies that the policy finds least likely; the first ones where nobody computed that."""
    nats = out.numbers.get("policy_excess")
    order = range(len(out)) if nats is None else np.argsort(nats)[::-1]
    return tuple(out.replies[place] for place in list(order)[:3])


DISEASE = Disease(
    name="drift after deployment",
    kind="ppo",
    needs=(),
    look="A linear classifier tells deployed prompts (or replies) from those at home, its area under the curve above "
    "0.6 at the lower end of the interval; or lengths, likelihoods or scores are distributed otherwise (distance 0.2, "
    "beyond chance). A warning where prompts or likelihoods moved, or words and scores together; else a notice.",
    causes=(
        "Users ask other things, or ask them otherwise, than the prompts of the run.",
        "Another model is served than RUN/model: an older one, one without its adapter, one quantised.",
        "It is sampled otherwise: another temperature, top-p, a system prompt, a length limit; or replies are edited.",
    ),
    confirm="Give RUN/model the deployed prompts at the run's own settings: its replies resemble those deployed (the "
    "prompts moved) or they do not (the model or the sampling did).",
    look_alike="More of the same: new prompts of the same kind, and replies of the same policy to them.",
    examine=examine,
)
