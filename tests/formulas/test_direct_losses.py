"""Losses of algorithms that learn from preferences without a reward model: by hand, limits, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from tutelage.formulas import preference


def tensor(value, learns=False):
    return torch.tensor(value, dtype=torch.float64, requires_grad=learns)


def sigma(value):
    return 1.0 / (1.0 + math.exp(-value))


def test_dpo_by_hand():
    """β 0.1, l 1 and −1: −log σ(0.2)."""
    assert float(preference.dpo(tensor(1.0), tensor(-1.0), 0.1)) == pytest.approx(0.598139, abs=1e-6)
    assert float(preference.dpo(tensor(1.0), tensor(-1.0), 0.1, 0.9)) == pytest.approx(0.618139, abs=1e-6)  # cDPO


def test_the_gradient_of_dpo_is_the_closed_form():
    """Rafailov et al. 2023, §4: ∇ = −β σ(β (l_rejected − l_chosen)) (∇ l_chosen − ∇ l_rejected)."""
    chosen, rejected = tensor(0.7, True), tensor(2.2, True)
    preference.dpo(chosen, rejected, 0.3).backward()
    weight = 0.3 * sigma(0.3 * (2.2 - 0.7))
    assert chosen.grad.item() == pytest.approx(-weight, abs=1e-12)
    assert rejected.grad.item() == pytest.approx(weight, abs=1e-12)


def test_ipo_by_hand_and_its_minimum():
    """τ 0.1: the goal is 5 nats; at 2 nats (2 − 5)² = 9. A tie wants no gap, a soft target (2p − 1)/2τ."""
    assert float(preference.ipo(tensor(1.0), tensor(-1.0), 0.1)) == pytest.approx(9.0, abs=1e-12)
    for target, goal in ((1.0, 5.0), (0.5, 0.0), (0.9, 4.0), (0.0, -5.0)):
        gap = tensor(goal, True)
        preference.ipo(gap, tensor(0.0), 0.1, target).backward()
        assert gap.grad.item() == pytest.approx(0.0, abs=1e-12), target
    assert float(preference.ipo(tensor(5.0), tensor(0.0), 0.1)) == pytest.approx(0.0, abs=1e-12)


def test_simpo_by_hand():
    """β 2, γ 1, −1 and −2 nats a token: −log σ(2 − 1)."""
    assert float(preference.simpo(tensor(-1.0), tensor(-2.0), 2.0, 1.0)) == pytest.approx(0.313262, abs=1e-6)
    turned = preference.simpo(tensor(-2.0), tensor(-1.0), 2.0, 1.0, 0.0)  # the second is better by as much
    assert float(turned) == pytest.approx(0.313262, abs=1e-6)
    equal = preference.simpo(tensor(-1.0), tensor(-1.0), 2.0, 1.0)
    assert float(equal) == pytest.approx(1.313262, abs=1e-6)  # not log 2: the margin is asked for


def test_kto_by_hand():
    """β 0.1, l 3, z 1: 1 − σ(0.2) of a good reply, 1 − σ(−0.2) of a bad one; ½ at the baseline."""
    ratios, good = tensor([3.0, 3.0, 1.0], True), torch.tensor([True, False, True])
    found = preference.kto(ratios, good, 1.0, 0.1)
    assert found.tolist() == pytest.approx([0.450166, 0.549834, 0.5], abs=1e-6)
    found.sum().backward()
    slope = 0.1 * sigma(0.2) * sigma(-0.2)
    assert ratios.grad.tolist() == pytest.approx([-slope, slope, -0.025], abs=1e-12)


def test_nothing_overflows_far_away():
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    losses = [
        preference.dpo(far, torch.zeros(2), 1.0),
        preference.simpo(far, torch.zeros(2), 1.0, 1.0),
        preference.kto(far, torch.tensor([True, False]), 0.0, 1.0),
    ]
    assert losses[0].tolist() == [1e4, 0.0] and losses[2].tolist() == [1.0, 1.0]
    sum(each.sum() for each in losses).backward()
    assert torch.isfinite(far.grad).all()
