"""How near a step of PPO comes to what the machine can multiply, at 15M parameters or another size.

    python benchmarks/limit.py [rounds] [1m | 15m | 110m]

Operations of the plain formula (two a weight forward, four backward, the head on action positions only; recomputation,
padding, attention and everything that is no matrix product do not count) over the seconds of the phase, as a part of
the matrix rate of the same run: torch's own product of 1024 x 1024 matrices, and what oneDNN reaches on them.
"products alone": the same products of the update at the model's own shapes, each by the faster library, and nothing
else: no step can be quicker here, whoever writes it.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from setting import PROMPT_TOKENS, config_of, finish, interleaved, medians, policy_of, prompts_of, timed
from transformers import LlamaForSequenceClassification

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.environments.language import Language
from tutelage.execution.cpu.products import multiply
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, ValueModel
from tutelage.trajectory import Key

EPISODES, EPOCHS, NEW_TOKENS = 8, 4, 64


def products(model: Any, head: bool) -> tuple[int, int]:
    """(weights multiplied at every position, weights of the head)."""
    layers = [each.weight for name, each in model.named_modules() if name.endswith("_proj")]
    return sum(weight.numel() for weight in layers), model.get_output_embeddings().weight.numel() if head else 0


def products_alone(model: Any, head: bool, tokens: int, actions: int) -> tuple[float, float]:
    """(seconds of a forward pass, of a forward and a backward pass) of nothing but its matrix products."""
    weights = [(each.weight, tokens) for name, each in model.named_modules() if name.endswith("_proj")]
    weights += [(model.get_output_embeddings().weight, actions)] if head else []
    kinds = {(tuple(weight.shape), rows) for weight, rows in weights}
    forward, backward = {}, {}
    for (n, k), rows in kinds:
        x, g, weight = torch.randn(rows, k), torch.randn(rows, n), torch.randn(n, k)
        forward[(n, k), rows] = quickest(x, weight)
        backward[(n, k), rows] = quickest(g, weight.t()) + min(quickest(g.t(), x.t()), quickest(x.t(), g.t()))
    places = [(tuple(weight.shape), rows) for weight, rows in weights]
    once = sum(forward[place] for place in places)
    return once, once + sum(backward[place] for place in places)


def quickest(x: torch.Tensor, weight: torch.Tensor) -> float:
    """Seconds of x · weightᵀ by the faster library, the least of several."""
    ways = (lambda: multiply(x, weight), lambda: torch.nn.functional.linear(x, weight))
    return min(min(timed(way) for _ in range(8)) for way in ways)


@torch.no_grad()
def step_of_products(critic: SeparateCritic, value: Any, tokens: int, actions: int) -> float:
    """Seconds of the products of one update phase: the passes before it, and the epochs."""
    policy_once, policy_both = products_alone(critic.policy.model, True, tokens, actions)
    value_once, value_both = products_alone(value.model, False, tokens, actions)
    return 2 * policy_once + value_once + EPOCHS * (policy_both + value_both)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    size = sys.argv[2] if len(sys.argv) > 2 else "15m"
    policy = LanguagePolicy(policy_of(size))
    value = ValueModel(LlamaForSequenceClassification(config_of(size)).eval())
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
    alone = step_of_products(critic, value, tokens, actions)
    found["products alone"], operations["products alone"] = alone, operations["update"]
    rates["products alone"] = operations["update"] / alone / 1e9
    rows = [[name, operations[name] / 1e9, found[name], rate, rate / rates["torch"]] for name, rate in rates.items()]
    answer = {
        f"update_fraction_of_limit_{size}": rates["update"] / rates["torch"],
        f"update_fraction_of_onednn_{size}": rates["update"] / rates["onednn"],
        f"step_s_{size}": found["sampling"] + found["update"],
        f"products_alone_s_{size}": alone,
        "torch_gflops": rates["torch"],
        "onednn_gflops": rates["onednn"],
    }
    finish(rows, ["phase", "GFLOP", "seconds", "GFLOP/s", "of torch's rate"], answer)


if __name__ == "__main__":
    main()
