"""Some steps of TRL's PPO in its own environment; called by ppo_step.py with one JSON argument."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

asked = json.loads(sys.argv[1])


class Clock(TrainerCallback):
    """Seconds of every step, and what the caller wants to hear after each."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def on_step_end(self, *arguments: Any, **named: Any) -> None:
        self.times.append(time.perf_counter())


def remember(trainer: Any, at: int, folder: str) -> None:
    """Saves the batch, the weights and the losses of one optimiser step, as TRL's own frame holds them."""
    whole, calls = trainer.accelerator.backward, []

    def looking(loss: torch.Tensor, **named: Any) -> None:
        calls.append(loss)
        if len(calls) == at:
            frame = sys._getframe(1).f_locals
            names = ("mb_query_responses", "mb_logprobs", "mb_values", "mb_return", "mb_advantage")
            kept = {name: frame[name].clone() for name in names}
            kept |= {name: frame[name].detach().clone() for name in ("pg_loss", "vf_loss")}
            torch.save(kept, f"{folder}/batch.pt")
            torch.save(trainer.model.policy.state_dict(), f"{folder}/policy.pt")
            torch.save(trainer.model.value_model.state_dict(), f"{folder}/value.pt")
        whole(loss, **named)

    trainer.accelerator.backward = looking


def main() -> None:
    torch.manual_seed(asked["seed"])
    load = AutoModelForSequenceClassification.from_pretrained
    policy = AutoModelForCausalLM.from_pretrained(asked["policy"])
    reference = AutoModelForCausalLM.from_pretrained(asked["policy"])
    reward, value = (load(asked["classifier"], num_labels=1) for _ in range(2))
    config = PPOConfig(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=asked["episodes"] // asked["minibatches"],
        gradient_accumulation_steps=1,
        num_mini_batches=1,
        total_episodes=asked["episodes"] // asked["minibatches"] * asked["steps"],
        num_ppo_epochs=asked["epochs"],
        local_rollout_forward_batch_size=asked["episodes"],
        response_length=asked["new_tokens"],
        stop_token="eos" if asked["stops"] else None,
        missing_eos_penalty=None,
        learning_rate=1e-6,
        kl_coef=0.1,
        temperature=1.0,
        num_sample_generations=0,
        report_to=[],
        save_strategy="no",
        bf16=False,
        use_cpu=True,
        seed=asked["seed"],
    )
    clock = Clock()
    trainer = PPOTrainer(
        args=config,
        processing_class=AutoTokenizer.from_pretrained(asked["policy"], padding_side="left"),
        model=policy,
        ref_model=reference,
        reward_model=reward,
        value_model=value,
        train_dataset=Dataset.from_dict({"input_ids": asked["prompts"]}),
        callbacks=[clock],
    )
    if asked.get("remember"):
        remember(trainer, asked["remember"], asked["folder"])
    clock.times[0] = time.perf_counter()
    trainer.train()
    seconds = [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
