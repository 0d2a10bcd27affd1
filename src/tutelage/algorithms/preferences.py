"""Learning a reward from comparisons of clips (Christiano et al. 2017, §2.2).

    P̂[σ¹ ≻ σ²] = σ(Σ r̂(σ¹) − Σ r̂(σ²))      loss −Σ μ1 log P + μ2 log(1 − P),  P = 0.9 P̂ + 0.05

Every member learns from its own |D| draws with replacement; what it did not draw, about 1/e, is held out for it and
moves its ℓ2 coefficient. Answers come in blocks, and each block is drawn once, when it comes: what is held out for a
member stays held out. The formula of the answers is the one that language models' rewards learn by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tutelage.formulas import intervals, preference, regularisation
from tutelage.rewards.control import RewardEnsemble
from tutelage.trajectory import Learner, Sums

DRAW, BATCH = 0xB007, 0xBA7C  # keep the two uses of the seed apart


@dataclass(frozen=True)
class PreferenceConfig:
    """Settings of the reward learner.

    members, width: of the ensemble; batch_size: pairs a member sees an update
    first_updates: before the policy's first step; updates: after every block of answers that comes later
    objective: comparisons, or (an ablation) the clips' true returns by least squares
    held_back: whether weights are (ℓ2, adapted); l2: where the coefficient starts
    error_fraction: share of answers that is taken to be random
    """

    members: int = 3
    width: int = 64
    learning_rate: float = 1e-3
    batch_size: int = 48
    first_updates: int = 300
    updates: int = 30
    objective: Literal["comparisons", "returns"] = "comparisons"
    held_back: bool = True
    l2: float = 1e-4
    error_fraction: float = 0.1
    max_grad_norm: float = 10.0
    seed: int = 0


@dataclass(frozen=True)
class Pairs:
    """Answered pairs of clips, as many in each row as there are members. Rows for a `Learner`.

    clips: [B, M, 2, L, I] inputs of the steps; target_BM: [B, M] P(first preferred); returns: [B, M, 2] true returns
    """

    clips: Tensor
    target_BM: Tensor
    returns: Tensor

    @property
    def lengths_B(self) -> Tensor:
        return torch.full((len(self),), self.clips.shape[3])

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def weight(self) -> float:
        return float(len(self))

    def select(self, indices: Sequence[int] | Tensor) -> Pairs:
        rows = torch.as_tensor(indices)
        return Pairs(self.clips[rows], self.target_BM[rows], self.returns[rows])


@dataclass
class Answers:
    """All that was answered: D. clips: [N, 2, L, I]; target_N: [N]; returns: [N, 2]; drawn_MN: [M, N] times that a
    member drew an answer, 0: held out for it."""

    clips: Tensor
    target_N: Tensor
    returns: Tensor
    drawn_MN: Tensor

    @staticmethod
    def none(members: int, steps: int, inputs: int) -> Answers:
        shape = torch.zeros(0, 2, steps, inputs)
        return Answers(shape, torch.zeros(0), torch.zeros(0, 2), torch.zeros(members, 0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.target_N)


def bootstrap(members: int, count: int, chance: np.random.Generator) -> np.ndarray:
    """[M, count] how often each member drew each of `count` answers in as many draws with replacement."""
    return np.stack([np.bincount(chance.integers(count, size=count), minlength=count) for _ in range(members)])


@dataclass
class RewardLearner:
    """The ensemble with its answers and its optimiser.

    coefficients_M: the members' ℓ2; return_deviation: of the first block's true returns, the unit of `returns`
    """

    config: PreferenceConfig
    ensemble: RewardEnsemble
    learner: Learner
    answers: Answers
    coefficients_M: list[float] = field(default_factory=list)
    updates: int = 0
    return_deviation: float = 0.0

    def __post_init__(self) -> None:
        self.coefficients_M = self.coefficients_M or [self.config.l2] * self.ensemble.members

    def take(self, clips: Tensor, target_N: Tensor, returns: Tensor) -> None:
        """A block of new answers: clips [n, 2, L, I], P(first preferred) [n], true returns [n, 2]."""
        mine = self.answers
        self.return_deviation = self.return_deviation or max(1e-6, float(returns.std(correction=0)))
        chance = np.random.default_rng([self.config.seed, DRAW, len(mine)])
        drawn_MN = torch.from_numpy(bootstrap(self.ensemble.members, len(target_N), chance))
        self.answers = Answers(
            torch.cat([mine.clips, clips]),
            torch.cat([mine.target_N, target_N]),
            torch.cat([mine.returns, returns / self.return_deviation]),
            torch.cat([mine.drawn_MN, drawn_MN], dim=1),
        )

    def learn(self, updates: int) -> dict[str, float]:
        """So many updates, then the ℓ2 coefficients and the scale; what was found."""
        loss = partial(pairs_loss, self.config, self.ensemble, torch.tensor(self.coefficients_M))
        found: dict[str, float] = {}
        drawn = [np.repeat(np.arange(len(self.answers)), each) for each in self.answers.drawn_MN.numpy()]
        for _ in range(updates):
            chance = np.random.default_rng([self.config.seed, BATCH, self.updates])
            places_BM = np.stack([chance.choice(each, self.config.batch_size) for each in drawn], axis=1)
            found = self.learner.update(self.pairs(torch.from_numpy(places_BM)), loss)
            self.updates += 1
        return {"reward_model_loss": found["loss"], **self.adapt()}

    def pairs(self, places_BM: Tensor) -> Pairs:
        mine = self.answers
        return Pairs(mine.clips[places_BM], mine.target_N[places_BM], mine.returns[places_BM])

    @torch.no_grad()
    def adapt(self) -> dict[str, float]:
        """Moves every member's ℓ2 by its own held-out answers, and its scale to the clips that were asked about; mean
        losses and the held-out accuracy over members."""
        mine = self.answers
        rewards_MN2L = self.ensemble(mine.clips)
        self.ensemble.normalise(rewards_MN2L.flatten(1))
        sums_MN2 = rewards_MN2L.sum(dim=-1)
        # less what nobody could save: a tie costs ln 2 at best, and where many tie, that would hide every difference
        terms_MN = terms(self.config, sums_MN2, mine.target_N, mine.returns) - self.unavoidable_N()
        drawn_MN, held_MN = mine.drawn_MN.double(), (mine.drawn_MN == 0).double()
        train_M = (terms_MN * drawn_MN).sum(dim=1) / drawn_MN.sum(dim=1).clamp(min=1)
        held_M = (terms_MN * held_MN).sum(dim=1) / held_MN.sum(dim=1).clamp(min=1)
        if self.config.held_back:
            self.coefficients_M = [
                regularisation.adapted(mine_now, held, train) if few > 0 else mine_now
                for mine_now, held, train, few in zip(
                    self.coefficients_M, held_M.tolist(), train_M.tolist(), held_MN.sum(dim=1).tolist(), strict=True
                )
            ]
        decided_N = mine.target_N != 0.5
        right_MN = ((sums_MN2[..., 0] > sums_MN2[..., 1]) == (mine.target_N > 0.5)).double()
        counted_MN = held_MN * decided_N
        return {
            "reward_model_held_out_loss": float(held_M.mean()),
            **held_out_accuracy(right_MN, counted_MN),
            "reward_model_held_out_fraction": float(held_MN.mean()),
            "reward_model_l2": float(np.mean(self.coefficients_M)),
        }

    def unavoidable_N(self) -> Tensor:
        """[N] the entropy of what was answered: 0 for a choice, ln 2 for a tie."""
        if self.config.objective == "returns":
            return torch.zeros_like(self.answers.target_N)
        target_N = self.answers.target_N
        return -(torch.xlogy(target_N, target_N) + torch.xlogy(1 - target_N, 1 - target_N))

    def state(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state(),
            "answers": vars(self.answers),
            "coefficients": list(self.coefficients_M),
            "updates": self.updates,
            "return_deviation": self.return_deviation,
            "mean": self.ensemble.mean_M,
            "deviation": self.ensemble.deviation_M,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.learner.restore(state["learner"])
        self.answers = Answers(**state["answers"])
        self.coefficients_M, self.updates = list(state["coefficients"]), state["updates"]
        self.return_deviation = state["return_deviation"]
        self.ensemble.mean_M, self.ensemble.deviation_M = state["mean"], state["deviation"]


def terms(config: PreferenceConfig, sums_MN2: Tensor, target_N: Tensor, returns_N2: Tensor) -> Tensor:
    """[M, N] what each answer costs each member, from the sums of its rewards over both clips."""
    if config.objective == "returns":
        return (sums_MN2 - returns_N2).square().mean(dim=-1)
    first, second = sums_MN2[..., 0], sums_MN2[..., 1]
    return preference.floored(first, second, target_N, config.error_fraction)


def pairs_loss(config: PreferenceConfig, ensemble: RewardEnsemble, coefficients_M: Tensor, part: Pairs) -> Sums:
    """Summed over pairs and members; every pair carries its share of the ℓ2 term."""
    rows, members, _, steps, inputs = part.clips.shape
    flat_MNI = part.clips.transpose(0, 1).reshape(members, rows * 2 * steps, inputs)
    sums_MB2 = ensemble.apart(flat_MNI).view(members, rows, 2, steps).sum(dim=-1)
    terms_MB = terms(config, sums_MB2, part.target_BM.T, part.returns.transpose(0, 1))
    held = (coefficients_M * ensemble.squared_weights_M()).sum() * rows if config.held_back else 0.0
    return {"loss": terms_MB.sum() + held, "fit": terms_MB.detach().sum() / members}


def held_out_accuracy(right_MN: Tensor, counted_MN: Tensor) -> dict[str, float]:
    """Share of the held-out answers that members predict, with its interval over answers; nothing where there are none.

    right_MN: whether member m predicts answer n; counted_MN: whether m did not draw it, and it was no tie
    """
    members, answers = np.nonzero(counted_MN.cpu().numpy())
    if not len(answers):
        return {}
    found = intervals.share(right_MN.cpu().numpy()[members, answers], answers).row("reward_model_held_out_accuracy")
    return {name: float(value) for name, value in found.items() if value is not None}
