"""Win rates: free of position, free of length, and sure of themselves only as far as they may be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.formulas import intervals, win_rate

NAN = math.nan


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def planted(count: int, quality: float, per_term: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes with log-odds quality + per_term · length term; the candidate writes longer."""
    generator = np.random.default_rng(seed)
    terms = win_rate.length_term(generator.lognormal(5.4, 0.5, count), generator.lognormal(5.0, 0.5, count))
    return (generator.random(count) < sigmoid(quality + per_term * terms)).astype(float), terms


def test_swapped_by_hand():
    found = win_rate.position_swapped(np.array([1, 1, 0.5, 1, NAN]), np.array([1, 0, 0.5, 0, 1]))
    assert (found.rate, found.first_advantage, found.consistent_fraction, found.pairs) == (0.625, 0.5, 0.5, 4)
    assert (found.rate, found.low, found.high) == tuple(intervals.share([1.0, 0.5, 0.5, 0.5]))
    expected = intervals.bounded_mean([0.0, 1.0, 0.0, 1.0], None, -1.0, 1.0)
    assert (found.first_advantage, found.first_low, found.first_high) == tuple(expected)


def test_a_judge_of_positions_alone_says_one_half():
    found = win_rate.position_swapped(np.ones(10), np.zeros(10))
    assert found.rate == 0.5 and found.low < 0.45 and found.high > 0.55  # ten ties are no proof of a tie
    assert (found.first_advantage, found.consistent_fraction) == (1.0, 0.0)


def test_swapping_the_policies_mirrors():
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 3, (2, 30)) / 2
    found, other = win_rate.position_swapped(first, second), win_rate.position_swapped(1 - second, 1 - first)
    assert (other.rate, other.low, other.high) == pytest.approx((1 - found.rate, 1 - found.high, 1 - found.low))
    assert other.first_advantage == pytest.approx(found.first_advantage)


def test_length_terms_by_hand():
    terms = win_rate.length_term(np.array([10.0, 30.0]), np.array([20.0, 20.0]))
    assert terms.tolist() == pytest.approx([math.tanh(-1), math.tanh(1)])
    assert win_rate.length_term(np.array([5.0, 6.0]), np.array([5.0, 6.0])).tolist() == [0.0, 0.0]
    assert win_rate.length_term(np.array([6.0, 7.0]), np.array([5.0, 6.0])).tolist() == [1.0, 1.0]
    assert win_rate.log_length_ratio(np.array([20.0]), np.array([10.0])).tolist() == pytest.approx([math.log(2)])


def test_at_equal_lengths_it_is_the_share_with_half_a_judgement_each_way():
    outcomes = np.array([1.0, 1.0, 1.0, 0.5, 0.0])
    rate, low, high = win_rate.length_controlled(outcomes, np.zeros(5))
    assert rate == pytest.approx(4 / 6)
    half = 2.776445 / math.sqrt(5 * rate * (1 - rate))
    assert (low, high) == pytest.approx((sigmoid(math.log(2) - half), sigmoid(math.log(2) + half)), rel=1e-6)


def test_wins_by_length_alone_are_no_wins():
    outcomes, terms = planted(20_000, quality=0.0, per_term=2.0, seed=1)
    rate, low, high = win_rate.length_controlled(outcomes, terms)
    assert outcomes.mean() > 0.6
    assert low < 0.5 < high
    assert rate == pytest.approx(0.5, abs=0.02)


def test_planted_quality_is_found_beside_length():
    outcomes, terms = planted(20_000, quality=1.0, per_term=-2.0, seed=2)
    rate, low, high = win_rate.length_controlled(outcomes, terms)
    assert outcomes.mean() < 0.65
    assert rate == pytest.approx(sigmoid(1.0), abs=0.02)
    assert high - low < 0.03


def test_the_fit_is_where_the_penalised_likelihood_is_highest():
    """log L + ½ log |XᵀWX| by slow search around the answer (Firth 1993)."""
    outcomes, terms = planted(25, quality=0.5, per_term=1.0, seed=3)

    def objective(intercept: float, slope: float) -> float:
        p = sigmoid(intercept + slope * terms)
        x = np.stack([np.ones_like(terms), terms], axis=1)
        information = x.T @ ((p * (1 - p))[:, None] * x)
        return float(
            (outcomes * np.log(p) + (1 - outcomes) * np.log1p(-p)).sum() + 0.5 * np.linalg.slogdet(information)[1]
        )

    rate, _, _ = win_rate.length_controlled(outcomes, terms)
    found = math.log(rate / (1 - rate))
    slopes = np.linspace(-4, 6, 4001)

    def profile(intercept: float) -> float:
        return max(objective(intercept, slope) for slope in slopes)

    assert profile(found) > max(profile(found - 0.02), profile(found + 0.02))


def test_the_interval_covers_what_it_says():
    covered = []
    for seed in range(600):
        _, low, high = win_rate.length_controlled(*planted(60, quality=0.8, per_term=1.0, seed=seed))
        covered.append(low <= sigmoid(0.8) <= high)
    assert np.mean(covered) == pytest.approx(0.955, abs=0.025)


def test_separated_outcomes_stay_finite():
    terms = np.linspace(-1, 1, 20)
    for outcomes in (np.ones(20), np.zeros(20), (terms > 0).astype(float), (terms < 0.3).astype(float)):
        rate, low, high = win_rate.length_controlled(outcomes, terms)
        assert 0 < low < rate < high < 1


def test_swapping_the_policies_mirrors_the_length_controlled_rate():
    outcomes, terms = planted(80, quality=0.7, per_term=1.5, seed=4)
    rate, low, high = win_rate.length_controlled(outcomes, terms)
    assert win_rate.length_controlled(1 - outcomes, -terms) == pytest.approx((1 - rate, 1 - high, 1 - low))
    assert win_rate.length_controlled(outcomes, 7 * terms)[0] == pytest.approx(rate)  # the unit of length


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: win_rate.position_swapped(np.array([1.0, 2.0]), np.array([1.0, 0.0])), "1 preferred"),
        (lambda: win_rate.position_swapped(np.array([1.0, 1.0]), np.array([1.0])), "2 shown first and 1 second"),
        (lambda: win_rate.position_swapped(np.array([1.0, NAN]), np.array([NAN, 0.0])), "got 0"),
        (lambda: win_rate.length_controlled(np.array([1.0, 0.0]), np.array([0.5, 0.5])), "told apart"),
        (lambda: win_rate.length_controlled(np.array([1.0, NAN]), np.array([0.5, 0.1])), "finite"),
        (lambda: win_rate.length_controlled(np.array([1.0, 0.0]), np.array([0.5, NAN])), "finite"),
        (lambda: win_rate.length_controlled(np.array([1.0]), np.array([0.5, 0.1])), "got 2 and 1"),
        (lambda: win_rate.length_controlled(np.array([]), np.array([])), "at least one"),
        (lambda: win_rate.log_length_ratio(np.array([0.0]), np.array([3.0])), "above 0"),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
