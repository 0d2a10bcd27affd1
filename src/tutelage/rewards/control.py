"""What a step of control is worth, by several small networks that learned it from comparisons of clips.

r̂(s, a) is the mean over members, each brought to mean 0 and deviation 1 by itself on the same steps, so that none
speaks louder than the others (Christiano et al. 2017, §2.2.3). The members stand in one tensor a layer and are computed
together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, one_hot

from tutelage.trajectory import Batch

Scaling = Callable[[Tensor], Tensor]
SLOPE = 0.01  # of the leaky ReLU below 0


@dataclass(frozen=True)
class Buttons:
    """Actions as inputs of a reward: one of `count`."""

    count: int

    @property
    def size(self) -> int:
        return self.count

    def __call__(self, actions: Tensor) -> Tensor:
        return one_hot(actions, self.count).float()


@dataclass(frozen=True)
class Torques:
    """Actions as inputs of a reward: as the body feels them, brought to the edge of their box and to ±1."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def size(self) -> int:
        return len(self.low)

    def __call__(self, actions: Tensor) -> Tensor:
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        return (2 * (actions - low) / (high - low) - 1).clamp(-1, 1)


@dataclass(frozen=True)
class Inputs:
    """What a reward reads of a step: the observation as it is, and the action. actions: Buttons or Torques"""

    observation_size: int
    actions: Buttons | Torques

    @property
    def size(self) -> int:
        return self.observation_size + self.actions.size

    def __call__(self, observations: Tensor, actions: Tensor) -> Tensor:
        """[..., D] and the actions taken there -> [..., I]"""
        return torch.cat([observations, self.actions(actions)], dim=-1)


class RewardEnsemble(nn.Module):
    """M networks of two hidden layers: steps' inputs [..., I] -> [M, ...] rewards, not normalised.

    inputs: I, numbers of an observation and of its action after it; members begin with different weights
    scale: observations -> observations, as the policy sees them; it may go on moving
    """

    def __init__(
        self, inputs: Inputs, *, members: int = 3, width: int = 64, seed: int = 0, scale: Scaling | None = None
    ) -> None:
        super().__init__()
        self.observed, self.scale = inputs.observation_size, scale
        generator = torch.Generator().manual_seed(seed)
        self.weights: Any = nn.ParameterList()
        self.biases: Any = nn.ParameterList()
        for before, after in ((inputs.size, width), (width, width), (width, 1)):
            edge = 1 / math.sqrt(before)
            self.weights.append(nn.Parameter((torch.rand(members, before, after, generator=generator) * 2 - 1) * edge))
            self.biases.append(nn.Parameter(torch.zeros(members, 1, after)))
        self.register_buffer("mean_M", torch.zeros(members))
        self.register_buffer("deviation_M", torch.ones(members))

    @property
    def members(self) -> int:
        return len(self.weights[0])

    def forward(self, inputs: Tensor) -> Tensor:
        """All members on the same steps."""
        return self.apart(inputs.reshape(1, -1, inputs.shape[-1]).expand(self.members, -1, -1)).view(
            self.members, *inputs.shape[:-1]
        )

    def apart(self, inputs_MNI: Tensor) -> Tensor:
        """[M, N]: every member on steps of its own."""
        x = inputs_MNI
        if self.scale is not None:
            x = torch.cat([self.scale(x[..., : self.observed]), x[..., self.observed :]], dim=-1)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = leaky_relu(torch.baddbmm(bias, x, weight), SLOPE, inplace=True)
        return torch.baddbmm(self.biases[-1], x, self.weights[-1])[..., 0]

    def squared_weights_M(self) -> Tensor:
        """[M] Σ w² over a member's weights, without its biases."""
        return torch.stack([each.square().sum(dim=(1, 2)) for each in self.weights]).sum(dim=0)

    @torch.no_grad()
    def normalise(self, rewards_MN: Tensor) -> None:
        """Every member by itself to mean 0 and deviation 1 where it gave these rewards."""
        self.mean_M = rewards_MN.mean(dim=1)
        self.deviation_M = rewards_MN.std(dim=1, correction=0).clamp(min=1e-6)

    @torch.no_grad()
    def reward(self, inputs: Tensor) -> Tensor:
        """[...] mean of the normalised members."""
        rewards = self(inputs)
        shape = (-1, *([1] * (rewards.ndim - 1)))
        return ((rewards - self.mean_M.view(shape)) / self.deviation_M.view(shape)).mean(dim=0)


@dataclass(frozen=True)
class EnsembleScore:
    """r̂ as a Score: what every step of a batch is worth."""

    ensemble: RewardEnsemble
    inputs: Inputs

    def __call__(self, batch: Batch) -> Tensor:
        steps = self.inputs(batch.observations[:, :-1], batch.actions)
        return self.ensemble.reward(steps).masked_fill(~batch.mask_BT, 0.0)


class TrueScore:
    """The environment's own reward, from a batch's `true_rewards`, by the mean and deviation of all paid so far: what a
    learner would be paid that needs nobody's answers.

    centred: whether the mean goes, which where episodes differ in length would change what is best. Where it stays, the
        scale is the root of the mean square: every step may pay the same, and has no deviation then
    """

    def __init__(self, centred: bool = True) -> None:
        self.centred, self.count, self.total, self.squares = centred, 0.0, 0.0, 0.0

    def __call__(self, batch: Batch) -> Tensor:
        paid = batch.extras["true_rewards"][batch.mask_BT].double()
        self.count += len(paid)
        self.total += float(paid.sum())
        self.squares += float((paid**2).sum())
        mean = self.total / self.count if self.centred else 0.0
        deviation = max(1e-4, math.sqrt(max(0.0, self.squares / self.count - mean**2)))
        shown = (batch.extras["true_rewards"] - mean) / deviation
        return shown.float().masked_fill(~batch.mask_BT, 0.0)

    def state(self) -> dict[str, float]:
        return {"count": self.count, "total": self.total, "squares": self.squares}

    def restore(self, state: Any) -> None:
        self.count, self.total, self.squares = state["count"], state["total"], state["squares"]


def correlation(scored: Sequence[tuple[Tensor, Batch]]) -> float | None:
    """Pearson's, of a score [B, T] and the true reward over the steps of its batch, or of several together; None where
    one of them is constant, as the reward of a pole that always stands."""
    first = torch.cat([score_BT[batch.mask_BT] for score_BT, batch in scored]).double().numpy()
    second = torch.cat([batch.extras["true_rewards"][batch.mask_BT] for _, batch in scored]).double().numpy()
    if first.std() < 1e-9 or second.std() < 1e-9:
        return None
    return float(np.corrcoef(first, second)[0, 1])
