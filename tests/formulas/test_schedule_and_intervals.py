"""Learning-rate multipliers; intervals of shares and means."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tutelage.formulas import intervals, schedule


def test_linear_reaches_zero_after_the_last_update():
    assert [schedule.linear(update, 4) for update in range(6)] == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0])


def test_cosine_to_zero_and_to_a_tenth():
    assert [schedule.cosine(update, 4) for update in (0, 2, 4, 9)] == pytest.approx([1, 0.5, 0, 0])
    assert [schedule.cosine(update, 4, 0.1) for update in (0, 2, 4)] == pytest.approx([1, 0.55, 0.1])


def test_warm_up_from_a_tenth_in_ten_updates():
    found = [schedule.warmed_up(update, 10, 0.1) for update in (0, 5, 10, 11)]
    assert found == pytest.approx([0.1, 0.55, 1, 1])
    assert schedule.warmed_up(0, 0, 0.1) == 1.0


def test_adam_as_torch_has_it_and_what_the_papers_code_had():
    """Fact 28: the first step at g = 1e-4, lr 1e-5, ε 1e-5 is 9.0909e-6 here and 2.4025e-6 in TensorFlow."""
    weight = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([weight], lr=1e-5, eps=1e-5)
    weight.grad = torch.tensor([1e-4])
    optimiser.step()
    assert abs(weight.item()) == pytest.approx(9.0909e-6, rel=1e-4)


def test_wilson_by_hand():
    assert intervals.wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert intervals.wilson(5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-4)
    with pytest.raises(ValueError, match="at least one"):
        intervals.wilson(0, 0)


def test_wilson_covers_what_it_says():
    generator = np.random.default_rng(0)
    covered = [low <= 0.8 <= high for low, high in (intervals.wilson(n, 60) for n in generator.binomial(60, 0.8, 4000))]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)


def test_ties_count_half():
    rate, low, high = intervals.win_rate(wins=30, ties=40, losses=30)
    assert rate == 0.5
    assert low == pytest.approx(0.5 - high + 0.5)
    assert intervals.win_rate(10, 0, 0) == (1.0, 1.0, 1.0)
