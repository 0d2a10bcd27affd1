"""Room on the disk for what a run writes, looked at before its first step."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

from torch import nn

from tutelage.data.errors import InputError
from tutelage.execution.ranks import agree_to_stop, is_main_rank
from tutelage.runs.run import Run

CHECKPOINT = 12  # bytes of a weight that learns: the weight and AdamW's two moments, fp32


def refuse_full_disk(models: Any, config: Any, run: Run) -> None:
    """InputError where the disk of the run's folder has no room for one checkpoint and the model.

    models: `training.models.Models`; config: the algorithm's settings
    """
    groups = models.parameter_groups(config).values()
    checkpoint = CHECKPOINT * _learning([each for parameters, _ in groups for each in parameters])
    model, free = bytes_to_save(models.policy), shutil.disk_usage(run.path).free if is_main_rank() else 0
    full = is_main_rank() and model + checkpoint > free
    if agree_to_stop(full):
        raise InputError(
            f"no space for the run in {run.path}: its model takes {model / 2**30:.2f} GiB and a checkpoint "
            f"{checkpoint / 2**30:.2f} GiB, and {free / 2**30:.2f} GiB are free on that disk. Free some, or give "
            "another --out."
        )


def bytes_to_save(policy: nn.Module) -> int:
    """Of the model's folder: every weight once, or those of a LoRA adapter alone."""
    adapter = hasattr(getattr(policy, "model", policy), "peft_config")
    return sum(each.numel() * each.element_size() for each in policy.parameters() if each.requires_grad or not adapter)


def _learning(parameters: Iterable[nn.Parameter]) -> int:
    return sum(each.numel() for each in parameters if each.requires_grad)
