"""Stages of a pipeline, one after the other, and how far a policy has moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from tutelage.formulas import kl
from tutelage.policies.language import LanguagePolicy, exact_kl
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, in_parts


def run_stages(todo: Mapping[str, Callable[[Run], dict[str, Any]]], run: Run) -> None:
    """Every stage that is not finished yet, in order; each leaves its results and its seconds in its own summary."""
    for name, act in todo.items():
        stage = run.stage(name)
        if not stage.finished:
            began = time.monotonic()
            stage.mark_finished({**act(stage), "seconds": time.monotonic() - began})


@torch.no_grad()
def sequence_kl(
    policy: LanguagePolicy, reference: LanguagePolicy, batch: Batch, tokens_at_once: int = 1024
) -> dict[str, float]:
    """Mean KL of a reply over the policy's own replies, in nats: as it was sampled, and exactly at the states visited.

    kl_nats_per_sequence: Σ_t (log π − log π_ref); kl_nats_per_sequence_exact: Σ_t over the whole vocabulary
    """

    def both(part: Batch) -> tuple[Tensor, ...]:
        return kl.k1(policy.log_probs(part), reference.log_probs(part)), exact_kl(policy, reference, part)

    sampled_BT, exact_BT = in_parts(both, batch, tokens_at_once)
    mean = {name: float(each.sum(dim=1).mean()) for name, each in (("", sampled_BT), ("_exact", exact_BT))}
    return {f"kl_nats_per_sequence{name}": value for name, value in mean.items()}
