"""Loss and gradients of TRL's trainers on given batches, in an environment of its own; called by parity_trl.py.

Generation is replaced by the replies of the folder; rewards, advantages, old and reference log-probs, the loss and its
gradient are the trainer's own. The weights move between the old log-probs and the loss, so that ratios are not 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

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


TRAINERS = {"grpo": (GRPOTrainer, GRPOConfig), "rloo": (RLOOTrainer, RLOOConfig)}
found = {}
for name, (algorithm, settings) in batch["cases"].items():
    found[name] = in_groups(*TRAINERS[algorithm], settings)
torch.save(found, folder / "theirs.pt")
