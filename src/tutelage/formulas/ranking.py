"""Who is how strong, from who beat whom: Bradley & Terry (1952), and the same on the scale of Elo."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from tutelage.formulas import intervals
from tutelage.formulas.intervals import Estimate

POINTS_PER_NAT = 400.0 / np.log(10.0)
RIDGE = 1e-3  # keeps whoever never lost (or never won) finite: a prior of deviation about 32 nats


def bradley_terry(wins_PP: np.ndarray) -> np.ndarray:
    """[P] strengths in nats, the first one 0: P(i beats j) = σ(strength_i − strength_j).

    wins_PP: [P, P] how often i beat j, a tie half for each; Newton's method on the likelihood with a weak ridge.
    Whoever is not connected with the first player by games has a strength that means nothing (`connected`).
    """
    wins_PP = np.asarray(wins_PP, dtype=np.float64)
    players = len(wins_PP)
    if wins_PP.shape != (players, players) or players < 2:
        raise ValueError(f"wins must be square, for two players or more, got {wins_PP.shape}")
    if (wins_PP < 0).any() or not np.isfinite(wins_PP).all():
        raise ValueError("wins must be finite and 0 or more")
    games_PP: NDArray[np.float64] = wins_PP + wins_PP.T
    np.fill_diagonal(games_PP, 0.0)
    won_P: NDArray[np.float64] = wins_PP.sum(axis=1) - wins_PP.diagonal()
    strengths_P: NDArray[np.float64] = np.zeros(players)
    for _ in range(100):
        step_P = _newton_step(games_PP, won_P, strengths_P)
        strengths_P = strengths_P + step_P * min(1.0, 2.0 / max(1e-12, float(np.abs(step_P).max())))
        if float(np.abs(step_P).max()) < 1e-10:
            break
    return strengths_P - strengths_P[0]


def _newton_step(
    games_PP: NDArray[np.float64], won_P: NDArray[np.float64], strengths_P: NDArray[np.float64]
) -> NDArray[np.float64]:
    probs_PP: NDArray[np.float64] = expit(strengths_P[:, None] - strengths_P[None, :])
    slope_P = won_P - (games_PP * probs_PP).sum(axis=1) - RIDGE * strengths_P
    curve_PP = -games_PP * probs_PP * (1.0 - probs_PP)
    np.fill_diagonal(curve_PP, RIDGE - curve_PP.sum(axis=1))
    return np.asarray(np.linalg.solve(curve_PP, slope_P), dtype=np.float64)  # pyright: ignore[reportUnknownMemberType]


def connected(wins_PP: np.ndarray) -> np.ndarray:
    """[P] whether each player is joined with the first by games, be it through others."""
    games_PP = (np.asarray(wins_PP) + np.asarray(wins_PP).T) > 0
    reached_P = np.arange(len(games_PP)) == 0
    while True:
        wider_P = reached_P | games_PP[reached_P].any(axis=0)
        if (wider_P == reached_P).all():
            return reached_P
        reached_P = wider_P


def clustered_strengths(
    games_N3: np.ndarray, clusters_N: Sequence[object] | np.ndarray, players: int, confidence: float = 0.95
) -> list[Estimate]:
    """Strengths in nats, the first one 0, where the games of one cluster, such as the answers of one annotator,
    resemble each other: people have tastes of their own for players.

    Jackknife over clusters, each strength as the probability σ(strength) of beating the first player, so that whoever
    never lost has an interval that is open above (`intervals.jackknife`).

    games_N3: [N, 3] first player, second player, share of the win that goes to the first (1, ½, 0)
    """
    games_N3 = np.asarray(games_N3, dtype=np.float64)
    names, place_N = np.unique(np.asarray(clusters_N), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"how far annotators differ shows in two or more of them, got {len(names)}")
    first_N, second_N, won_N = games_N3[:, 0].astype(int), games_N3[:, 1].astype(int), games_N3[:, 2]

    def wins(rows: np.ndarray) -> np.ndarray:
        wins_PP = np.zeros((players, players))
        np.add.at(wins_PP, (first_N[rows], second_N[rows]), won_N[rows])
        np.add.at(wins_PP, (second_N[rows], first_N[rows]), 1.0 - won_N[rows])
        return wins_PP

    return _over_clusters(wins, place_N, players, confidence)


def elo(scores_NP: np.ndarray, clusters_N: Sequence[object] | np.ndarray | None = None) -> list[Estimate]:
    """Elo points above the first of P players who all did the same N tasks: on each, whoever scored higher beat the
    other; 400 points are odds of ten to one.

    Intervals: 95 %, over tasks, or over the clusters (prompts, people) that tasks belong to.
    """
    outcomes_NPP = 0.5 + 0.5 * np.sign(scores_NP[:, :, None] - scores_NP[:, None, :])
    clusters_N = np.arange(len(scores_NP)) if clusters_N is None else clusters_N
    found = _over_clusters(lambda rows: outcomes_NPP[rows].sum(axis=0), clusters_N, scores_NP.shape[1], 0.95)
    return [each.mapped(lambda nats: float(POINTS_PER_NAT * nats)) for each in found]


def _over_clusters(
    wins: Callable[[np.ndarray], np.ndarray],
    clusters_N: Sequence[object] | np.ndarray,
    players: int,
    confidence: float,
) -> list[Estimate]:
    """Strengths in nats with their intervals. wins: rows -> [P, P] who beat whom how often"""
    fitted: dict[bytes, np.ndarray] = {}

    def chance(player: int, rows: np.ndarray) -> float:
        """σ(strength); every player asks for the same rows, which are fitted once."""
        key = hashlib.sha256(rows.tobytes()).digest()
        if key not in fitted:
            fitted[key] = np.asarray(expit(bradley_terry(wins(rows))))
        return float(fitted[key][player])

    groups = len(np.unique(np.asarray(clusters_N)))
    found = [Estimate(0.0, 0.0, 0.0, groups)]
    for player in range(1, players):
        value = intervals.jackknife(
            lambda rows, player=player: chance(player, rows), clusters_N, (0.0, 1.0), confidence=confidence
        )
        found.append(value.mapped(_log_odds))
    return found


def _log_odds(chance: float) -> float:
    if not 0 < chance < 1:
        return chance if math.isnan(chance) else math.copysign(math.inf, chance - 0.5)
    return math.log(chance / (1 - chance))
