"""Sampling: the native sampler against transformers' `generate` and, at 110M, against vLLM; tokens a second.

    python benchmarks/rollout.py [rounds]

32 prompts of 32 tokens, fp32, random weights; 64 new tokens each, one sample a prompt. "n8_stopping": 8 samples of each
prompt, of which half end by themselves before the 64th token. vLLM's CPU build runs in its own environment, in a fresh
process each round with as many threads; starting it does not count.
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from setting import (
    END,
    NEW_TOKENS,
    finish,
    folders,
    interleaved,
    medians,
    policy_of,
    prompts_of,
    python_of,
    run_script,
    timed,
)

from tutelage.environments.language import Language
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Key


def tokens_a_second(size: str, samples: int, stops_early: float, rounds: int) -> dict[str, float]:
    model = policy_of(size, stops_early)
    prompts = prompts_of(model.config.vocab_size)
    limits = {} if stops_early else {"min_new_tokens": NEW_TOKENS}

    @torch.no_grad()
    def generate() -> float:
        drawn: list[torch.Tensor] = []
        options = {"do_sample": True, "top_k": 0, "top_p": 1.0, "num_return_sequences": samples}
        ask = {"attention_mask": torch.ones_like(prompts), "max_new_tokens": NEW_TOKENS, **options, **limits}
        seconds = timed(lambda: drawn.append(model.generate(prompts, **ask)))
        new = drawn[0][:, prompts.shape[1] :]
        ended = (new == END).int().cumsum(dim=1) - (new == END).int()
        return float((ended == 0).sum()) / seconds

    native = native_of(model, prompts, samples, stops_early)
    return medians(interleaved(rounds, generate=generate, native=native))


def native_of(model: Any, prompts: torch.Tensor, samples: int, stops_early: float) -> Callable[[], float]:
    """Draws anew at each call; returns tokens a second."""
    policy = LanguagePolicy(copy.deepcopy(model))
    sampler = NativeSampler(policy, [END] if stops_early else [], 0, SamplingSettings(NEW_TOKENS))
    environment, steps = Language(prompts.tolist()), count()

    def native() -> float:
        step, drawn = next(steps), []
        keys = [Key(step, prompt, sample) for prompt in range(len(prompts)) for sample in range(samples)]
        seconds = timed(lambda: drawn.append(sampler.sample(environment, keys)))
        return float(drawn[0].mask_BT.sum()) / seconds

    return native


def beside_vllm(size: str, rounds: int) -> dict[str, float]:
    """Tokens a second of the native sampler, of vLLM alone, and of our sampler over vLLM."""
    model, python = policy_of(size), python_of("vllm")
    prompts = prompts_of(model.config.vocab_size)
    with tempfile.TemporaryDirectory() as folder:
        asked = {**folders(size, Path(folder)), "prompts": prompts.tolist(), "new_tokens": NEW_TOKENS}
        asked |= {"threads": torch.get_num_threads()}

        def vllm(through: bool) -> float:
            return run_script(python, "vllm_rollout.py", {**asked, "through": through})["tokens_a_second"]

        contenders = {"vllm": lambda: vllm(False), "through_vllm": lambda: vllm(True)}
        return medians(interleaved(rounds, native=native_of(model, prompts, 1, 0.0), **contenders))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows, answer = [], {}
    python_of("vllm")  # whatever hinders it is known before anything is measured
    for name, size, samples, stops_early in (
        ("1m", "1m", 1, 0.0),
        ("15m", "15m", 1, 0.0),
        ("110m", "110m", 1, 0.0),
        ("1m_n8_stopping", "1m", 8, 0.5),
        ("15m_n8_stopping", "15m", 8, 0.5),
    ):
        found = tokens_a_second(size, samples, stops_early, rounds)
        ratio = found["native"] / found["generate"]
        rows.append([name, found["generate"], found["native"], ratio])
        answer |= {f"ratio_generate_{name}": ratio, f"native_{name}": found["native"]}
    found = beside_vllm("110m", rounds)
    for name in ("vllm", "through_vllm"):
        ratio = found["native"] / found[name]
        rows.append([f"110m beside {name}", found[name], found["native"], ratio])
        answer |= {f"ratio_{name}_110m": ratio, f"{name}_110m": found[name]}
    finish(rows, ["workload", "peer, tokens/s", "native, tokens/s", "ratio"], answer)


if __name__ == "__main__":
    main()
