"""Learning-rate multipliers; intervals of shares and means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom

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


def test_clopper_pearson_by_hand():
    """At 0 of n the upper end is 1 − 0.025^(1/n); by symmetry at n of n the lower one."""
    assert intervals.clopper_pearson(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert intervals.clopper_pearson(10, 10) == pytest.approx((0.025**0.1, 1.0))
    assert intervals.clopper_pearson(5, 10) == pytest.approx((0.187086, 0.812914), abs=1e-5)
    assert intervals.clopper_pearson(9, 20) == pytest.approx((0.230578, 0.684722), abs=1e-5)
    for wrong in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="one trial or more"):
            intervals.clopper_pearson(*wrong)


@pytest.mark.parametrize("count", [5, 10, 20, 50, 200])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.95])
def test_shares_cover_exactly(count, share):
    """The sum over all outcomes, no simulation: at least 95 % in each cell."""
    ks = np.arange(count + 1)
    weights = binom.pmf(ks, count, share)
    ends = [intervals.share_of(float(k), count) for k in ks]
    assert sum(w for w, each in zip(weights, ends, strict=True) if each.low <= share <= each.high) >= 0.95


def test_ties_count_half():
    rate, low, high = intervals.win_rate(wins=30, ties=40, losses=30)
    assert rate == 0.5
    assert low == pytest.approx(0.5 - high + 0.5)
    sure = intervals.win_rate(20, 0, 0)
    assert (sure.value, sure.high, sure.n) == (1.0, 1.0, 20) and sure.low == pytest.approx(0.025 ** (1 / 20))
