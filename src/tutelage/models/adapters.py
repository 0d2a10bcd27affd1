"""Folders that hold an adapter (LoRA or another method of peft) instead of a whole model: what `--lora-rank` saves."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils.peft_utils import find_adapter_config_file

from tutelage.data.errors import InputError
from tutelage.models.causality import first_line, probe_tokens
from tutelage.models.dtypes import rounding_of

LANGUAGE_MODEL, CLASSIFIER = "CAUSAL_LM", "SEQ_CLS"
LANGUAGE_TASKS = (LANGUAGE_MODEL, "None")  # peft leaves the task out where nobody named one
MERGE_TOLERANCE = 1e-3  # of the largest output
MERGE_ROUNDINGS = 8.0  # of weights below fp32: torch.finfo(dtype).eps


REWARD_SETTINGS = "reward_model.json"  # beside an adapter: what a whole reward model has in its config.json
OF_REWARD_MODELS = ("score_bias", "score_heads", "score_reads")


@dataclass(frozen=True)
class Adapter:
    """What adapter_config.json says.

    folder: where it is (a path or a hub id); base: the model below it, as it can be loaded from here
    rank: of LoRA, None for another method; method, task: in peft's words, such as LORA and CAUSAL_LM
    """

    folder: str
    base: str
    method: str
    task: str
    rank: int | None


def find_adapter(name: str) -> Adapter | None:
    """The adapter of this folder or hub id; None where it holds a whole model or nothing."""
    folder = Path(name).expanduser()
    try:
        path = find_adapter_config_file(str(folder) if folder.is_dir() else name)
    except Exception:  # no such repository, or no network: loading the model itself says so better
        return None
    if path is None:
        return None
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
        method, task = str(config.get("peft_type")), str(config.get("task_type"))
        rank = int(config["r"]) if method == "LORA" else None
        base = config.get("base_model_name_or_path")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} cannot be read as the config of an adapter ({type(error).__name__}: {first_line(error)}). "
            "peft's save_pretrained writes one."
        ) from error
    if folder.is_dir() and (folder / "config.json").is_file():
        raise InputError(
            f"{name} holds a whole model (config.json) and an adapter (adapter_config.json). Move one of them into a "
            "folder of its own, so that it is clear which is meant."
        )
    if not base:
        raise InputError(
            f"{name} holds an adapter, and its adapter_config.json does not name the model below it. Set "
            '"base_model_name_or_path" there.'
        )
    return Adapter(name, _base(str(base), folder, name), method, task, rank)


def _base(base: str, folder: Path, name: str) -> str:
    """The base model as it can be loaded from here: a path is read from the current folder, else from the adapter's;
    else it is the folder of that name beside the adapter's."""
    path = Path(base).expanduser()
    is_path = path.is_absolute() or base.startswith((".", "~")) or base.count("/") > 1
    beside = (folder.parent / path.name,) if folder.is_dir() and (is_path or "/" not in base) else ()
    for each in (path, folder / path, *beside):
        if each.is_dir() and each.resolve() != folder.resolve():
            return str(each.resolve())
    if path.is_absolute() or base.startswith((".", "~")) or base.count("/") != 1:
        if base.count("/") == 0 and not path.is_absolute() and not base.startswith((".", "~")):
            return base  # an old hub id without an owner, such as gpt2
        raise InputError(
            f"{name} holds an adapter on {base}, and there is no such folder. Put the base model there, or set "
            '"base_model_name_or_path" in adapter_config.json to where it is.'
        )
    return base


def read_reward_settings(config: Any, name: str) -> Any:
    """The config of a base model with what the folder of a reward model's adapter says beside it."""
    path = Path(name).expanduser() / REWARD_SETTINGS
    if path.is_file():
        try:
            settings = dict(json.loads(path.read_text(encoding="utf-8")))
            torch.tensor(settings.get("score_bias", 0.0), dtype=torch.float32)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"{path} cannot be read: {first_line(error)}. `reward-model` writes it.") from error
        for each in settings.keys() & set(OF_REWARD_MODELS):
            setattr(config, each, settings[each])
    return config


def attach_adapter(model: Any, adapter: Adapter, *, trainable: bool) -> Any:
    """The model with its adapter as peft wraps it. InputError where the adapter does not fit, or has no effect although
    its weights say otherwise."""
    from peft import PeftModel

    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            wrapped = PeftModel.from_pretrained(model, adapter.folder, is_trainable=trainable).eval()
    except Exception as error:  # of files, shapes, methods that need another package
        if "size mismatch" in str(error):
            raise InputError(
                f"{adapter.folder}: the adapter's weights have other shapes than the layers of {adapter.base}. Is this "
                'the model that it was trained on? Set "base_model_name_or_path" in adapter_config.json to where it is.'
            ) from error
        raise InputError(
            f"{adapter.folder}: the adapter cannot be loaded onto {adapter.base}: {first_line(error)}"
        ) from error
    missing = [str(each.message) for each in heard if "missing adapter keys" in str(each.message)]
    if missing:
        raise InputError(
            f"{adapter.folder}: the adapter does not fit {adapter.base} ({missing[0][:200]}). Is this the model that "
            "it was trained on? It stands in adapter_config.json."
        )
    exact = not rounding_of(model)  # what little an adapter has learned is lost in the rounding of lower weights
    if exact and has_learned(wrapped) and not _changes_outputs(wrapped):
        raise InputError(
            f"{adapter.folder}: the adapter's weights are not zero, and yet {adapter.base} with it computes what it "
            "computes without it. Is this the model that it was trained on? It stands in adapter_config.json."
        )
    for config in wrapped.peft_config.values():
        config.base_model_name_or_path = adapter.base  # found from any folder, also by what is trained from here
    return wrapped


def merge_adapter(wrapped: Any, adapter: Adapter) -> Any:
    """The base model with the adapter added into its weights, every one of which learns again.

    InputError where the method has no such merge, or where the merged model computes something else.
    """
    before = _outputs(wrapped)
    try:
        merged = wrapped.merge_and_unload()
    except Exception as error:
        raise InputError(
            f"{adapter.folder}: an adapter of the method {adapter.method} cannot be merged into the weights "
            f"({first_line(error)}), so it cannot be used here. Give a LoRA adapter or a whole model."
        ) from error
    tolerance = max(MERGE_TOLERANCE, MERGE_ROUNDINGS * rounding_of(merged)) * float(before.abs().max())
    if float((_outputs(merged) - before).abs().max()) > tolerance:
        raise InputError(
            f"{adapter.folder}: the model with the adapter merged into its weights computes something else than with "
            "the adapter beside them, as where one of two tied weights is adapted. Merge it yourself "
            "(peft's merge_and_unload) and give the whole model."
        )
    for name in ("peft_config", "_hf_peft_config_loaded"):
        if name in vars(merged):
            delattr(merged, name)
    for parameter in merged.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return merged.eval()


def refuse_other_rank(adapter: Adapter, rank: int) -> None:
    """InputError where --lora-rank does not continue this adapter."""
    if adapter.rank is None:
        raise InputError(
            f"--lora-rank {rank}: {adapter.folder} holds an adapter of the method {adapter.method}, which is not "
            "trained further here. Leave --lora-rank out to merge it into the weights, where its method allows that."
        )
    if adapter.rank != rank:
        raise InputError(
            f"--lora-rank {rank}: {adapter.folder} holds an adapter of rank {adapter.rank}. Give --lora-rank "
            f"{adapter.rank} to train it further, or leave --lora-rank out to merge it and train all weights."
        )


def refuse_other_task(adapter: Adapter, task: str) -> None:
    """InputError where the adapter was made for another task than the model is loaded for."""
    if adapter.task == task or (task == LANGUAGE_MODEL and adapter.task in LANGUAGE_TASKS):
        return
    wanted = {LANGUAGE_MODEL: "a language model (CAUSAL_LM)", CLASSIFIER: "a reward model (SEQ_CLS)"}[task]
    raise InputError(f"{adapter.folder} holds an adapter of the task {adapter.task}, and {wanted} is expected here.")


def has_learned(model: Any) -> bool:
    """Whether a LoRA adapter changes anything: its second factor starts at zero."""
    return any(bool(each.detach().any()) for name, each in model.named_parameters() if "lora_B" in name)


def _changes_outputs(wrapped: Any) -> bool:
    with wrapped.disable_adapter():
        without = _outputs(wrapped)
    return not torch.equal(_outputs(wrapped), without)


@torch.no_grad()
def _outputs(model: Any) -> torch.Tensor:
    device = next(model.parameters()).device
    tokens = probe_tokens(model.config.get_text_config().vocab_size, device)[:1]
    return model(input_ids=tokens, use_cache=False).logits.float()
