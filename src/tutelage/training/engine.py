"""Who samples and who learns: factories, handed in, so that nothing else says where a run computes.

`LOCAL` does both in this process. An engine for a cluster is another record of three functions, and every command and
recipe takes it: `Run.engine`, or the `engine` of `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from tutelage.data.errors import InputError
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.training.factories import call_factory, require
from tutelage.trajectory import Learner, Sampler


class MakeLearner(Protocol):
    """(named groups of (parameters, learning rate), ...) -> a learner; see `execution.learner.LocalLearner`."""

    def __call__(
        self,
        groups: Mapping[str, tuple[Iterable[nn.Parameter], float]],
        *,
        schedule: Callable[[int], float] = ...,
        max_grad_norm: float = ...,
        tokens_at_once: int = ...,
        adam_epsilon: float = ...,
    ) -> Learner: ...


MakeTextSampler = Callable[[Any, Sequence[int], int, SamplingSettings], Sampler]
"""(policy, stop tokens, seed, settings) -> a sampler of text environments; see `execution.native.NativeSampler`."""


class MakeControlSampler(Protocol):
    """(policy, seed, piece: steps of a trajectory or None) -> a sampler of control environments."""

    def __call__(self, policy: Any, seed: int, *, piece: int | None = None) -> Sampler: ...


@dataclass(frozen=True)
class Engine:
    """Three factories. Their products are checked where they are used: InputError names what a product lacks.

    make_control_sampler: None: `training.control` samples in this process (text needs none of its code)
    """

    make_learner: MakeLearner = LocalLearner
    make_text_sampler: MakeTextSampler = NativeSampler
    make_control_sampler: MakeControlSampler | None = None

    def __post_init__(self) -> None:
        for name in ("make_learner", "make_text_sampler"):
            if not callable(getattr(self, name)):
                raise InputError(f"the engine's {name} is {getattr(self, name)!r:.80}; expected a function.")

    def learner(self, *arguments: Any, **settings: Any) -> Learner:
        made = call_factory(self.make_learner, "make_learner", *arguments, **settings)
        return require(made, "make_learner", ("update", "state", "restore"))

    def text_sampler(self, policy: Any, stop_tokens: Sequence[int], seed: int, settings: SamplingSettings) -> Sampler:
        made = call_factory(self.make_text_sampler, "make_text_sampler", policy, stop_tokens, seed, settings)
        return require(made, "make_text_sampler", ("sample", "publish"))


LOCAL = Engine()


def engine_of(run: Any) -> Engine:
    """The engine that was handed to a run, or this process."""
    return getattr(run, "engine", None) or LOCAL
