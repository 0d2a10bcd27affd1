"""What people themselves reach where several judged the same pair: the ceiling of any model of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tutelage.data.questions import Question
from tutelage.evaluation.accuracy import accuracy_share
from tutelage.evaluation.judged import JudgedPairs, named, named_share, share
from tutelage.formulas import agreement, intervals

DRAWS = 300


def ceiling(questions: Sequence[Question], pairs: JudgedPairs) -> dict[str, Any]:
    """Agreement between people, Krippendorff's alpha, and how often one of them (or the model) is with the others.

    Votes count as won, tied or lost. human_ceiling: one person against the majority of the others; model_with_people:
    the model against the same majorities, so both numbers answer one question. unanimous: accuracy where all who
    judged a pair prefer the same reply. Nothing where fewer than two pairs were judged twice.
    """
    voted_P = np.array([len(questions[place].votes) > 1 for place in pairs.questions_P], dtype=bool)
    if voted_P.sum() < 2:
        return {}
    voted = pairs.where(voted_P)
    ratings_UR = votes_table([questions[place] for place in voted.questions_P])
    return {
        "pairs": len(voted),
        "people": ratings_UR.shape[1],
        "agreement": agreement.percent_agreement(ratings_UR),
        **_over_prompts("alpha", lambda rows: agreement.krippendorff_alpha(ratings_UR[rows]), voted),
        **_over_prompts("alpha_ordinal", lambda rows: _ordinal_alpha(ratings_UR[rows]), voted),
        **_over_prompts("human_ceiling", lambda rows: agreement.human_ceiling(ratings_UR[rows])[0], voted),
        **_model_with_people(ratings_UR, voted),
        **_unanimous(ratings_UR, voted),
    }


def votes_table(questions: Sequence[Question]) -> np.ndarray:
    """[pairs, people] 1 the first preferred, 0 the second, ½ neither, NaN not asked."""
    names = sorted({name for each in questions for name in each.votes})
    rows = [[each.votes.get(name, np.nan) for name in names] for each in questions]
    return (np.sign(np.array(rows) - 0.5) + 1) / 2


def with_others(ratings_UR: np.ndarray, says_U: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([N] worth, [N] unit): for every person left out, whether what is said is what most of the others say.

    Where k answers lead, each is worth 1/k, as in `agreement.human_ceiling`.
    """
    worth: list[float] = []
    units: list[int] = []
    for unit, row_R in enumerate(ratings_UR):
        given = row_R[~np.isnan(row_R)]
        for left_out in range(len(given) if len(given) > 1 else 0):
            values, counts = np.unique(np.delete(given, left_out), return_counts=True)
            leading = values[counts == counts.max()]
            worth.append(float(says_U[unit] in leading) / len(leading))
            units.append(unit)
    return np.array(worth), np.array(units)


def _model_with_people(ratings_UR: np.ndarray, voted: JudgedPairs) -> dict[str, Any]:
    worth_N, units_N = with_others(ratings_UR, (np.sign(voted.differences_P) + 1) / 2)
    return named_share("model_with_people", share(worth_N, voted.prompts_P[units_N]))


def _ordinal_alpha(ratings_UR: np.ndarray) -> float:
    return agreement.krippendorff_alpha(ratings_UR, agreement.ordinal)


def _over_prompts(name: str, statistic: Callable[[np.ndarray], float], voted: JudgedPairs) -> dict[str, Any]:
    """With its interval, where there are several prompts."""
    if len(np.unique(voted.prompts_P)) < 2:
        return named(name, statistic(np.arange(len(voted))), np.nan, np.nan)
    return named(name, *intervals.bootstrapped(statistic, voted.prompts_P, DRAWS))


def _unanimous(ratings_UR: np.ndarray, voted: JudgedPairs) -> dict[str, Any]:
    same_U = np.nanmin(ratings_UR, axis=1) == np.nanmax(ratings_UR, axis=1)
    agreed = voted.where(same_U & (voted.targets_P != 0.5))
    if not len(agreed):
        return {"unanimous": 0}
    return {"unanimous": len(agreed), **named_share("accuracy_unanimous", accuracy_share(agreed))}
