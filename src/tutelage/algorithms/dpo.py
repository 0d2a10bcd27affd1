"""Direct preference optimization (Rafailov et al. 2023): the policy learns from pairs, without a reward model.

    l(y) = log π(y|x) − log π_ref(y|x)        implicit reward: β l(y)
    sigmoid   −log σ(β (l_chosen − l_rejected))
    ipo       (l_chosen − l_rejected − 1/2β)²                                     Azar et al. 2023, eq. 17; β is its τ
    simpo     −log σ(β (log π(y_chosen)/|y| − log π(y_rejected)/|y|) − γ)         Meng et al. 2024; no reference

A pair has a soft target p = P(first is better), ½ for a tie; label_smoothing ε makes it (1 − ε) p + ε (1 − p)
(conservative DPO). Of a question with K replies the mean over its judged pairs counts, so a question weighs 1.
Against the paper: AdamW instead of RMSprop. The reference's log-probs are computed once (`implicit_reward`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.algorithms.implicit_reward import describe_pairs, log_ratios, with_reference
from tutelage.algorithms.minibatches import minibatch
from tutelage.data.errors import InputError
from tutelage.data.judgements import Judgements
from tutelage.formulas import preference, schedule
from tutelage.runs.run import Run
from tutelage.trajectory import Learner, LogProbs, Sampler, Sums


@dataclass(frozen=True)
class DPOConfig:
    """Settings of DPO.

    beta: implicit reward a nat of log-ratio; of ipo its τ; None: 0.1, and 2.0 with simpo, whose ratios are a token's
    target_margin: γ of simpo     label_smoothing: ε, the share of answers taken to be the wrong way round
    per_token: log-ratios are divided by the length of the reply (TRL's ipo and sigmoid_norm); simpo does so always
    batch_size: questions an optimizer step     steps: optimizer steps; None derives them from epochs
    learning_rate: cosine to 0 after warm_up steps     held_out_fraction: of the prompts, for the command's accuracy
    """

    loss: Literal["sigmoid", "ipo", "simpo"] = "sigmoid"
    beta: float | None = None
    target_margin: float = 1.0
    label_smoothing: float = 0.0
    per_token: bool = False
    epochs: float = 1.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-5
    warm_up: int = 10
    max_grad_norm: float = 1.0
    tokens_at_once: int = 1024
    held_out_fraction: float = 0.1
    seed: int = 0

    def total_steps(self, questions: int) -> int:
        """Optimizer steps of a whole run."""
        return self.steps if self.steps is not None else max(1, round(self.epochs * questions / self.batch_size))

    @property
    def strength(self) -> float:
        """β."""
        return self.beta if self.beta is not None else 2.0 if self.loss == "simpo" else 0.1


def dpo(config: DPOConfig, judgements: Judgements, policy: LogProbs, learner: Learner, run: Run) -> int:
    """Trains `policy` in place; the reference is the policy as it is now. Returns the number of steps."""
    judgements = add_reference(config, judgements, policy, run)
    steps, loss = config.total_steps(len(judgements)), partial(dpo_loss, config, policy)
    questions = partial(minibatch, len(judgements), config.batch_size, config.seed)
    for step in run.steps(steps, shows=("loss", "accuracy"), state={"learner": learner}):
        run.record(step, learner.update(judgements.select(questions(step)), loss))
    return steps


def add_reference(
    config: DPOConfig, judgements: Judgements, policy: LogProbs, run: Run, name: str = "reference"
) -> Judgements:
    """The questions with the reference's log-probs of their replies; simpo needs none. Call it before training."""
    if config.loss == "simpo":
        return judgements
    return replace(
        judgements, candidates=with_reference(policy, judgements.candidates, config.tokens_at_once, run, name)
    )


def dpo_loss(config: DPOConfig, policy: LogProbs, part: Judgements) -> Sums:
    """Sums over questions: the loss, and what there is to tell of the implicit reward."""
    return {name: (each_N * part.weights_N).sum() for name, each_N in dpo_terms(config, policy, part).items()}


def dpo_terms(config: DPOConfig, policy: LogProbs, part: Judgements) -> dict[str, Tensor]:
    """[N] of each question: "loss", and of the implicit reward what `describe_pairs` tells."""
    said_M, ratio_M = log_ratios(policy, part.candidates)
    if config.per_token or config.loss == "simpo":
        ratio_M = ratio_M / part.candidates.mask_BT.sum(dim=1).clamp(min=1)
    targets_NKK = preference.smoothed(part.preferred_NKK, config.label_smoothing)
    loss_N = preference.pairs(part.spread(ratio_M), targets_NKK, term=term_of(config))
    with torch.no_grad():
        told = describe_pairs(part, part.spread(config.strength * ratio_M), part.spread(said_M))
    return {"loss": loss_N, **told}


def term_of(config: DPOConfig) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """(first's log-ratio, second's log-ratio, target) -> what the pair costs."""
    if config.loss != "simpo":
        formula = {"sigmoid": preference.dpo, "ipo": preference.ipo}[config.loss]
        return lambda first, second, target: formula(first, second, config.strength, target)
    return lambda first, second, target: preference.simpo(first, second, config.strength, config.target_margin, target)


def refuse_unusable(config: DPOConfig, judgements: Judgements) -> None:
    """InputError where nothing can be learned, or a setting cannot be."""
    refuse_wrong_numbers(config)
    judged_N = ~judgements.preferred_NKK.flatten(1).isnan().all(dim=1)
    if not judged_N.all():
        raise InputError(
            f"dpo learns from pairs, and {int((~judged_N).sum())} of the {len(judged_N)} questions have none that was "
            "judged. Leave them out; kto learns from single replies that are good or bad."
        )
    if (judgements.preferred_NKK.nan_to_num(nan=0.5) == 0.5).all():
        raise InputError("every pair is a tie, so nothing says which reply is better. Give pairs with a winner.")


def refuse_wrong_numbers(config: DPOConfig) -> None:
    if not 0 <= config.label_smoothing < 0.5:
        raise InputError(f"label_smoothing is {config.label_smoothing}; expected 0 to below 0.5.")
    if not config.strength > 0:
        raise InputError(f"beta is {config.beta}; expected a number above 0.")


def page(
    config: DPOConfig, judgements: Judgements, models: Any, sampler: Sampler | None, learner: Learner, run: Run
) -> int:
    """`dpo` as `training.train` calls it."""
    return dpo(config, judgements, models.policy, learner, run)


DPO = Algorithm(
    "dpo",
    page,
    lambda config, judgements: config.total_steps(len(judgements)),
    learns_from=LearnsFrom.PAIRS,
    anneal=schedule.cosine,
    warm_up=lambda config: config.warm_up,
    refuse=refuse_unusable,
)
