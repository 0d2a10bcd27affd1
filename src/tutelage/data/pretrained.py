"""Model folders and hub ids -> Hugging Face models and tokenizers, with errors a person can act on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Trust:
    """What a model's folder or repository may do beyond being read: nothing, unless somebody says so."""

    trust_remote_code: bool = False
    """Run the code that the model's repository brings along. Read it first."""
    trust_pickles: bool = False
    """Read weights that are pickled (pytorch_model.bin) where there are no safetensors. Unpickling can run code."""


NOTHING = Trust()
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
OF_LAYERS = re.compile(r"\.(?:layers|layer|blocks|h)\.\d+\.")
FRESH = ("score.", "classifier.")  # a head that a language model has not


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


def load_tokenizer(name: str, trust: Trust = NOTHING) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or hub id.

    A tokenizer without a pad token is fine: padding is told by lengths, so the end-of-sequence token serves. One
    without an end-of-sequence token is not: replies could never end.
    """
    tokenizer = _loaded(AutoTokenizer.from_pretrained, name, "tokenizer", trust)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{name}: its tokenizer has no end-of-sequence token, so a reply could never end. "
            'Set one: add "eos_token" to tokenizer_config.json.'
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_causal_lm(name: str, device: torch.device | str = "cpu", trust: Trust = NOTHING) -> Any:
    """A causal language model in evaluation mode (no dropout: old and new log-probs must agree), fp32."""
    return _weights(AutoModelForCausalLM.from_pretrained, name, "causal language model", trust).to(device)


def load_sequence_classifier(
    name: str, device: torch.device | str = "cpu", labels: int = 1, trust: Trust = NOTHING
) -> Any:
    """A sequence classifier of so many labels: a reward model. From a causal model's folder its heads start fresh."""
    load = AutoModelForSequenceClassification.from_pretrained
    return _weights(load, name, "reward model", trust, num_labels=labels).to(device)


def reward_model_config(name: str, trust: Trust = NOTHING) -> Any:
    """The config of a reward model's folder or hub id; a language model has no trained head, so it is refused."""
    config = _loaded(AutoConfig.from_pretrained, name, "reward model", trust)
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


def _weights(load: Any, name: str, what: str, trust: Trust, **options: Any) -> Any:
    """The model in fp32 and in evaluation mode. InputError where weights are pickled, or some are missing: they would
    be drawn at random without a word."""
    folder = Path(name).expanduser()
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    pickled = _pickled(names)
    if pickled and not trust.trust_pickles:
        raise InputError(
            f"{name}: its weights are pickled ({pickled[0]}), and reading a pickle can run any code. Save them as "
            "safetensors, or say --trust-pickles if you know where they come from."
        )
    options |= {"dtype": torch.float32, "use_safetensors": None if trust.trust_pickles else True}
    model, info = _loaded(load, name, what, trust, output_loading_info=True, **options)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(FRESH))
    if missing:
        raise InputError(
            f"{name}: its weights lack {len(missing)} tensors of a {what} ({', '.join(missing[:3])}). Is it whole?"
        )
    left = sorted(key for key in info["unexpected_keys"] if OF_LAYERS.search(key))
    if left:
        raise InputError(
            f"{name}: its weights hold {len(left)} tensors of layers that its config does not have "
            f"({', '.join(left[:3])}), and they would be left out. Is config.json of this model?"
        )
    return model.eval()


def _pickled(names: Sequence[str]) -> list[str]:
    """Files of pickled weights among these, where no safetensors stand beside them, which are read instead."""
    adapter = "adapter_config.json" in names
    safe = [each for each in names if each.endswith(".safetensors") and each.startswith("adapter" if adapter else "")]
    return [] if safe else sorted(each for each in names if each.endswith(PICKLES) and each != "training_args.bin")


def _loaded(load: Any, name: str, what: str, trust: Trust, **options: Any) -> Any:
    path = Path(name).expanduser()
    looks_local = path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local and not path.is_dir():
        raise InputError(f"--model {name}: there is no such folder. Give a model folder or a hub id (owner/name).")
    if looks_local and what != "tokenizer" and not ({"config.json", "adapter_config.json"} & set(_names(path))):
        raise InputError(f"{name}: no config.json in this folder, so it is no {what}. It holds: {_names(path) or '-'}.")
    try:
        return load(str(path) if looks_local else name, trust_remote_code=trust.trust_remote_code, **options)
    except Exception as error:  # they are many: of files, JSON, shapes, tokens, networks; what helps is the message
        where = "this folder" if looks_local else "the hub (no such local folder)"
        raise InputError(f"{name}: no {what} could be loaded from {where}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        return "it brings code of its own, which is not run unasked. Read it, then say --trust-remote-code."
    if "safetensors" in told and "does not appear to have" in told:
        return f"{told} Pickled weights are read only with --trust-pickles."
    return told[:400]


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())[:12]
