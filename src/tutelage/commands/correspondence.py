"""`tutelage correspondence RUN`: one reply of a demo, token by token, in the words of reinforcement learning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from tutelage.algorithms.ppo import remembered
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.execution.native import SamplingSettings
from tutelage.formulas import advantage, kl
from tutelage.models.pretrained import load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import Frozen, LanguagePolicy
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.runs.files import read_json, read_lines
from tutelage.training.models import critic_of
from tutelage.training.speaker import Speaker
from tutelage.trajectory import Batch

COLUMNS = (
    "t",
    "state ends in",
    "action",
    "log π",
    "log π_ref",
    "KL",
    "score",
    "reward",
    "value",
    "return",
    "advantage",
)


@dataclass(frozen=True)
class Correspondence:
    """Follow one reply of a demo's policy as states, actions, rewards, returns and advantages."""

    run: tyro.conf.Positional[Path]
    """Folder of a finished `tutelage demo`."""
    prompt: str = ""
    """A customer's message as the desk gets it; by default the first one of the report."""
    seed: int = 0


def main(arguments: list[str]) -> int:
    asked = tyro.cli(Correspondence, args=arguments, prog="tutelage correspondence", description=Correspondence.__doc__)
    print(as_table(followed(asked)))
    return 0


def followed(asked: Correspondence) -> list[dict[str, Any]]:
    """One row an action: what was seen, done, paid, expected."""
    for needed in ("sft", "reward-model", "ppo"):
        if not (asked.run / needed / "model").is_dir():
            raise InputError(f"{asked.run} has no {needed}/model: give the folder of a finished `tutelage demo`.")
    codec = Codec(load_tokenizer(str(asked.run / "ppo" / "model")))
    policy = LanguagePolicy(load_causal_lm(str(asked.run / "ppo" / "model")))
    reference = Frozen(LanguagePolicy(load_causal_lm(str(asked.run / "sft" / "model"))).requires_grad_(False))
    classifier = load_sequence_classifier(str(asked.run / "reward-model" / "model"))
    prompt = asked.prompt or read_lines(asked.run / "samples.jsonl")[0]["prompt"]
    batch, _ = Speaker(policy, codec, SamplingSettings(48)).replies([prompt], asked.seed)
    coefficient = read_json(asked.run / "config.json")["settings"]["ppo"]["kl_coefficient"]
    return rows_of(batch, codec, measured(batch, policy, reference, classifier, coefficient))


def measured(
    batch: Batch, policy: LanguagePolicy, reference: Frozen, classifier: Any, coefficient: float
) -> dict[str, torch.Tensor]:
    """The tensors of one PPO step before its update, [1, T] each; the value model is the reward model it starts as."""
    score_BT = ModelScore(RewardModel(classifier))(batch)
    old, reference_BT = remembered(critic_of(policy, classifier), reference, batch, 4096)
    kl_BT = kl.k1(old.log_probs_BT, reference_BT)
    rewards_BT = score_BT - coefficient * kl_BT
    advantages_BT, returns_BT = advantage.generalised(
        rewards_BT, old.values_BS, batch.mask_BT, batch.lengths_B, ~batch.bootstrap_B, 1.0, 0.95
    )
    return {
        "log π": old.log_probs_BT,
        "log π_ref": reference_BT,
        "KL": kl_BT,
        "score": score_BT,
        "reward": rewards_BT,
        "value": old.values_BS[:, :-1],
        "return": returns_BT,
        "advantage": advantages_BT,
    }


def rows_of(batch: Batch, codec: Codec, numbers: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    tokens: Any = codec.tokenizer.convert_ids_to_tokens(batch.observations[0].tolist())
    rows = []
    for t in batch.mask_BT[0].nonzero()[:, 0].tolist():
        state = "".join(tokens[max(0, t - 2) : t + 1])
        row = {"t": t, "state ends in": f"…{state!r}", "action": repr(tokens[t + 1])}
        rows.append({**row, **{name: float(values[0, t]) for name, values in numbers.items()}})
    return rows


def as_table(rows: list[dict[str, Any]]) -> str:
    """Markdown, so that it can stand in a document as it was printed."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in rows:
        cells = [f"{row[name]:.3f}" if isinstance(row[name], float) else f"`{row[name]}`" for name in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
