"""How far heads on a frozen trunk agree with people about prompts that they have not seen, by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.formulas import intervals
from tutelage.formulas.intervals import Estimate
from tutelage.rewards.frozen_trunk import LinearHead, fit_head

FOLDS = 5
NEARLY_EQUAL = 0.2  # |log(length / other length)|
FRACTIONS = (0.125, 0.25, 0.5)  # of the labels, for the learning curve


@dataclass(frozen=True)
class PairStates:
    """P pairs of replies as a frozen trunk sees them.

    better_Pd, worse_Pd: [P, d] states of the preferred and of the other reply     prompts_P: [P] number of the prompt
    log_length_ratio_P: [P] of the preferred over the other     measured_P: [P] whether accuracy is measured on the pair
    """

    better_Pd: np.ndarray
    worse_Pd: np.ndarray
    prompts_P: np.ndarray
    log_length_ratio_P: np.ndarray
    measured_P: np.ndarray

    def fit(self, rows_P: np.ndarray, seed: int) -> LinearHead:
        """A head from the pairs that a mask (or indices) picks."""
        return fit_head(self.better_Pd[rows_P], self.worse_Pd[rows_P], seed)

    def differences(self, head: LinearHead, rows_P: np.ndarray) -> np.ndarray:
        """Score of the preferred reply minus that of the other."""
        return head(self.better_Pd[rows_P]) - head(self.worse_Pd[rows_P])


def out_of_fold(pairs: PairStates, seed: int, fraction: float = 1.0) -> np.ndarray:
    """[measured] score of the preferred reply minus the other's, by heads that saw no label of the same prompt.

    fraction: of the labels that each head learns from
    """
    prompts_P, differences_P = pairs.prompts_P, np.full(len(pairs.prompts_P), np.nan)
    generator = np.random.default_rng([seed, 0xF01D])
    fold_P = (generator.permutation(int(prompts_P.max()) + 1) % FOLDS)[prompts_P]
    learned_P = generator.random(len(prompts_P)) < fraction
    for fold in range(FOLDS):
        held_P = (fold_P == fold) & pairs.measured_P
        head = pairs.fit((fold_P != fold) & learned_P, seed)
        differences_P[held_P] = pairs.differences(head, held_P)
    return differences_P[pairs.measured_P]


def accuracies(pairs: PairStates, seed: int) -> dict[str, Any]:
    """Accuracy out of fold, beside the length rule's, on pairs of nearly equal length, and over labels."""
    prompts_P, ratio_P = pairs.prompts_P[pairs.measured_P], pairs.log_length_ratio_P[pairs.measured_P]
    differences_P = out_of_fold(pairs, seed)
    right_P, longer_P = mark_right(differences_P), mark_right(ratio_P)
    equal_P = np.abs(ratio_P) <= NEARLY_EQUAL
    both_P = mark_right(with_length(differences_P, ratio_P, prompts_P, seed))
    total, whole = len(pairs.prompts_P), intervals.share(right_P, prompts_P)
    curve = [
        {
            "labels": int(part * total),
            **intervals.share(mark_right(out_of_fold(pairs, seed, part)), prompts_P).row("accuracy"),
        }
        for part in FRACTIONS
    ]
    return {
        **whole.row("reward_model_accuracy"),
        **_share(right_P[equal_P], prompts_P[equal_P]).row("equal_length_accuracy"),
        **intervals.share(longer_P, prompts_P).row("length_rule_accuracy"),
        **intervals.share(both_P, prompts_P).row("with_length_accuracy"),
        **intervals.bounded_mean(both_P - longer_P, prompts_P, -1.0, 1.0).row("gain_over_length_rule"),
        "accuracy_by_labels": [*curve, {"labels": total, **whole.row("accuracy")}],
    }


def mark_right(differences_P: np.ndarray) -> np.ndarray:
    """[P] 1 where the preferred reply has more, ½ where both have as much, 0 where it has less."""
    return (np.sign(differences_P) + 1) / 2


def with_length(differences_P: np.ndarray, ratio_P: np.ndarray, prompts_P: np.ndarray, seed: int) -> np.ndarray:
    """[P] what score and length say together, each pair by weights from the other folds' pairs."""
    columns_PC = np.stack([differences_P / differences_P.std(), ratio_P], axis=1)
    fold_P = (np.random.default_rng([seed, 0x1E46]).permutation(int(prompts_P.max()) + 1) % FOLDS)[prompts_P]
    told_P = np.zeros(len(ratio_P))
    for fold in range(FOLDS):
        held_P = fold_P == fold
        head = fit_head(columns_PC[~held_P], np.zeros_like(columns_PC[~held_P]), seed, ridges=(1.0,))
        told_P[held_P] = head(columns_PC[held_P])
    return told_P


def _share(values_N: np.ndarray, clusters_N: np.ndarray) -> Estimate:
    return intervals.share(values_N, clusters_N) if len(values_N) else Estimate(np.nan, np.nan, np.nan, 0)
