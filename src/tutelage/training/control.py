"""Models of control: a policy that is its own critic, on a body."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from safetensors.torch import save_file
from torch import Tensor

from tutelage.execution.together import TogetherSampler
from tutelage.runs.run import Run
from tutelage.training.engine import Engine
from tutelage.training.factories import call_factory, require
from tutelage.training.models import Models
from tutelage.trajectory import Batch, Sampler


@dataclass(frozen=True)
class ControlModels(Models):
    """A policy of control (`policies.control`), saved with the scale of its observations.

    piece: steps of a trajectory that is learned from (`execution.together`); None leaves episodes whole
    """

    piece: int | None = None

    acts_in: ClassVar[tuple[str, ...]] = ("episodes", "horizon")

    def make_sampler(self, engine: Engine, seed: int) -> Sampler:
        make = engine.make_control_sampler or TogetherSampler
        made = call_factory(make, "make_control_sampler", self.policy, seed, piece=self.piece)
        return require(made, "make_control_sampler", ("sample", "publish"))

    def save(self, run: Run) -> None:
        """RUN/policy.safetensors."""
        save_file(weights(self.policy), run.path / "policy.safetensors")


def unmoved(batch: Batch) -> Tensor:
    """The reference is whatever acted: nothing holds the policy back."""
    return batch.behaviour_log_probs_BT


def weights(policy: Any) -> dict[str, Tensor]:
    """The policy and its scale of observations."""
    moments = {"scale.mean": policy.scale.mean_D, "scale.deviation": policy.scale.deviation_D}
    return {**policy.state_dict(), **moments}
