"""Learning curves of planted accuracies: chance left out, seeds averaged, the gain of the next labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.evaluation.label_counts import Point, curve
from tutelage.formulas import intervals


def point(labels, accuracy, seed=0, pairs=1000):
    right = round(accuracy * pairs)
    return Point(labels, seed, np.repeat([1.0, 0.0], [right, pairs - right]), np.arange(pairs))


def test_a_straight_line_in_the_logarithm_is_found():
    """0.05 an e-fold, as Bai et al. 2022 fit a line: the next 1,000 after 4,000 bring 0.05 · log(5/4)."""
    points = [point(n, 0.6 + 0.05 * math.log(n / 500), seed) for n in (500, 1000, 2000, 4000) for seed in (0, 1)]
    found = curve(points)
    assert found["expected_gain"] == pytest.approx(0.05 * math.log(5 / 4), abs=0.001)
    assert found["expected_gain_low"] <= found["expected_gain"] <= found["expected_gain_high"]
    assert found["fit"]["per_efold"] == pytest.approx(0.05, abs=0.003)
    assert found["curve"][0][0] == pytest.approx(500) and found["curve"][-1][0] == pytest.approx(5000)


def test_counts_at_chance_stay_out_of_the_fit():
    flat = [point(n, 0.5, seed) for n in (10, 50, 100) for seed in (0, 1)]
    points = [point(n, 0.6 + 0.05 * math.log(n / 500), seed) for n in (500, 1000, 2000, 4000) for seed in (0, 1)]
    found = curve([*flat, *points])
    assert [row["fitted"] for row in found["means"]] == [False] * 3 + [True] * 4
    assert found["fit"] == curve(points)["fit"]


def test_below_chance_again_is_still_on_the_curve():
    """Left out is only what comes before the first count above chance: a fall must not be hidden."""
    points = [point(100, 0.5), point(200, 0.6), point(400, 0.4), point(800, 0.6), point(1600, 0.7)]
    assert [row["fitted"] for row in curve(points)["means"]] == [False, True, True, True, True]


def test_too_few_counts_above_chance_say_so():
    found = curve([point(n, 0.5 + 0.1 * (n > 300), seed) for n in (100, 200, 400, 800) for seed in (0, 1)])
    assert "fit" not in found and found["not_fitted"].startswith("2 of 4 counts are above chance")
    assert curve([point(100, 0.5), point(200, 0.5)])["not_fitted"].startswith("0 of 2")


def test_the_mean_of_a_count_is_over_seeds_and_pairs():
    (mean,) = curve([point(100, 0.8, 0), point(100, 0.6, 1)])["means"]
    assert mean["accuracy"] == pytest.approx(0.7)
    values = np.repeat([1.0, 0.5, 0.0], [600, 200, 200])
    assert (mean["accuracy_low"], mean["accuracy_high"]) == pytest.approx(intervals.share(values)[1:])
