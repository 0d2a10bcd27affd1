"""`tutelage dpo`: a policy learns from pairs directly; how often its implicit reward predicts held-out answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

import torch

from tutelage.algorithms.dpo import DPO, DPOConfig, add_reference, dpo_terms, refuse_unusable
from tutelage.algorithms.implicit_reward import measure
from tutelage.algorithms.reward_losses import agreement
from tutelage.commands.preference_data import FLAT, PreferenceJob, load_material
from tutelage.data.questions import Question
from tutelage.formulas import intervals
from tutelage.runs.run import Run
from tutelage.training.engine import engine_of
from tutelage.training.models import language_models
from tutelage.training.train import train


@dataclass(frozen=True)
class DPOJob(PreferenceJob):
    """Optimize a policy on pairs directly (DPO, IPO, SimPO), without a reward model."""

    settings: Annotated[DPOConfig, FLAT] = field(default_factory=DPOConfig)


def dpo_job(job: DPOJob, run: Run) -> dict[str, Any]:
    config = job.settings
    material = load_material(job, keep_different_pairs, (), config.held_out_fraction, config.seed, run)
    policy, held_out = material.speaker.policy, material.held_out
    refuse_unusable(config, material.learned)
    held_out = add_reference(config, held_out, policy, run, "reference-of-held-out")
    train(DPO, config, material.learned, language_models(material.speaker), engine_of(run), run)
    found = measure(partial(dpo_terms, config, policy), held_out, config.tokens_at_once)
    accuracy = intervals.share(found["accuracy"].numpy(), material.prompts)
    lengths_M = torch.tensor([float(len(text)) for each in material.held_rows for text in each.responses])
    longer_N = agreement(held_out.spread(lengths_M.to(held_out.weights_N.device)), held_out)
    print(f"held-out pairs predicted by the implicit reward: {accuracy.text()}")
    return {
        **material.counts,
        **accuracy.row("accuracy"),
        "length_rule_accuracy": float(longer_N.mean()),
        "held_out_loss": float(found["loss"].mean()),
        **{name: float(found[name].mean()) for name in ("rewards_chosen", "rewards_rejected", "rewards_margins")},
        "loss": run.latest["loss"],
    }


def keep_different_pairs(questions: Sequence[Question]) -> tuple[list[Question], Counter[str]]:
    """Those with pairs of different replies, without their other pairs."""
    kept, left_out = list[Question](), Counter[str]()
    for each in questions:
        texts = [text.strip() for text in each.responses]
        pairs = tuple(pair for pair in each.pairs if texts[pair.first] != texts[pair.second])
        if pairs:
            kept.append(each if len(pairs) == len(each.pairs) else replace(each, pairs=pairs, choice=None))
        else:
            left_out["whose replies are equal" if each.pairs else "without a pair (kto learns from ratings)"] += 1
    ties = sum(all(pair.target == 0.5 for pair in each.pairs) for each in kept)
    if ties:
        print(f"{ties} of {len(kept)} questions are ties: they hold the implicit rewards of their replies together.")
    return kept, left_out
