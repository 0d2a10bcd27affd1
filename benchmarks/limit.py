"""How near the update phase comes to what the machine can multiply, at 15M parameters.

    python benchmarks/limit.py [rounds]

Operations of the plain formula (two a weight forward, four backward, the head on action positions only; recomputation,
padding, attention and everything that is no matrix product do not count) over the seconds of the phase, as a part of
the matrix rate of the same run: torch's own product of 1024 x 1024 matrices, and what oneDNN reaches on them.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from setting import PROMPT_TOKENS, config_of, finish, interleaved, medians, policy_of, prompts_of, timed
from transformers import LlamaForSequenceClassification

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.data.linear import multiply
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, ValueModel
from tutelage.trajectory import Key

EPISODES, EPOCHS, NEW_TOKENS, SIZE = 8, 4, 64, "15m"


def products(model: Any, head: bool) -> tuple[int, int]:
    """(weights multiplied at every position, weights of the head)."""
    layers = [each.weight for name, each in model.named_modules() if name.endswith("_proj")]
    return sum(weight.numel() for weight in layers), model.get_output_embeddings().weight.numel() if head else 0


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    policy = LanguagePolicy(policy_of(SIZE))
    value = ValueModel(LlamaForSequenceClassification(config_of(SIZE)).eval())
    critic, reference = SeparateCritic(policy, value), Frozen(policy)
    prompts = prompts_of(policy.model.config.vocab_size, EPISODES)
    sampler = NativeSampler(policy, [], 0, SamplingSettings(NEW_TOKENS))
    learner = LocalLearner({"policy": (policy.parameters(), 1e-6), "value": (value.parameters(), 1e-6)})
    config = PPOConfig(epochs=EPOCHS)
    square, body, head = torch.randn(1024, 1024), *products(policy.model, head=True)
    tokens, actions = EPISODES * (PROMPT_TOKENS + NEW_TOKENS), EPISODES * NEW_TOKENS
    forward = 2 * (body * tokens + head * actions), 2 * body * tokens  # policy, value
    operations = {
        "sampling": float(2 * (body * tokens + head * actions)),
        "update": float(
            EPOCHS * 3 * sum(forward) + 2 * forward[0] + forward[1]
        ),  # and once before it, with the reference
        "torch": 10 * 2.0 * 1024**3,
        "onednn": 10 * 2.0 * 1024**3,
    }
    state: dict[str, Any] = {"step": 0}

    def sample() -> float:
        state["step"] += 1
        keys = [Key(state["step"], row) for row in range(EPISODES)]
        return timed(lambda: state.update(batch=sampler.sample(Language(prompts.tolist()), keys)))

    def update() -> float:
        batch = state["batch"]
        score = batch.at_last_action(torch.randn(EPISODES))
        return timed(lambda: improve(config, batch, score, 0.1, critic, reference, learner))

    def torch_rate() -> float:
        return timed(lambda: [square @ square for _ in range(10)])

    def onednn_rate() -> float:
        return timed(lambda: [multiply(square, square) for _ in range(10)])

    found = medians(interleaved(rounds, sampling=sample, update=update, torch=torch_rate, onednn=onednn_rate))
    rates = {name: operations[name] / seconds / 1e9 for name, seconds in found.items()}
    rows = [[name, operations[name] / 1e9, found[name], rate, rate / rates["torch"]] for name, rate in rates.items()]
    answer = {
        f"update_fraction_of_limit_{SIZE}": rates["update"] / rates["torch"],
        f"update_fraction_of_onednn_{SIZE}": rates["update"] / rates["onednn"],
        "torch_gflops": rates["torch"],
        "onednn_gflops": rates["onednn"],
    }
    finish(rows, ["phase", "GFLOP", "seconds", "GFLOP/s", "of torch's rate"], answer)


if __name__ == "__main__":
    main()
