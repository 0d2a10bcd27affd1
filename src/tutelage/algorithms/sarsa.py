"""Sarsa(λ) with linear function approximation (Rummery & Niranjan 1994; Sutton & Barto 2018, §12.7): what TAMER is
compared with, on the same features and the game's own reward.

    a ~ ε-greedy in Q(s, a) = w·φ(s, a)
    δ = r + γ·Q(s', a') − Q(s, a)        (Q of a terminated state is 0)
    e ← γλ·e + φ(s, a);   w ← w + α·δ·e

Deviation: α is held below 1 / |e·(γφ(s', a') − φ(s, a))|, beyond which a step would turn the error round (Dabney &
Barto 2012). Without it the features of a high board let the weights grow without end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tutelage.trajectory import Finish

Array = np.ndarray


@dataclass(frozen=True)
class SarsaConfig:
    """learning_rate: α     discount: γ     trace: λ     exploration: ε"""

    learning_rate: float
    discount: float = 1.0
    trace: float = 0.9
    exploration: float = 0.05


def chosen(weights_F: Array, features_AF: Array, exploration: float, chance: np.random.Generator) -> int:
    """ε-greedy; among equals at random."""
    if chance.random() < exploration:
        return int(chance.integers(len(features_AF)))
    value_A = features_AF @ weights_F
    return int(chance.choice(np.flatnonzero(value_A >= value_A.max() - 1e-12)))


def sarsa(config: SarsaConfig, episode: Any, weights_F: Array, chance: np.random.Generator) -> Array:
    """One episode; the weights after it. episode: with `features_AF`, `step(action)` and `finish`."""
    trace_F = np.zeros_like(weights_F)
    action = chosen(weights_F, episode.features_AF, config.exploration, chance)
    features_F = episode.features_AF[action]
    while True:
        step = episode.step(action)
        trace_F = config.discount * config.trace * trace_F + features_F
        following_F = np.zeros_like(features_F)
        if step.finish is not Finish.TERMINATED:
            action = chosen(weights_F, episode.features_AF, config.exploration, chance)
            following_F = episode.features_AF[action]
        change_F = config.discount * following_F - features_F
        error = step.reward + float(change_F @ weights_F)
        steep = abs(float(trace_F @ change_F))
        rate = config.learning_rate if steep * config.learning_rate <= 1.0 else 1.0 / steep
        weights_F = weights_F + rate * error * trace_F
        if step.finish is not None:
            return weights_F
        features_F = following_F
