"""Model folders and hub ids -> Hugging Face models and tokenizers, with errors a person can act on."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
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
from tutelage.models.adapters import (
    CLASSIFIER,
    LANGUAGE_MODEL,
    LANGUAGE_TASKS,
    Adapter,
    attach_adapter,
    find_adapter,
    merge_adapter,
    read_reward_settings,
    refuse_other_rank,
    refuse_other_task,
)
from tutelage.models.causality import first_line, refuse_non_causal, refuse_non_causal_lm, remember_as_loaded
from tutelage.models.classifiers import OURS, score_class
from tutelage.models.dtypes import Dtype, dtype_to_load, restore_dtypes, rounding_of, run_in_mixed_dtypes
from tutelage.models.trunk import last_states


@dataclass(frozen=True)
class Trust:
    """How a model's folder or repository is read, and what it may do beyond that: nothing, unless somebody says so."""

    trust_remote_code: bool = False
    """Run the code that the model's repository brings along. Read it first."""
    trust_pickles: bool = False
    """Read weights that are pickled (pytorch_model.bin) where there are no safetensors. Unpickling can run code."""
    dtype: Dtype = "float32"
    """Of the weights in memory and in what is saved. checkpoint: each tensor as the folder holds it."""


NOTHING = Trust()
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
OF_LAYERS = re.compile(r"\.(?:layers|layer|blocks|h)\.\d+\.")
HEAD = "score."  # of a reward model, which a language model has not
CLASSIFIER_HEADS = (HEAD, "classifier.", "pre_classifier.")  # of encoders, too: what peft saves whole beside an adapter
LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration", "ModelWithLMHead")
UNSUITED = {
    "prophetnet": "they predict several tokens at once, and earlier outputs depend on later tokens",
    "reformer": "their layers learn in training mode alone, in which every pass computes something else",
}
SEVERAL_LABELS = (
    "Train a reward model with `tutelage reward-model`, or give --reward module:function, a function of (prompts, "
    "responses) that makes one number of the labels."
)


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
    """The tokenizer of a model folder or hub id; of an adapter without one, its base model's.

    A tokenizer without a pad token is fine: padding is told by lengths, so the end-of-sequence token serves. One
    without an end-of-sequence token is not: replies could never end.
    """
    tokenizer = _any_tokenizer(name, trust)
    if tokenizer.eos_token_id is None:
        raise InputError(
            f"{name}: its tokenizer has no end-of-sequence token, so a reply could never end. "
            'Set one: add "eos_token" to tokenizer_config.json.'
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_causal_lm(name: str, device: torch.device | str = "cpu", trust: Trust = NOTHING) -> Any:
    """A causal language model in evaluation mode (no dropout: old and new log-probs must agree).

    An adapter's folder gives its base model with the adapter merged into the weights. InputError for encoders and
    encoder-decoders, and for any model whose earlier outputs depend on later tokens.
    """
    model, adapter = _with_adapter(name, trust, LANGUAGE_MODEL, lambda base: _language_model(base, trust))
    if adapter:
        model = merge_adapter(model, adapter)
        remember_as_loaded(model)
    return model.to(device)


def load_adapter_to_train(name: str, rank: int, device: torch.device | str = "cpu", trust: Trust = NOTHING) -> Any:
    """The model of an adapter's folder with the adapter apart from the weights; the adapter alone learns.

    InputError where `name` is no LoRA adapter of this rank.
    """
    adapter = find_adapter(name)
    if adapter is None:
        raise InputError(f"{name} holds no adapter.")
    refuse_other_rank(adapter, rank)
    model, _ = _with_adapter(name, trust, LANGUAGE_MODEL, lambda base: _language_model(base, trust), trainable=True)
    remember_as_loaded(model)
    return model.to(device)


def load_sequence_classifier(
    name: str, device: torch.device | str = "cpu", labels: int = 1, trust: Trust = NOTHING, *, fresh_head: bool = False
) -> Any:
    """A reward model: a causal trunk below a linear `score` of so many labels.

    From a language model's folder the head starts fresh, and from a classifier's with `fresh_head`. Otherwise it is
    read, and InputError where it has another number of labels. An adapter is merged into the weights.
    """
    adapter = find_adapter(name)
    if adapter and adapter.task in LANGUAGE_TASKS:
        return _from_language_model(load_causal_lm(name, trust=trust), labels, name).to(device)
    config = _text_config(adapter.base if adapter else name, "reward model", trust)
    fresh = fresh_head or adapter is not None or not is_classifier(config)
    if not fresh:
        refuse_other_labels(config, labels, name)
    options: dict[str, Any] = {"num_labels": labels, "ignore_mismatched_sizes": True} if fresh else {}
    if not has_own_code(config):
        load, options["config"] = score_class(config, name).from_pretrained, _with_labels(config, options)
        options.pop("num_labels", None)
    else:
        load = AutoModelForSequenceClassification.from_pretrained
    may_lack = (HEAD,) if fresh else ()
    model, adapter = _with_adapter(
        name, trust, CLASSIFIER, lambda base: _weights(load, base, "reward model", trust, may_lack, **options)
    )
    if adapter:
        model = merge_adapter(model, adapter)
        read_reward_settings(model.config, name)
    vocabulary = model.config.get_text_config().vocab_size
    probed = torch.device("cpu"), name, rounding_of(model)
    refuse_non_causal(lambda tokens: last_states(model, tokens), vocabulary, *probed)
    return model.to(device)


def load_text_classifier(
    name: str, device: torch.device | str = "cpu", trust: Trust = NOTHING
) -> tuple[Any, PreTrainedTokenizerBase]:
    """(a classifier of one label that reads whole texts, such as BERT; its tokenizer)."""
    config, options, may_lack = reward_model_config(name, trust), dict[str, Any](), ()
    if find_adapter(name):  # the head stands in the adapter's folder
        options, may_lack = {"num_labels": 1, "ignore_mismatched_sizes": True}, CLASSIFIER_HEADS
    else:
        refuse_other_labels(config, 1, name)
    load = AutoModelForSequenceClassification.from_pretrained
    model, adapter = _with_adapter(
        name, trust, CLASSIFIER, lambda base: _weights(load, base, "reward model", trust, may_lack, **options)
    )
    model = merge_adapter(model, adapter) if adapter else model
    tokenizer = _any_tokenizer(name, trust)
    refuse_missing_rows(model, tokenizer, name)
    return model.to(device), tokenizer


def reward_model_config(name: str, trust: Trust = NOTHING) -> Any:
    """The config of a reward model's folder or hub id; a language model has no trained head, so it is refused."""
    adapter = find_adapter(name)
    config = _loaded(AutoConfig.from_pretrained, adapter.base if adapter else name, "reward model", trust)
    if adapter and adapter.task not in LANGUAGE_TASKS:
        refuse_other_task(adapter, CLASSIFIER)
        return read_reward_settings(config, name)
    if adapter or any(each.endswith(LANGUAGE_MODELS) for each in config.architectures or ()):
        what = f"an adapter of one, on {adapter.base}" if adapter else config.architectures[0]
        raise InputError(
            f"{name} is a language model ({what}), whose scores would be random. Give a reward "
            "model: `tutelage reward-model` trains one from it."
        )
    return config


def reads_tokens_in_order(name: str, config: Any) -> bool:
    """Whether a classifier is a causal trunk below a linear `score`; BERT and its like read whole texts instead.

    config: that of the base, where the folder holds an adapter
    """
    on_language_model = any(each.endswith(LANGUAGE_MODELS) for each in config.architectures or ())
    if (
        (on_language_model and find_adapter(name))
        or has_own_code(config)
        or any(each.endswith(OURS) for each in config.architectures or ())
    ):
        return True
    if config.is_encoder_decoder:
        return False
    try:
        return not score_class(config, name).__name__.endswith(OURS)
    except InputError:
        return False


def is_classifier(config: Any) -> bool:
    """Whether the folder of this config holds a classifier, with its head."""
    return any(each.endswith(("ForSequenceClassification", OURS)) for each in config.architectures or ())


def has_own_code(config: Any) -> bool:
    """Whether the model's class comes with its repository (--trust-remote-code)."""
    return bool(getattr(config, "auto_map", None))


def refuse_other_labels(config: Any, labels: int, name: str) -> None:
    """InputError where a classifier has another number of labels than are read here."""
    if config.num_labels == labels:
        return
    names = ", ".join(str(each) for each in list(config.id2label.values())[:4])
    wanted = "one number" if labels == 1 else f"{labels} numbers"
    raise InputError(
        f"{name} is a classifier of {config.num_labels} labels ({names}), and {wanted} is expected of it. "
        + (SEVERAL_LABELS if labels == 1 else "Give the folder of a reward model with so many heads.")
    )


def refuse_missing_rows(model: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """InputError where the tokenizer has tokens for which the model has no embedding or no logit."""
    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    sizes = [len(each.weight) for each in layers if getattr(getattr(each, "weight", None), "ndim", 0) == 2]
    ids = tokenizer.get_vocab()
    rows = min(sizes, default=len(ids))
    beyond = sorted((number, token) for token, number in ids.items() if number >= rows)
    if beyond:
        some = ", ".join(f"{token} ({number})" for number, token in beyond[:3])
        raise InputError(
            f"{name}: its tokenizer has {len(beyond)} tokens that the model does not know: {some}; the embedding has "
            f"{rows} rows. Resize it and save the folder again (model.resize_token_embeddings({beyond[-1][0] + 1})), "
            "or take these tokens out of the tokenizer."
        )


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


def _any_tokenizer(name: str, trust: Trust) -> PreTrainedTokenizerBase:
    folder, adapter = Path(name).expanduser(), find_adapter(name)
    alone = adapter is not None and folder.is_dir() and not any(each.startswith("tokenizer") for each in _names(folder))
    return _loaded(AutoTokenizer.from_pretrained, adapter.base if adapter and alone else name, "tokenizer", trust)


def _language_model(name: str, trust: Trust) -> Any:
    """A whole causal language model, on the CPU."""
    what = "causal language model"
    _text_config(name, what, trust)
    model = _weights(AutoModelForCausalLM.from_pretrained, name, what, trust)
    refuse_non_causal_lm(model, name)
    return model


def _text_config(name: str, what: str, trust: Trust) -> Any:
    """The config of a model that is no encoder-decoder."""
    if find_adapter(name):
        raise InputError(
            f"{name} holds an adapter, and another one stands on it. Merge the lower one into its weights."
        )
    config = _loaded(AutoConfig.from_pretrained, name, what, trust)
    if config.model_type in UNSUITED:
        raise InputError(f"{name}: models of type {config.model_type} cannot be used: {UNSUITED[config.model_type]}.")
    if config.is_encoder_decoder:
        raise InputError(
            f"{name}: this model is an encoder-decoder ({config.model_type}), and a causal (decoder-only) language "
            "model is expected."
        )
    return config


def _with_adapter(
    name: str, trust: Trust, task: str, load: Callable[[str], Any], *, trainable: bool = False
) -> tuple[Any, Adapter | None]:
    """(the model of a folder or hub id, the adapter that it holds): every model is loaded here.

    load: a whole model from the folder or hub id that holds one: `name` itself, or the base of its adapter
    task: of an adapter, in peft's words
    """
    refuse_pickles(name, trust)
    adapter = find_adapter(name)
    if adapter is None:
        return load(name), None
    refuse_other_task(adapter, task)
    return attach_adapter(load(adapter.base), adapter, trainable=trainable), adapter


def _from_language_model(model: Any, labels: int, name: str) -> Any:
    """A reward model on the trunk of a language model in memory, whose head is fresh."""
    config = _with_labels(model.config, {"num_labels": labels})
    classifier = score_class(config, name)(config)
    try:
        classifier.base_model.load_state_dict(model.base_model.state_dict())
    except RuntimeError as error:
        raise InputError(f"{name}: no reward model can be made from it: {first_line(error)}") from error
    return classifier.eval()


def _with_labels(config: Any, options: dict[str, Any]) -> Any:
    config = copy.deepcopy(config)
    if "num_labels" in options:
        config.num_labels = options["num_labels"]
    return config


def refuse_pickles(name: str, trust: Trust) -> None:
    """InputError where the weights of a folder are pickled and nobody said that they may be read."""
    folder = Path(name).expanduser()
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    pickled = _pickled(names)
    if pickled and not trust.trust_pickles:
        raise InputError(
            f"{name}: its weights are pickled ({pickled[0]}), and reading a pickle can run any code. Save them as "
            "safetensors, or say --trust-pickles if you know where they come from."
        )


def _weights(load: Any, name: str, what: str, trust: Trust, may_lack: tuple[str, ...] = (), **options: Any) -> Any:
    """The model in evaluation mode, in the dtype of `trust`. InputError where weights are pickled, or some are missing:
    they would be drawn at random without a word. may_lack: beginnings of names whose weights start fresh."""
    refuse_pickles(name, trust)
    dtype, of_tensors = dtype_to_load(trust.dtype, name)
    import_module("tutelage.models.memory").refuse_larger_than_memory(name, dtype, free_bytes(torch.device("cpu")))
    options |= {"dtype": dtype, "use_safetensors": None if trust.trust_pickles else True}
    model, info = _loaded(load, name, what, trust, output_loading_info=True, **options)
    if model.config.model_type == "rwkv":
        model.config.rescale_every = 0  # for fp16 only; in evaluation mode the weights are divided, and saved so
    mismatched = {str(each[0]) for each in info.get("mismatched_keys") or ()}
    missing = sorted(key for key in {*info["missing_keys"], *mismatched} if not key.startswith(may_lack or ("\n",)))
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
    if of_tensors:
        restore_dtypes(model, of_tensors)
        run_in_mixed_dtypes(model)
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
