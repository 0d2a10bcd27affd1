"""The learning curve: planted curves are found again, and the interval of the next labels covers what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.formulas import learning_curve

LABELS = np.array([500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0])


def power_law(limit: float, size: float, exponent: float):
    return lambda labels: limit - size * labels**-exponent


def log_linear(start: float, slope: float):
    return lambda labels: start + slope * np.log(labels)


PLANTED = {
    "half": power_law(0.75, 1.2, 0.5),
    "quarter": power_law(0.8, 0.6, 0.25),
    "odd": power_law(0.7, 20.0, 0.81371234),
    "steep": power_law(0.7, 3e4, 1.9),
    "straight in the logarithm": log_linear(0.3, 0.02),
    "a loss": power_law(0.55, -2.0, 0.4),
}
planted = pytest.mark.parametrize("truth", PLANTED.values(), ids=PLANTED)


@planted
def test_a_planted_curve_is_found_again(truth):
    curve = learning_curve.fit(LABELS, truth(LABELS))
    unseen = np.array([100.0, 3000.0, 17000.0, 50000.0])
    assert learning_curve.at(curve, unseen) == pytest.approx(truth(unseen), rel=1e-5)
    gain, low, high = learning_curve.expected_gain(LABELS, truth(LABELS))
    expected = float(truth(np.array(17000.0)) - truth(np.array(16000.0)))
    assert (gain, low, high) == pytest.approx((expected,) * 3, rel=1e-4)


def test_what_the_parameters_mean():
    curve = learning_curve.fit(LABELS, PLANTED["half"](LABELS))
    assert (curve.exponent, curve.limit) == pytest.approx((0.5, 0.75), abs=1e-7)
    assert curve.labels == pytest.approx(math.sqrt(500 * 16000))
    assert curve.per_efold == pytest.approx(0.5 * 1.2 * curve.labels**-0.5)  # dy / d log n at n₀
    odd = learning_curve.fit(LABELS, PLANTED["odd"](LABELS))
    assert (odd.exponent, odd.limit) == pytest.approx((0.81371234, 0.7), abs=1e-6)
    straight = learning_curve.fit(LABELS, PLANTED["straight in the logarithm"](LABELS))
    assert (straight.exponent, straight.per_efold) == pytest.approx((0.0, 0.02), abs=1e-9)
    assert straight.limit == math.inf
    assert learning_curve.Curve(1.0, 0.7, -0.1, 0.0).limit == -math.inf
    assert learning_curve.Curve(1.0, 0.7, 0.0, 0.0).limit == 0.7
    assert learning_curve.fit(LABELS, PLANTED["a loss"](LABELS)).limit == pytest.approx(0.55)


def test_under_small_noise_the_gain_is_near():
    noise = 5e-4 * np.random.default_rng(0).normal(size=6)
    gain, low, high = learning_curve.expected_gain(LABELS, PLANTED["half"](LABELS) + noise)
    expected = 1.2 * (16000**-0.5 - 17000**-0.5)
    assert low < expected < high
    assert gain == pytest.approx(expected, rel=0.25)


@planted
def test_the_interval_covers_what_it_says(truth):
    generator = np.random.default_rng(1)
    expected = float(truth(np.array(17000.0)) - truth(np.array(16000.0)))
    covered = []
    for _ in range(400):
        _, low, high = learning_curve.expected_gain(LABELS, truth(LABELS) + 0.004 * generator.normal(size=6))
        covered.append(low <= expected <= high)
    assert 0.92 <= np.mean(covered) <= 0.995


def test_the_interval_is_every_gain_that_the_points_allow():
    """By slow search: for a gain g, the best exponent; allowed is least · (1 + t² / 3)."""
    values = PLANTED["half"](LABELS) + 0.004 * np.random.default_rng(3).normal(size=6)

    def least(gain: float | None) -> float:
        found = []
        for exponent in np.linspace(1e-6, 2.0, 2001):
            x = -(LABELS**-exponent) / (16000**-exponent - 17000**-exponent)  # so that the slope is the gain
            slope = np.polyfit(x, values, 1)[0] if gain is None else gain
            found.append(np.var(values - slope * x) * len(values))
        return min(found)

    gain, low, high = learning_curve.expected_gain(LABELS, values)
    allowed = least(None) * (1 + 3.182446**2 / 3)
    assert least(gain) == pytest.approx(least(None), rel=1e-3)
    assert [least(low), least(high)] == pytest.approx([allowed, allowed], rel=0.01)


def test_more_labels_bring_more_and_later_ones_less():
    values = PLANTED["half"](LABELS)
    thousand, ten_thousand = (learning_curve.expected_gain(LABELS, values, more)[0] for more in (1000, 10_000))
    assert 0 < thousand < ten_thousand < 10 * thousand
    assert learning_curve.expected_gain(LABELS, values, 0)[0] == 0.0


def test_the_unit_of_labels_does_not_matter():
    values = PLANTED["odd"](LABELS) + 0.003 * np.random.default_rng(2).normal(size=6)
    found = learning_curve.expected_gain(LABELS, values, 1000)
    assert learning_curve.expected_gain(LABELS / 1000, values, 1) == pytest.approx(found)
    lowered = learning_curve.expected_gain(LABELS, 1 - 2 * values, 1000)
    assert lowered == pytest.approx((-2 * found[0], -2 * found[2], -2 * found[1]))


def test_a_flat_curve_promises_nothing():
    values = 0.7 + np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]) * 0.002
    _, low, high = learning_curve.expected_gain(LABELS, values)
    assert low < 0 < high


@pytest.mark.parametrize(
    ("labels", "values", "message"),
    [
        ([1, 2, 3], [1, 2, 3], "four points at three"),
        ([1, 1, 2, 2], [1, 2, 3, 4], "at 2 counts"),
        ([1, 2, 3, 4], [1, 2, 3], r"shapes \(4,\) and \(3,\)"),
        ([0, 1, 2, 3], [1, 2, 3, 4], "above 0"),
        ([1, 2, 3, 4], [1, 2, 3, math.nan], "finite"),
        ([], [], "got 0 points"),
    ],
)
def test_points_that_make_no_curve_are_refused(labels, values, message):
    for call in (learning_curve.fit, learning_curve.expected_gain):
        with pytest.raises(ValueError, match=message):
            call(labels, values)


def test_labels_for_an_accuracy_lie_between_the_counts_that_were_measured():
    labels, values = [50, 100, 200, 400], [0.5, 0.6, 0.6, 0.8]
    assert learning_curve.labels_for(labels, values, 0.6) == pytest.approx(100)
    assert learning_curve.labels_for(labels, values, 0.55) == pytest.approx(50 * 2**0.5)
    assert learning_curve.labels_for(labels, values, 0.7) == pytest.approx(200 * 2**0.5)
    assert learning_curve.labels_for(labels[::-1], values[::-1], 0.7) == pytest.approx(200 * 2**0.5)
    assert learning_curve.labels_for(labels, values, 0.3) == pytest.approx(50)
    assert learning_curve.labels_for(labels, values, 0.81) is None
