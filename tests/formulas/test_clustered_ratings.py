"""Intervals of strengths cover the truth where annotators have tastes of their own; those that forget them do not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from tutelage.formulas.ranking import bradley_terry, clustered_strengths


def games(seed: int, annotators: int, taste: float, count: int = 600, players: int = 4):
    """[N, 3] games of players of strength 0, 0.5, 1, …; whom an annotator likes for their own reasons; who judged."""
    rng = np.random.default_rng(seed)
    truth_P = 0.5 * np.arange(players)
    own_GP = rng.normal(0, taste, (annotators, players))
    who_N = rng.choice(annotators, count, p=rng.dirichlet(np.ones(annotators)))
    first_N = rng.integers(0, players, count)
    second_N = (first_N + rng.integers(1, players, count)) % players
    nats_N = truth_P[first_N] - truth_P[second_N] + own_GP[who_N, first_N] - own_GP[who_N, second_N]
    return np.stack([first_N, second_N, rng.random(count) < expit(nats_N)], axis=1).astype(float), who_N, truth_P


def covered(annotators: int, taste: float, clusters, runs: int = 120) -> float:
    """Share of the strengths of players 1, 2, … that lie in their 95 % interval."""
    hits = []
    for seed in range(runs):
        games_N3, who_N, truth_P = games(seed, annotators, taste)
        found = clustered_strengths(games_N3, clusters(who_N), len(truth_P))
        hits.append([each.low <= true <= each.high for each, true in zip(found, truth_P, strict=True)][1:])
    return float(np.mean(hits))


@pytest.mark.parametrize("taste", [0.0, 0.4])
def test_intervals_over_annotators_cover(taste):
    assert covered(20, taste, lambda who_N: who_N) >= 0.93


def test_intervals_over_single_answers_do_not():
    """What a public leaderboard does: every answer a cluster of its own."""
    assert covered(20, 0.6, lambda who_N: np.arange(len(who_N)), runs=12) < 0.85


def test_a_clusters_of_one_game_each_is_the_inverse_information():
    """With one game a cluster the jackknife is the usual deviation: two players, n games, p̂ = k/n."""
    count, won = 400, 240
    games_N3 = np.stack([np.zeros(count), np.ones(count), np.arange(count) < won], axis=1).astype(float)
    first, second = clustered_strengths(games_N3, np.arange(count), 2)
    share = won / count
    assert second.value == pytest.approx(-np.log(share / (1 - share)), abs=1e-4)
    deviation = 1 / np.sqrt(count * share * (1 - share))
    assert (second.high - second.low) / 2 == pytest.approx(1.966 * deviation, rel=0.03)
    assert (first.value, first.low, first.high, first.n) == (0.0, 0.0, 0.0, count)


def test_whoever_always_won_has_no_upper_end():
    """A jackknife of strengths alone says that nothing scatters: 9.2 nats, give or take nothing."""
    games_N3 = np.stack([np.zeros(60), np.ones(60), np.zeros(60)], axis=1)
    _, found = clustered_strengths(games_N3, np.repeat(np.arange(12), 5), 2)
    assert 0.5 < found.low < 3 and found.high == np.inf


def test_strengths_are_those_of_all_games_and_do_not_depend_on_how_they_are_cut():
    games_N3, who_N, _ = games(3, 7, 0.2)
    wins_PP = np.zeros((4, 4))
    for first, second, won in games_N3:
        wins_PP[int(first), int(second)] += won
        wins_PP[int(second), int(first)] += 1 - won
    strengths_P = [each.value for each in clustered_strengths(games_N3, who_N, 4)]
    np.testing.assert_allclose(strengths_P, bradley_terry(wins_PP), atol=1e-9)
    shuffled = np.random.default_rng(0).permutation(len(games_N3))
    again_P = [each.value for each in clustered_strengths(games_N3[shuffled], who_N[shuffled], 4)]
    np.testing.assert_allclose(strengths_P, again_P, atol=1e-9)


def test_one_annotator_has_no_interval():
    games_N3, who_N, _ = games(1, 1, 0.0)
    with pytest.raises(ValueError, match="two or more"):
        clustered_strengths(games_N3, who_N, 4)
