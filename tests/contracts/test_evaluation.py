"""Policies compared by their replies: rates, shares and their intervals against hand-counted ones."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.evaluation.diversity import distinct_fraction
from tutelage.evaluation.replies import Judged, win_rate


def judged(gold: list[float], breaks: list[float] | None = None) -> Judged:
    numbers = np.array(gold)
    return Judged("x", [""] * len(gold), numbers, numbers + 1, np.array(breaks or [0.0] * len(gold)), numbers * 0 + 7)


def test_ties_count_half():
    rate, low, high = win_rate(judged([1, 2, 3, 4]), judged([0, 2, 4, 1]))
    assert rate == 0.625  # two wins, a tie, a loss
    assert 0 <= low < rate < high <= 1


def test_swapping_the_policies_mirrors_the_rate():
    first, second = judged([1, 5, 2, 2]), judged([3, 1, 2, 0])
    rate, low, high = win_rate(first, second)
    mirrored = win_rate(second, first)
    assert tuple(mirrored) == pytest.approx((1 - rate, 1 - high, 1 - low))


def test_row_holds_means_and_intervals():
    row = judged([0.0, 2.0], [1.0, 0.0]).row()
    assert (row["gold_n"], row["policy_breaks_n"]) == (2, 2)
    assert row["gold_mean"] == 1.0 and row["proxy_mean"] == 2.0 and row["policy_breaks_fraction"] == 0.5
    assert row["length_tokens"] == 7
    assert row["gold_high"] - 1.0 == pytest.approx(12.706205 * np.sqrt(2) / np.sqrt(2))  # Student's t of two values


@pytest.mark.parametrize("broken", [0.0, 1.0])
def test_no_broken_rule_of_twenty_is_not_surely_none(broken):
    """It said [0, 0], and [1, 1] where all were broken."""
    row = judged([0.5] * 20, [broken] * 20).row()
    assert row["policy_breaks_fraction"] == broken and row["policy_breaks_n"] == 20
    assert row["policy_breaks_high"] - row["policy_breaks_low"] == pytest.approx(1 - 0.025 ** (1 / 20))
    assert row["gold_mean"] == 0.5 and row["gold_low"] is None  # twenty equal scores tell no scatter


def test_winning_all_of_twenty_is_not_winning_always():
    found = win_rate(judged([1.0] * 20), judged([0.0] * 20))
    assert (found.value, found.high, found.n) == (1.0, 1.0, 20) and found.low == pytest.approx(0.025 ** (1 / 20))


def test_distinct_counts_different_pairs_of_words():
    assert distinct_fraction(["a b a b", "a b"]) == 0.5  # ab ba ab | ab: two of four
    assert distinct_fraction(["one"]) == 0.0
