"""Who is how strong, from who beat whom: Bradley & Terry (1952), and the same on the scale of Elo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from tutelage.formulas import intervals

POINTS_PER_NAT = 400.0 / np.log(10.0)
RIDGE = 1e-3  # keeps whoever never lost (or never won) finite: a prior of deviation about 32 nats


@dataclass(frozen=True)
class Rating:
    """Elo points above the first player, whose rating is 0; 400 points are odds of ten to one."""

    points: float
    low: float
    high: float


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
) -> tuple[np.ndarray, np.ndarray]:
    """([P] strengths in nats, the first one 0; [P] half-widths) where the games of one cluster, such as the answers of
    one annotator, resemble each other: people have tastes of their own for players.

    Jackknife over clusters, θ_g the fit without cluster g (Efron & Stein 1981; CR3 of MacKinnon & White 1985):

        Var θ = (G − 1) / G · Σ_g (θ_g − θ)²,   half = t_{G−1} · √Var

    games_N3: [N, 3] first player, second player, share of the win that goes to the first (1, ½, 0)
    """
    games_N3 = np.asarray(games_N3, dtype=np.float64)
    names, place_N = np.unique(np.asarray(clusters_N), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"how far annotators differ shows in two or more of them, got {len(names)}")
    wins_GPP = np.zeros((len(names), players, players))
    first_N, second_N = games_N3[:, 0].astype(int), games_N3[:, 1].astype(int)
    np.add.at(wins_GPP, (place_N, first_N, second_N), games_N3[:, 2])
    np.add.at(wins_GPP, (place_N, second_N, first_N), 1.0 - games_N3[:, 2])
    total_PP = wins_GPP.sum(axis=0)
    strengths_P = bradley_terry(total_PP)
    without_GP = np.stack([bradley_terry(total_PP - each_PP) for each_PP in wins_GPP])
    groups = len(names)
    variance_P = (groups - 1) / groups * ((without_GP - strengths_P) ** 2).sum(axis=0)
    return strengths_P, float(stdtrit(groups - 1, 0.5 + confidence / 2)) * np.sqrt(variance_P)


def elo(
    scores_NP: np.ndarray, clusters_N: Sequence[object] | np.ndarray | None = None, draws: int = 500, seed: int = 0
) -> list[Rating]:
    """Ratings of P players who all did the same N tasks: on each, whoever scored higher beat the other.

    Intervals: 95 %, bootstrap over tasks, or over the clusters (prompts, people) that tasks belong to.
    """
    outcomes_NPP = 0.5 + 0.5 * np.sign(scores_NP[:, :, None] - scores_NP[:, None, :])
    clusters_N = np.arange(len(scores_NP)) if clusters_N is None else clusters_N

    def points(player: int, rows: np.ndarray) -> float:
        return float(POINTS_PER_NAT * bradley_terry(outcomes_NPP[rows].sum(axis=0))[player])

    found = [Rating(0.0, 0.0, 0.0)]
    for player in range(1, scores_NP.shape[1]):
        value = intervals.bootstrapped(lambda rows, player=player: points(player, rows), clusters_N, draws, seed)
        found.append(Rating(*value))
    return found
