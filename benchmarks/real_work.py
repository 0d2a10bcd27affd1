"""Work of one kind that waits for a word and then runs for some seconds; a process that real_model.py starts.

Reads a line of JSON, loads, does one round that does not count, and writes "ready". For every further line, a number of
seconds, it works for at least so long and writes {"units": n, "seconds": s, ...}. Units: tokens trained (sft, reward),
tokens sampled (sampling), PPO updates' tokens (update). An empty line ends it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.algorithms.reward_losses import Objective, pairs
from tutelage.algorithms.reward_model import judged_loss
from tutelage.algorithms.sft import negative_log_likelihood
from tutelage.data.judgements import judged, tokenised
from tutelage.data.preferences import comparisons
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.kernels import kernels
from tutelage.models.lora import with_lora
from tutelage.models.pretrained import hush, load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.models.reward_adapters import with_reward_lora
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.rewards.language import RewardModel, start_head
from tutelage.training.models import LanguageModels
from tutelage.trajectory import Batch, Key

LONGEST = 512
Work = Callable[[], dict[str, float]]
"""One round: {"units", "flops" that its products need}."""


def sft_work(asked: dict[str, Any]) -> Work:
    """LoRA on whole talks of HH: prompt and chosen reply; one optimizer step of so many rows."""
    policy, codec = adapted_policy(asked)
    learner = LocalLearner({"policy": (list(policy.parameters()), 1e-6)}, tokens_at_once=asked["tokens_at_once"])
    rows = [fit(codec, prompt, chosen, LONGEST)[:2] for prompt, chosen, _ in compared(asked, codec, asked["rows"])]
    batch = Batch.of([written(*each) for each in rows]).to(asked["device"])
    needed = 4.0 * (
        int(batch.lengths_B.sum()) * body_weights(policy.model) + int(batch.mask_BT.sum()) * head_weights(policy.model)
    )

    def work() -> dict[str, float]:
        learner.update(batch, partial(negative_log_likelihood, policy))
        return {"units": float(batch.lengths_B.sum()), "flops": needed}

    return work


def reward_work(asked: dict[str, Any]) -> Work:
    """A reward model by LoRA on pairs of HH; one optimizer step of half as many pairs as rows."""
    codec = Codec(load_tokenizer(asked["policy"]))
    classifier = with_reward_lora(
        load_sequence_classifier(asked["policy"], asked["device"], fresh_head=True), asked["lora_rank"]
    )
    start_head(classifier, 0)
    model = RewardModel(classifier)
    learner = LocalLearner({"reward_model": (list(model.parameters()), 1e-6)}, tokens_at_once=asked["tokens_at_once"])
    questions = comparisons(asked["data"], codec)[0][: max(1, asked["rows"] // 2)]
    labels = judged(tokenised(codec, questions, LONGEST)[0], questions, ()).to(asked["device"])
    tokens, loss = float(labels.candidates.lengths_B.sum()), partial(judged_loss, model, Objective(pairs))

    def work() -> dict[str, float]:
        learner.update(labels, loss)
        return {"units": tokens, "flops": 4.0 * tokens * body_weights(classifier)}

    return work


def sampling_work(asked: dict[str, Any]) -> Work:
    policy, _ = adapted_policy(asked)
    sampler = NativeSampler(policy, asked["stop_tokens"], 0, SamplingSettings(asked["new_tokens"]))
    environment, steps = Language(asked["prompts"]), iter(range(10**6))

    def work() -> dict[str, float]:
        step = next(steps)
        batch = sampler.sample(environment, [Key(step, prompt) for prompt in range(asked["rows"])])
        return {"units": float(batch.mask_BT.sum()), "flops": 0.0}

    return work


def update_work(asked: dict[str, Any]) -> Work:
    """What follows sampling in a PPO step: log-probs, values, reference, advantages and the epochs of updates."""
    policy, _ = adapted_policy(asked)
    critic = SharedCritic(policy)
    still = {"learning_rate": 0.0, "value_learning_rate": 0.0}  # the batch stays on-policy, round after round
    config = PPOConfig(epochs=2, tokens_at_once=asked["tokens_at_once"], **still)
    reference, learner = Frozen(policy), LocalLearner(LanguageModels(policy, critic).parameter_groups(config))
    sampler = NativeSampler(policy, asked["stop_tokens"], 0, SamplingSettings(asked["new_tokens"]))
    batch = sampler.sample(Language(asked["prompts"]), [Key(0, prompt) for prompt in range(asked["rows"])])
    score = batch.at_last_action(torch.linspace(-1.0, 1.0, len(batch), device=batch.mask_BT.device))

    def work() -> dict[str, float]:
        improve(config, batch, score, 0.1, critic, reference, learner)
        return {"units": float(batch.lengths_B.sum()), "flops": 0.0}

    return work


def products_work(asked: dict[str, Any]) -> Work:
    """The products of the layers' own shapes alone, as LoRA needs them: forward, and back to the inputs (4N FLOPs a
    token), with the rows of one micro-batch. "units" are FLOPs."""
    model = load_causal_lm(asked["policy"], asked["device"])
    rows, head = asked["tokens_at_once"], model.get_output_embeddings()
    layers = [each for each in model.modules() if isinstance(each, nn.Linear) and each is not head]
    inputs = {width: torch.randn(rows, width, device=asked["device"]) for each in layers for width in each.weight.shape}

    @torch.no_grad()
    def work() -> dict[str, float]:
        flops = 0.0
        for each in layers:
            out, wide = each.weight.shape
            kernels().multiply(inputs[wide], each.weight)
            kernels().multiply(inputs[out], each.weight.t())
            flops += 4.0 * rows * out * wide
        return {"units": flops, "flops": flops}

    return work


def adapted_policy(asked: dict[str, Any]) -> tuple[LanguagePolicy, Codec]:
    torch.manual_seed(0)
    model = with_lora(load_causal_lm(asked["policy"], asked["device"]), asked["lora_rank"])
    return LanguagePolicy(model), Codec(load_tokenizer(asked["policy"]))


def compared(asked: dict[str, Any], codec: Codec, count: int) -> list[tuple[str, str, str]]:
    """(prompt, one reply, the other) of the first comparisons."""
    questions = comparisons(asked["data"], codec)[0][:count]
    return [(each.prompt, each.responses[0], each.responses[1]) for each in questions]


def body_weights(model: Any) -> int:
    """Weights of the linear layers below the head, without adapters."""
    named = [(name, each) for name, each in model.named_modules() if isinstance(each, nn.Linear)]
    plain = [each for name, each in named if "lora_" not in name and not name.endswith(("lm_head", "score"))]
    return sum(each.weight.numel() for each in plain)


def head_weights(model: Any) -> int:
    return model.get_output_embeddings().weight.numel()


WORKS = {
    "sft": sft_work,
    "reward": reward_work,
    "sampling": sampling_work,
    "update": update_work,
    "products": products_work,
}


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # what readers of data print is no answer
    asked = json.loads(sys.stdin.readline())
    hush()
    work = WORKS[asked["work"]](asked)
    work()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        if not line.strip():
            break
        total, rounds = {"units": 0.0, "flops": 0.0}, 0
        began, seconds = time.perf_counter(), 0.0
        while seconds < float(line):
            for name, value in work().items():
                total[name] += value
            if asked["device"] != "cpu":
                torch.cuda.synchronize()
            rounds, seconds = rounds + 1, time.perf_counter() - began
        spin = os.environ.get("GOMP_SPINCOUNT", "")
        print(json.dumps({**total, "rounds": rounds, "seconds": seconds, "spin": spin}), file=answers, flush=True)


if __name__ == "__main__":
    main()
