"""Kahneman-Tversky optimization (Ethayarajh et al. 2024): single replies, each of them good or bad; no pairs.

    l(y) = log π(y|x) − log π_ref(y|x)        implicit reward: β l(y)
    z    = max(0, mean over the minibatch of l(y'|x)), y' the reply to another prompt: an estimate of KL(π ‖ π_ref)
    loss = λ_D (1 − σ(β (l − z))) of a good reply, λ_U (1 − σ(β (z − l))) of a bad one         (eq. 8)

z has no gradient and is that of the whole minibatch, however it is cut into micro-batches. Which reply stands behind
which prompt is decided once, by the seed, so that the reference's log-probs are computed once (`implicit_reward`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.algorithms.implicit_reward import log_ratios, with_reference
from tutelage.algorithms.minibatches import minibatch
from tutelage.data.errors import InputError
from tutelage.data.judgements import Judgements
from tutelage.data.unpaired import mismatch_replies
from tutelage.formulas import preference, schedule
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Learner, LogProbs, Sampler, Sums, parts_by_length

SIDES = ("chosen", "rejected")  # of what is recorded: good replies, bad replies


@dataclass(frozen=True)
class KTOConfig:
    """Settings of KTO.

    beta: implicit reward a nat of log-ratio
    good_weight, bad_weight: λ_D and λ_U. The paper: λ_D · good replies is 1 to 4/3 times λ_U · bad replies
    batch_size: replies an optimizer step     steps: optimizer steps; None derives them from epochs
    learning_rate: cosine to 0 after warm_up steps     tokens_at_once: padded tokens of a micro-batch
    held_out_fraction: of the prompts, for the command's measure of the implicit reward
    """

    beta: float = 0.1
    good_weight: float = 1.0
    bad_weight: float = 1.0
    epochs: float = 1.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-5
    warm_up: int = 10
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    held_out_fraction: float = 0.1
    seed: int = 0

    def total_steps(self, replies: int) -> int:
        """Optimizer steps of a whole run."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * replies / self.batch_size))


def kto(config: KTOConfig, judgements: Judgements, policy: LogProbs, learner: Learner, run: Run) -> int:
    """Trains `policy` in place; the reference is the policy as it is now. Returns the number of steps."""
    keep = partial(with_reference, policy, steps_at_once=config.tokens_at_once, run=run)
    others = keep(batch=mismatch_replies(judgements.candidates, config.seed), name="reference-of-others")
    judgements = replace(judgements, candidates=keep(batch=judgements.candidates))
    steps, rows = config.total_steps(len(judgements)), partial(minibatch, len(judgements), config.batch_size)
    for step in run.steps(steps, shows=("loss", "accuracy"), state={"learner": learner}):
        drawn = rows(config.seed, step)
        baseline = baseline_of(policy, others.select(drawn), config.tokens_at_once)
        stats = learner.update(judgements.select(drawn), partial(kto_loss, config, policy, baseline))
        run.record(step, {**mean_of_sides(stats), "baseline_nats": baseline})
    return steps


@torch.no_grad()
def baseline_of(policy: LogProbs, others: Batch, steps_at_once: int) -> float:
    """z in nats."""
    parts = parts_by_length(others.lengths_B, steps_at_once)
    sums = [log_ratios(policy, others.select(part))[1].double().sum() for part in parts]
    return max(0.0, float(torch.stack(sums).sum()) / len(others))


def kto_loss(config: KTOConfig, policy: LogProbs, baseline: float, part: Judgements) -> Sums:
    """Sums over replies: the loss, and what there is to tell of either side, which `mean_of_sides` divides."""
    said_N, ratio_N = log_ratios(policy, part.candidates)
    good_N = part.ratings_NKA[:, 0, 0] > 0.5
    weight_N = part.weights_N * torch.where(good_N, config.good_weight, config.bad_weight)
    sums = {"loss": (weight_N * preference.kto(ratio_N, good_N, baseline, config.beta)).sum()}
    with torch.no_grad():
        sums["accuracy"] = (part.weights_N * ((ratio_N > baseline) == good_N)).sum()
        for name, of_side_N in zip(SIDES, (good_N, ~good_N), strict=True):
            share_N = part.weights_N * of_side_N
            sums |= {f"share_{name}": share_N.sum(), f"rewards_{name}": config.beta * (share_N * ratio_N).sum()}
            sums[f"log_probs_{name}"] = (share_N * said_N).sum()
    return sums


def mean_of_sides(stats: dict[str, float]) -> dict[str, float]:
    """Means over the good and over the bad replies of a minibatch; nothing of a side that has none."""
    found = {name: each for name, each in stats.items() if not name.endswith(SIDES)}
    for side in SIDES:
        share = stats[f"share_{side}"]
        if share > 0:
            found |= {f"{name}_{side}": stats[f"{name}_{side}"] / share for name in ("rewards", "log_probs")}
    if all(f"rewards_{side}" in found for side in SIDES):
        found["rewards_margins"] = found["rewards_chosen"] - found["rewards_rejected"]
    return found


def refuse_unusable(config: KTOConfig, judgements: Judgements) -> None:
    """InputError where nothing can be learned."""
    if config.beta <= 0 or config.good_weight < 0 or config.bad_weight < 0:
        raise InputError(
            f"beta is {config.beta}, good_weight {config.good_weight}, bad_weight {config.bad_weight}; expected a "
            "number above 0, and weights of 0 or more."
        )
    ratings = judgements.ratings_NKA[:, :1, :1].flatten()
    if int(judgements.counts_N.max()) > 1 or len(ratings) < len(judgements) or ratings.isnan().any():
        raise InputError(
            "kto learns from single replies, each rated 1 (good) or 0 (bad). "
            "tutelage.data.unpaired.split_into_replies takes pairs apart."
        )
    good, most = int((ratings > 0.5).sum()), len(ratings)
    if good in (0, most) or most < 2:
        raise InputError(
            f"all {most} replies are {'good' if good else 'bad'}, and kto needs both kinds. "
            f"{'Add bad ones, or fine-tune on the good ones with sft.' if good else 'Add good ones.'}"
        )


def page(
    config: KTOConfig, judgements: Judgements, models: Any, sampler: Sampler | None, learner: Learner, run: Run
) -> int:
    """`kto` as `training.train` calls it."""
    return kto(config, judgements, models.policy, learner, run)


KTO = Algorithm(
    "kto",
    page,
    lambda config, judgements: config.total_steps(len(judgements)),
    learns_from=LearnsFrom.PAIRS,
    anneal=schedule.cosine,
    warm_up=lambda config: config.warm_up,
    refuse=refuse_unusable,
)
