"""Model folders and hub ids -> Hugging Face models and tokenizers, with errors a person can act on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from tutelage.data.errors import InputError


def hush() -> None:
    """No progress bars and no warnings of transformers' own: ours say what a person needs."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def device_of(name: str) -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU; anything else is torch's own name for a device."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}: {str(error).splitlines()[0]}. Give auto, cpu or cuda.") from error
    return device


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or hub id.

    A tokenizer without a pad token is fine: padding is told by lengths, so the end-of-sequence token serves. One
    without an end-of-sequence token is not: replies could never end.
    """
    tokenizer = _loaded(AutoTokenizer.from_pretrained, name, "tokenizer")
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{name}: its tokenizer has no end-of-sequence token, so a reply could never end. "
            'Set one: add "eos_token" to tokenizer_config.json.'
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_causal_lm(name: str, device: torch.device | str = "cpu") -> Any:
    """A causal language model in evaluation mode (no dropout: old and new log-probs must agree), fp32."""
    return _loaded(AutoModelForCausalLM.from_pretrained, name, "causal language model", dtype=torch.float32).to(device)


def load_sequence_classifier(name: str, device: torch.device | str = "cpu", labels: int = 1) -> Any:
    """A sequence classifier of so many labels: a reward model. From a causal model's folder its heads start fresh."""
    load = AutoModelForSequenceClassification.from_pretrained
    return _loaded(load, name, "reward model", dtype=torch.float32, num_labels=labels).to(device)


def reward_model_config(name: str) -> Any:
    """The config of a reward model's folder or hub id; a language model has no trained head, so it is refused."""
    config = _loaded(AutoConfig.from_pretrained, name, "reward model")
    if any(each.endswith(("ForCausalLM", "LMHeadModel")) for each in config.architectures or ()):
        raise InputError(
            f"{name} is a language model ({config.architectures[0]}), whose scores would be random. Give a reward "
            "model: `tutelage reward-model` trains one from it."
        )
    return config


def context_tokens(model: Any) -> int | None:
    """How many tokens the model can see, or None where its config does not say."""
    for name in ("max_position_embeddings", "n_positions"):
        limit = getattr(model.config.get_text_config(), name, None)
        if limit:
            return int(limit)
    return None


def free_bytes(device: torch.device) -> int:
    """Memory that a new allocation may take: of the GPU, or what the system calls available."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return psutil.virtual_memory().available


def _loaded(load: Any, name: str, what: str, **options: Any) -> Any:
    path = Path(name).expanduser()
    looks_local = path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local and not path.is_dir():
        raise InputError(f"--model {name}: there is no such folder. Give a model folder or a hub id (owner/name).")
    if looks_local and what != "tokenizer" and not ({"config.json", "adapter_config.json"} & set(_names(path))):
        raise InputError(f"{name}: no config.json in this folder, so it is no {what}. It holds: {_names(path) or '-'}.")
    try:
        loaded = load(str(path) if looks_local else name, **options)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = "this folder" if looks_local else "the hub (no such local folder)"
        raise InputError(f"{name}: no {what} could be loaded from {where}: {reason}") from error
    return loaded.eval() if isinstance(loaded, torch.nn.Module) else loaded


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())[:12]
