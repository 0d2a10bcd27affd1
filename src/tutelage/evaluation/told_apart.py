"""Whether two collections of texts are the same in kind: can a linear classifier tell them apart on held-out texts?

A classifier two-sample test (Lopez-Paz & Oquab 2017): where both come from one source, no classifier is right more
often than a coin on texts that it did not learn from. Digits are one sign, so that order numbers tell nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from tutelage.formulas import intervals
from tutelage.formulas.association import area_under_curve

FOLDS = 5
WORDS_SHOWN = 6


@dataclass(frozen=True)
class ToldApart:
    """area: P(a text of the second looks more like the second than one of the first does), 0.5 is chance; low, high:
    its 95 % interval over groups; of_first, of_second: the words (or pairs of them) that tell most"""

    area: float
    low: float
    high: float
    of_first: tuple[str, ...]
    of_second: tuple[str, ...]


def told_apart(first: Sequence[str], second: Sequence[str], groups: Sequence[str], seed: int = 0) -> ToldApart | None:
    """groups: what texts of one kind share, such as the prompt they answer: the same group is never learned from and
    tested on. None where there are fewer groups than folds, or no words."""
    texts = [plain(each) for each in (*first, *second)]
    second_N = np.repeat([False, True], [len(first), len(second)])
    if min(len(set(groups[: len(first)])), len(set(groups[len(first) :]))) < FOLDS:
        return None
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", min_df=2, sublinear_tf=True, max_features=20_000),
        LogisticRegression(C=3.0, max_iter=300, class_weight="balanced"),
    )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    _, groups_N = np.unique(np.asarray(groups), return_inverse=True)
    try:
        scores_N: np.ndarray = np.asarray(
            cross_val_predict(model, texts, second_N, groups=groups_N, cv=folds, method="decision_function")
        )
        model.fit(texts, second_N)
    except ValueError:  # no word stands in two texts
        return None

    def area(rows: np.ndarray) -> float:
        return area_under_curve(scores_N[rows], second_N[rows])

    rarer = min(len(np.unique(groups_N[second_N])), len(np.unique(groups_N[~second_N])))
    found = intervals.jackknife(area, groups_N, (0.0, 1.0), rarer)
    names = np.asarray(model[0].get_feature_names_out())
    classifier: Any = model[1]
    order = np.argsort(classifier.coef_[0])
    of_first, of_second = tuple(names[order[:WORDS_SHOWN]]), tuple(names[order[::-1][:WORDS_SHOWN]])
    return ToldApart(found.value, found.low, found.high, of_first, of_second)


def plain(text: str) -> str:
    """Without capitals, every number one sign."""
    return re.sub(r"\S*\d\S*", "0", text.casefold())
