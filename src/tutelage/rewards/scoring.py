"""Who scores: a reward model, an ensemble of them, rules in words, or a function of texts, from what --reward names."""

from __future__ import annotations

import copy
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from operator import itemgetter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.formulas import uncertainty
from tutelage.models.pretrained import (
    NOTHING,
    Trust,
    context_tokens,
    load_sequence_classifier,
    load_text_classifier,
    load_tokenizer,
    reads_tokens_in_order,
    reward_model_config,
)
from tutelage.models.trunk import Numerics
from tutelage.rewards.ensemble import Combine, CombinedScore, Ensemble, is_ensemble, load_ensemble
from tutelage.rewards.functions import load_reward, names_function, refuse_bare_module
from tutelage.rewards.language import Heads, RewardModel, TextClassifier, TextScore
from tutelage.rewards.rules import RuleScore, read_rules
from tutelage.trajectory import Score

ATTACH = "tutelage.models.reward_adapters:attach_reward_adapter"  # loaded where the policy is an adapter


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


def refuse_unusable(reward: str, judging: Judging = Judging(), flag: str = "--reward") -> None:
    """What can be said of a reward before any model is loaded: InputError where it cannot score."""
    if names_function(reward):
        _refuse_rules(reward, judging)
        _refuse_several(reward, judging)
        load_reward(reward, flag)
    else:
        refuse_bare_module(reward, flag)


def scorer(
    reward: str,
    codec: Codec,
    device: torch.device,
    judging: Judging = Judging(),
    trust: Trust = NOTHING,
    policy: Any = None,
) -> tuple[Score, Any | None]:
    """(score, the classifier that a value model may start from, where there is one whose tokens are the policy's).

    policy: the model in memory; an adapter, whose base weights a reward model on the same ones then shares (`ATTACH`)
    """
    refuse_unusable(reward, judging)
    if names_function(reward):
        return TextScore(load_reward(reward), codec, f"the reward function {reward}"), None
    read = text_classifier(reward, device, trust)
    if read is not None:
        _refuse_rules(reward, judging)
        _refuse_several(reward, judging)
        return TextScore(read, codec, f"the reward model {reward}"), None
    if not same_tokens(load_tokenizer(reward, trust), codec.tokenizer):
        return import_module("tutelage.rewards.text_scores").through_text(reward, codec, device, judging, trust), None
    if judging.rules:
        return _by_rules(reward, codec, device, judging, trust), None
    model, combine = opinions(reward, device, judging, trust=trust, policy=policy)
    return CombinedScore(model, combine), one_label(model.models[0])


def text_classifier(reward: str, device: torch.device, trust: Trust = NOTHING) -> TextClassifier | None:
    """The classifier of a folder that is no causal trunk below a linear score (BERT and its like); else None."""
    if is_ensemble(reward):
        return None
    config = reward_model_config(reward, trust)
    if reads_tokens_in_order(reward, config):
        return None
    return TextClassifier(*load_text_classifier(reward, device, trust))


def same_tokens(reward: PreTrainedTokenizerBase, policy: PreTrainedTokenizerBase) -> bool:
    """Whether both read texts as the same tokens. A reward model may have one more, for padding (`Heads.save`)."""
    ours, theirs = policy.get_vocab(), reward.get_vocab()
    return all(theirs.get(token) == number for token, number in ours.items()) and (
        {*theirs} - {*ours} <= {str(reward.pad_token)}
    )


def opinions(
    reward: str,
    device: torch.device,
    judging: Judging = Judging(),
    numerics: Numerics = Numerics(),
    trust: Trust = NOTHING,
    policy: Any = None,
) -> tuple[Ensemble, Combine]:
    """(the reward models of a folder, how they become one score). policy: as `scorer` takes it"""
    _refuse_rules(reward, judging)
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
    _refuse_several(reward, judging)
    heads = getattr(config, "score_heads", ["score"])
    classifier = pkgutil.resolve_name(ATTACH)(policy, reward) if hasattr(policy, "peft_config") else None
    if classifier is None:
        classifier = load_sequence_classifier(reward, device, len(heads), trust)
    return Ensemble([Heads(classifier, numerics)]), itemgetter(0)


def _by_rules(reward: str, codec: Codec, device: torch.device, judging: Judging, trust: Trust) -> RuleScore:
    if is_ensemble(reward) or getattr(reward_model_config(reward, trust), "score_reads", "") != "rule":
        raise InputError(
            f"--rules {judging.rules}: --reward {reward} is no classifier of rules (reward-model --by-rule)."
        )
    if judging.combine == "uwo":
        raise InputError("--combine uwo is for ensembles; rules are put together by mean or minimum.")
    classifier = load_sequence_classifier(reward, device, trust=trust)
    rules = read_rules(judging.rules or "")
    return RuleScore(RewardModel(classifier), codec, rules, judging.combined, context_tokens(classifier))


def one_label(model: Heads) -> Any:
    """A classifier of one label that a value model may start from: the trunk with the mean of an ensemble's heads, or
    with the first of named ones."""
    if len(model.bias_H) == 1:
        return model.model
    share_H = torch.full_like(model.bias_H, 1 / len(model.bias_H))
    if hasattr(model.model.config, "score_heads"):
        share_H = (torch.arange(len(share_H), device=share_H.device) == 0).float()
    classifier = copy.deepcopy(model.model)
    with torch.no_grad():
        head = nn.Linear(classifier.score.in_features, 1, bias=False, device=model.bias_H.device)
        head.weight.copy_(share_H[None] @ classifier.score.weight)
    classifier.score, classifier.num_labels, classifier.config.num_labels = head, 1, 1
    classifier.config.score_bias = float(share_H @ model.bias_H)
    return classifier


def _refuse_several(reward: str, judging: Judging) -> None:
    if judging.combine != "mean":
        raise InputError(
            f"--combine {judging.combine} needs several opinions, and --reward {reward} is one: give an ensemble "
            "(reward-model --members 5)."
        )


def _refuse_rules(reward: str, judging: Judging) -> None:
    if judging.rules:
        raise InputError(f"--rules {judging.rules}: --reward {reward} is not judged by rules here.")
