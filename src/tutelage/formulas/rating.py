"""Losses on what people say of one candidate alone: a number, good or bad, a grade. NaN or below 0: not rated.

What was not rated costs nothing, and its score may be anything, NaN included.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from tutelage.formulas import masked, preference


def squared_error(scores: Tensor, ratings: Tensor) -> Tensor:
    """(score − rating)², elementwise; 0 where the rating is NaN (Ziegler et al. 2019, code: ScalarRating).

    For a graded pair give the two differences, of scores and of ratings (ScalarComparison there).
    """
    rated = ~ratings.isnan()
    return (masked.kept(scores, rated) - masked.kept(ratings, rated)) ** 2


def binary(logits: Tensor, good: Tensor) -> Tensor:
    """−g log σ(logit) − (1−g) log σ(−logit): good (1) or bad (0); 0 where g is NaN (Menick et al. 2022, second head).

    It is a preference over a candidate with score 0.
    """
    rated = ~good.isnan()
    kept = masked.kept(logits, rated)
    return masked.kept(preference.pair(kept, torch.zeros_like(kept), masked.kept(good, rated)), rated)


def ordinal(scores_N: Tensor, thresholds_T: Tensor, grades_N: Tensor) -> Tensor:
    """[N] −log P(grade), P(grade ≤ g) = σ(θ_g − score): grades in order, at no fixed distance (McCullagh 1980).

    P(g) = σ(a) − σ(b), a = θ_g − score, b = θ_{g−1} − score; as σ(a) σ(−b) (1 − e^{b−a}) it does not cancel to 0.

    thresholds_T: [T] ascending, for T + 1 grades; grades_N: [N] 0 the worst, …, T the best, below 0 not rated
    """
    rated_N = grades_N >= 0
    scores_N, grades_N = masked.kept(scores_N, rated_N), grades_N.long().clamp(min=0)
    end_1 = thresholds_T.new_full((1,), torch.inf)
    edges = torch.cat([-end_1, thresholds_T, end_1])
    below_N, above_N = edges[grades_N], edges[grades_N + 1]
    log_probs_N = (
        logsigmoid(above_N - scores_N) + logsigmoid(scores_N - below_N) + torch.log(-torch.expm1(below_N - above_N))
    )
    return masked.kept(-log_probs_N, rated_N)


def ascending(free_T: Tensor) -> Tensor:
    """[T] free parameters -> [T] thresholds: the first as it is, each next one softplus(·) above the one before."""
    return torch.cat([free_T[:1], softplus(free_T[1:])]).cumsum(dim=0)


def concordance(scores_N: Tensor, ratings_N: Tensor) -> float | None:
    """Share of the pairs with different ratings that the scores order alike, equal scores half; None without a pair.

    With ratings of two values it is the area under the receiver operating characteristic. In numbers of N², so for
    thousands of ratings, not for millions.
    """
    higher_NN = ratings_N[:, None] > ratings_N[None, :]
    ahead_NN = 0.5 + 0.5 * (scores_N[:, None] - scores_N[None, :]).sign()
    count = int(higher_NN.sum())
    return float(ahead_NN[higher_NN].double().sum()) / count if count else None
