"""A run of a language model, looked at as it goes: samples, a probe, how likely the demonstrations still are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tutelage.evaluation.diversity import alike
from tutelage.policies.language import LanguagePolicy
from tutelage.runs.run import Run
from tutelage.training.callbacks import Callbacks
from tutelage.training.models import with_values
from tutelage.training.probe import Probe, probe_keys, steps_between
from tutelage.training.token_rows import with_tokens
from tutelage.trajectory import Batch, Task, in_parts, parts_by_length


def monitor(config: Any, task: Task, parts: Any, callbacks: Callbacks, run: Run) -> Task:
    """The task, whose score shows every batch to what stands beside, and keeps samples with the numbers of their
    tokens. parts: `training.train.Parts` of a language model."""
    models, samples = parts.models, list[Mapping[str, Any]]()
    environment: Any = task.environment
    probe = Probe(
        keys=probe_keys(environment, callbacks.probes),
        every=steps_between(config, callbacks.probes),
        last=config.steps - 1,
        sampler=parts.sampler,
        environment=environment,
        score=task.score,
        critic=with_values(models),
        reference=models.reference or models.policy.log_probs,
        codec=models.speaker.codec,
        tokens_at_once=config.tokens_at_once,
    )

    def score(batch: Batch) -> Tensor:
        step = batch.keys[0].step
        if probe.is_due(step):
            run.keep_samples(step, probe.rows())
            run.lap("probe")
        score_BT = task.score(batch)
        run.note(**alike(models.speaker.codec.prompts_and_responses(batch)[1]))
        run.note(padding_fraction=padding_fraction(batch.lengths_B, config.tokens_at_once))
        if callbacks.demonstrations is not None and step % LOOKED_BACK == 0:
            run.note(demonstration_loss=surprise(models.policy, callbacks.demonstrations, config.tokens_at_once))
        samples[:] = callbacks.samples(step, batch, score_BT)
        return score_BT

    def learned(targets: Batch) -> None:
        if task.learned is not None:
            task.learned(targets)
        if samples:
            run.keep_samples(targets.keys[0].step, with_tokens(models.speaker.codec, targets, samples))

    return replace(task, score=score, learned=learned)


def padding_fraction(lengths_B: Tensor, tokens_at_once: int) -> float:
    """The share of the tokens read in micro-batches that are padding: 1 − Σ (T_b + 1) / Σ rows · (longest + 1)."""
    parts = [lengths_B[rows] + 1 for rows in parts_by_length(lengths_B, tokens_at_once)]
    return 1.0 - int(lengths_B.add(1).sum()) / sum(len(each) * int(each.max()) for each in parts)


LOOKED_BACK = 5  # steps between looks at the demonstrations, each of which is a forward pass


@torch.no_grad()
def surprise(policy: LanguagePolicy, batch: Batch, tokens_at_once: int = 1024) -> float:
    """−log π of written actions, nats an action."""
    (log_probs_BT,) = in_parts(lambda part: (policy.log_probs(part),), batch, tokens_at_once)
    return -float(log_probs_BT.masked_fill(~batch.mask_BT, 0.0).sum()) / batch.weight
