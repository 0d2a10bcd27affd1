"""The same few prompts again and again while a policy learns, so that its replies can be compared along the steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tutelage.algorithms.ppo import PPOConfig, remembered
from tutelage.data.tokens import Codec
from tutelage.formulas import kl
from tutelage.runs.checkpoints import RANDOM
from tutelage.training.token_rows import token_columns
from tutelage.trajectory import ActorCritic, Key, LogProbs, Sampler, Score, TextEnvironment

PROMPTS = 4
PROBE_STEP = 2**32 - 128  # no training step: its random streams are its own, and the same ones every time
SHARE = 0.02  # of the time of all steps that the probe may take
COST = 1.5  # seconds of an episode of the probe over those of one that is learned from, in a larger batch (measured)


@dataclass(frozen=True)
class Probe:
    """Replies of the current policy to fixed prompts, each drawn with the same random numbers every time.

    Nothing learns from them, and no random stream of the run moves: a run with a probe has the bits of one without.

    keys: one episode a prompt     every: steps between two looks; the first and the last step are looked at, too
    """

    keys: tuple[Key, ...]
    every: int
    last: int
    sampler: Sampler
    environment: TextEnvironment
    score: Score
    critic: ActorCritic
    reference: LogProbs
    codec: Codec
    tokens_at_once: int

    def is_due(self, step: int) -> bool:
        return bool(self.keys) and (step % self.every == 0 or step == self.last)

    def rows(self) -> list[dict[str, Any]]:
        """A sample a prompt, as samples.jsonl keeps it: `probe` is the number of the prompt."""
        before = RANDOM.state()
        try:
            batch = self.sampler.sample(self.environment, self.keys)
            score_BT = self.score(batch)  # a user's reward may draw from the global generators
        finally:
            RANDOM.restore(before)
        old, reference_BT = remembered(self.critic, self.reference, batch, self.tokens_at_once)
        log_ratios_BT = kl.k1(old.log_probs_BT, reference_BT).masked_fill(~batch.mask_BT, 0.0)
        read = batch.with_extras(log_ratios=log_ratios_BT, old_values=old.values_BS)
        paid_B = (score_BT + batch.rewards_BT).sum(dim=1)
        texts = zip(*self.codec.prompts_and_responses(batch), paid_B.tolist(), strict=True)
        return [
            {
                "probe": place,
                "prompt": prompt,
                "response": response,
                "score": score,
                **token_columns(self.codec, read, place),
            }
            for place, (prompt, response, score) in enumerate(texts)
        ]


def probe_keys(environment: TextEnvironment, count: int) -> tuple[Key, ...]:
    """`count` episodes of different starts from all over the environment, or as many as 8 · count places hold."""
    starts = len(environment)
    keys = [Key(PROBE_STEP, place) for place in range(0, starts, max(1, starts // (8 * count)))] if count else []
    by_tokens: dict[tuple[int, ...], Key] = {}
    for start in range(min(8, len(keys))):
        for key in keys[start::8]:
            if len(by_tokens) < count:
                by_tokens.setdefault(tuple(environment.episode(key).first), key)
    return tuple(sorted(by_tokens.values()))


def steps_between(config: PPOConfig, prompts: int) -> int:
    """How many steps lie between two looks, so that they take about SHARE of the run's time."""
    return max(1, math.ceil(COST * prompts / config.trajectories / SHARE))
