"""What PPO minimises: golden terms, where its gradient is exactly zero, and A2C inside it."""

from __future__ import annotations

import pytest
import torch

from tutelage.formulas import masked, surrogate

NEW, OLD = torch.tensor([0.5, 0.7, 0.3, 0.7]).log(), torch.tensor([0.5] * 4).log()
ADVANTAGES = torch.tensor([1.0, 1.0, 1.0, -1.0])


def test_clipped_terms_by_hand():
    terms = surrogate.clipped(NEW, OLD, ADVANTAGES, 0.2)
    assert terms.tolist() == pytest.approx([-1, -1.2, -0.6, 1.4])
    assert float(terms.mean()) == pytest.approx(-0.35)
    assert float(surrogate.clipped_indicator(NEW, OLD, ADVANTAGES, 0.2).mean()) == 0.25
    assert float(surrogate.approximate_kl(NEW, OLD).mean()) == pytest.approx(0.0609212, abs=1e-6)


@pytest.mark.parametrize("adv", [1.0, -1.0])
def test_no_gradient_exactly_where_the_ratio_is_outside_and_moving_on(adv):
    for ratio in torch.linspace(0.5, 1.6, 23).tolist():
        log_prob = torch.tensor([ratio]).log().requires_grad_()
        surrogate.clipped(log_prob, torch.zeros(1), torch.tensor([adv]), 0.2).sum().backward()
        if abs(ratio - 1.2) < 0.01 or abs(ratio - 0.8) < 0.01:
            continue
        outside = (adv > 0 and ratio > 1.2) or (adv < 0 and ratio < 0.8)
        assert (float(log_prob.grad) == 0) == outside
        if not outside:
            assert float(log_prob.grad) == pytest.approx(-adv * ratio, rel=1e-4)


def test_first_pass_moves_as_a2c():
    """Fact 13: at ratio 1 the gradient is that of −A log π; fact 10: the loss is −mean(Â), 0 when whitened."""
    advantages = masked.centre_and_scale(torch.tensor([0.3, -2.0, 1.0]), torch.ones(3, dtype=torch.bool))
    log_probs = torch.tensor([-1.0, -0.2, -3.0], requires_grad=True)
    loss = surrogate.clipped(log_probs, log_probs.detach(), advantages, 0.2).mean()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    (clipped_gradient,) = torch.autograd.grad(loss, log_probs)
    (plain_gradient,) = torch.autograd.grad(surrogate.policy_gradient(log_probs, advantages).mean(), log_probs)
    assert torch.allclose(clipped_gradient, plain_gradient)


def test_clipped_value_by_hand():
    values, old, returns = torch.tensor([0.1, 0.5, -0.5]), torch.zeros(3), torch.ones(3)
    assert float(surrogate.clipped_value(values, old, returns, 0.2).mean()) == pytest.approx(0.616667, abs=1e-6)
    assert float(surrogate.value_clipped_indicator(values, old, returns, 0.2).mean()) == pytest.approx(1 / 3)


def test_padding_gives_neither_loss_nor_gradient():
    """Fact 36: what is masked may be infinite; it is replaced before any arithmetic."""
    log_probs = torch.tensor([-1.0, -5.0, -2.0], requires_grad=True)
    old = torch.tensor([-1.0, float("-inf"), float("nan")])
    mask = torch.tensor([True, False, False])
    safe_new, safe_old = (masked.kept(each, mask) for each in (log_probs, old))
    assert (safe_new - safe_old).exp().tolist() == [1, 1, 1]
    loss = masked.total(surrogate.clipped(safe_new, safe_old, torch.ones(3), 0.2), mask)
    loss.backward()
    assert loss.item() == -1.0
    assert log_probs.grad.tolist() == [-1, 0, 0]
