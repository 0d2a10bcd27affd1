"""Who answers, from what --labeller names: synthetic people, people at the page, a reward model, a judge elsewhere."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from tutelage.data.errors import InputError
from tutelage.feedback import labellers
from tutelage.feedback.answering import HumanLabeller, Judge, Labeller, ModelLabeller, Panel
from tutelage.feedback.judges import Endpoint
from tutelage.rewards import helpdesk
from tutelage.rewards.text_scores import TextScorer, label

LONGEST = 512  # tokens of prompt and reply together that a reward model as judge reads


def labeller_of(name: str, judge_model: str, seed: int, patience_s: float | None = None) -> Labeller:
    """InputError where the name is none of: synthetic, human, http(s)://…, a folder."""
    if name == "synthetic":
        return Panel(labellers.panel(helpdesk.gold), seed)
    if name == "human":
        return HumanLabeller(patience_s)
    if name.startswith(("http://", "https://")):
        if not judge_model:
            raise InputError(f"--labeller {name}: --judge-model says which of its models judges.")
        return ModelLabeller(judge_model, Endpoint(name, judge_model))
    if Path(name).is_dir():
        return ModelLabeller(
            label(name), scored_by(TextScorer.load(name, torch.device("cpu"), LONGEST)), both_orders=False
        )
    raise InputError(
        f"--labeller {name!r} is neither synthetic nor human, no address (http://…/v1) and no folder of a reward model."
    )


def scored_by(scorer: TextScorer) -> Judge:
    """P(first is better) = σ(its score − the other's); replies are read one at a time, so their order is nothing."""

    def judge(prompt: str, first: str, second: str) -> float:
        scores_N, _ = scorer([(prompt, first), (prompt, second)])
        return 1.0 / (1.0 + math.exp(float(scores_N[1] - scores_N[0])))

    return judge
