"""Reward models as LoRA adapters: their folders, in peft's format, and the trunk that several models share.

A folder holds adapter_config.json (task SEQ_CLS), adapter_model.safetensors (LoRA weights and `score.weight`) and
reward_model.json with what a whole reward model keeps in its config.json (`score_bias`, ...). peft loads it onto the
base model; its scores then lack the constant `score_bias`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from tutelage.data.errors import InputError
from tutelage.models.adapters import (
    CLASSIFIER,
    OF_REWARD_MODELS,
    REWARD_SETTINGS,
    Adapter,
    attach_adapter,
    find_adapter,
    read_reward_settings,
)
from tutelage.models.causality import first_line
from tutelage.models.classifiers import score_class, state_width
from tutelage.models.lora import unadapted
from tutelage.models.trunk import trunk, trunk_name

HEAD = "score"


def with_reward_lora(classifier: Any, rank: int) -> Any:
    """The classifier with a new LoRA adapter of this rank on its trunk; the adapter and the whole head learn.

    raises InputError: where the rank is no positive number, or peft cannot adapt a model of this type
    """
    from peft import LoraConfig, get_peft_model

    if rank < 1:
        raise InputError(f"--lora-rank is {rank}, expected 0 (train the weights) or the rank of an adapter.")
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=[HEAD, *unadapted(classifier)],
        task_type=CLASSIFIER,
    )
    try:
        wrapped = get_peft_model(classifier, config).eval()
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise InputError(
            f"--lora-rank {rank}: peft cannot put a LoRA adapter on a reward model of type "
            f"{classifier.config.model_type} ({first_line(error)}). Leave --lora-rank out to train the weights."
        ) from error
    return with_plain_head(wrapped)


def with_plain_head(wrapped: Any) -> Any:
    """The same model, its head the linear layer itself instead of peft's wrapper around it and the base's own head."""
    base = wrapped.get_base_model()
    if hasattr(base.score, "modules_to_save"):
        base.score = base.score.modules_to_save["default"]
    return wrapped


def is_reward_adapter(model: Any) -> bool:
    """Whether a classifier in memory is an adapter on weights that do not learn."""
    return hasattr(model, "peft_config")


def save_reward_adapter(model: Any, folder: Path) -> None:
    """Writes the adapter, its head and its settings; the weights below stay where they are."""
    config = copy.deepcopy(model.peft_config["default"])
    config.modules_to_save, config.inference_mode = [HEAD], True
    for name in ("target_modules", "exclude_modules"):
        if isinstance(getattr(config, name), set):
            setattr(config, name, sorted(getattr(config, name)))  # a set is written in any order
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    weights = {n.replace(".default.", "."): each for n, each in model.state_dict().items() if ".lora_" in n}
    weights[f"base_model.model.{HEAD}.weight"] = model.get_base_model().score.weight
    tensors = {name: each.detach().contiguous().cpu() for name, each in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    settings = {name: getattr(model.config, name) for name in OF_REWARD_MODELS if hasattr(model.config, name)}
    (folder / REWARD_SETTINGS).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def attach_reward_adapter(policy: Any, reward: str) -> Any | None:
    """The reward model of an adapter's folder on the base weights that the policy holds: no second copy of them.

    None where that cannot be: the folder holds a whole model, the policy is no adapter (its weights learn), or the
    adapter's base is another model than the policy's. Then the reward model is loaded by itself. The policy is not
    touched; below its own adapter both read the same memory, which nothing trains.

    policy: a language model as peft wraps it
    """
    adapter = find_adapter(reward)
    weights = Path(reward).expanduser() / "adapter_model.safetensors"  # a pickle is read or refused elsewhere
    if adapter is None or not weights.is_file() or adapter.task != CLASSIFIER:
        return None
    below = str(policy.peft_config[policy.active_adapter].base_model_name_or_path)
    if any(each.requires_grad for name, each in policy.named_parameters() if ".lora_" not in name):
        return None
    if not is_same_model(below, adapter.base):
        return None
    return build_on_trunk(policy, adapter, reward)


def build_on_trunk(policy: Any, adapter: Adapter, reward: str) -> Any:
    """A classifier with this adapter, whose trunk is the policy's without its own adapter."""
    shared = {id(each): each for each in [*policy.parameters(), *policy.buffers()]}
    language_model = copy.deepcopy(policy, shared).unload()
    config = read_reward_settings(copy.deepcopy(language_model.config), reward)
    config.num_labels = len(getattr(config, "score_heads", [HEAD]))
    kind = score_class(config, reward)
    with torch.device("meta"):
        classifier = kind(config)
    below = trunk(language_model)
    setattr(classifier, trunk_name(classifier), below)
    weight = next(below.parameters())
    options: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    has_bias = classifier.score.bias is not None
    classifier.score = nn.Linear(state_width(language_model), config.num_labels, bias=has_bias, **options)
    classifier.requires_grad_(False)
    wrapped = with_plain_head(attach_adapter(classifier.eval(), adapter, trainable=False))
    return wrapped.requires_grad_(False).eval()


def is_same_model(first: str, second: str) -> bool:
    """Whether two folders or hub ids hold the same weights: the same folder or id, or files of the same content."""
    folders = [Path(each).expanduser() for each in (first, second)]
    if not all(each.is_dir() for each in folders):
        return first == second
    if folders[0].resolve() == folders[1].resolve():
        return True
    files = [sorted(each.glob("*.safetensors")) for each in folders]
    sizes = [[(each.name, each.stat().st_size) for each in some] for some in files]
    if not files[0] or sizes[0] != sizes[1] or _architecture(folders[0]) != _architecture(folders[1]):
        return False
    return all(_hash(one) == _hash(other) for one, other in zip(*files, strict=True))


def _architecture(folder: Path) -> dict[str, Any]:
    """What config.json says, without the names and versions that do not change what is computed."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in config.items() if key not in ("_name_or_path", "transformers_version")}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
