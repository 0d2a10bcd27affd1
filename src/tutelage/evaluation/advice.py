"""Whether more answers are worth asking for: what the next hundred would bring to a model that learns in a second.

The model is a logistic regression over words: it learns from an eighth, a quarter, a half and all of the comparisons,
each several times, and is tested on questions that it never saw. A reward model learns more from the same answers, but
where this one has stopped rising, the answers have begun to repeat each other. `tutelage evaluate learning-curve` asks
the reward model itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.evaluation.label_counts import Point, curve
from tutelage.evaluation.labellers import outcomes
from tutelage.feedback.asking import Label

FEWEST, FOLDS, SEEDS = 80, 4, 3
SHARES = (0.125, 0.25, 0.5, 1.0)
WORTH = 0.005  # of accuracy: what the next answers have to bring to be worth asking for


def advice(labels: Sequence[Label], more: int = 100) -> dict[str, Any]:
    """{"says", "advice": "go on" | "stop" | "nobody knows", "points", …}; the gain in accuracy of the next `more`."""
    pairs = _decided(labels)
    if len({question for question, *_ in pairs}) < FEWEST:
        need = f"{FEWEST} questions that somebody decided; there are {len({question for question, *_ in pairs})}"
        return {"advice": "nobody knows", "says": f"A curve needs {need}. Go on.", "means": []}
    found = curve(_points(pairs), more)
    mean, low, high = (found.get(f"expected_gain{end}") for end in ("", "_low", "_high"))
    if mean is None or low is None or high is None:
        return {**found, "advice": "go on", "says": f"The probe is not above chance yet ({found['not_fitted']})."}
    told = f"The next {more} answers bring {mean:+.1%} of accuracy ({low:+.1%} to {high:+.1%})"
    if low > WORTH:
        return {**found, "advice": "go on", "says": f"{told}: go on."}
    if high < WORTH:
        return {
            **found,
            "advice": "stop",
            "says": f"{told}: less than {WORTH:.1%}, so they repeat what is known.",
        }
    return {**found, "advice": "nobody knows", "says": f"{told}: too wide to say. Go on for a while, and look again."}


def _decided(labels: Sequence[Label]) -> list[tuple[str, str, str]]:
    """(question, the better text, the worse one)."""
    found = []
    for label in labels:
        text = {each.id: each.text or "" for each in label.comparison.candidates}
        for first, second, won in outcomes(label.comparison):
            if won != 0.5:
                found.append((label.question, text[first if won else second], text[second if won else first]))
    return found


def _points(pairs: Sequence[tuple[str, str, str]]) -> list[Point]:
    from sklearn.feature_extraction.text import HashingVectorizer  # slow to import, and only needed here

    words = HashingVectorizer(n_features=2**14, norm="l2", ngram_range=(1, 2), alternate_sign=False)
    names = np.array([question for question, *_ in pairs])
    better: Any = words.transform([better for _, better, _ in pairs])
    difference = better - words.transform([worse for *_, worse in pairs])
    lengths_N = np.array([np.log1p(len(better)) - np.log1p(len(worse)) for _, better, worse in pairs])
    fold_N = np.array([int(hashlib.sha256(name.encode()).hexdigest(), 16) % FOLDS for name in names])
    held, taught = np.flatnonzero(fold_N == 0), np.flatnonzero(fold_N != 0)
    points = []
    for seed in range(SEEDS):
        order = np.random.default_rng(seed).permutation(taught)
        for share in SHARES:
            part = order[: max(4, int(share * len(order)))]
            points.append(Point(len(part), seed, _tested(difference, lengths_N, part, held), names[held]))
    return points


def _tested(difference: Any, lengths_N: np.ndarray, part: np.ndarray, held: np.ndarray) -> np.ndarray:
    """[H] 1 where the better text scores higher. Trained on both directions, so that no side is the right one."""
    from scipy.sparse import csr_matrix, hstack, vstack
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    features = hstack([difference, csr_matrix(lengths_N[:, None])]).tocsr()
    taught = vstack([features[part], -features[part]])
    model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=200)
    # L-BFGS's sums over 16,385 weights are short, and OpenBLAS's threads yield to each other in between: with two, the
    # fit takes six times the processor's time. GOMP_SPINCOUNT does not reach them; OpenMP's threads are left alone.
    with threadpool_limits(1, "blas"):
        model.fit(taught, np.repeat([1, 0], len(part)))
    scores_H = model.decision_function(features[held])
    return 0.5 + 0.5 * np.sign(scores_H)
