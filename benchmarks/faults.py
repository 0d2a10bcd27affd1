"""Diseases planted on the helpdesk, and healthy runs: slow, noisy, lucky. By settings, data or a patched part.

No number of a run is written by hand: a fault changes what is trained, sampled, scored or judged, and the run records
what comes of it. `accepted` was fixed before any run: the names that count as finding it, first or second.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from tutelage.data.helpdesk import world
from tutelage.data.records import Comparison, compared
from tutelage.data.tokens import Codec
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.feedback.labellers import SyntheticLabeller, panel
from tutelage.formulas import surrogate
from tutelage.policies.language import LanguagePolicy
from tutelage.rewards import helpdesk
from tutelage.trajectory import Batch, Score

Rows = list[Comparison]
Drawn = Callable[[LanguagePolicy, Sequence[int], int, SamplingSettings], Any]
PUSHED = {"learning_rate": 2e-3, "epochs": 2, "minibatches": 1}  # far enough in so few steps, whatever the base setting
WIDE = {"parity_tolerance_nats": 1e9}  # the check that would stop the run is off, as in a program that has none


@dataclass(frozen=True)
class Fault:
    """accepted: names that count (none: the run is healthy). changes: of PPOConfig; rewarded: (score, codec) -> score

    drawn_by: makes the sampler; job: further settings written down; lora: rank; new_tokens: limit of a reply
    patched: a defect while it trains; labels: (comparisons, seed) -> comparisons; epochs: of the reward model
    stages: what is run, of labels, reward-model and ppo; the others are shared checkpoints
    """

    accepted: tuple[str, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    rewarded: Callable[[Score, Codec], Score] | None = None
    drawn_by: Drawn = NativeSampler
    lora: int = 0
    new_tokens: int = 48
    patched: Callable[[], AbstractContextManager[Any]] = nullcontext
    labels: Callable[[Rows, int], Rows] | None = None
    epochs: float = 3.0
    stages: tuple[str, ...] = ("ppo",)


# --- scores


class Reshaped:
    """A score of episodes made of another: (step, scores [B], replies) -> scores [B]."""

    def __init__(self, change: Callable[[int, Tensor, list[str]], Tensor], score: Score, codec: Codec) -> None:
        self.change, self.score, self.codec = change, score, codec

    def __call__(self, batch: Batch) -> Tensor:
        replies = self.codec.prompts_and_responses(batch)[1]
        return batch.at_last_action(self.change(batch.keys[0].step, self.score(batch).sum(dim=1), replies))


def reshaped(change: Callable[[int, Tensor, list[str]], Tensor]) -> Callable[[Score, Codec], Score]:
    return partial(Reshaped, change)


def says(*phrases: str) -> Callable[[list[str]], Tensor]:
    """1 for a reply that holds one of the phrases."""
    return lambda replies: torch.tensor([float(any(each in reply for each in phrases)) for reply in replies])


def words(replies: list[str]) -> Tensor:
    return torch.tensor([float(len(reply.split())) for reply in replies])


class Gold:
    """The gold score itself as the reward: labels that are perfect and endless."""

    def __init__(self, score: Score, codec: Codec) -> None:
        self.codec = codec

    def __call__(self, batch: Batch) -> Tensor:
        return batch.at_last_action(torch.tensor(helpdesk.gold(*self.codec.prompts_and_responses(batch))))


# --- samplers


class Late:
    """Samples from a copy of the policy that is brought up to date at every n-th publish; 0: never."""

    def __init__(self, every: int, policy: LanguagePolicy, *rest: Any) -> None:
        self.every, self.policy, self.published = every, policy, 0
        self.copy = LanguagePolicy(copy.deepcopy(policy.model), policy.temperature, policy.numerics)
        self.inner = NativeSampler(self.copy, *rest)

    def sample(self, environment: Any, keys: Any) -> Batch:
        return self.inner.sample(environment, keys)

    def publish(self) -> None:
        self.published += 1
        if self.every and self.published % self.every == 0:
            self.copy.model.load_state_dict(self.policy.model.state_dict())
        self.inner.publish()


def colder(policy: LanguagePolicy, *rest: Any) -> NativeSampler:
    """The same weights at a lower temperature than the learner's."""
    return NativeSampler(LanguagePolicy(policy.model, 0.6 * policy.temperature, policy.numerics), *rest)


def backwards() -> AbstractContextManager[Any]:
    """A surrogate with the sign of the advantages turned round."""
    true = surrogate.clipped
    return patch("tutelage.formulas.surrogate.clipped", lambda new, old, adv, clip: true(new, old, -adv, clip))


# --- labels


def judged_by(labeller: SyntheticLabeller) -> Callable[[Rows, int], Rows]:
    """The same pairs, all answered by this labeller."""

    def answer(rows: Rows, seed: int) -> Rows:
        rng = np.random.default_rng([seed, 7])
        found: Rows = []
        for row in rows:
            shown = rng.permutation(len(row.texts)).tolist()
            prompt = row.context.prompt or ""
            choice = shown[labeller.choose(prompt, [row.texts[place] for place in shown], rng)]
            found.append(compared(prompt, row.texts, choice, shown, rater=labeller.name, rater_kind="synthetic"))
        return found

    return answer


def few(rows: Rows, seed: int, count: int = 60) -> Rows:
    order = np.random.default_rng([seed, 8]).permutation(len(rows))
    return [rows[place] for place in order[:count]]


def a_thousand(change: Callable[[Rows, int], Rows]) -> Callable[[Rows, int], Rows]:
    """The same with the first thousand pairs: a reward model of twenty seconds."""
    return lambda rows, seed: change(rows[:1000], seed)


def one_clicks(rows: Rows, seed: int) -> Rows:
    """A twelfth of the answers come from somebody who clicks what stands first."""
    clicker = SyntheticLabeller("clicks", helpdesk.gold, first_bias=50.0)
    return [*judged_by(clicker)(rows[: len(rows) // 12], seed), *rows[len(rows) // 12 :]]


def both_ways(rows: Rows, seed: int) -> Rows:
    """A tenth of the pairs comes in a second time, half of them with chosen and rejected exchanged."""
    again = few(rows, seed, len(rows) // 10)
    swapped = [
        compared(
            row.context.prompt or "", row.texts, row.chosen() if i % 2 else 1 - row.chosen(), rater=f"import {i % 3}"
        )
        for i, row in enumerate(again)
    ]
    return [*rows, *swapped]


def imported_twice(rows: Rows, seed: int) -> Rows:
    return [*rows, *few(rows, seed, len(rows) // 4)]


def told_twice(rows: Rows, seed: int) -> Rows:
    """A leak: the held-out tenth is learned from, too, in capitals."""
    held = rows[: len(rows) // 10]
    again = [compared((row.context.prompt or "").upper(), row.texts, row.chosen()) for row in held]
    return [*rows, *again]


def same_reply(rows: Rows, seed: int) -> Rows:
    """A tenth of the pairs holds one reply twice, as a cold sampler draws them."""
    cut = len(rows) // 10
    same = [compared(row.context.prompt or "", [row.texts[0]] * 2, 0, [0, 1], rater="cold") for row in rows[:cut]]
    return [*same, *rows[cut:]]


def likes_length(prompts: list[str], responses: list[str]) -> list[float]:
    return [float(len(response)) for response in responses]


HASTY = SyntheticLabeller("hasty", helpdesk.gold, sharpness=1.0, first_bias=1.5)
LONG = SyntheticLabeller("likes length", likes_length, sharpness=1.0)
ONLY_LABELS, REWARD_MODEL = ("labels",), ("labels", "reward-model")
RARE = says("compliments of the house")

FAULTS: dict[str, Fault] = {
    "KL is free": Fault(("KL runaway", "reward hacking", "learning rate too high"), {**PUSHED, "kl_coefficient": 0.0}),
    "KL is dear": Fault(("KL penalty too strong", "ranking conflict"), {"kl_coefficient": 20.0}),
    "learning rate 1e-7": Fault(("learning rate too low",), {"learning_rate": 1e-7}),
    "learning rate 2e-2": Fault(
        ("learning rate too high", "KL runaway", "mode collapse", "truncation storm"), {"learning_rate": 2e-2}
    ),
    "sixteen epochs": Fault(
        ("learning rate too high", "KL runaway"), {"epochs": 16, "learning_rate": 3e-3, "trajectories": 16}
    ),
    "critic does not learn": Fault(("dead critic",), {"value_learning_rate": 0.0}),
    "value clip 0.001": Fault(("value clip against reward scale", "dead critic"), {"value_clip_range": 1e-3}),
    "reward times 40": Fault(
        ("reward scale blow-up", "value clip against reward scale"),
        rewarded=reshaped(lambda step, score, replies: 40.0 * score),
    ),
    "reward grows": Fault(
        ("reward scale blow-up", "value clip against reward scale"),
        rewarded=reshaped(lambda step, score, replies: 1.5**step * score),
    ),
    "rare reward": Fault(("sparse reward",), rewarded=reshaped(lambda step, score, replies: RARE(replies))),
    "constant reward": Fault(
        ("sparse reward",), rewarded=reshaped(lambda step, score, replies: torch.full_like(score, 0.3))
    ),
    "paid by the word": Fault(
        ("length hacking", "reward hacking", "truncation storm"),
        {**PUSHED, "kl_coefficient": 0.02},
        reshaped(lambda step, score, replies: score + 0.3 * words(replies)),
    ),
    "words cost": Fault(
        ("length hacking", "EOS collapse", "reward hacking"),
        {**PUSHED, "kl_coefficient": 0.02},
        reshaped(lambda step, score, replies: score - 0.4 * words(replies)),
    ),
    "silence pays": Fault(  # and to be cut off does not
        ("EOS collapse", "length hacking"),
        {**PUSHED, "kl_coefficient": 0.0, "truncation_score": -15.0},
        reshaped(lambda step, score, replies: -0.5 * words(replies)),
    ),
    "limit of 12 tokens": Fault(("truncation storm",), new_tokens=12),
    "the limit pays": Fault(
        ("truncation storm",),
        {**PUSHED, "kl_coefficient": 0.0, "learning_rate": 3e-3, "truncation_score": 8.0},
        reshaped(lambda step, score, replies: score + 0.1 * words(replies)),
    ),
    "flattery pays": Fault(
        ("template phrases", "reward hacking"),
        {**PUSHED, "kl_coefficient": 0.02},
        reshaped(lambda step, score, replies: score + 4.0 * says("famous", "best shop")(replies)),
    ),
    "one phrase pays": Fault(
        ("template phrases", "reward hacking", "mode collapse"),
        {**PUSHED, "kl_coefficient": 0.02},
        reshaped(lambda step, score, replies: score + 4.0 * says("The weather is nice today")(replies)),
    ),
    "cold sampler": Fault(("stale sampler", "KL negative"), WIDE, drawn_by=colder),
    "sampler never updated": Fault(("stale sampler",), WIDE, drawn_by=partial(Late, 0)),
    "sampler six steps late": Fault(("stale sampler",), WIDE, drawn_by=partial(Late, 6)),
    "adapter not delivered": Fault(
        ("LoRA not delivered", "stale sampler"), {**WIDE, "learning_rate": 5e-3}, drawn_by=partial(Late, 0), lora=8
    ),
    "sign turned round": Fault(("ranking conflict", "KL runaway"), {"kl_coefficient": 0.0}, patched=backwards),
    "sixty labels": Fault(
        ("reward hacking", "KL runaway"),
        {**PUSHED, "kl_coefficient": 0.0},
        labels=few,
        stages=("labels", "reward-model", "ppo"),
    ),
    "reward forgets the desk": Fault(
        ("forgetting", "KL runaway", "reward hacking", "mode collapse"),
        {**PUSHED, "kl_coefficient": 0.0, "learning_rate": 3e-3},
        reshaped(lambda step, score, replies: 3.0 * says("Goodbye.")(replies) - 0.1 * words(replies)),
    ),
    "labels by heart": Fault(("reward model overconfidence",), labels=few, epochs=30.0, stages=REWARD_MODEL),
    "length labelled": Fault(("length bias",), labels=a_thousand(judged_by(LONG)), epochs=1.0, stages=REWARD_MODEL),
    "test learned from": Fault(("label leakage",), labels=a_thousand(told_twice), epochs=1.0, stages=REWARD_MODEL),
    "first one wins": Fault(("position bias", "one-sided labeller"), labels=judged_by(HASTY), stages=ONLY_LABELS),
    "one clicks": Fault(("one-sided labeller", "position bias"), labels=one_clicks, stages=ONLY_LABELS),
    "answered both ways": Fault(("contradictory pairs",), labels=both_ways, stages=ONLY_LABELS),
    "imported twice": Fault(("duplicate pairs",), labels=imported_twice, stages=ONLY_LABELS),
    "same reply twice": Fault(("duplicate pairs",), labels=same_reply, stages=ONLY_LABELS),
}

HEALTHY: dict[str, Fault] = {
    "as it is": Fault(),
    "slow": Fault(changes={"learning_rate": 2.5e-4}),
    "noisy": Fault(changes={"trajectories": 16}),
    "lucky": Fault(rewarded=Gold),
    "adaptive KL": Fault(changes={"kl_target_nats": 3.0, "kl_horizon": 500.0}),
    "cheaper KL": Fault(changes={"kl_coefficient": 0.1}),
    "honest labels": Fault(labels=a_thousand(lambda rows, seed: rows), epochs=1.0, stages=REWARD_MODEL),
    "panel again": Fault(labels=lambda rows, seed: by_panel(rows, seed), stages=ONLY_LABELS),
}


def by_panel(rows: Rows, seed: int) -> Rows:
    """The pairs answered anew, each by one of five honest people with habits."""
    people, rng = panel(helpdesk.gold), np.random.default_rng([seed, 9])
    return [judged_by(people[int(rng.integers(len(people)))])([row], seed + i)[0] for i, row in enumerate(rows)]


def prompts_of(seed: int, count: int = 600) -> list[str]:
    return world.prompts("labels", count, 1000 + seed)
