"""Some steps of our PPO on the same files; called by ppo_step.py and real_model.py with JSON on its input.

lora_rank, value_head, device: as the flags of `tutelage ppo`     reward: a folder of its own, else that of the critic
"""

from __future__ import annotations

import json
import resource
import sys
import time

import torch

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.bytes import bytes_by_holder
from tutelage.models.lora import with_lora
from tutelage.models.pretrained import hush, load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, SharedCritic, ValueModel
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.rewards.scoring import scorer
from tutelage.training.models import LanguageModels
from tutelage.trajectory import Key


def main() -> None:
    asked = json.load(sys.stdin)
    hush()
    torch.manual_seed(asked["seed"])
    device = torch.device(asked.get("device", "cpu"))
    model = load_causal_lm(asked["policy"], device)
    policy = LanguagePolicy(with_lora(model, asked["lora_rank"]) if asked.get("lora_rank") else model)
    if asked.get("value_head"):
        critic = SharedCritic(policy)
    else:
        critic = SeparateCritic(policy, ValueModel(load_sequence_classifier(asked["classifier"], device)))
    if asked.get("reward"):
        score = scorer(asked["reward"], Codec(load_tokenizer(asked["policy"])), device, policy=policy.model)[0]
    else:
        score = ModelScore(RewardModel(load_sequence_classifier(asked["classifier"], device).requires_grad_(False)))
    reference = Frozen(policy)
    stop_tokens = asked.get("stop_tokens", [1] if asked["stops"] else [])
    sampler = NativeSampler(policy, stop_tokens, asked["seed"], SamplingSettings(asked["new_tokens"]))
    environment = Language(asked["prompts"])
    config = PPOConfig(
        epochs=asked["epochs"], minibatches=asked["minibatches"], learning_rate=1e-6, value_learning_rate=1e-6
    )
    learner = LocalLearner(LanguageModels(policy, critic).parameter_groups(config))
    held = bytes_by_holder(policy=policy, reference=reference, critic=critic, reward=score)
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
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    print(json.dumps({"seconds": seconds, "sampling": phases, "peak_bytes": peak, "bytes": held}))


if __name__ == "__main__":
    main()
