"""Agreement between people: worked examples, other implementations, chance, missing ratings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tutelage.formulas import agreement, intervals

NAN = math.nan
FLEISS = np.array(  # the common worked example: 10 subjects, 14 raters, 5 categories
    [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]
)  # fmt: skip
KRIPPENDORFF = np.array(  # three coders, fifteen units
    [
        [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
        [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
        [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
    ]
).T  # fmt: skip
DISTANCES = [agreement.nominal, agreement.ordinal, agreement.interval]


def random_ratings(seed: int, units: int = 40, raters: int = 3, missing: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    truth = generator.integers(1, 5, size=units)[:, None]
    ratings = np.where(generator.random((units, raters)) < 0.6, truth, generator.integers(1, 5, size=(units, raters)))
    return np.where(generator.random((units, raters)) < missing, NAN, ratings)


def test_fleiss_by_hand():
    assert agreement.fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_krippendorff_by_hand():
    assert agreement.krippendorff_alpha(KRIPPENDORFF) == pytest.approx(0.691, abs=5e-4)
    assert agreement.krippendorff_alpha(KRIPPENDORFF, agreement.interval) == pytest.approx(0.811, abs=5e-4)
    assert agreement.krippendorff_alpha(KRIPPENDORFF, agreement.ordinal) == pytest.approx(0.807, abs=5e-4)


def slow_alpha(ratings: np.ndarray, squared) -> float:
    """Mean squared distance of pairs within units, over that of all pairs of the pairable ratings."""
    units = [[v for v in row if not math.isnan(v)] for row in ratings]
    units = [unit for unit in units if len(unit) > 1]
    everything = [v for unit in units for v in unit]
    n = len(everything)
    within = sum(
        sum(squared(v, w, everything) for i, v in enumerate(unit) for j, w in enumerate(unit) if i != j)
        / (len(unit) - 1)
        for unit in units
    )
    overall = sum(
        squared(v, w, everything) for i, v in enumerate(everything) for j, w in enumerate(everything) if i != j
    )
    return 1 - (within / n) / (overall / (n * (n - 1)))


def between(v: float, w: float, everything: list[float]) -> float:
    low, high = min(v, w), max(v, w)
    inside = sum(low <= x <= high for x in everything)
    return (inside - (everything.count(v) + everything.count(w)) / 2) ** 2 if v != w else 0.0


@pytest.mark.parametrize(
    ("distance", "squared"),
    [
        (agreement.nominal, lambda v, w, _: float(v != w)),
        (agreement.ordinal, between),
        (agreement.interval, lambda v, w, _: (v - w) ** 2),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_krippendorff_is_the_slow_double_loop(distance, squared, seed):
    ratings = random_ratings(seed, units=15, missing=0.3)
    assert agreement.krippendorff_alpha(ratings, distance) == pytest.approx(slow_alpha(ratings, squared))


@pytest.mark.parametrize("seed", range(5))
def test_cohen_as_scikit_learn_has_it(seed):
    first, second = random_ratings(seed, raters=2).T
    expected = cohen_kappa_score(first.astype(int), second.astype(int))
    assert agreement.cohen_kappa(first, second) == pytest.approx(expected)
    gaps = np.concatenate([first, [NAN, 1.0, NAN]]), np.concatenate([second, [2.0, NAN, NAN]])
    assert agreement.cohen_kappa(*gaps) == pytest.approx(expected)


def test_all_agree_is_one_and_opposites_are_below_chance():
    ratings = np.array([[1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])
    assert agreement.percent_agreement(ratings) == 1.0
    assert agreement.cohen_kappa(*ratings.T) == 1.0
    assert agreement.fleiss_kappa(agreement.counts(ratings)[0]) == 1.0
    assert [agreement.krippendorff_alpha(ratings, each) for each in DISTANCES] == [1.0] * 3
    opposites = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert agreement.cohen_kappa(*opposites.T) == -1.0
    assert agreement.percent_agreement(opposites) == 0.0


def test_always_the_same_answer_measures_nothing():
    ratings = np.ones((4, 3))
    assert math.isnan(agreement.cohen_kappa(ratings[:, 0], ratings[:, 1]))
    assert math.isnan(agreement.fleiss_kappa(agreement.counts(ratings)[0]))
    assert math.isnan(agreement.krippendorff_alpha(ratings))


def test_chance_is_zero():
    ratings = np.random.default_rng(0).integers(0, 3, size=(20_000, 3)).astype(float)
    assert agreement.percent_agreement(ratings) == pytest.approx(1 / 3, abs=0.01)
    found = [agreement.cohen_kappa(*ratings[:, :2].T), agreement.fleiss_kappa(agreement.counts(ratings)[0])]
    found += [agreement.krippendorff_alpha(ratings, each) for each in DISTANCES]
    assert found == pytest.approx([0.0] * 5, abs=0.02)


def test_neither_the_order_of_raters_nor_of_units_matters():
    ratings = random_ratings(7, missing=0.2)
    other = ratings[::-1, [2, 0, 1]]
    assert agreement.percent_agreement(other) == pytest.approx(agreement.percent_agreement(ratings))
    assert agreement.human_ceiling(other) == pytest.approx(agreement.human_ceiling(ratings))
    for distance in DISTANCES:
        expected = agreement.krippendorff_alpha(ratings, distance)
        assert agreement.krippendorff_alpha(other, distance) == pytest.approx(expected)


def test_what_each_distance_looks_at():
    """Names may be exchanged; ranks may be stretched; a scale may be shifted and scaled."""
    ratings = random_ratings(8, missing=0.2)
    renamed = np.select([ratings == value for value in (1, 2, 3, 4)], [3.0, 1.0, 4.0, 2.0], NAN)
    stretched = np.exp(ratings)
    for distance, other in (
        (agreement.nominal, renamed), (agreement.ordinal, stretched), (agreement.interval, 3 * ratings - 7)
    ):  # fmt: skip
        expected = agreement.krippendorff_alpha(ratings, distance)
        assert agreement.krippendorff_alpha(other, distance) == pytest.approx(expected)
    plain = agreement.krippendorff_alpha(ratings, agreement.interval)
    assert agreement.krippendorff_alpha(stretched, agreement.interval) != pytest.approx(plain, abs=1e-3)


def test_percent_is_pooled_over_pairs():
    ratings = np.array([[1, 1, 2], [3, 3, NAN], [4, NAN, NAN]])
    assert agreement.percent_agreement(ratings) == pytest.approx(2 / 4)  # 1 of 3 pairs, 1 of 1, none


def test_the_ceiling_by_hand():
    """Unit 1: who said 1 sees 1 and 2 beside, half each; who said 2 sees two 1s. Unit 2: both agree."""
    ratings = np.array([[1, 1, 2], [3, 3, NAN], [4, NAN, NAN]])
    share, low, high = agreement.human_ceiling(ratings)
    assert share == pytest.approx((0.5 + 0.5 + 0 + 1 + 1) / 5)
    assert (low, high) == pytest.approx((0.023878, 0.987421), abs=1e-2) and low < 0.03  # of two units


def test_the_ceiling_is_the_slow_loop():
    ratings = random_ratings(9, units=30, raters=5, missing=0.3)
    worth, units = [], []
    for unit, row in enumerate(ratings):
        given = [v for v in row if not math.isnan(v)]
        for place, mine in enumerate(given):
            others = given[:place] + given[place + 1 :]
            top = max((others.count(v) for v in others), default=0)
            modes = {v for v in others if others.count(v) == top}
            if modes:
                worth.append((mine in modes) / len(modes))
                units.append(unit)
    assert agreement.human_ceiling(ratings)[0] == pytest.approx(np.mean(worth))
    assert agreement.human_ceiling(ratings) == pytest.approx(intervals.share(worth, units))


def test_the_ceiling_of_planted_raters():
    """Three raters, each right with 0.8 of two: P(agree with the others' majority) = .8·.8 + .2·.2, ties being half."""
    generator = np.random.default_rng(10)
    truth = generator.integers(0, 2, size=(20_000, 1))
    ratings = np.where(generator.random((20_000, 3)) < 0.8, truth, 1 - truth).astype(float)
    expected = 0.8 * (0.64 + 0.32 * 0.5) + 0.2 * (0.04 + 0.32 * 0.5)
    share, low, high = agreement.human_ceiling(ratings)
    assert share == pytest.approx(expected, abs=0.01)
    assert high - low < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: agreement.percent_agreement(np.array([[1.0, NAN]])), "rated twice"),
        (lambda: agreement.krippendorff_alpha(np.array([[1.0, NAN]])), "rated twice"),
        (lambda: agreement.cohen_kappa(np.array([1.0, NAN]), np.array([NAN, 2.0])), "rated by both"),
        (lambda: agreement.fleiss_kappa(np.array([[2, 1], [1, 1]])), "same number"),
        (lambda: agreement.fleiss_kappa(np.array([[1, 0], [0, 1]])), "two or more"),
        (lambda: agreement.fleiss_kappa(np.zeros((0, 2))), "two or more"),
        (lambda: agreement.human_ceiling(np.array([[1.0, 1.0]])), "two units"),
        (lambda: agreement.counts(np.array([1.0, 2.0])), r"\(2,\)"),
    ],
)
def test_what_cannot_be_answered_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
