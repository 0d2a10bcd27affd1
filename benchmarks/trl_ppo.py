"""TRL's PPO in its own environment; called by three benchmarks with JSON on its input."""

from __future__ import annotations

import contextlib
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

asked = json.load(sys.stdin)


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


def until_reached(trainer: Any, tokenizer: Any) -> Any:
    """Shows every scored batch to a Watch, which ends the training when it has seen enough."""
    from trl.experimental.ppo import ppo_trainer
    from watch import Watch

    clock, plain = Watch(asked["target"], asked["budget_s"]), ppo_trainer.get_reward

    def get_reward(model: Any, tokens: torch.Tensor, pad: int, context: int) -> Any:
        found = plain(model, tokens, pad, context)
        if model is trainer.reward_model:
            texts = [tokenizer.batch_decode(part, skip_special_tokens=True) for part in tokens.split(context, 1)[:1]]
            whole = tokenizer.batch_decode(tokens, skip_special_tokens=True)
            clock.saw(texts[0], [text[len(prompt) :] for prompt, text in zip(texts[0], whole, strict=True)])
            if clock.done:
                raise EnoughError
        return found

    ppo_trainer.get_reward = get_reward
    return clock


def adapted(asked: dict[str, Any]) -> dict[str, Any]:
    """The trainer's options for a LoRA adapter of this rank, whose reference is the model with the adapter off."""
    from peft import LoraConfig

    rank = asked["lora_rank"]
    options: dict[str, Any] = {"lora_dropout": 0.0, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return {"ref_model": None, "peft_config": LoraConfig(r=rank, lora_alpha=2 * rank, **options)}


class EnoughError(Exception):
    """The watch has seen what it waited for."""


def main() -> None:
    torch.manual_seed(asked["seed"])
    load = AutoModelForSequenceClassification.from_pretrained
    policy = AutoModelForCausalLM.from_pretrained(asked["policy"])
    if asked.get("lora_rank"):
        beside = adapted(asked)
    else:
        beside = {"ref_model": AutoModelForCausalLM.from_pretrained(asked["policy"])}
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
        missing_eos_penalty=asked.get("truncation_penalty"),
        learning_rate=asked.get("learning_rate", 1e-6),
        lr_scheduler_type="constant",
        adam_epsilon=1e-5,
        kl_coef=asked.get("kl_coefficient", 0.1),
        temperature=1.0,
        num_sample_generations=0,
        report_to=[],
        save_strategy="no",
        bf16=False,
        use_cpu=asked.get("device", "cpu") == "cpu",
        seed=asked["seed"],
    )
    clock, tokenizer = Clock(), AutoTokenizer.from_pretrained(asked["policy"], padding_side="left")
    if "pad_token" in asked:  # it masks its padding by token, so that must not be one that prompts hold
        tokenizer.pad_token = asked["pad_token"]
    trainer = PPOTrainer(
        args=config,
        processing_class=tokenizer,
        model=policy,
        reward_model=reward,
        value_model=value,
        train_dataset=Dataset.from_dict({"input_ids": asked["prompts"]}),
        callbacks=[clock],
        **beside,
    )
    if asked.get("remember"):
        remember(trainer, asked["remember"], asked["folder"])
    if "target" in asked:
        watch = until_reached(trainer, tokenizer)
        with contextlib.suppress(EnoughError):
            trainer.train()
        print(json.dumps(watch.answer()))
        return
    clock.times[0] = time.perf_counter()
    trainer.train()
    seconds = [after - before for before, after in zip(clock.times, clock.times[1:], strict=False)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if asked.get("device", "cpu") != "cpu":
        peak = torch.cuda.max_memory_allocated()
    print(json.dumps({"seconds": seconds, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
