"""Some steps of our PPO on the same files; called by ppo_step.py with JSON on its input."""

from __future__ import annotations

import json
import resource
import sys
import time

import torch

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.pretrained import hush, load_causal_lm, load_sequence_classifier
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, ValueModel
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.trajectory import Key


def main() -> None:
    asked = json.load(sys.stdin)
    hush()
    torch.manual_seed(asked["seed"])
    policy = LanguagePolicy(load_causal_lm(asked["policy"]))
    value = ValueModel(load_sequence_classifier(asked["classifier"]))
    score = ModelScore(RewardModel(load_sequence_classifier(asked["classifier"]).requires_grad_(False)))
    critic, reference = SeparateCritic(policy, value), Frozen(policy)
    stop_tokens = [1] if asked["stops"] else []
    sampler = NativeSampler(policy, stop_tokens, asked["seed"], SamplingSettings(asked["new_tokens"]))
    environment = Language(asked["prompts"])
    config = PPOConfig(
        epochs=asked["epochs"], minibatches=asked["minibatches"], learning_rate=1e-6, value_learning_rate=1e-6
    )
    learner = LocalLearner({"policy": (policy.parameters(), 1e-6), "value": (value.parameters(), 1e-6)})
    seconds, phases = [], []
    for step in range(asked["steps"]):
        began = time.perf_counter()
        prompts = [(step * asked["episodes"] + row) % len(asked["prompts"]) for row in range(asked["episodes"])]
        batch = sampler.sample(environment, [Key(step, prompt, row) for row, prompt in enumerate(prompts)])
        drawn = time.perf_counter()
        improve(config, batch, score(batch), 0.1, critic, reference, learner)
        sampler.publish()
        seconds.append(time.perf_counter() - began)
        phases.append(drawn - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "sampling": phases, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
