"""An engine that counts what a run computes: operations and tokens drawn, also over an interruption."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tutelage.models.flops import COUNT, FlopCount, count_tokens, pause_count
from tutelage.runs.run import Run
from tutelage.training.engine import Engine
from tutelage.trajectory import Batch, Environment, Key, Learner, Sampler, Sums


def make_counting_engine(engine: Engine, run: Run) -> Engine:
    """The engine, whose learner and text sampler count within `models.flops.count_flops` and note it in every record
    of the run: `flops`, `tokens_sampled`, both since its beginning."""

    def make_learner(*arguments: Any, **settings: Any) -> Learner:
        return FlopCountingLearner(engine.learner(*arguments, **settings), run)

    def make_text_sampler(policy: Any, *arguments: Any) -> Sampler:
        return FlopCountingSampler(engine.text_sampler(policy, *arguments), policy, run)

    return replace(engine, make_learner=make_learner, make_text_sampler=make_text_sampler)


@dataclass(frozen=True)
class FlopCountingSampler:
    """A sampler of text. Every token of an episode passes once through the model, and once more through the copy that a
    mask asks (NLPO). A prompt that several episodes share is counted for each of them."""

    sampler: Sampler
    policy: Any
    run: Run

    @torch.no_grad()
    def sample(self, environment: Environment, keys: Sequence[Key]) -> Batch:
        with pause_count():  # what a sampler reads to check its cache is no part of the rule
            batch = self.sampler.sample(environment, keys)
        tokens = int(batch.lengths_B.sum())
        count_tokens(self.policy.model, tokens, sampled=int(batch.mask_BT.sum()))
        if "support" in batch.extras and self.policy.masking is not None:
            count_tokens(self.policy.model, tokens)
        note_count(self.run)  # a step may have nothing to learn from
        return batch

    def publish(self) -> None:
        self.sampler.publish()


@dataclass(frozen=True)
class FlopCountingLearner:
    """A learner that keeps the count in its state."""

    learner: Learner
    run: Run

    def update(self, rows: Any, loss: Callable[[Any], Sums]) -> dict[str, float]:
        found = self.learner.update(rows, loss)
        note_count(self.run)
        return found

    def state(self) -> Mapping[str, Any]:
        count = current_count()
        return {"learner": self.learner.state(), "flops": count.flops, "tokens_sampled": count.tokens_sampled}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.learner.restore(state["learner"])
        count = current_count()
        count.flops, count.tokens_sampled = float(state["flops"]), int(state["tokens_sampled"])


def note_count(run: Run) -> None:
    count = current_count()
    run.note(flops=count.flops, tokens_sampled=float(count.tokens_sampled))


def current_count() -> FlopCount:
    count = COUNT.get()
    if count is None:
        raise ValueError("a counting engine is used within models.flops.count_flops")
    return count
