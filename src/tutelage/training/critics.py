"""π and V of models that may have no V: whoever reads a batch the same way for every algorithm asks here."""

from __future__ import annotations

from typing import Any

from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import ActorCritic, Batch, Evaluation


def with_values(models: Any) -> ActorCritic:
    """The critic, or the policy with V ≡ 0 where the algorithm has none. models: `training.models.LanguageModels`."""
    return models.critic if models.critic is not None else WithoutCritic(models.policy)


class WithoutCritic:
    """An `ActorCritic` of a policy alone: log-probs and entropies are its own, every value is 0."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy = policy

    def __call__(self, batch: Batch) -> Evaluation:
        log_probs_BT, entropy_BT = self.policy.evaluate(self.policy.states(batch), batch)
        values_BS = log_probs_BT.new_zeros((len(batch), batch.mask_BT.shape[1] + 1))
        return Evaluation(log_probs_BT, entropy_BT, values_BS, self.policy.numerics.rounding)
