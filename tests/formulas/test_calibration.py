"""Calibration: tables and errors by hand; a planted temperature is found, and repairs what it broke."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.formulas import calibration, intervals


def planted(count: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose differences are `sharpness` times the log-odds of the answers."""
    generator = np.random.default_rng(seed)
    log_odds = 1.5 * generator.normal(size=count)
    answers = (generator.random(count) < 1 / (1 + np.exp(-log_odds))).astype(float)
    return sharpness * log_odds, answers


def error_of(differences: np.ndarray, answers: np.ndarray) -> float:
    return calibration.expected_error(*calibration.folded(differences, answers))


def test_reliability_by_hand():
    probabilities = np.array([0.05, 0.15, 0.15, 0.95, 1.0, 0.3])
    outcomes = np.array([0.0, 1.0, 0.5, 1.0, 1.0, 0.0])
    found = calibration.reliability(probabilities, outcomes)
    assert [(each.low, each.high, each.count) for each in found] == [
        (0.0, 0.1, 1),
        (0.1, 0.2, 2),
        (0.3, 0.4, 1),
        (0.9, 1.0, 2),
    ]
    assert [each.mean for each in found] == pytest.approx([0.05, 0.15, 0.3, 0.975])
    assert [each.rate for each in found] == [0.0, 0.75, 0.0, 1.0]
    assert (found[1].rate_low, found[1].rate_high) == intervals.clopper_pearson(1.5, 2)
    expected = (1 * 0.05 + 2 * 0.6 + 1 * 0.3 + 2 * 0.025) / 6
    assert calibration.expected_error(probabilities, outcomes) == pytest.approx(expected)


def test_folding_takes_the_side_of_the_higher_score():
    sure, agreed = calibration.folded(np.array([1.0, -1.0, 0.0, 2.0]), np.array([1.0, 1.0, 1.0, 0.5]))
    assert sure.tolist() == pytest.approx([0.731059, 0.731059, 0.5, 0.880797], abs=1e-6)
    assert agreed.tolist() == [1.0, 0.0, 0.5, 0.5]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_which_candidate_stands_first_does_not_matter(seed):
    generator = np.random.default_rng(seed)
    differences, answers = generator.normal(size=30), generator.choice([0.0, 0.5, 1.0], size=30)
    sides = generator.choice([-1.0, 1.0], size=30)
    turned = np.where(sides > 0, answers, 1 - answers)
    assert error_of(sides * differences, turned) == pytest.approx(error_of(differences, answers))
    assert calibration.accuracy_by_gap(sides * differences, turned) == calibration.accuracy_by_gap(differences, answers)
    found, expected = (
        calibration.temperature(sides * differences, turned),
        calibration.temperature(differences, answers),
    )
    assert (found.value, found.low) == pytest.approx((expected.value, expected.low))


def test_a_planted_temperature_is_found_and_repairs():
    differences, answers = planted(20_000, sharpness=3.0)
    found = calibration.temperature(differences, answers)
    assert found.value == pytest.approx(3.0, rel=0.03)
    assert found.low < 3.0 < found.high < 3.2
    broken, repaired = error_of(differences, answers), error_of(differences / found.value, answers)
    assert broken > 0.1
    assert repaired < 0.015
    assert calibration.temperature(differences / found.value, answers).value == pytest.approx(1.0, abs=1e-6)


def test_temperature_is_the_likeliest():
    differences, answers = planted(300, sharpness=0.5, seed=1)
    answers[:40] = 0.5

    def loss(value: float) -> float:
        z = differences / value
        return float(np.mean(np.logaddexp(0, -z) * answers + np.logaddexp(0, z) * (1 - answers)))

    value = calibration.temperature(differences, answers).value
    assert loss(value) < min(loss(value * 1.01), loss(value / 1.01))


def test_temperature_by_hand():
    """All differences 2, six of eight agree: σ(2/T) = 3/4, so T = 2 / ln 3. Without one of them 1/T moves by
    2 · (y − ¾) / (7 · 4 · 3/16), so Var = ⅞ · (6 · ¼² + 2 · ¾²) · 4 / 5.25² and t = 2.364624 on 7 degrees."""
    found = calibration.temperature(np.full(8, 2.0), np.repeat([1.0, 0.0], [6, 2]))
    assert found.value == pytest.approx(2 / math.log(3)) and found.n == 8
    half = 2.364624 * math.sqrt(7 / 8 * (6 / 16 + 2 * 9 / 16) * 4) / 5.25
    assert found.low == pytest.approx(1 / (math.log(3) / 2 + half), rel=1e-6)
    assert found.high == math.inf
    few = calibration.temperature(np.full(4, 2.0), np.array([1.0, 1.0, 1.0, 0.0]))
    assert few.value == pytest.approx(2 / math.log(3)) and not few.is_known


def test_copies_of_a_prompt_tell_no_more_of_a_temperature():
    differences, answers = planted(40, sharpness=2.0, seed=5)
    once = calibration.temperature(differences, answers)
    copies = calibration.temperature(np.tile(differences, 5), np.tile(answers, 5), clusters_N=np.tile(np.arange(40), 5))
    assert (copies.value, copies.low, copies.high) == pytest.approx((once.value, once.low, once.high), rel=1e-6)


def test_the_interval_of_a_temperature_covers_what_it_says():
    covered = []
    for seed in range(600):
        found = calibration.temperature(*planted(200, sharpness=2.0, seed=seed))
        covered.append(found.low <= 2.0 <= found.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.025)


def test_soft_answers_are_as_good_as_certain():
    differences = np.linspace(-4, 4, 50)
    found = calibration.temperature(differences, 1 / (1 + np.exp(-differences / 1.7)))
    assert (found.value, found.low, found.high) == pytest.approx((1.7, 1.7, 1.7), abs=1e-6)


def test_scores_that_say_nothing_or_everything():
    differences = np.tile([1.0, -2.0, 3.0, 0.0], 2)
    opposite = calibration.temperature(differences, np.tile([0.0, 1.0, 0.0, 1.0], 2))
    assert (opposite.value, opposite.high) == (math.inf, math.inf)
    right = calibration.temperature(differences, np.tile([1.0, 0.0, 1.0, 0.0], 2))
    assert right == intervals.Estimate(0.0, 0.0, math.inf, 8)
    assert not calibration.temperature(differences[:4], np.array([1.0, 0.0, 1.0, 0.0])).is_known  # of four pairs
    nearly = calibration.temperature(np.array([1.0, -2.0, -1e-9]), np.array([1.0, 0.0, 1.0]))
    assert 0 < nearly.value < 0.1


def test_accuracy_rises_with_the_gap_as_the_sigmoid_says():
    """Bai et al. 2022: a calibrated model has accuracy σ(|Δ|) at gap |Δ|."""
    differences, answers = planted(20_000, sharpness=1.0, seed=2)
    found = calibration.accuracy_by_gap(differences, answers, bins=5)
    assert [each.count for each in found] == [4000] * 5
    for each in found:
        assert each.rate == pytest.approx(1 / (1 + math.exp(-each.mean)), abs=0.03)
        assert each.low <= each.mean <= each.high
    assert found[0].low == np.abs(differences).min()
    assert found[-1].high == np.abs(differences).max()


def test_gaps_that_are_all_equal_are_one_bin():
    (found,) = calibration.accuracy_by_gap(np.array([1.0, -1.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    assert calibration.equal_counts(np.ones(3), 5) == [1.0, 1.0]
    assert (found.low, found.high, found.count, found.rate) == (1.0, 1.0, 3, pytest.approx(2 / 3))


def test_a_perfect_model_still_shows_its_noise():
    """√(2p(1−p)/πn) a bin: with p = ½ and 100 in one bin, 0.0399."""
    generator = np.random.default_rng(3)
    found = [calibration.expected_error(np.full(100, 0.5), generator.integers(0, 2, 100)) for _ in range(1000)]
    assert np.mean(found) == pytest.approx(math.sqrt(2 * 0.25 / (math.pi * 100)), rel=0.1)


@pytest.mark.parametrize(
    ("values", "outcomes", "message"),
    [
        ([0.5, 0.5], [1.0], r"shapes \(2,\) and \(1,\)"),
        ([], [], "at least one"),
        ([math.nan, 0.5], [1.0, 1.0], "1 of 2 values"),
        ([0.5], [math.nan], "shares from 0 to 1"),
        ([0.5], [2.0], "shares from 0 to 1"),
    ],
)
def test_bad_input_is_refused(values, outcomes, message):
    for call in (calibration.reliability, calibration.expected_error, calibration.folded, calibration.temperature):
        with pytest.raises(ValueError, match=message):
            call(np.array(values), np.array(outcomes))


def test_scores_are_no_probabilities_and_equal_scores_have_no_temperature():
    with pytest.raises(ValueError, match="through σ"):
        calibration.reliability(np.array([2.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="scores differ"):
        calibration.temperature(np.zeros(3), np.ones(3))
