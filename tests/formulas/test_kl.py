"""Estimates of KL against its exact value, as numbers and as gradients; the controller."""

from __future__ import annotations

import pytest
import torch

from tutelage.formulas import kl

POLICY, REFERENCE = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.4, 0.2])


def test_estimates_average_to_their_known_values():
    exact = float(kl.exact(POLICY.log(), REFERENCE.log()))
    means = {each: float((POLICY * each(POLICY.log(), REFERENCE.log())).sum()) for each in (kl.k1, kl.k2, kl.k3)}
    assert exact == pytest.approx(0.0252672, abs=1e-6)
    assert means[kl.k1] == pytest.approx(exact, abs=1e-6)
    assert means[kl.k2] == pytest.approx(0.0248624, abs=1e-6)
    assert means[kl.k3] == pytest.approx(0.0252672, abs=1e-6)


def test_k3_is_never_negative_and_k1_may_be():
    difference = torch.linspace(-4, 4, 101)
    assert (kl.k3(difference, torch.zeros(101)) >= 0).all()
    assert float(kl.k1(torch.tensor(-1.0), torch.tensor(0.0))) == -1.0


@pytest.mark.parametrize(
    ("estimate", "right"),
    [(kl.k1, False), (kl.k2, True), (kl.k3, False), (kl.k3_weighted, True)],
)
def test_which_estimates_may_be_a_loss(estimate, right):
    """Expected gradients on a three-way choice, enumerated: k1's is 0 and k3's is biased (peers.md §4a.16)."""
    logits = torch.tensor([0.2, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([0.0, 0.3, -1.0], dtype=torch.float64).log_softmax(0)
    log_probs = logits.log_softmax(0)
    (true,) = torch.autograd.grad((log_probs.exp() * (log_probs - reference)).sum(), logits, retain_graph=True)
    sampled = (log_probs.exp().detach() * estimate(log_probs, reference)).sum()
    (expected,) = torch.autograd.grad(sampled, logits)
    assert torch.allclose(expected, true) == right
    if estimate is kl.k1:
        assert expected.abs().max() < 1e-12


def test_exact_is_over_the_whole_vocabulary_and_shift_invariant():
    logits, other = torch.randn(5, 11), torch.randn(5, 11)
    found = kl.exact(logits, other)
    oracle = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=logits), torch.distributions.Categorical(logits=other)
    )
    assert torch.allclose(found, oracle, atol=1e-5)
    assert torch.allclose(kl.exact(logits + 7, other - 3), found, atol=1e-5)
    assert torch.allclose(kl.exact(logits, logits), torch.zeros(5), atol=1e-6)


def test_controller_by_hand():
    coefficient, found = 0.15, []
    for observed in (0, 3, 6, 9, 30, 6.6):
        coefficient = kl.adapted(coefficient, observed, 6.0, 512, 10000.0)
        found.append(coefficient)
    expected = [0.148464, 0.146943729, 0.146943729, 0.148448432, 0.149968544, 0.150736383]
    assert found == pytest.approx(expected, abs=1e-9)


def test_controller_finds_its_target_and_never_leaves_the_positive_numbers():
    """A policy whose KL falls with the coefficient: KL = 3 / coefficient; the fixed point is 3 / 6."""
    coefficient = 0.02
    for _ in range(2000):
        coefficient = kl.adapted(coefficient, 3.0 / coefficient, 6.0, 512, 10000.0)
        assert 0 < coefficient < 10
    assert coefficient == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("episodes", [1, 64, 512, 100_000])
@pytest.mark.parametrize("horizon", [0.5, 1.0, 10.0, 63.0, 10_000.0])
@pytest.mark.parametrize("observed", [-5.0, 0.0, 6.0, 1e6])
def test_the_coefficient_stays_positive_for_every_batch_and_horizon(episodes, horizon, observed):
    """64 episodes at a horizon of 10 and a KL of 0 gave −0.028 of 0.1: KL was paid for."""
    coefficient = kl.adapted(0.1, observed, 6.0, episodes, horizon)
    assert 0.08 - 1e-12 <= coefficient <= 0.12 + 1e-12


@pytest.mark.parametrize(("target", "horizon"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0)])
def test_a_controller_without_target_or_horizon_is_refused(target, horizon):
    with pytest.raises(ValueError, match="above 0"):
        kl.adapted(0.1, 1.0, target, 512, horizon)
