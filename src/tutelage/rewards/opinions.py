"""Reward models of one folder: one, or an ensemble, and how their several opinions become one score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Literal

import torch
from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.formulas import uncertainty
from tutelage.models.pretrained import (
    NOTHING,
    Trust,
    load_sequence_classifier,
    reads_tokens_in_order,
    reward_model_config,
)
from tutelage.models.trunk import Numerics
from tutelage.rewards.ensemble import Combine, Ensemble, is_ensemble, load_ensemble
from tutelage.rewards.language import Heads


@dataclass(frozen=True)
class Judging:
    """How several opinions become one score."""

    combine: Literal["mean", "minimum", "uwo"] = "mean"
    """What the members of an ensemble (or the rules) say together: uwo is mean - coefficient * variance."""
    uncertainty_coefficient: float = 1.0
    """Of uwo, in 1/score: what a unit of the members' variance costs."""
    rules: str | None = None
    """Rules that --reward, a classifier of rules, judges by: a text file, one a line."""

    @property
    def combined(self) -> Callable[[Tensor], Tensor]:
        """[M, B] -> [B]."""
        weighted = partial(uncertainty.uncertainty_weighted, coefficient=self.uncertainty_coefficient)
        return {"mean": uncertainty.mean, "minimum": uncertainty.worst_case, "uwo": weighted}[self.combine]


def opinions(
    reward: str,
    device: torch.device,
    judging: Judging = Judging(),
    numerics: Numerics = Numerics(),
    trust: Trust = NOTHING,
) -> tuple[Ensemble, Combine]:
    """(the reward models of a folder, how they become one score)."""
    refuse_rules(reward, judging)
    if is_ensemble(reward):
        return load_ensemble(reward, device, numerics, trust), judging.combined
    config = reward_model_config(reward, trust)
    if not reads_tokens_in_order(reward, config):
        raise InputError(
            f"{reward} is no causal trunk with a linear score ({', '.join(config.architectures or ('unknown',))}), "
            "which is needed here. As --reward of ppo, best-of-n and evaluate it works: there it reads whole texts."
        )
    if getattr(config, "score_reads", "") == "rule":
        raise InputError(f"--reward {reward} is a classifier of rules: say with --rules FILE which ones it judges by.")
    refuse_several(reward, judging)
    heads = getattr(config, "score_heads", ["score"])
    model = Heads(load_sequence_classifier(reward, device, len(heads), trust), numerics)
    return Ensemble([model]), itemgetter(0)


def refuse_several(reward: str, judging: Judging) -> None:
    if judging.combine != "mean":
        raise InputError(
            f"--combine {judging.combine} needs several opinions, and --reward {reward} is one: give an ensemble "
            "(reward-model --members 5)."
        )


def refuse_rules(reward: str, judging: Judging) -> None:
    if judging.rules:
        raise InputError(f"--rules {judging.rules}: --reward {reward} is not judged by rules here.")
