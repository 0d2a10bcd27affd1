"""Loss and gradients of TRL's trainers on given batches, in an environment of its own; called by parity_trl.py.

Generation is replaced by the replies of the folder; rewards, advantages, old and reference log-probs, the loss and its
gradient are the trainer's own. The weights move between the old log-probs and the loss, so that ratios are not 1.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RLOOConfig,
    RLOOTrainer,
)
from trl.experimental.cpo import CPOConfig, CPOTrainer

folder = Path(sys.argv[1])
batch = json.loads((folder / "batch.json").read_text())
tokenizer = AutoTokenizer.from_pretrained(folder / "start")


def in_groups(trainer_class: Any, config_class: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Of GRPO and RLOO."""
    config = config_class(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=len(batch["prompts"]),
        num_generations=batch["samples"],
        num_iterations=2,
        max_completion_length=batch["longest"],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        **settings,
    )
    prompts = tokenizer.batch_decode(batch["prompts"])
    trainer = trainer_class(
        model=str(folder / "start"),
        reward_funcs=lambda completions, **named: batch["scores"],
        args=config,
        train_dataset=Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
    )
    texts = tokenizer.batch_decode(batch["replies"])
    given = (batch["prompts"], batch["replies"])
    trainer._generate = lambda asked: (
        (*given, texts) if trainer_class is RLOOTrainer else (*given, None, texts, None, {}, None, None)
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    if trainer.ref_model is not None:
        trainer.ref_model.load_state_dict(weights("reference"))
    inputs = trainer._generate_and_score_completions([{"prompt": prompt} for prompt in prompts])
    trainer.model.load_state_dict(weights("now"))
    return with_gradient(trainer.model, trainer._compute_loss(trainer.model, inputs))


def with_gradient(model: Any, loss: torch.Tensor) -> dict[str, Any]:
    loss.backward()
    return {"loss": loss.detach(), "gradients": {name: each.grad for name, each in model.named_parameters()}}


def weights(name: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32).state_dict()


def on_rows(trainer_class: Any, config_class: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Of DPO, CPO and KTO, which are given their replies: neighbors are pairs, the first of them preferred (good)."""
    prompts, replies = (tokenizer.batch_decode(batch[name]) for name in ("prompts", "replies"))
    replies = [" " + each.removesuffix(" <eos>") for each in replies]  # the trainers write the end themselves
    if trainer_class is KTOTrainer:
        rows = {"prompt": prompts, "completion": replies, "label": [True, False] * (len(prompts) // 2)}
    else:
        rows = {"prompt": prompts[::2], "chosen": replies[::2], "rejected": replies[1::2]}
    size = len(rows["prompt"])
    config = config_class(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=size,
        max_length=64,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        **settings,
    )
    referred = {} if trainer_class is CPOTrainer else {"ref_model": load("reference")}
    trainer = trainer_class(
        model=load("now"), args=config, train_dataset=Dataset.from_dict(rows), processing_class=tokenizer, **referred
    )
    inputs = trainer.data_collator([trainer.train_dataset[row] for row in range(size)])
    trainer.model.train()
    return with_gradient(trainer.model, trainer.compute_loss(trainer.model, inputs))


def load(name: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32)


TRAINERS = {
    "grpo": (in_groups, GRPOTrainer, GRPOConfig),
    "rloo": (in_groups, RLOOTrainer, RLOOConfig),
    "dpo": (on_rows, DPOTrainer, DPOConfig),
    "kto": (on_rows, KTOTrainer, KTOConfig),
    "simpo": (on_rows, CPOTrainer, partial(CPOConfig, loss_type="simpo", cpo_alpha=0.0)),
}
found = {}
for name, (algorithm, settings) in batch["cases"].items():
    run, *classes = TRAINERS[algorithm]
    found[name] = run(*classes, settings)
torch.save(found, folder / "theirs.pt")
