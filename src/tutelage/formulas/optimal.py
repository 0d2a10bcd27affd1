"""The best any optimiser can do under a KL penalty: π* ∝ ρ e^{r/β}, with objective β log Z."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def optimal_policy(reference_probabilities: Tensor, rewards: Tensor, coefficient: float) -> Tensor:
    """[V] ρ and [V] r -> [V] π*(a) = ρ(a) e^{r(a)/β} / Z (Ziegler et al. 2019, §2)."""
    return torch.softmax(reference_probabilities.log() + rewards / coefficient, dim=-1)


@dataclass(frozen=True)
class Tilted:
    """mean_score: E under π*; kl_nats: KL(π* ‖ ρ); effective_sample_size: (Σw)²/Σw², of the samples used."""

    mean_score: float
    kl_nats: float
    effective_sample_size: float


def tilted(rewards_N: Tensor, coefficient: float, scores_N: Tensor | None = None) -> Tilted:
    """π* estimated from N samples of ρ by self-normalised importance weights w ∝ e^{r/β}.

    rewards_N: what π* maximises; scores_N: what is averaged under it (the rewards themselves by default). For samples
    of one prompt this is that prompt's π*; pooled over prompts it also moves weight between prompts, so estimate prompt
    by prompt and average.
    """
    weights = torch.softmax(rewards_N.double() / coefficient, dim=0)
    scores = rewards_N if scores_N is None else scores_N
    return Tilted(
        mean_score=float((weights * scores.double()).sum()),
        kl_nats=float((weights * (weights * len(weights)).clamp(min=1e-300).log()).sum()),
        effective_sample_size=float(1.0 / (weights**2).sum()),
    )
