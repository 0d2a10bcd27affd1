"""Seconds a step and peak memory of TRL's GRPO in its own environment; called by on_gpu.sh with JSON on its input.

policy, prompts (texts), steps, groups, group_size, new_tokens, lora_rank, device. The reward is the reply's length, so
that the step is all that is measured. The first step does not count.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.times.append(time.perf_counter())


def length(completions: list[str], **_: Any) -> list[float]:
    return [float(len(each)) for each in completions]


def main() -> None:
    asked, clock, cpu = json.load(sys.stdin), Clock(), False
    cpu = asked["device"] == "cpu"
    rank, rows = asked["lora_rank"], asked["groups"] * asked["group_size"]
    config = GRPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=rows,
        num_generations=asked["group_size"],
        max_completion_length=asked["new_tokens"],
        max_steps=asked["steps"],
        learning_rate=1e-6,
        beta=0.1,
        bf16=False,
        use_cpu=cpu,
        report_to=[],
        save_strategy="no",
        seed=0,
    )
    trainer = GRPOTrainer(
        model=asked["policy"],
        reward_funcs=length,
        args=config,
        train_dataset=Dataset.from_dict({"prompt": asked["prompts"]}),
        peft_config=LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[clock],
    )
    clock.times[0] = time.perf_counter()
    trainer.train()
    seconds = [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if cpu else torch.cuda.max_memory_allocated()
    print(json.dumps({"seconds_a_step": statistics.median(seconds[1:] or seconds), "peak_bytes": peak}))


if __name__ == "__main__":
    main()
