"""The reward that a policy implies, β (log π(y|x) − log π_ref(y|x)), of rows that are given (Rafailov et al. 2023).

The reference's log-probs are computed once before training and kept: no second model stays in memory. The reference is
the policy as training finds it, so a new adapter is off in it, and one that has learned is part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from tutelage.algorithms.reward_losses import agreement
from tutelage.data.judgements import Judgements
from tutelage.formulas import masked, preference
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, LogProbs, in_parts, parts_by_length

REFERENCE = "reference_log_probs"  # the extra of a batch


def with_reference(policy: LogProbs, batch: Batch, steps_at_once: int, run: Run, name: str = "reference") -> Batch:
    """The batch with the policy's log-probs [B, T] as they are now as the extra REFERENCE.

    Call it before `run.steps`, which restores what a checkpoint learned. name: of the piece of the run that keeps them,
    so that a resumed run reads them instead of computing them again
    """

    def read() -> dict[str, Tensor]:
        with torch.no_grad():
            (log_probs_BT,) = in_parts(lambda part: (policy(part),), batch, steps_at_once)
        return {"log_probs": log_probs_BT.cpu()}

    kept = run.piece(name, read)["log_probs"]
    return batch.with_extras(**{REFERENCE: kept.to(batch.mask_BT.device)})


def log_ratios(policy: LogProbs, batch: Batch) -> tuple[Tensor, Tensor]:
    """([B] log π(y|x), [B] log π(y|x) − log π_ref(y|x)) in nats, summed over the actions of each row.

    The second is subtracted action by action, which loses fewer digits. Without a kept reference it is the first.
    """
    log_probs_BT = masked.kept(policy(batch), batch.mask_BT)
    said_B = log_probs_BT.sum(dim=1)
    if REFERENCE not in batch.extras:
        return said_B, said_B
    return said_B, (log_probs_BT - masked.kept(batch.extras[REFERENCE], batch.mask_BT)).sum(dim=1)


def describe_pairs(part: Judgements, rewards_NK: Tensor, log_probs_NK: Tensor) -> dict[str, Tensor]:
    """[N] each, means over a question's judged pairs. In a tie both replies are half chosen and half rejected."""

    def of_side(values_NK: Tensor, better: bool) -> Tensor:
        def term(first: Tensor, second: Tensor, target: Tensor) -> Tensor:
            share = target if better else 1 - target
            return share * first + (1 - share) * second

        return preference.pairs(values_NK, part.preferred_NKK, term=term)

    chosen_N, rejected_N = of_side(rewards_NK, True), of_side(rewards_NK, False)
    return {
        "accuracy": agreement(rewards_NK, part),
        "rewards_chosen": chosen_N,
        "rewards_rejected": rejected_N,
        "rewards_margins": chosen_N - rejected_N,
        "log_probs_chosen": of_side(log_probs_NK, True),
        "log_probs_rejected": of_side(log_probs_NK, False),
    }


@torch.no_grad()
def measure(
    terms: Callable[[Judgements], Mapping[str, Tensor]], judgements: Judgements, steps_at_once: int
) -> dict[str, Tensor]:
    """[N] on the CPU of every question, in their order, of what `terms` gives for a part of them."""
    found = dict[str, Tensor]()
    for rows in parts_by_length(judgements.lengths_B, steps_at_once):
        for name, each_N in terms(judgements.select(rows)).items():
            whole_N = found.setdefault(name, torch.zeros(len(judgements), dtype=torch.float64))
            whole_N[rows.cpu()] = each_N.double().cpu()
    return found
