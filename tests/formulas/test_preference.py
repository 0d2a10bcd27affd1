"""Losses on preferences: golden numbers, limits, invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.formulas import preference

ZERO = torch.zeros(())


@pytest.mark.parametrize(
    ("difference", "loss"), [(0.0, math.log(2)), (1.0, 0.313262), (-1.0, 1.313262), (-1000.0, 1000.0), (1000.0, 0.0)]
)
def test_pair_by_hand(difference, loss):
    assert float(preference.pair(torch.tensor(difference), ZERO)) == pytest.approx(loss, abs=1e-6)


@pytest.mark.parametrize("difference", [-1000.0, -3.0, 0.0, 0.5, 1000.0])
def test_pair_gradient_is_minus_sigmoid_of_minus_difference(difference):
    first = torch.tensor(difference, requires_grad=True)
    preference.pair(first, ZERO).backward()
    assert float(first.grad) == pytest.approx(-float(torch.sigmoid(torch.tensor(-difference))), abs=1e-7)


def test_a_tie_is_least_at_equal_scores():
    assert float(preference.pair(ZERO, ZERO, target=0.5)) == pytest.approx(math.log(2))
    for difference in (1.0, -1.0):
        assert float(preference.pair(torch.tensor(difference), ZERO, target=0.5)) == pytest.approx(0.813262, abs=1e-6)


def test_a_soft_target_is_least_where_the_model_says_the_same():
    difference = torch.tensor(0.0, requires_grad=True)
    for _ in range(500):
        (gradient,) = torch.autograd.grad(preference.pair(difference, ZERO, target=0.8), difference)
        difference = (difference - gradient).detach().requires_grad_()
    assert torch.sigmoid(difference).item() == pytest.approx(0.8, abs=1e-3)


def test_a_margin_asks_for_more():
    assert float(preference.pair(torch.tensor(1.0), ZERO, margin=1.0)) == pytest.approx(math.log(2))


@settings(max_examples=100, deadline=None)
@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(-100, 100), st.floats(0, 1))
def test_a_shift_of_both_scores_changes_nothing_and_swapping_mirrors(first, second, shift, target):
    a, b = torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    loss = float(preference.pair(a, b, target))
    assert float(preference.pair(a + shift, b + shift, target)) == pytest.approx(loss, abs=1e-9)
    assert float(preference.pair(b, a, 1 - target)) == pytest.approx(loss, abs=1e-9)


def test_scaling_the_scores_does_change_the_loss():
    first = torch.tensor(1.0)
    assert float(preference.pair(2 * first, ZERO)) != pytest.approx(float(preference.pair(first, ZERO)))


def test_choice_by_hand():
    scores = torch.tensor([[0.0] * 4, [1.0, 0.0, -1.0, 2.0], [1.0, 0.0, -1.0, 2.0]])
    found = preference.choice(scores, torch.tensor([2, 3, 0]))
    assert found.tolist() == pytest.approx([1.386294, 0.440190, 1.440190], abs=1e-6)


def test_a_choice_of_two_is_a_pair():
    scores = torch.tensor([[0.3, -1.2], [2.0, 2.5]])
    pairs = preference.pair(scores[:, 0], scores[:, 1], torch.tensor([1.0, 0.0]))
    assert torch.allclose(preference.choice(scores, torch.tensor([0, 1])), pairs)


def test_dpo_starts_at_log_two_and_forgets_what_only_the_prompt_decides():
    """Fact 32: at the reference the loss is ln 2; log Z(x) shifts both implicit rewards and cancels."""
    assert float(preference.dpo(ZERO, ZERO, 0.1)) == pytest.approx(math.log(2))
    chosen, rejected = torch.tensor(0.7), torch.tensor(-0.4)
    loss = preference.dpo(chosen, rejected, 0.3)
    assert float(preference.dpo(chosen + 5, rejected + 5, 0.3)) == pytest.approx(float(loss), abs=1e-6)


def test_dpo_is_least_at_the_optimal_policy():
    """The implicit reward β log π*/ρ of the optimal policy differs from the reward by a constant of the prompt."""
    reference, rewards, beta = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 1.0, 2.0]), 0.5
    best = torch.softmax(reference.log() + rewards / beta, dim=0)
    implicit = beta * (best / reference).log()
    assert torch.allclose(implicit - implicit[0], rewards - rewards[0], atol=1e-5)


def test_score_units():
    assert float(torch.sigmoid(torch.tensor(1.0))) == pytest.approx(0.731059, abs=1e-6)
    assert preference.elo_points(1.0) == pytest.approx(173.72, abs=0.01)


def test_a_tenth_of_random_answers_by_hand():
    """Christiano et al. 2017: P = 0.9 σ(Δ) + 0.05, within [0.05, 0.95]; no answer costs more than −log 0.05."""
    assert float(preference.answer_probability(torch.tensor(1.0))) == pytest.approx(0.9 * 0.731059 + 0.05, abs=1e-6)
    far = torch.tensor([-1000.0, 0.0, 1000.0])
    assert preference.answer_probability(far).tolist() == pytest.approx([0.05, 0.5, 0.95])
    assert preference.floored(far, torch.zeros(3)).tolist() == pytest.approx(
        [2.995732, math.log(2), 0.051293], abs=1e-5
    )
    assert preference.floored(far, torch.zeros(3), target=0.0).tolist() == pytest.approx(
        [0.051293, math.log(2), 2.995732], abs=1e-5
    )


@pytest.mark.parametrize("difference", [-1000.0, -2.0, 0.0, 2.0, 1000.0])
def test_a_floored_loss_stays_finite_and_points_the_same_way(difference):
    first = torch.tensor(difference, requires_grad=True)
    preference.floored(first, ZERO).backward()
    assert first.grad.isfinite()
    assert float(first.grad) <= 0
    assert float(first.grad) >= -float(torch.sigmoid(torch.tensor(-difference))) - 1e-7  # never more than `pair` pulls


@pytest.mark.parametrize("error_fraction", [0.0, 1.0, -0.1])
def test_a_floor_needs_errors(error_fraction):
    with pytest.raises(ValueError, match="between 0 and 1"):
        preference.floored(ZERO, ZERO, error_fraction=error_fraction)


def test_smoothing_is_a_share_of_flipped_answers():
    assert preference.smoothed(1.0, 0.1) == pytest.approx(0.9)
    assert preference.smoothed(0.0, 0.1) == pytest.approx(0.1)
    assert preference.smoothed(0.5, 0.3) == pytest.approx(0.5)
    z, epsilon = torch.tensor(0.7), 0.1
    conservative = -(1 - epsilon) * torch.sigmoid(z).log() - epsilon * torch.sigmoid(-z).log()
    assert float(preference.pair(z, ZERO, preference.smoothed(1.0, epsilon))) == pytest.approx(float(conservative))
