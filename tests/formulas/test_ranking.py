"""Bradley–Terry and Elo: two players by hand, planted strengths, ties, nobody who ever lost."""

import math

import numpy as np
import pytest

from tutelage.formulas import ranking


def test_two_players_by_hand():
    # 30 wins of 40: odds of three to one
    found = ranking.bradley_terry(np.array([[0, 10], [30, 0]]))
    assert found[1] == pytest.approx(math.log(3), abs=1e-3)
    assert found[0] == 0


def test_ten_to_one_is_four_hundred_points():
    scores = np.array([[0.0, 1.0]] * 1000 + [[1.0, 0.0]] * 100)
    assert ranking.elo(scores)[1].value == pytest.approx(400, abs=1)


def test_planted_strengths_come_back():
    strengths = np.array([0.0, 0.5, 1.5, -1.0])
    probs = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    np.fill_diagonal(probs, 0)
    assert ranking.bradley_terry(1e6 * probs) == pytest.approx(strengths, abs=1e-4)


def test_only_a_tie_is_no_difference():
    assert ranking.bradley_terry(np.full((3, 3), 0.5)) == pytest.approx([0, 0, 0], abs=1e-9)


def test_who_never_lost_stays_finite_and_ahead():
    found = ranking.bradley_terry(np.array([[0, 0, 1], [5, 0, 3], [2, 0, 0]]))
    assert np.isfinite(found).all() and found[1] == found.max() > 3


def test_islands_are_told():
    wins = np.zeros((4, 4))
    wins[0, 1] = wins[3, 2] = 1
    assert ranking.connected(wins).tolist() == [True, True, False, False]


def test_the_interval_of_elo_covers():
    rng, hits = np.random.default_rng(0), 0
    for _ in range(60):
        better = rng.random(200) < 0.6
        scores = np.stack([~better, better], axis=1).astype(float)
        rating = ranking.elo(scores)[1]
        hits += rating.low <= 400 * math.log10(1.5) <= rating.high
    assert hits >= 51  # 95 % of 60, and three standard deviations below


@pytest.mark.parametrize("wins", [np.zeros((1, 1)), np.zeros((2, 3)), -np.ones((2, 2)), np.full((2, 2), np.nan)])
def test_nonsense_is_refused(wins):
    with pytest.raises(ValueError, match="wins must be"):
        ranking.bradley_terry(wins)
