"""The price of a constraint: golden numbers, where it comes to rest, which points nothing beats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.formulas.constrained import dual_ascent, penalised, undominated

SCORES, COSTS, BETA = np.array([0.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0]), 0.5


def test_by_hand():
    assert penalised(torch.tensor([2.0, 2.0]), torch.tensor([0.0, 1.0]), 3.0).tolist() == [0.5, -0.25]
    assert dual_ascent(1.0, cost=0.3, limit=0.1, rate=2.0) == pytest.approx(1.4)
    assert dual_ascent(0.1, cost=0.0, limit=0.1, rate=2.0) == 0.0  # a price is never below 0
    with pytest.raises(ValueError, match="0 or more"):
        dual_ascent(1.0, 0.3, 0.1, -1.0)


def share_broken(multiplier: float) -> float:
    """E[c] under the optimum of a reward that is regularised by KL: π ∝ ρ exp((r − λc)/β), ρ uniform."""
    weights = np.exp((SCORES - multiplier * COSTS) / BETA)
    return float(weights @ COSTS / weights.sum())


def at_rest(limit: float) -> float:
    multiplier = 0.0
    for _ in range(4000):
        multiplier = dual_ascent(multiplier, share_broken(multiplier), limit, rate=0.5)
    return multiplier


def test_it_comes_to_rest_where_the_limit_is_met():
    """e^{(2−λ)/β} / (1 + e^{1/β} + e^{(2−λ)/β}) = 0.1, solved for λ by hand."""
    expected = 2.0 - BETA * math.log(0.1 / 0.9 * (1 + math.exp(2.0)))
    assert expected == pytest.approx(2.0351, abs=1e-4)
    assert at_rest(0.1) == pytest.approx(expected, abs=1e-6)
    assert share_broken(at_rest(0.1)) == pytest.approx(0.1, abs=1e-6)


def test_a_limit_that_is_not_reached_costs_nothing():
    """Complementary slackness: without a price 87 % break the rule, so a limit of 90 % binds nobody."""
    assert share_broken(0.0) == pytest.approx(0.8668, abs=1e-4)
    assert at_rest(0.9) == 0.0


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12))
def test_undominated_points_by_definition(points):
    points_NK = np.array(points, dtype=float)
    for mine, best in zip(points_NK, undominated(points_NK), strict=True):
        beaten = any((other >= mine).all() and (other > mine).any() for other in points_NK)
        assert best != beaten


def test_the_price_does_not_change_which_of_two_is_better_where_neither_costs():
    scores = torch.tensor([0.3, -1.2])
    for multiplier in (0.0, 1.0, 50.0):
        first, second = penalised(scores, torch.zeros(2), multiplier)
        assert first > second
