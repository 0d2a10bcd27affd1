"""The rows of `tutelage compare`: each algorithm by its name, with its settings in the helpdesk's world."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.algorithms.a2c import A2C, A2CConfig
from tutelage.algorithms.algorithm import Algorithm
from tutelage.algorithms.dpo import DPO, DPOConfig
from tutelage.algorithms.expert_iteration import EXPERT_ITERATION, ExpertIterationConfig
from tutelage.algorithms.grpo import GRPO, GRPOConfig
from tutelage.algorithms.kto import KTO, KTOConfig
from tutelage.algorithms.nlpo import NLPO, NLPOConfig
from tutelage.algorithms.online_dpo import ONLINE_DPO, OnlineDPOConfig
from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.algorithms.ppo_ptx import PPO_PTX, PPOPTXConfig
from tutelage.algorithms.rloo import RLOO, RLOOConfig


@dataclass(frozen=True)
class Row:
    """An algorithm with settings whose `steps` the budget decides.

    learns_from: episodes (scored by the reward model), episodes and text, pairs of replies, or single replies
    """

    algorithm: Algorithm
    settings: Any
    learns_from: Literal["episodes", "text", "pairs", "replies"] = "episodes"


def rows(learning_rates: Mapping[str, float]) -> dict[str, Row]:
    """name -> row. learning_rates: of the policy, where they shall not be `LEARNING_RATES`"""
    rate = {**LEARNING_RATES, **learning_rates}
    acting: dict[str, Any] = {"trajectories": 64, "tokens_at_once": 8192, "truncation_score": -2.0}
    ppo = {**acting, "epochs": 2, "value_learning_rate": 1e-3, "kl_coefficient": 0.2}
    groups = {**acting, "samples": 8}
    given: dict[str, Any] = {"batch_size": 32, "tokens_at_once": 8192}
    return {
        "ppo": Row(PPO, PPOConfig(**ppo, learning_rate=rate["ppo"])),
        "ppo-ptx": Row(PPO_PTX, PPOPTXConfig(**ppo, learning_rate=rate["ppo-ptx"]), "text"),
        "a2c": Row(A2C, A2CConfig(**acting, learning_rate=rate["a2c"], value_learning_rate=1e-3, alpha=0.1)),
        "nlpo": Row(NLPO, NLPOConfig(**ppo, learning_rate=rate["nlpo"])),
        "rloo": Row(RLOO, RLOOConfig(**groups, learning_rate=rate["rloo"], beta=0.2)),
        "grpo": Row(GRPO, GRPOConfig(**groups, learning_rate=rate["grpo"], beta=0.04)),
        "dpo": Row(DPO, DPOConfig(**given, learning_rate=rate["dpo"]), "pairs"),
        "kto": Row(KTO, KTOConfig(**given, learning_rate=rate["kto"]), "replies"),
        "online-dpo": Row(ONLINE_DPO, OnlineDPOConfig(**acting, samples=4, learning_rate=rate["online-dpo"])),
        "expert-iteration": Row(
            EXPERT_ITERATION, ExpertIterationConfig(**groups, learning_rate=rate["expert-iteration"])
        ),
    }


LEARNING_RATES = {  # those of the demo's PPO, and lower ones where pairs decide; not tuned
    "ppo": 7e-4,
    "ppo-ptx": 7e-4,
    "a2c": 7e-4,
    "nlpo": 7e-4,
    "rloo": 7e-4,
    "grpo": 7e-4,
    "dpo": 1e-4,
    "kto": 1e-4,
    "online-dpo": 3e-4,
    "expert-iteration": 7e-4,
}
