"""bf16, recomputed activations and a budget of tokens: the same loss curve as in fp32, on a trained model."""

from __future__ import annotations

import functools
from functools import partial
from pathlib import Path

import pytest
import torch

from tutelage.algorithms.sft import negative_log_likelihood
from tutelage.data import preferences
from tutelage.data.tokens import Codec, written
from tutelage.data.truncate import fit
from tutelage.execution.learner import LocalLearner
from tutelage.models.lora import with_lora
from tutelage.models.pretrained import Trust, load_causal_lm, load_tokenizer
from tutelage.models.trunk import Numerics
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Batch

SHARED = Path(__file__).parents[3] / "shared" / "data"
MODEL, DATA = SHARED / "models" / "stories260K", SHARED / "hh-rlhf" / "helpful-base.jsonl.gz"
STEPS, ROWS, LONGEST, TOLERANCE = 50, 4, 32, 0.02


@functools.cache
def demonstrations() -> Batch:
    """Prompts and chosen replies of HH, the ends of at most 32 tokens; the model has read stories alone."""
    codec = Codec(load_tokenizer(str(MODEL)))
    questions = preferences.comparisons(str(DATA), codec)[0][: STEPS * ROWS]
    return Batch.of([written(*fit(codec, each.prompt, each.responses[0], LONGEST)[:2]) for each in questions])


def losses(
    dtype: str = "float32", numerics: Numerics = Numerics(), lora_rank: int = 0, tokens_at_once: int = 10**6
) -> list[float]:
    """The loss of each of 50 steps of SFT, nats a token, each on four rows that were not seen before."""
    torch.manual_seed(0)
    model = load_causal_lm(str(MODEL), trust=Trust(dtype=dtype))  # pyright: ignore[reportArgumentType]
    model = with_lora(model, lora_rank) if lora_rank else model
    policy, batch = LanguagePolicy(model, 1.0, numerics), demonstrations()
    rate = 3e-3 if lora_rank else 1e-3
    learner = LocalLearner({"policy": (policy.parameters(), rate)}, tokens_at_once=tokens_at_once)
    loss, rows = partial(negative_log_likelihood, policy), torch.arange(len(batch)).split(ROWS)
    return [learner.update(batch.select(rows[step]), loss)["loss"] for step in range(STEPS)]


@pytest.fixture(scope="module")
def in_fp32() -> dict[int, list[float]]:
    if not (MODEL / "model.safetensors").exists() or not DATA.exists():
        pytest.skip("needs ../shared/data: models/stories260K and hh-rlhf")
    return {rank: losses(lora_rank=rank) for rank in (0, 4)}


SETTINGS = {
    "weights in bf16 with fp32 copies": {"dtype": "bfloat16"},
    "fp32 adapters on bf16 weights": {"dtype": "bfloat16", "lora_rank": 4},
    "autocast": {"numerics": Numerics("bf16")},
    "recomputed": {"numerics": Numerics(recompute=True)},
    "50 tokens at once": {"tokens_at_once": 50},
    "all at once": {"dtype": "bfloat16", "numerics": Numerics("bf16", recompute=True), "tokens_at_once": 50},
}


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
def test_the_loss_curve_is_that_of_fp32(in_fp32, settings):
    wanted, found = in_fp32[settings.get("lora_rank", 0)], losses(**settings)
    assert sum(wanted[-5:]) < 0.9 * sum(wanted[:5])  # it learns, so there is a curve
    gaps = [abs(mine - theirs) / theirs for mine, theirs in zip(found, wanted, strict=True)]
    assert max(gaps) <= TOLERANCE, [round(each, 4) for each in gaps]
    if settings == {"numerics": Numerics(recompute=True)}:
        assert found == wanted  # to the bit
