"""A reward model whose trunk does not learn: a linear head on the last states of a language model.

The trunk reads every reply once. After that a head is a logistic regression on differences of states (Bradley & Terry
1952), fitted in seconds, so that folds, halves of the labels and learning curves cost nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from tutelage.models.trunk import Numerics, last_states
from tutelage.rewards.language import RewardModel
from tutelage.trajectory import Batch

Keep = Callable[[str, Callable[[], Mapping[str, Any]]], Mapping[str, Any]]
"""(name, make) -> make()'s result, or what an earlier attempt kept under this name (`Run.piece`)."""
RIDGES = (30.0, 100.0, 300.0, 1000.0, 3000.0, 10000.0)
FOLDS = 5  # that choose the ridge
ROWS_KEPT = 512


def read_states(
    model: Any, candidates: Batch, tokens_at_once: int, keep: Keep, numerics: Numerics = Numerics()
) -> Tensor:
    """[B, d] state at the last token of every episode, in fp32; rows of like lengths are read together.

    keep: groups of rows are kept as they are read, so that a kill does not undo them
    """
    order = candidates.lengths_B.argsort(stable=True)
    groups = order.split(ROWS_KEPT)
    read = [
        keep(f"states-{number:04d}", partial(_read, model, candidates, rows, tokens_at_once, numerics))["states"]
        for number, rows in enumerate(groups)
    ]
    states_Bd = torch.cat(read)
    return states_Bd[order.argsort()]


@torch.no_grad()
def _read(model: Any, candidates: Batch, rows: Tensor, tokens_at_once: int, numerics: Numerics) -> dict[str, Tensor]:
    part = candidates.select(rows)
    at_once = max(1, tokens_at_once // (int(part.lengths_B.max()) + 1))
    found = []
    for places in torch.arange(len(part)).split(at_once):
        few = part.select(places)
        states_BSd = last_states(model, few.observations, numerics)
        found.append(states_BSd[torch.arange(len(few)), few.lengths_B].float().cpu())
    return {"states": torch.cat(found)}


@dataclass(frozen=True)
class LinearHead:
    """weights_d: score = weights · state. ridge: of the fit, chosen by the likelihood of rows left out."""

    weights_d: np.ndarray
    ridge: float

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """[..., d] -> [...] scores."""
        return states @ self.weights_d


@torch.no_grad()
def with_head(classifier: Any, head: LinearHead, sample_N: np.ndarray) -> RewardModel:
    """The classifier's trunk with this head, whose scores are moved and scaled as the head's on a sample are to mean 0
    and deviation 1. The classifier's own head is overwritten."""
    classifier.score.weight.copy_(torch.from_numpy(head.weights_d)[None])
    model = RewardModel(classifier)
    model.bias_H.zero_()
    model.normalise(torch.from_numpy(sample_N), mean=0.0, deviation=1.0)
    return model


def fit_head(better_Pd: np.ndarray, worse_Pd: np.ndarray, seed: int, ridges: Sequence[float] = RIDGES) -> LinearHead:
    """Minimizes −Σ log σ(w · (better − worse)) + ridge/2 · |s w|², s the deviation of each number's difference.

    better_Pd, worse_Pd: [P, d] states of the preferred reply of each pair and of the other one
    seed: of the folds by which the ridge is chosen
    """
    differences_Pd = better_Pd.astype(np.float64) - worse_Pd
    scale_d = differences_Pd.std(axis=0) + 1e-12
    scaled_Pd = differences_Pd / scale_d
    ridge = ridges[0] if len(ridges) == 1 else _best_ridge(scaled_Pd, seed, ridges)
    return LinearHead(_weights(scaled_Pd, ridge) / scale_d, ridge)


def _best_ridge(scaled_Pd: np.ndarray, seed: int, ridges: Sequence[float]) -> float:
    fold_P = np.random.default_rng([seed, 0xF01D]).permutation(len(scaled_Pd)) % FOLDS
    surprise_R = np.zeros(len(ridges))
    for fold in range(FOLDS):
        inside_P = fold_P == fold
        for place, ridge in enumerate(ridges):
            logits = scaled_Pd[inside_P] @ _weights(scaled_Pd[~inside_P], ridge)
            surprise_R[place] += np.logaddexp(0.0, -logits).sum()
    return float(ridges[int(surprise_R.argmin())])


def _weights(scaled_Pd: np.ndarray, ridge: float) -> np.ndarray:
    sign_P = np.where(np.arange(len(scaled_Pd)) % 2 == 0, 1.0, -1.0)  # the regression wants two classes
    fitted = LogisticRegression(C=1 / ridge, fit_intercept=False, max_iter=1000)
    return fitted.fit(scaled_Pd * sign_P[:, None], sign_P).coef_[0]
