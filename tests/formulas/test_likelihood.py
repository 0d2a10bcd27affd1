"""Log-probabilities and entropies of actions."""

from __future__ import annotations

import math

import pytest
import torch

from tutelage.formulas import likelihood


def test_one_temperature_divides_the_logits():
    logits, actions = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([2])
    by_hand = math.log(math.exp(8) / (math.exp(2) + math.exp(4) + math.exp(8)))
    assert float(likelihood.action_log_probs(logits, actions, 0.5)) == pytest.approx(by_hand, abs=1e-6)
    assert float(likelihood.action_log_probs(logits, actions, 1e-4)) == pytest.approx(0.0)


def test_extreme_logits_stay_finite_and_sixteen_bits_are_widened():
    logits = torch.tensor([[1e4, -1e4]])
    assert likelihood.action_log_probs(logits, torch.tensor([1])).item() == pytest.approx(-2e4)
    half = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.bfloat16)
    assert likelihood.action_log_probs(half, torch.tensor([0])).dtype == torch.float32
    assert likelihood.entropy(logits).item() == 0.0


def test_entropy_lies_between_zero_and_the_logarithm_of_the_choices():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 13, generator=generator) * 5
    found = likelihood.entropy(logits)
    assert (found >= 0).all()
    assert (found <= math.log(13) + 1e-6).all()
    assert torch.allclose(likelihood.entropy(logits + 100), found, atol=1e-4)
    by_hand = torch.logsumexp(logits, -1) - (logits.softmax(-1) * logits).sum(-1)
    assert torch.allclose(found, by_hand, atol=1e-4)
    assert float(likelihood.entropy(torch.zeros(1, 13))) == pytest.approx(math.log(13))
