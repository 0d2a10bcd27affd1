"""Intervals of means: few values, values that come in clusters, values that come in pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from tutelage.formulas import intervals


def test_three_seeds_by_hand():
    mean, low, high = intervals.t_interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2.0, 2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), rel=1e-6)
    _, low, high = intervals.t_interval([1.0, 2.0, 3.0], confidence=0.9)
    assert high - low == pytest.approx(2 * 2.919986 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("values", [3, 5, 10])
def test_means_of_few_values_cover(values):
    """With z for t it was 0.82, 0.88 and 0.92."""
    draws = np.random.default_rng(0).normal(size=(4000, values))
    for interval in (intervals.t_interval, intervals.mean_interval):
        covered = [low <= 0 <= high for _, low, high in map(interval, draws)]
        assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_what_pairs_share_cancels():
    prompts = np.array([10.0, -20.0, 30.0, 5.0])
    first, second = prompts + np.array([1.0, 2.0, 1.0, 2.0]), prompts
    assert intervals.paired_difference(first, second) == pytest.approx(intervals.t_interval([1.0, 2.0, 1.0, 2.0]))
    mean, low, high = intervals.paired_difference(second, first)
    assert (mean, low, high) == pytest.approx((-1.5, -1.5 - (high + 1.5), -1.5 + (high + 1.5)))


def test_clusters_by_hand():
    """Values 0, 1 | 4 | 3: mean 2, without each 3.5, 4/3 and 5/3, so Var = ⅔ (1.5² + (⅔)² + (⅓)²); sizes 2, 1, 1 are
    worth 16 / 6 clusters, so 5/3 degrees of freedom, t = 5.298."""
    mean, low, high = intervals.clustered([0.0, 1.0, 4.0, 3.0], ["a", "a", "b", "c"])
    half = float(stdtrit(16 / 6 - 1, 0.975)) * math.sqrt(2 / 3 * (2.25 + 4 / 9 + 1 / 9))
    assert (mean, low, high) == pytest.approx((2.0, 2 - half, 2 + half), rel=1e-6)


def test_clusters_of_one_are_no_clusters():
    values = np.random.default_rng(1).normal(size=20)
    assert intervals.clustered(values, np.arange(20)) == pytest.approx(intervals.t_interval(values))
    deviation = values.std(ddof=1) / math.sqrt(20)
    assert intervals.t_interval(values)[2] == pytest.approx(values.mean() + 2.093024 * deviation, rel=1e-6)


def test_saying_everything_twice_adds_nothing():
    values, names = np.random.default_rng(2).normal(size=15), np.arange(15)
    once = intervals.clustered(values, names)
    assert intervals.clustered(np.repeat(values, 4), np.repeat(names, 4)) == pytest.approx(once)
    order = np.random.default_rng(3).permutation(15)
    assert intervals.clustered(values[order], names[order]) == pytest.approx(once)


def test_clustered_covers_where_the_plain_interval_does_not():
    generator = np.random.default_rng(4)
    names, plain, clustered = np.repeat(np.arange(30), 6), [], []
    for _ in range(1500):
        values = np.repeat(generator.normal(size=30), 6) + generator.normal(size=180)
        _, low, high = intervals.mean_interval(values)
        plain.append(low <= 0 <= high)
        _, low, high = intervals.clustered(values, names)
        clustered.append(low <= 0 <= high)
    assert np.mean(clustered) == pytest.approx(0.95, abs=0.02)
    assert np.mean(plain) < 0.8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: intervals.t_interval([]), "got 0"),
        (lambda: intervals.t_interval([1.0]), "got 1"),
        (lambda: intervals.clustered([1.0, 2.0], ["a", "a"]), "got 1"),
        (lambda: intervals.clustered([1.0, 2.0], ["a"]), "2 values and 1 clusters"),
        (lambda: intervals.t_interval([1.0, math.nan]), "1 of 2 values are not finite"),
        (lambda: intervals.paired_difference([1.0, 2.0], [1.0]), "2 first and 1 second"),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
