"""Two policies on the same prompts, by several judges side by side: paired, position-swapped, length-controlled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from tutelage.formulas import agreement, win_rate
from tutelage.formulas.intervals import Estimate, share


@dataclass(frozen=True)
class Replies:
    """N replies of the candidate and of the other policy to the same prompts."""

    prompts: list[str]
    candidate: list[str]
    other: list[str]

    def __len__(self) -> int:
        return len(self.prompts)

    @property
    def length_terms_N(self) -> np.ndarray:
        """By characters (Dubois et al. 2024)."""
        lengths = [np.array([float(len(text)) for text in texts]) for texts in (self.candidate, self.other)]
        return win_rate.length_term(lengths[0], lengths[1])


@dataclass(frozen=True)
class Judgements:
    """What one judge said of N pairs: 1 the candidate is preferred, 0 the other, 0.5 a tie; NaN not asked.

    shown_first_N, shown_second_N: with the candidate in that place; the same where the judge sees no place (`blind`)
    unplaced_N: where nobody knows the place
    scores: mean score of the candidate and of the other, where the judge gives scores
    """

    name: str
    shown_first_N: np.ndarray
    shown_second_N: np.ndarray
    unplaced_N: np.ndarray
    blind: bool = False
    scores: tuple[float, float] | None = None

    @property
    def outcomes_N(self) -> np.ndarray:
        """A pair by the mean of its two places, so that a preference for a place cancels; else by what there is."""
        both_N2 = np.stack([self.shown_first_N, self.shown_second_N], axis=1)
        placed_N = np.where(np.isnan(both_N2).all(axis=1), self.unplaced_N, np.nan)
        seen_N = ~np.isnan(both_N2).all(axis=1)
        placed_N[seen_N] = np.nanmean(both_N2[seen_N], axis=1)
        return placed_N


def by_scores(name: str, candidate_N: np.ndarray, other_N: np.ndarray) -> Judgements:
    """The higher score wins, equal ones tie; scores are given without seeing the other, so no place matters."""
    candidate_N, other_N = np.asarray(candidate_N, dtype=np.float64), np.asarray(other_N, dtype=np.float64)
    outcomes_N = (np.sign(candidate_N - other_N) + 1) / 2
    nothing_N = np.full(len(outcomes_N), np.nan)
    scores = (float(candidate_N.mean()), float(other_N.mean()))
    return Judgements(name, outcomes_N, outcomes_N, nothing_N, blind=True, scores=scores)


def row(judged: Judgements, replies: Replies) -> dict[str, Any]:
    """Rates of the candidate, each with its 95 % interval over prompts; ValueError where nothing was judged.

    win_rate: a tie is a half; length_controlled: the same as if both replies were equally long; swapped: on the pairs
    that were judged in both places, beside what the first place is worth (absent for a judge who sees none).
    """
    outcomes_N = judged.outcomes_N
    told_N = ~np.isnan(outcomes_N)
    if not told_N.any():
        raise ValueError(f"{judged.name} judged none of the {len(replies)} pairs")
    names = {prompt: place for place, prompt in enumerate(dict.fromkeys(replies.prompts))}
    prompts_N = np.array([names[prompt] for prompt in replies.prompts])
    found = share(outcomes_N[told_N], prompts_N[told_N])
    scores = dict(zip(("score_candidate", "score_other"), judged.scores or (), strict=False))
    return {
        "judge": judged.name,
        "pairs": int(told_N.sum()),
        "ties": int((outcomes_N[told_N] == 0.5).sum()),
        **found.row("win_rate"),
        **length_controlled(outcomes_N[told_N], replies.length_terms_N[told_N], prompts_N[told_N]),
        **({} if judged.blind else swapped(judged, prompts_N)),
        **scores,
    }


def length_controlled(outcomes_N: np.ndarray, terms_N: np.ndarray, prompts_N: np.ndarray) -> dict[str, Any]:
    """Where length and preference can be told apart; else why not."""
    try:
        found = win_rate.length_controlled(outcomes_N, terms_N, clusters_N=prompts_N)
        return found.row("length_controlled")
    except ValueError as error:
        return {"not_length_controlled": str(error)}


def swapped(judged: Judgements, prompts_N: np.ndarray) -> dict[str, Any]:
    """The pairs that were judged in both places; `swapped_pairs` alone where there are fewer than two."""
    both_N = ~(np.isnan(judged.shown_first_N) | np.isnan(judged.shown_second_N))
    if both_N.sum() < 2:
        return {"swapped_pairs": int(both_N.sum())}
    found = win_rate.position_swapped(judged.shown_first_N, judged.shown_second_N, clusters_N=prompts_N)
    rate = Estimate(found.rate, found.low, found.high, found.units)
    advantage = Estimate(found.first_advantage, found.first_low, found.first_high, found.units)
    return {
        "swapped_pairs": found.pairs,
        **rate.row("swapped_win_rate"),
        **advantage.row("first_advantage"),
        "consistent_fraction": found.consistent_fraction,
    }


def agreements(judges: Sequence[Judgements], prompts: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """For every two judges, on the pairs that both judged: how often they say the same of won, tied, lost.

    kappa: beyond what their habits would give (Cohen 1960); None where both always say the same.
    prompts: of each pair, where several pairs may be of one prompt
    """
    found = []
    for one, other in combinations(judges, 2):
        says_N2 = np.stack([np.sign(each.outcomes_N - 0.5) for each in (one, other)], axis=1)
        both_N = ~np.isnan(says_N2).any(axis=1)
        says_N2 = says_N2[both_N]
        if not len(says_N2):
            continue
        same_N = (says_N2[:, 0] == says_N2[:, 1]).astype(np.float64)
        kappa = agreement.cohen_kappa(says_N2[:, 0], says_N2[:, 1])
        clusters_N = None if prompts is None else np.asarray(prompts)[both_N]
        rate = share(same_N, clusters_N).row("agreement")
        about = {"judges": [one.name, other.name], "pairs": len(same_N)}
        found.append({**about, **rate, "kappa": None if np.isnan(kappa) else kappa})
    return found
