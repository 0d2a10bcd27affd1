"""Lower precision and recomputed activations: the same model, and what they are for."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from tests.conftest import FAMILIES
from tests.equivalence.test_language import drawn
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM

from tutelage.data.errors import InputError
from tutelage.models import trunk
from tutelage.models.lora import with_lora
from tutelage.models.trunk import Numerics, last_states
from tutelage.policies.language import LanguagePolicy

FP32, BF16 = Numerics(), Numerics("bf16")


def gradient(policy, batch):
    policy.zero_grad()
    log_probs = policy.log_probs(batch)
    log_probs[batch.mask_BT].sum().backward()
    return log_probs.detach(), torch.cat([p.grad.flatten() for p in policy.parameters() if p.requires_grad])


def with_numerics(policy, numerics):
    return LanguagePolicy(policy.model, policy.temperature, numerics)


@pytest.mark.parametrize("family", [*FAMILIES, "lora"])
def test_recomputing_changes_no_bit(family):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES.get(family, FAMILIES["llama"])).eval()
    plain = LanguagePolicy(with_lora(model, 2) if family == "lora" else model)
    batch = drawn(plain)
    thrifty = with_numerics(plain, Numerics(recompute=True))
    for found, wanted in zip(gradient(thrifty, batch), gradient(plain, batch), strict=True):
        assert torch.equal(found, wanted)
    assert torch.equal(drawn(thrifty).observations, batch.observations)  # sampling keeps its cache all the same
    assert not any(module.training for module in thrifty.model.modules())


def test_recomputing_keeps_less(tiny_policy):
    batch, kept = drawn(tiny_policy, samples=16), {}
    for name, numerics in (("plain", FP32), ("thrifty", Numerics(recompute=True))):
        sizes = kept.setdefault(name, [])
        with torch.autograd.graph.saved_tensors_hooks(lambda x, s=sizes: s.append(x.numel()) or x, lambda x: x):
            last_states(tiny_policy.model, batch.observations, numerics).sum()
    assert 0 < sum(kept["thrifty"]) < 0.25 * sum(kept["plain"])


def test_a_model_that_cannot_recompute_says_so(tiny_policy, monkeypatch):
    monkeypatch.setattr(trunk, "GradientCheckpointingLayer", nullcontext)
    with pytest.raises(InputError, match="--recompute: the layers of LlamaModel"):
        last_states(tiny_policy.model, torch.zeros(1, 3, dtype=torch.long), Numerics(recompute=True))


@pytest.mark.parametrize("recompute", [False, True])
def test_bf16_is_the_same_policy_but_for_its_rounding(tiny_policy, recompute):
    batch = drawn(tiny_policy)
    low = with_numerics(tiny_policy, replace(BF16, recompute=recompute))
    (found, pull), (wanted, wanted_pull) = gradient(low, batch), gradient(tiny_policy, batch)
    gap = float((found - wanted).abs().max())
    assert 0 < gap < 16 * BF16.rounding  # 0 would mean that nothing was computed in bf16
    assert float(torch.cosine_similarity(pull, wanted_pull, dim=0)) > 0.99
    assert found.dtype == pull.dtype == torch.float32


@pytest.mark.parametrize("tied", [False, True])
def test_bf16_without_a_plain_head_or_with_a_bias(tied):
    """Bloom's trunk and a head with a bias go through the same precision."""
    torch.manual_seed(0)
    config = BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=23, tie_word_embeddings=tied)
    model = BloomForCausalLM(config).eval()
    model.lm_head.bias = torch.nn.Parameter(torch.randn(23) / 4)
    plain = LanguagePolicy(model)
    batch = drawn(plain)
    (found, pull), (wanted, wanted_pull) = gradient(with_numerics(plain, BF16), batch), gradient(plain, batch)
    assert 0 < float((found - wanted).abs().max()) < 16 * BF16.rounding
    assert float(torch.cosine_similarity(pull, wanted_pull, dim=0)) > 0.99
