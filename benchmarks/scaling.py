"""What a sampled token and a learned token cost as the work grows, and whether memory stays flat over 200 steps.

    python benchmarks/scaling.py [repetitions]

From a middle point (1.3M parameters, vocabulary 2,048, 32 prompts of 32 tokens, 64 new ones, one sample) one quantity
at a time grows by doubling. Columns: seconds of sampling and of one update, and the power with which each grew from
the line above: 1 is proportional, less is better than that.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
from dataclasses import dataclass, replace

import psutil
import torch
from setting import SIZES, finish, timed
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from tutelage.algorithms.ppo import PPOConfig, improve
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, ValueModel
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.trajectory import Key

STEPS, WARM_UP = 200, 20


@dataclass(frozen=True)
class Work:
    """One point: how much there is to do."""

    prompts: int = 32
    prompt_tokens: int = 32
    new_tokens: int = 64
    samples: int = 1
    vocabulary: int = 2048
    size: str = "1m"


GROWTH = {
    "batch": [Work(prompts=n) for n in (8, 16, 32, 64, 128)],
    "new tokens": [Work(new_tokens=n) for n in (16, 32, 64, 128, 256)],
    "prompt tokens": [Work(prompt_tokens=n) for n in (16, 32, 64, 128, 256)],
    "samples": [Work(prompts=8, samples=n) for n in (1, 2, 4, 8, 16)],
    "vocabulary": [Work(vocabulary=n) for n in (2048, 4096, 8192, 16384, 32768)],
    "parameters": [Work(size=size) for size in SIZES],
}


class Loop:
    """PPO on random weights and a random reward model, a step at a time."""

    def __init__(self, work: Work) -> None:
        torch.manual_seed(0)
        config = LlamaConfig(
            **SIZES[work.size],
            vocab_size=work.vocabulary,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
            num_labels=1,
        )
        self.policy = LanguagePolicy(LlamaForCausalLM(config).eval())
        self.parameters = sum(each.numel() for each in self.policy.parameters())
        value = ValueModel(LlamaForSequenceClassification(config).eval())
        self.score = ModelScore(RewardModel(LlamaForSequenceClassification(config).eval().requires_grad_(False)))
        self.critic, self.reference = SeparateCritic(self.policy, value), Frozen(self.policy)
        self.sampler = NativeSampler(self.policy, [], 0, SamplingSettings(work.new_tokens))
        tokens = torch.randint(2, work.vocabulary, (work.prompts, work.prompt_tokens))
        self.environment = Language(tokens.tolist())
        self.keys = [(prompt, sample) for prompt in range(work.prompts) for sample in range(work.samples)]
        self.learner = LocalLearner({"policy": (self.policy.parameters(), 1e-6), "value": (value.parameters(), 1e-6)})
        self.config, self.step = PPOConfig(epochs=1), 0

    def sample(self) -> None:
        self.step += 1
        self.batch = self.sampler.sample(self.environment, [Key(self.step, *each) for each in self.keys])

    def update(self) -> None:
        improve(self.config, self.batch, self.score(self.batch), 0.1, self.critic, self.reference, self.learner)


def seconds(work: Work, repetitions: int) -> tuple[float, float, int]:
    """(seconds of sampling, of everything else in a step, parameters), medians after one step that does not count."""
    loop = Loop(work)
    found = [(timed(loop.sample), timed(loop.update)) for _ in range(repetitions + 1)][1:]
    drawing, learning = zip(*found, strict=True)
    return statistics.median(drawing), statistics.median(learning), loop.parameters


def power(before: float, after: float, growth: float) -> float:
    return math.log(after / before) / math.log(growth)


def memory_growth() -> float:
    """MiB a step that the process grew by from step 20 to step 200 (replies of changing length)."""
    loop = Loop(replace(Work(), prompts=8))
    loop.sampler.stop_tokens = frozenset(range(2, 40))  # about half of the replies end early
    sizes = []
    for step in range(STEPS):
        loop.sample()
        loop.update()
        if step in (WARM_UP, STEPS - 1):
            gc.collect()
            sizes.append(psutil.Process().memory_info().rss / 2**20)
    return (sizes[1] - sizes[0]) / (STEPS - 1 - WARM_UP)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    rows, answer = [], {}
    for name, points in GROWTH.items():
        before: tuple[float, float, float] | None = None
        for work, factor in zip(points, [2.0**i for i in range(len(points))], strict=True):
            drawing, learning, parameters = seconds(work, repetitions)
            amount = float(parameters) if name == "parameters" else factor
            grew = (
                [power(b, a, amount / before[2]) for b, a in zip(before, (drawing, learning), strict=False)]
                if before
                else ["", ""]
            )
            rows.append([name, amount, drawing, learning, *grew])
            before = (drawing, learning, amount)
        first = next(row for row in rows if row[0] == name)
        whole = rows[-1][1] / first[1]
        answer[f"power_sampling_{name.replace(' ', '_')}"] = power(first[2], rows[-1][2], whole)
        answer[f"power_update_{name.replace(' ', '_')}"] = power(first[3], rows[-1][3], whole)
    answer["memory_mib_a_step"] = memory_growth()
    finish(rows, ["what grows", "by", "sampling, s", "update, s", "power, sampling", "power, update"], answer)


if __name__ == "__main__":
    main()
