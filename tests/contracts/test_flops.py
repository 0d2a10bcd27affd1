"""The rule by which operations are counted."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.tokens import written
from tutelage.environments.language import Language
from tutelage.execution.masking import LaggedMask
from tutelage.execution.native import SamplingSettings
from tutelage.models.flops import count_flops, count_tokens, weights_of
from tutelage.models.lora import with_lora
from tutelage.policies.language import LanguagePolicy
from tutelage.runs.run import Run
from tutelage.training.engine import LOCAL
from tutelage.training.flop_counting import make_counting_engine
from tutelage.trajectory import Batch, Key

LAYER = 4 * 32 * 32 - 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32  # attention with half the keys and values, MLP, two norms


def test_weights_are_those_a_token_is_multiplied_with(tiny_llama):
    """Two layers, a norm and the head of 23 tokens; the table of embeddings is looked up."""
    assert weights_of(tiny_llama) == (2 * LAYER + 32 + 23 * 32,) * 2


def test_a_tied_head_counts_once(tiny_llama):
    tiny_llama.config.tie_word_embeddings = True
    tiny_llama.lm_head.weight = tiny_llama.model.embed_tokens.weight
    assert weights_of(tiny_llama)[0] == 2 * LAYER + 32 + 23 * 32


def test_forward_backward_and_adapters(tiny_llama):
    policy, batch = LanguagePolicy(tiny_llama), Batch.of([written([3, 4], [5, 6, 7, 1])])
    weights = weights_of(tiny_llama)[0]
    with count_flops() as count:
        with torch.no_grad():
            policy(batch)
        assert count.flops == 2 * weights * 6
        policy(batch)
        assert count.flops == (2 + 6) * weights * 6
    adapted = LanguagePolicy(with_lora(tiny_llama, 2))
    with count_flops() as other:
        adapted(batch)
    assert other.flops == 4 * weights_of(adapted.model)[0] * 6
    policy(batch)
    count_tokens(tiny_llama, 5, sampled=5)
    assert (count.flops, count.tokens_sampled) == (8 * weights * 6, 0)


def test_counts_nest(tiny_llama):
    with count_flops() as outer:
        with count_flops() as inner, torch.no_grad():
            count_tokens(tiny_llama, 5, sampled=3)
        assert inner.tokens_sampled == 3 and inner.flops == pytest.approx(10 * weights_of(tiny_llama)[0])
    assert outer.flops == 0


def test_a_mask_that_asks_a_policy_of_its_own_is_counted(tiny_llama, tmp_path):
    policy, keys = LanguagePolicy(tiny_llama), [Key(0, 0, 0), Key(0, 1, 0)]
    environment = Language([[3, 4], [5, 6, 7]])
    found = []
    for masked in (False, True):
        policy.masking = LaggedMask(policy, 0.5, 2, [1]) if masked else None
        sampler = make_counting_engine(LOCAL, Run(tmp_path)).text_sampler(policy, [1], 0, SamplingSettings(4))
        with count_flops() as count:
            batch = sampler.sample(environment, keys)
        passes = 2 * weights_of(tiny_llama)[0] * int(batch.lengths_B.sum())
        assert count.tokens_sampled == int(batch.mask_BT.sum())
        found.append(count.flops / passes)
    assert found == [1.0, 2.0]
