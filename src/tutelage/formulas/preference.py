"""Losses on what people prefer, one term a judgement; a difference of scores is a log-odds.

Every comparison has a soft target: P(first preferred), 1 or 0 for an answer, 0.5 for a tie. What was not judged, and
what is not there (a question with fewer candidates than its batch), is marked as such; its score may be anything, NaN
included, and leaks neither into a loss nor into a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from tutelage.formulas import masked

T = TypeVar("T", Tensor, float)
MOST_RANKED = 12  # candidates in a Plackett–Luce ranking: its cost doubles with each


def pair(
    score_first: Tensor, score_second: Tensor, target: Tensor | float = 1.0, margin: Tensor | float = 0.0
) -> Tensor:
    """Bradley–Terry cross-entropy −p log σ(Δ) − (1−p) log σ(−Δ), Δ = first − second − margin, p = target.

    target is P(first preferred): 1 or 0 for an answer, 0.5 for a tie, anything between for noise (Stiennon et al. 2020;
    Nakano et al. 2021 for ties). Linear for |Δ| large, so it neither overflows nor turns NaN.
    """
    difference = score_first - score_second - margin
    return -(target * logsigmoid(difference) + (1 - target) * logsigmoid(-difference))


def pairs(
    scores_NK: Tensor,
    preferred_NKK: Tensor,
    margins_NKK: Tensor | None = None,
    term: Callable[[Tensor, Tensor, Tensor], Tensor] = pair,
) -> Tensor:
    """[N] mean of `term` over the m judged pairs i < j of each question, so that a pair weighs 1/m; 0 where m = 0.

    All pairs of K candidates cost K forward passes, and a question counts once however many it has (Ouyang et al. 2022:
    weight 1/C(K, 2)).

    scores_NK: [N, K]
    preferred_NKK: [N, K, K] P(i preferred to j), NaN where that was not judged; only i < j is read
    margins_NKK: [N, K, K] by how much i should lead j, negative where j should lead; only i < j is read
    term: (first's score, second's score, target) -> what the pair costs: `pair`, or `floored`
    """
    candidates = scores_NK.shape[1]
    first_P, second_P = torch.triu_indices(candidates, candidates, 1, device=scores_NK.device)
    target_NP = preferred_NKK[:, first_P, second_P]
    judged_NP = ~target_NP.isnan()
    score_first_NP = masked.kept(scores_NK[:, first_P], judged_NP)
    score_second_NP = masked.kept(scores_NK[:, second_P], judged_NP)
    margin_NP = 0.0 if margins_NKK is None else margins_NKK[:, first_P, second_P]
    terms_NP = term(score_first_NP - margin_NP, score_second_NP, target_NP)
    return masked.kept(terms_NP, judged_NP).sum(dim=1) / judged_NP.sum(dim=1).clamp(min=1)


def preferred(places_NK: Tensor, tie: float = 0.5) -> Tensor:
    """[N, K] places (0 best, equal ones tie, below 0 absent) -> [N, K, K] P(i preferred to j), as `pairs` takes it.

    tie: what a tie is worth; NaN leaves tied pairs out, as Ouyang et al. 2022 do.
    """
    first_NK1, second_N1K = places_NK[:, :, None], places_NK[:, None, :]
    preferred_NKK = (first_NK1 < second_N1K).float()
    preferred_NKK = preferred_NKK.masked_fill(first_NK1 == second_N1K, tie)
    return preferred_NKK.masked_fill((first_NK1 < 0) | (second_N1K < 0), math.nan)


def choice(scores_NK: Tensor, best_N: Tensor) -> Tensor:
    """[N, K] scores and [N] indices -> [N] −log softmax(scores)[best] (Ziegler et al. 2019, eq. 1); K = 2 is `pair`."""
    return soft_choice(scores_NK, torch.zeros_like(scores_NK).scatter(-1, best_N[:, None], 1.0))


def soft_choice(scores_NK: Tensor, target_NK: Tensor) -> Tensor:
    """[N] −Σ_k q_k log softmax(scores)_k, q_k = P(k is the best); `choice` where one q is 1.

    target_NK: [N, K], each row adds up to 1 over the candidates that are there; NaN where one is absent
    """
    present_NK, counts_NK = ~target_NK.isnan(), target_NK > 0
    scores_NK = scores_NK.float().masked_fill(~present_NK, torch.finfo(torch.float32).min)
    log_probs_NK = torch.log_softmax(scores_NK, dim=-1)
    return -(masked.kept(target_NK, counts_NK) * masked.kept(log_probs_NK, counts_NK)).sum(dim=-1)


def plackett_luce(scores_NK: Tensor, places_NK: Tensor) -> Tensor:
    """[N] −log P(ranking): the best is chosen among all, the next among the rest, … (Plackett 1975; Luce 1959).

    Ties: the mean of −log P over all orders of the tied candidates. So a tie of two is `pair` at target 0.5, and
    candidates that all tie want equal scores. Every order of r tied ones is equally likely, so each subset of them is
    what remains with a known probability, and the mean is a sum over subsets S of the candidates:

        Σ_S P(S remains) log Σ_{i∈S} e^{score_i} − Σ_i score_i

    scores_NK: [N, K], K at most 12; places_NK: [N, K] integers, 0 best, equal ones tie, below 0 absent
    """
    candidates = scores_NK.shape[1]
    if candidates > MOST_RANKED:
        raise ValueError(f"a Plackett–Luce ranking takes at most {MOST_RANKED} candidates, got {candidates}; use pairs")
    present_NK = places_NK >= 0
    scores_NK = masked.kept(scores_NK.float(), present_NK)
    weight_NS, member_SK = _remaining(places_NK)
    inside_NSK = scores_NK[:, None, :].masked_fill(~member_SK, torch.finfo(torch.float32).min)
    return (weight_NS * torch.logsumexp(inside_NSK, dim=-1)).sum(dim=-1) - scores_NK.sum(dim=-1)


def _remaining(places_NK: Tensor) -> tuple[Tensor, Tensor]:
    """([N, S] probability that a subset is what remains at some choice, [S, K] its members), S = 2^K − 1 subsets.

    A subset remains where it holds everything behind its best place, and r of the t candidates that tie there: then
    with probability 1 / C(t, r).
    """
    candidates = places_NK.shape[1]
    numbers_S = torch.arange(1, 2**candidates, device=places_NK.device)
    member_SK = (numbers_S[:, None] >> torch.arange(candidates, device=places_NK.device)) & 1 == 1
    present_NK = places_NK >= 0
    outside = torch.iinfo(places_NK.dtype).max
    best_NS1 = places_NK[:, None, :].masked_fill(~member_SK, outside).amin(dim=-1, keepdim=True)
    behind_NSK = (places_NK[:, None, :] > best_NS1) & present_NK[:, None, :]
    whole_NS = (~behind_NSK | member_SK).all(dim=-1) & (present_NK[:, None, :] | ~member_SK).all(dim=-1)
    tied_NSK = places_NK[:, None, :] == best_NS1
    tied_NS, inside_NS = tied_NSK.sum(dim=-1), (tied_NSK & member_SK).sum(dim=-1)
    binomials = torch.tensor(
        [[math.comb(t, r) for r in range(candidates + 1)] for t in range(candidates + 1)], device=places_NK.device
    )
    return masked.kept(1.0 / binomials[tied_NS, inside_NS], whole_NS), member_SK


def answer_probability(difference: Tensor, error_fraction: float = 0.1) -> Tensor:
    """P(first is answered) = (1 − e) σ(Δ) + e/2: a fraction e of the answers is random (Christiano et al. 2017).

    With e = 0.1 that is 0.9 σ(Δ) + 0.05.
    """
    return (1 - error_fraction) * torch.sigmoid(difference) + error_fraction / 2


def floored(
    score_first: Tensor, score_second: Tensor, target: Tensor | float = 1.0, error_fraction: float = 0.1
) -> Tensor:
    """−p log P − (1−p) log(1 − P), P = `answer_probability`: at most −log(e/2), so no answer can cost more than 3.0.

    `smoothed` with e/2 and `pair` expect the same answers, but there a certain model that errs pays without bound.
    """
    if not 0 < error_fraction < 1:
        raise ValueError(f"error_fraction must lie between 0 and 1, got {error_fraction}; without errors use pair")
    difference = score_first - score_second
    first, second = answer_probability(difference, error_fraction), answer_probability(-difference, error_fraction)
    return -(target * first.log() + (1 - target) * second.log())


def smoothed(target: T, flip_fraction: float) -> T:
    """P(first is answered) where a fraction ε of the answers is the wrong way round: (1 − ε) p + ε (1 − p)."""
    return (1 - flip_fraction) * target + flip_fraction * (1 - target)


def graded_target(target: Tensor, strength: Tensor) -> Tensor:
    """½ + (p − ½) · strength: an answer of strength 1 is certain, one of strength 0 a tie; linear between."""
    return 0.5 + (target - 0.5) * strength


def graded_margin(target: Tensor, strength: Tensor, largest: float) -> Tensor:
    """(2p − 1) · strength · largest, in units of the score, for `pair` and `pairs`: the surer, the farther apart."""
    return (2 * target - 1) * strength * largest


def dpo(log_ratio_first: Tensor, log_ratio_second: Tensor, beta: float, target: Tensor | float = 1.0) -> Tensor:
    """`pair` of implicit rewards β l, l = log π(y|x) − log π_ref(y|x) (Rafailov et al. 2023, eq. 7).

    At π = π_ref it is log 2. A target of 1 − ε is conservative DPO, whose labels are wrong with probability ε.
    """
    return pair(beta * log_ratio_first, beta * log_ratio_second, target)


def ipo(log_ratio_first: Tensor, log_ratio_second: Tensor, tau: float, target: Tensor | float = 1.0) -> Tensor:
    """p (h − 1/2τ)² + (1−p) (h + 1/2τ)², h = l_first − l_second (Azar et al. 2023, eq. 17).

    Its minimum is at h = (2p − 1)/2τ: answers that are certain do not push the log-probs apart without end.
    """
    gap, goal = log_ratio_first - log_ratio_second, 1.0 / (2.0 * tau)
    return target * (gap - goal) ** 2 + (1 - target) * (gap + goal) ** 2


def simpo(mean_first: Tensor, mean_second: Tensor, beta: float, gamma: float, target: Tensor | float = 1.0) -> Tensor:
    """−p log σ(Δ − γ) − (1−p) log σ(−Δ − γ), Δ = β (mean_first − mean_second) (Meng et al. 2024, eq. 6).

    mean: log π(y|x) / |y|, nats a token; γ: by how much reward the better reply shall lead. There is no reference.
    """
    difference = beta * (mean_first - mean_second)
    return -(target * logsigmoid(difference - gamma) + (1 - target) * logsigmoid(-difference - gamma))


def kto(log_ratio: Tensor, good: Tensor, baseline: Tensor | float, beta: float) -> Tensor:
    """1 − σ(β (l − z)) of a good reply, 1 − σ(β (z − l)) of a bad one (Ethayarajh et al. 2024, eq. 8).

    log_ratio: l = log π(y|x) − log π_ref(y|x); good: bool, of the same shape
    baseline: z = max(0, KL(π ‖ π_ref)) in nats, without a gradient
    """
    lead = beta * (log_ratio - baseline)
    return torch.sigmoid(torch.where(good, -lead, lead))


def elo_points(score_difference: float) -> float:
    """A difference of scores (log-odds) in Elo points: 400 / ln 10 each nat."""
    return score_difference * 400.0 / math.log(10.0)
