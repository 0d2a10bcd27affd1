"""What people themselves reach where several judged the same pair: the ceiling of any model of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tutelage.data.questions import Question
from tutelage.evaluation.accuracy import accuracy_share
from tutelage.evaluation.judged import JudgedPairs
from tutelage.formulas import agreement, intervals
from tutelage.formulas.intervals import share


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
        **_ceiling(ratings_UR, voted),
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
    return share(worth_N, voted.prompts_P[units_N]).row("model_with_people")


def _ceiling(ratings_UR: np.ndarray, voted: JudgedPairs) -> dict[str, Any]:
    """Each person against the majority of the others, over prompts; the mean is that of `agreement.human_ceiling`."""
    worth_N, units_N = agreement.with_majority(ratings_UR)
    return share(worth_N, voted.prompts_P[units_N]).row("human_ceiling")


def _ordinal_alpha(ratings_UR: np.ndarray) -> float:
    return agreement.krippendorff_alpha(ratings_UR, agreement.ordinal)


def _over_prompts(name: str, statistic: Callable[[np.ndarray], float], voted: JudgedPairs) -> dict[str, Any]:
    """A coefficient of at most 1, with its interval by the jackknife over prompts."""
    return intervals.jackknife(statistic, voted.prompts_P, (-1.0, 1.0)).row(name)


def _unanimous(ratings_UR: np.ndarray, voted: JudgedPairs) -> dict[str, Any]:
    same_U = np.nanmin(ratings_UR, axis=1) == np.nanmax(ratings_UR, axis=1)
    agreed = voted.where(same_U & (voted.targets_P != 0.5))
    if not len(agreed):
        return {"unanimous": 0}
    return {"unanimous": len(agreed), **accuracy_share(agreed).row("accuracy_unanimous")}
