"""Advantages of groups: by hand, and against enumeration of a bandit."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tutelage.formulas import groups

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 1.0], [3.0, 1.0, 2.0, 6.0]])


def test_leave_one_out_by_hand():
    found = groups.leave_one_out(REWARDS)
    expected = [[2 / 3, -2 / 3, -2 / 3, 2 / 3], [0.0, -8 / 3, -4 / 3, 4.0]]
    assert torch.allclose(found, torch.tensor(expected))
    centred = REWARDS - REWARDS.mean(dim=1, keepdim=True)
    assert torch.allclose(found, 4 / 3 * centred)


def test_relative_by_hand():
    group = math.sqrt(1 / 3) + 1e-4  # of 1, 0, 0, 1, unbiased
    assert torch.allclose(groups.relative(REWARDS)[0], torch.tensor([0.5, -0.5, -0.5, 0.5]) / group)
    assert torch.equal(groups.relative(REWARDS, "none")[1], torch.tensor([0.0, -2.0, -1.0, 3.0]))
    batch = math.sqrt(27.5 / 7) + 1e-4  # of all eight, whose mean is 1.75
    expected = torch.tensor([[0.5, -0.5, -0.5, 0.5], [0.0, -2.0, -1.0, 3.0]]) / batch
    assert torch.allclose(groups.relative(REWARDS, "batch"), expected)
    with pytest.raises(ValueError, match="scale is 'both'"):
        groups.relative(REWARDS, "both")


@pytest.mark.parametrize("advantages", [groups.leave_one_out, groups.relative])
@pytest.mark.parametrize("value", [0.1, -7.3, 1e6 / 3])
def test_equal_rewards_have_no_advantage_to_the_bit(advantages, value):
    rewards = torch.full((2, 7), value)
    assert torch.equal(advantages(rewards), torch.zeros(2, 7))
    rewards[1, 0] += 1.0
    assert groups.equal(rewards).tolist() == [True, False]
    assert (advantages(rewards)[0] == 0).all() and advantages(rewards)[1, 0] > 0


@pytest.mark.parametrize("advantages", [groups.leave_one_out, groups.relative])
def test_a_group_of_one_is_refused(advantages):
    with pytest.raises(ValueError, match="2 or more samples"):
        advantages(torch.zeros(3, 1))


def expected_gradient(advantages, samples=3):
    """Of 1/S Σ_i A_i log π(y_i), over every draw of S arms of a bandit, and of E[R]."""
    logits = torch.tensor([0.3, -0.5, 0.9], dtype=torch.float64, requires_grad=True)
    reward = torch.tensor([1.0, 4.0, -2.0], dtype=torch.float64)
    log_probs = logits.log_softmax(0)
    (truth,) = torch.autograd.grad((log_probs.exp() * reward).sum(), logits, retain_graph=True)
    total = torch.zeros(3, dtype=torch.float64)
    for arms in itertools.product(range(3), repeat=samples):
        drawn = torch.tensor(arms)
        weight = float(log_probs[drawn].detach().sum().exp())
        objective = (advantages(reward[drawn][None])[0] * log_probs[drawn]).mean()
        total += weight * torch.autograd.grad(objective, logits, retain_graph=True)[0]
    return total, truth


def test_leave_one_out_is_unbiased():
    found, truth = expected_gradient(groups.leave_one_out)
    assert torch.allclose(found, truth, atol=1e-12)


def test_the_mean_with_oneself_in_it_shrinks_the_gradient_and_the_deviation_bends_it():
    """Of relative advantages without division the gradient is (S−1)/S of the true one; with it, it is another."""
    found, truth = expected_gradient(lambda rewards: groups.relative(rewards, "none"))
    assert torch.allclose(found, 2 / 3 * truth, atol=1e-12)
    found, _ = expected_gradient(groups.relative)
    assert torch.cosine_similarity(found, truth, dim=0) < 0.9999


MASK = torch.tensor([[False, True, False, False], [False, True, True, True]])


def test_token_weights_by_hand():
    losses = torch.tensor([[9.0, -1.2, 9.0, 9.0], [9.0, 0.8, 1.0, 1.1]])
    for loss_type, expected in {"grpo": (-1.2 + 2.9 / 3) / 2, "dapo": 1.7 / 4, "bnpo": 1.7 / 4}.items():
        found = (groups.token_weights(MASK, loss_type, 5) * losses).sum()
        assert float(found) == pytest.approx(expected), loss_type
    assert float((groups.token_weights(MASK, "dr_grpo", 5) * losses).sum()) == pytest.approx(1.7 / 10)
    with pytest.raises(ValueError, match="loss_type is 'mean'"):
        groups.token_weights(MASK, "mean", 5)
