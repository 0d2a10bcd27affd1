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


def test_jackknife_of_a_mean_is_the_clustered_interval():
    generator = np.random.default_rng(1)
    clusters = np.repeat(np.arange(150), 4)
    values = 0.5 + 0.1 * np.clip(np.repeat(generator.normal(size=150), 4) + 0.3 * generator.normal(size=600), -4, 4)
    found = intervals.jackknife(lambda rows: float(values[rows].mean()), clusters, (0.0, 1.0))
    assert found == pytest.approx(intervals.clustered(values, clusters), abs=0.002) and found.n == 150
    alone = intervals.jackknife(lambda rows: float(values[rows].mean()), np.arange(600), (0.0, 1.0))
    assert alone.high - alone.low < 0.6 * (found.high - found.low)  # four copies of a prompt are not four prompts


def test_jackknife_leaves_out_whole_clusters():
    clusters, seen = np.array([f"c{i % 7}" for i in range(20)]), []

    def total(rows):
        seen.append(frozenset(rows.tolist()))
        return 0.1 * len(rows) / len(clusters)

    intervals.jackknife(total, clusters, (0.0, 1.0))
    assert seen[0] == frozenset(range(20)) and len(seen) == 8
    for left in seen[1:]:
        out = set(range(20)) - left
        assert len({clusters[i] for i in out}) == 1 and {clusters[i] for i in left}.isdisjoint(clusters[i] for i in out)


def test_many_clusters_are_left_out_in_groups():
    values = np.random.default_rng(2).random(3000)
    calls = []
    found = intervals.jackknife(lambda rows: calls.append(1) or float(values[rows].mean()), np.arange(3000), (0.0, 1.0))
    assert len(calls) == 1 + intervals.MOST_FOLDS
    assert found == pytest.approx(intervals.share(values), abs=0.002)


def test_too_few_clusters_tell_nothing():
    few = intervals.jackknife(lambda rows: 0.5, np.repeat(np.arange(5), 9), (0.0, 1.0))
    assert few.value == 0.5 and not few.is_known and few.n == 5
    assert "too few to tell" in few.text() and few.row("area") == {
        "area": 0.5, "area_low": None, "area_high": None, "area_n": 5,
    }  # fmt: skip
    assert not intervals.jackknife(lambda rows: float("nan"), np.arange(50), (0.0, 1.0)).is_known


def test_a_perfect_area_is_no_point():
    """Ten good above ten bad, as in no other interval of a bootstrap: it said [1, 1]."""
    scores, good = np.arange(20.0), np.arange(20) >= 10
    found = intervals.jackknife(lambda rows: area_under_curve(scores[rows], good[rows]), np.arange(20), (0.0, 1.0), 10)
    assert found.value == found.high == 1.0 and 0.5 < found.low < 0.9
