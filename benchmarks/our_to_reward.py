"""Our PPO until a watch has seen enough; called by time_to_reward.py with JSON on its input."""

from __future__ import annotations

import json
import sys
from itertools import count

import torch
from watch import Watch

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.pretrained import hush, load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, ValueModel
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.training.episode_keys import prompt_keys


def main() -> None:
    asked = json.load(sys.stdin)
    hush()
    torch.manual_seed(asked["seed"])
    codec = Codec(load_tokenizer(asked["policy"]))
    policy = LanguagePolicy(load_causal_lm(asked["policy"]))
    value = ValueModel(load_sequence_classifier(asked["classifier"]))
    score = ModelScore(RewardModel(load_sequence_classifier(asked["classifier"]).requires_grad_(False)))
    critic, reference = SeparateCritic(policy, value), Frozen(policy)
    sampler = NativeSampler(policy, codec.stop_tokens, asked["seed"], SamplingSettings(asked["new_tokens"]))
    environment = Language(asked["prompts"])
    config = PPOConfig(
        trajectories=asked["episodes"],
        epochs=asked["epochs"],
        minibatches=asked["minibatches"],
        kl_coefficient=asked["kl_coefficient"],
        truncation_score=-asked["truncation_penalty"],
        seed=asked["seed"],
    )
    rate = asked["learning_rate"]
    learner = LocalLearner({"policy": (policy.parameters(), rate), "value": (value.parameters(), rate)})
    watch = Watch(asked["target"], asked["budget_s"])
    for step in count():
        batch = sampler.sample(environment, prompt_keys(len(environment), config, step))
        score_BT = score(batch)
        watch.saw(*codec.prompts_and_responses(batch))
        if watch.done:
            break
        improve(config, batch, score_BT, asked["kl_coefficient"], critic, reference, learner)
        sampler.publish()
    print(json.dumps(watch.answer()))


if __name__ == "__main__":
    main()
