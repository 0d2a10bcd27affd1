"""Losses on what people prefer, one term a judgement; a difference of scores is a log-odds."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def pair(
    score_first: Tensor, score_second: Tensor, target: Tensor | float = 1.0, margin: Tensor | float = 0.0
) -> Tensor:
    """Bradley–Terry cross-entropy −p log σ(Δ) − (1−p) log σ(−Δ), Δ = first − second − margin, p = target.

    target is P(first preferred): 1 or 0 for an answer, 0.5 for a tie, anything between for noise (Stiennon et al. 2020;
    Nakano et al. 2021 for ties). Linear for |Δ| large, so it neither overflows nor turns NaN.
    """
    difference = score_first - score_second - margin
    return -(target * logsigmoid(difference) + (1 - target) * logsigmoid(-difference))


def choice(scores_NK: Tensor, best_N: Tensor) -> Tensor:
    """[N, K] scores and [N] indices -> [N] −log softmax(scores)[best] (Ziegler et al. 2019, eq. 1); K = 2 is `pair`."""
    return -torch.log_softmax(scores_NK.float(), dim=-1).gather(-1, best_N[:, None])[:, 0]


def dpo(log_ratio_chosen: Tensor, log_ratio_rejected: Tensor, beta: float) -> Tensor:
    """−log σ(β (l_chosen − l_rejected)), l = log π(y|x) − log π_ref(y|x) (Rafailov et al. 2023, eq. 7)."""
    return pair(beta * log_ratio_chosen, beta * log_ratio_rejected)


def elo_points(score_difference: float) -> float:
    """A difference of scores (log-odds) in Elo points: 400 / ln 10 each nat."""
    return score_difference * 400.0 / math.log(10.0)
