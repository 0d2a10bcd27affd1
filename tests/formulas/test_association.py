"""Area under the curve, correlation of ranks, bootstrap over clusters: hand-counted values, limits, invariances."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.formulas import intervals
from tutelage.formulas.association import area_under_curve, rank_correlation


def test_area_counts_pairs_of_good_and_bad():
    # good 3 and 2, bad 1 and 2: three of the four pairs are right, one is equal
    assert area_under_curve(np.array([3.0, 2.0, 1.0, 2.0]), np.array([1, 1, 0, 0])) == 3.5 / 4


def test_area_is_that_of_a_double_loop_and_mirrors():
    generator = np.random.default_rng(0)
    scores, good = generator.integers(0, 6, 60).astype(float), generator.random(60) < 0.3
    above = [(a > b) + 0.5 * (a == b) for a in scores[good] for b in scores[~good]]
    assert area_under_curve(scores, good) == pytest.approx(np.mean(above))
    assert area_under_curve(np.exp(scores), good) == pytest.approx(np.mean(above))
    assert area_under_curve(-scores, good) == pytest.approx(1 - np.mean(above))
    assert area_under_curve(scores, ~good) == pytest.approx(1 - np.mean(above))


def test_area_needs_both_kinds():
    assert np.isnan(area_under_curve(np.arange(3.0), np.ones(3)))


def test_correlation_of_ranks():
    # differences of ranks 1, 1, 1, 1, 0: 1 - 6 * 4 / (5 * 24)
    assert rank_correlation(np.arange(5.0), np.array([20.0, 10.0, 400.0, 30.0, 5e9])) == pytest.approx(0.8)
    assert rank_correlation(np.arange(5.0), -(np.arange(5.0) ** 3)) == pytest.approx(-1.0)
    # ties share: ranks 1.5, 1.5, 3 against 1, 2, 3; covariance 1.5 (of 2 and 1.5)
    assert rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(1.5 / np.sqrt(3.0))
    assert np.isnan(rank_correlation(np.ones(4), np.arange(4.0)))


def test_bootstrap_of_a_mean_is_the_clustered_interval():
    generator = np.random.default_rng(1)
    clusters = np.repeat(np.arange(150), 4)
    values = np.repeat(generator.normal(size=150), 4) + 0.3 * generator.normal(size=600)
    mean, low, high = intervals.bootstrapped(lambda rows: float(values[rows].mean()), clusters)
    expected = intervals.clustered(values, clusters)
    assert (mean, low, high) == pytest.approx(expected, abs=0.02)
    alone = intervals.bootstrapped(lambda rows: float(values[rows].mean()), np.arange(600))
    assert alone[2] - alone[1] < 0.6 * (high - low)  # four copies of a prompt are not four prompts


def test_bootstrap_draws_whole_clusters():
    clusters, values = np.array(["a", "b", "a", "c"]), np.array([1.0, 10.0, 2.0, 100.0])
    seen = set()

    def total(rows):
        seen.add(float(values[rows].sum()))
        return float(len(rows))

    intervals.bootstrapped(total, clusters, draws=300)
    sums = {float(a + b + c) for a in (3, 10, 100) for b in (3, 10, 100) for c in (3, 10, 100)}
    assert seen == {*sums, 113.0}


def test_bootstrap_leaves_out_what_cannot_be_told_and_is_the_same_each_time():
    values, clusters = np.array([1.0, 2.0, 3.0]), np.arange(3)

    def often_nothing(rows):
        return float("nan") if 0 in rows else float(values[rows].mean())

    value, low, high = intervals.bootstrapped(often_nothing, clusters)
    assert np.isnan(value) and 2 <= low <= high <= 3
    assert intervals.bootstrapped(often_nothing, clusters)[1:] == (low, high)
    assert np.isnan(intervals.bootstrapped(lambda rows: float("nan"), clusters)).all()
    with pytest.raises(ValueError, match="two or more"):
        intervals.bootstrapped(often_nothing, np.zeros(3))
