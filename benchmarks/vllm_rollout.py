"""One timed rollout of vLLM in its own environment; called by rollout.py with one JSON argument.

vLLM as it comes: in processes of its own with bound threads, its model compiled. Starting and two rollouts that do not
count come first. "through" is our sampler over vLLM, in this process: log-probs, seeds of each episode, batches.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import torch


def plain(asked: dict[str, Any]) -> float:
    """Tokens a second of vLLM alone."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        asked["policy"],
        skip_tokenizer_init=True,
        dtype="float32",
        kv_cache_memory_bytes=2**30,
        max_model_len=512,
        enable_prefix_caching=False,
    )
    ends = {"stop_token_ids": asked["stop_tokens"]} if asked.get("stop_tokens") else {"ignore_eos": True}
    params = SamplingParams(temperature=1.0, detokenize=False, max_tokens=asked["new_tokens"], **ends)
    prompts: Any = [{"prompt_token_ids": prompt} for prompt in asked["prompts"]]
    seconds = 0.0
    for _ in range(3):
        began = time.perf_counter()
        drawn = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - began
    return sum(len(each.outputs[0].token_ids) for each in drawn) / seconds


def through(asked: dict[str, Any]) -> float:
    """Tokens a second of our sampler over vLLM."""
    from tutelage.environments.language import Language
    from tutelage.execution.native import SamplingSettings
    from tutelage.execution.vllm import VLLMSampler
    from tutelage.models.pretrained import load_causal_lm
    from tutelage.policies.language import LanguagePolicy
    from tutelage.trajectory import Key

    policy = LanguagePolicy(load_causal_lm(asked["policy"]))
    sampler = VLLMSampler(policy, [], 0, SamplingSettings(asked["new_tokens"]))
    seconds = 0.0
    for step in range(3):
        keys = [Key(step, prompt) for prompt in range(len(asked["prompts"]))]
        began = time.perf_counter()
        batch = sampler.sample(Language(asked["prompts"]), keys)
        seconds = time.perf_counter() - began
    return float(batch.mask_BT.sum()) / seconds


def main() -> None:
    asked = json.load(sys.stdin)
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    torch.set_num_threads(asked["threads"])
    rate = (through if asked["through"] else plain)(asked)
    print()
    print(json.dumps({"tokens_a_second": rate}))


if __name__ == "__main__":
    main()
