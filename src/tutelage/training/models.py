"""What `train` trains: a policy with its critic and its reference, or a reward model with its objective."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import nn

from tutelage.algorithms.algorithm import Algorithm
from tutelage.data.errors import InputError
from tutelage.models.causality import remember_as_loaded
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, SharedCritic, ValueModel
from tutelage.runs.run import Run
from tutelage.training.engine import Engine
from tutelage.training.speaker import Speaker
from tutelage.trajectory import ActorCritic, Batch, Evaluation, LogProbs, Sampler

Groups = Mapping[str, tuple[list[nn.Parameter], float]]
"""Name of a group of parameters -> (its parameters, its learning rate)."""


@dataclass(frozen=True)
class Models:
    """Modules that learn, with what they need. Who acts says by which sampler: `LanguageModels`, `ControlModels`.

    policy: what samples and learns: an nn.Module, called with a batch; `policy_parameters()` where it holds V(s), too
    critic: π and V together, an `ActorCritic`; the policy itself, where that is one; None: there is none
    reference: `LogProbs` of the policy as it was; None: an algorithm that needs one gets a frozen copy
    """

    policy: Any
    critic: Any = None
    reference: Any = None

    warm_up: ClassVar[int] = 0
    acts_in: ClassVar[tuple[str, ...]] = ()  # what its environments have

    def parameter_groups(self, config: Any) -> Groups:
        """The policy's and the critic's parameters; those that both share learn at the policy's rate."""
        own = list(getattr(self.policy, "policy_parameters", self.policy.parameters)())
        groups = {"policy": (own, config.learning_rate)}
        if self.critic is not None:
            shared = set(own)
            value = [each for each in getattr(self.critic, "parameters", list)() if each not in shared]
            groups["value"] = (value, config.value_learning_rate)
        return groups

    def make_sampler(self, engine: Engine, seed: int) -> Sampler:
        """Of episodes of the current policy."""
        raise InputError(f"{type(self).__name__} do not say how they act, so they learn from given rows only.")

    def make_reference(self) -> LogProbs:
        """The policy as it is now."""
        frozen = copy.deepcopy(self.policy).requires_grad_(False)

        def log_probs(batch: Any) -> Any:
            return frozen(batch).log_probs_BT

        return log_probs

    def fitted_to(self, algorithm: Algorithm) -> Self:
        """With what the algorithm needs, without the critic and the reference that it does not."""
        if algorithm.critic and self.critic is None:
            raise InputError(f"{algorithm.name} needs a critic, and these models have none: give `critic`.")
        reference = (self.reference or self.make_reference()) if algorithm.reference else None
        return replace(self, critic=self.critic if algorithm.critic else None, reference=reference)

    def save(self, run: Run) -> None:
        """Nothing: whoever knows what kind of policy it is keeps it."""


@dataclass(frozen=True)
class LanguageModels(Models):
    """A language model. Make one by `language_models`.

    speaker: the policy, its codec, how it is sampled
    """

    speaker: Speaker | None = None

    warm_up: ClassVar[int] = 10
    acts_in: ClassVar[tuple[str, ...]] = ("episode",)

    def make_sampler(self, engine: Engine, seed: int) -> Sampler:
        speaker = self.speaker
        assert speaker is not None
        return engine.text_sampler(speaker.policy, speaker.stop_tokens, seed, speaker.sampling)

    def make_reference(self) -> LogProbs:
        return Frozen(self.policy)

    def save(self, run: Run) -> None:
        """RUN/model."""
        assert self.speaker is not None
        remember_as_loaded(self.policy.model)
        self.speaker.save(run)


def language_models(speaker: Speaker, critic: ActorCritic | None = None) -> LanguageModels:
    return LanguageModels(speaker.policy, critic, speaker=speaker)


def critic_of(policy: LanguagePolicy, classifier: Any | None) -> SeparateCritic | SharedCritic:
    """A value model started from the reward model, or a head on the policy where there is none."""
    if classifier is None:
        return SharedCritic(policy)
    whole = copy.deepcopy(classifier)  # of an adapter on the policy's weights, these too, with the adapter merged in
    whole = whole.merge_and_unload() if hasattr(whole, "peft_config") else whole
    return SeparateCritic(policy, ValueModel(whole.requires_grad_(True), policy.numerics))


def with_values(models: Models) -> ActorCritic:
    """The critic, or the policy with V ≡ 0 where the algorithm has none."""
    return models.critic if models.critic is not None else WithoutCritic(models.policy)


class WithoutCritic:
    """An `ActorCritic` of a policy alone: log-probs and entropies are its own, every value is 0."""

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy = policy

    def __call__(self, batch: Batch) -> Evaluation:
        log_probs_BT, entropy_BT = self.policy.evaluate(self.policy.states(batch), batch)
        values_BS = log_probs_BT.new_zeros((len(batch), batch.mask_BT.shape[1] + 1))
        return Evaluation(log_probs_BT, entropy_BT, values_BS, self.policy.numerics.rounding)
