"""What a reward model minimises: one function a kind of label, each from scores and judged questions to [N] terms.

A question counts once, however many candidates, pairs or ratings it has. Candidates that are not there, and labels that
nobody gave, cost nothing. What a loss minimises and how often the scores are right are passed together (`Objective`).

Legend as in `data.judgements`; scores are [N, K], or [N, K, H] where a model has several heads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tutelage.data.judgements import Judgements
from tutelage.formulas import masked, preference, rating

Terms = Callable[[Tensor, Judgements], Tensor]
"""(scores [N, K] or [N, K, H], questions) -> [N] terms."""


@dataclass(frozen=True)
class Objective:
    """loss: what is minimised. right: [N] in 0 to 1, how far the scores say what people said; None: not countable.

    learns: what the loss itself learns beside the model (the thresholds of `Ordinal`)
    """

    loss: Terms
    right: Terms | None = None
    learns: nn.Module | None = None


def pairs(scores_NK: Tensor, part: Judgements, smoothing: float = 0.0, margin_scale: float = 0.0) -> Tensor:
    """Mean over the judged pairs of −p log σ(Δ) − (1−p) log σ(−Δ): 1/C(K, 2) each in a ranking (Ouyang et al. 2022).

    smoothing: the fraction of answers that are the wrong way round; margin_scale: scores a unit of margin
    """
    targets_NKK = preference.smoothed(part.preferred_NKK, smoothing)
    return preference.pairs(scores_NK, targets_NKK, margin_scale * part.margins_NKK)


def floored(scores_NK: Tensor, part: Judgements, error_fraction: float = 0.1) -> Tensor:
    """As `pairs`, where a fraction of the answers is random: P in [e/2, 1 − e/2] (Christiano et al. 2017)."""
    term = partial(preference.floored, error_fraction=error_fraction)
    return preference.pairs(scores_NK, part.preferred_NKK, term=term)


def choice(scores_NK: Tensor, part: Judgements, smoothing: float = 0.0) -> Tensor:
    """−log softmax of the best of K (Ziegler et al. 2019); the smoothed part is shared by the others."""
    shared_N1 = smoothing / (part.counts_N - 1).clamp(min=1)[:, None]
    targets_NK = (1 - smoothing) * part.picked_NK + shared_N1 * (1 - part.picked_NK)
    return preference.soft_choice(scores_NK, targets_NK)


def plackett_luce(scores_NK: Tensor, part: Judgements) -> Tensor:
    """−log P(the whole ranking), ties averaged over their orders."""
    return preference.plackett_luce(scores_NK, part.places_NK)


def squared(scores_NK: Tensor, part: Judgements, axis: int = 0) -> Tensor:
    """Mean over the rated candidates of (score − rating)² (Ziegler et al. 2019, code: ScalarRating)."""
    ratings_NK = part.ratings_NKA[:, :, axis]
    return _over_rated(rating.squared_error(scores_NK, ratings_NK), ratings_NK)


def binary(scores_NK: Tensor, part: Judgements, axis: int = 0, smoothing: float = 0.0) -> Tensor:
    """Mean over the rated candidates of the cross-entropy of σ(score) with 1 (good) or 0 (bad)."""
    ratings_NK = part.ratings_NKA[:, :, axis]
    return _over_rated(rating.binary(scores_NK, preference.smoothed(ratings_NK, smoothing)), ratings_NK)


class Ordinal(nn.Module):
    """Mean over the rated candidates of −log P(grade), with thresholds between the grades that learn beside the score.

    grades: [T + 1] the different ratings, ascending; thresholds start where a score of 0 gives each grade its share
    """

    def __init__(self, ratings: Tensor, axis: int = 0) -> None:
        """ratings: every rating there is on the axis, in any shape; NaN is none. At least two different ones."""
        super().__init__()
        self.axis = axis
        grades, counts = ratings[~ratings.isnan()].unique(return_counts=True)
        if len(grades) < 2:
            raise ValueError(f"an ordinal loss needs two grades at least, got {grades.tolist()}")
        self.grades: Tensor
        self.register_buffer("grades", grades)
        thresholds = torch.logit((counts.cumsum(0) / counts.sum())[:-1])
        steps = thresholds.diff()
        self.free = nn.Parameter(torch.cat([thresholds[:1], steps + torch.log(-torch.expm1(-steps))]))

    @property
    def thresholds(self) -> Tensor:
        """[T] ascending."""
        return rating.ascending(self.free)

    def forward(self, scores_NK: Tensor, part: Judgements) -> Tensor:
        ratings_NK = part.ratings_NKA[:, :, self.axis]
        grades_NK = torch.searchsorted(self.grades, ratings_NK.contiguous()).masked_fill(ratings_NK.isnan(), -1)
        terms = rating.ordinal(scores_NK.flatten(), self.thresholds, grades_NK.flatten())
        return _over_rated(terms.view(scores_NK.shape), ratings_NK)


def of_heads(loss: Terms, scores_NKH: Tensor, part: Judgements) -> Tensor:
    """Mean over the heads of an ensemble on one trunk; a question counts as often as the head's bootstrap drew it."""
    terms_NH = torch.stack([loss(scores_NK, part) for scores_NK in scores_NKH.unbind(-1)], dim=-1)
    return (terms_NH if part.draws_NH is None else terms_NH * part.draws_NH).mean(dim=-1)


def with_second_head(loss: Terms, second: Terms, scores_NK2: Tensor, part: Judgements) -> Tensor:
    """½ (preference + supported), one head each (Menick et al. 2022)."""
    return 0.5 * (loss(scores_NK2[..., 0], part) + second(scores_NK2[..., 1], part))


def first_head(right: Terms, scores_NKH: Tensor, part: Judgements) -> Tensor:
    return right(scores_NKH[..., 0], part)


def mean_head(right: Terms, scores_NKH: Tensor, part: Judgements) -> Tensor:
    return right(scores_NKH.mean(dim=-1), part)


def agreement(scores_NK: Tensor, part: Judgements) -> Tensor:
    """[N] share of a question's judged pairs that the scores order as people did; equal scores and tied answers: ½."""
    candidates = scores_NK.shape[1]
    first_P, second_P = torch.triu_indices(candidates, candidates, 1, device=scores_NK.device)
    target_NP = part.preferred_NKK[:, first_P, second_P]
    judged_NP = ~target_NP.isnan()
    ahead_NP = (scores_NK[:, first_P] - scores_NK[:, second_P]).sign().double()
    right_NP = 0.5 + 0.5 * ahead_NP * (target_NP - 0.5).sign()
    return masked.kept(right_NP, judged_NP).sum(dim=1) / judged_NP.sum(dim=1).clamp(min=1)


def best_agreement(scores_NK: Tensor, part: Judgements) -> Tensor:
    """[N] 1 where the highest score is the one that was chosen of all K, 0 where not; equal scores share."""
    scores_NK = scores_NK.masked_fill(~part.present_NK, -torch.inf)
    leads_NK = (scores_NK == scores_NK.amax(dim=1, keepdim=True)).double()
    return masked.kept(leads_NK, part.picked_NK == 1).sum(dim=1) / leads_NK.sum(dim=1)


def side_agreement(scores_NK: Tensor, part: Judgements, axis: int = 0) -> Tensor:
    """[N] share of the rated candidates whose P(good) lies on the right side of ½; ½ itself is a half."""
    ratings_NK = part.ratings_NKA[:, :, axis]
    right_NK = 0.5 + 0.5 * scores_NK.sign().double() * (ratings_NK - 0.5).sign()
    return _over_rated(masked.kept(right_NK, ~ratings_NK.isnan()), ratings_NK)


def _over_rated(terms_NK: Tensor, ratings_NK: Tensor) -> Tensor:
    """[N] mean of the terms where there is a rating, 0 where there is none."""
    return terms_NK.sum(dim=1) / (~ratings_NK.isnan()).sum(dim=1).clamp(min=1)


PAIRS, CHOICE = Objective(pairs, agreement), Objective(choice, best_agreement)
