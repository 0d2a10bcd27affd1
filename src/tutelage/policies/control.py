"""π(a|s) and V(s) of control: two small networks, the policy's and the value's, for buttons and for torques.

Orthogonal weights, gain √2 in hidden layers, 0.01 at the policy's end (so that it starts near uniform) and 1 at the
value's; biases 0; tanh between (Engstrom et al. 2020; Huang et al. 2022, "The 37 implementation details of PPO").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.formulas import likelihood
from tutelage.trajectory import Batch, Evaluation

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Categorical(nn.Module):
    """One of `actions` buttons: π(a|s) = softmax(logits(s))_a.

    observation_size: D, numbers in an observation; width: of the two hidden layers
    scaled: whether observations are brought to mean 0 and deviation 1 first
    """

    def __init__(
        self, observation_size: int, actions: int, *, width: int = 64, seed: int = 0, scaled: bool = False
    ) -> None:
        super().__init__()
        self.scale = Scale(observation_size, scaled)
        generator = torch.Generator().manual_seed(seed)
        self.policy = network([observation_size, width, width, actions], 0.01, generator)
        self.value = network([observation_size, width, width, 1], 1.0, generator)

    def forward(self, batch: Batch) -> Evaluation:
        observations = self.scale(batch.observations)
        logits_NV = self.policy(observations[:, :-1]).flatten(0, 1)
        log_probs_N = likelihood.action_log_probs(logits_NV, batch.actions.flatten())
        entropy_N = likelihood.entropy(logits_NV)
        shape = batch.mask_BT.shape
        values_BS = self.value(observations).squeeze(-1)
        return Evaluation(log_probs_N.view(shape), entropy_N.view(shape), values_BS)

    def noise(self, stream: np.random.Generator) -> np.ndarray:
        """[1] what one action draws from its episode's stream: a uniform."""
        return stream.random(1)

    def noises(self, stream: np.random.Generator, steps: int) -> np.ndarray:
        """[steps, 1] what as many actions draw, one after the other."""
        return stream.random((steps, 1))

    def policy_parameters(self) -> list[nn.Parameter]:
        """Those of π, without those of V."""
        return list(self.policy.parameters())

    def saw(self, observations_ND: Tensor) -> None:
        self.scale.saw(observations_ND)

    def act(self, observations_ND: Tensor, uniforms_N1: Tensor) -> tuple[Tensor, Tensor]:
        """(actions [N] int64, log-probs [N] fp32) by inverse CDF; a row's answer does not depend on its neighbours."""
        log_probs_NV = torch.log_softmax(row_by_row(self.policy, self.scale(observations_ND)), dim=-1)
        cumulative_NV = log_probs_NV.exp().double().cumsum(dim=-1)
        wanted_N1 = uniforms_N1.double() * cumulative_NV[:, -1:]
        actions_N1 = torch.searchsorted(cumulative_NV, wanted_N1, right=True).clamp(max=log_probs_NV.shape[1] - 1)
        return actions_N1[:, 0], log_probs_NV.gather(1, actions_N1)[:, 0]


class Gaussian(nn.Module):
    """K torques: π(a|s) = N(mean(s), diag(deviation²)), the deviation learned and the same in every state.

    The density is over ℝ^K: an environment that clips a torque does so behind the policy's back.
    """

    def __init__(
        self,
        observation_size: int,
        torques: int,
        *,
        width: int = 64,
        deviation: float = 1.0,
        seed: int = 0,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        self.scale = Scale(observation_size, scaled)
        generator = torch.Generator().manual_seed(seed)
        self.policy = network([observation_size, width, width, torques], 0.01, generator)
        self.value = network([observation_size, width, width, 1], 1.0, generator)
        self.log_deviation_K = nn.Parameter(torch.full((torques,), math.log(deviation)))

    def forward(self, batch: Batch) -> Evaluation:
        observations = self.scale(batch.observations)
        log_probs_BT = self.log_density(batch.actions - self.policy(observations[:, :-1]))
        entropy = (self.log_deviation_K + 0.5 + HALF_LOG_TAU).sum()
        return Evaluation(log_probs_BT, entropy.expand_as(log_probs_BT), self.value(observations).squeeze(-1))

    def log_density(self, differences: Tensor) -> Tensor:
        """[..., K] a − mean(s) -> [...] log N(a; mean(s), deviation²), summed over torques."""
        standard = differences * (-self.log_deviation_K).exp()
        return (-0.5 * standard**2 - self.log_deviation_K - HALF_LOG_TAU).sum(dim=-1)

    def noise(self, stream: np.random.Generator) -> np.ndarray:
        """[K] what one action draws from its episode's stream: standard normals."""
        return stream.standard_normal(len(self.log_deviation_K))

    def noises(self, stream: np.random.Generator, steps: int) -> np.ndarray:
        """[steps, K] what as many actions draw, one after the other."""
        return stream.standard_normal((steps, len(self.log_deviation_K)))

    def policy_parameters(self) -> list[nn.Parameter]:
        """Those of π, without those of V."""
        return [*self.policy.parameters(), self.log_deviation_K]

    def saw(self, observations_ND: Tensor) -> None:
        self.scale.saw(observations_ND)

    def act(self, observations_ND: Tensor, normals_NK: Tensor) -> tuple[Tensor, Tensor]:
        """(actions [N, K] fp32, log-probs [N] fp32); a row's answer does not depend on its neighbours."""
        means_NK = row_by_row(self.policy, self.scale(observations_ND))
        actions_NK = means_NK + normals_NK.float() * self.log_deviation_K.exp()
        return actions_NK, self.log_density(actions_NK - means_NK)


class Scale(nn.Module):
    """Brings what is observed to mean 0 and deviation 1 of all that was seen so far, at most `edge` deviations away.

    It moves only where it is told what was seen (a sampler's publish), so that what acted and what learns agree. Off,
    it is the identity.
    """

    def __init__(self, size: int, on: bool = True, edge: float = 10.0) -> None:
        super().__init__()
        self.on, self.edge, self.count = on, edge, 0
        self.mean_D, self.deviation_D = torch.zeros(size), torch.ones(size)
        self.squares_D, self.exact_mean_D = torch.zeros(size).double(), torch.zeros(size).double()

    def forward(self, observations: Tensor) -> Tensor:
        if not self.on or self.count == 0:
            return observations
        return ((observations - self.mean_D) / self.deviation_D).clamp(-self.edge, self.edge)

    def saw(self, observations_ND: Tensor) -> None:
        """Moments of all together (Chan, Golub & LeVeque 1979)."""
        if not self.on:
            return
        new, number = observations_ND.double(), len(observations_ND)
        apart_D = new.mean(dim=0) - self.exact_mean_D
        total = self.count + number
        self.squares_D = self.squares_D + new.var(dim=0, correction=0) * number
        self.squares_D = self.squares_D + apart_D**2 * (self.count * number / total)
        self.exact_mean_D = self.exact_mean_D + apart_D * (number / total)
        self.count = total
        self.mean_D = self.exact_mean_D.float()
        self.deviation_D = (self.squares_D / total).sqrt().clamp(min=1e-4).float()

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.exact_mean_D, "squares": self.squares_D}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.count, self.exact_mean_D, self.squares_D = state["count"], state["mean"], state["squares"]
        if self.count:
            self.mean_D = self.exact_mean_D.float()
            self.deviation_D = (self.squares_D / self.count).sqrt().clamp(min=1e-4).float()


def network(sizes: list[int], last_gain: float, generator: torch.Generator) -> nn.Sequential:
    """Linear layers of these sizes with tanh between."""
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = index == len(sizes) - 2
        linear = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(linear.weight, last_gain if last else math.sqrt(2), generator=generator)
        nn.init.zeros_(linear.bias)
        layers.extend([linear] if last else [linear, nn.Tanh()])
    return nn.Sequential(*layers)


def row_by_row(layers: nn.Sequential, inputs_ND: Tensor) -> Tensor:
    """layers(inputs), each row multiplied by itself.

    A matrix product may round a row otherwise when other rows stand beside it, and a body's motion makes a large
    difference of that; a batch of vector products does not. At these widths it costs no measurable time.
    """
    x = inputs_ND[:, None]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x = torch.bmm(x, layer.weight.T.expand(len(x), -1, -1)) + layer.bias
        else:
            x = layer(x)
    return x[:, 0]
