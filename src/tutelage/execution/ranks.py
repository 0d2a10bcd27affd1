"""Which of several processes of one training this one is, and how they agree.

torchrun starts the processes and sets RANK and WORLD_SIZE. Every rank runs the same code. Rank 0 alone writes the run
folder, prints and talks to trackers; the other ranks read (a resumed run's checkpoints) and raise their own errors.

Decisions to end a run that go through `agree_to_stop`:

    algorithms/ppo.py            the held-out score has passed its peak (--stop-at-peak)
    doctor/watching.py           a disease with which going on is a waste (--on-disease stop and best)
    execution/learner.py         a loss or a gradient norm is not finite
    runs/run.py, record          a metric is not finite
    runs/run.py, steps           the step that a replay was to reach (`verify-resume`)
    training/first_checks.py     the preflight failed
    commands/live.py             as many answers as were wanted are there

Not decisions, so not here: errors of one rank (wrong input, a sampler that disagrees, Ctrl-C, out of memory). That rank
raises and its process ends; torchrun then ends the others, and the run is resumed from its last checkpoint.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from tutelage.data.errors import InputError


def rank() -> int:
    """Of torch.distributed where it is initialized, else of the environment; 0 where nothing is set."""
    distributed = _distributed()
    if distributed is not None:
        return distributed.get_rank()
    found = _environment("RANK", 0, least=0)
    size = _environment("WORLD_SIZE", found + 1, least=1)
    if found >= size:
        raise InputError(f"RANK is {found} and WORLD_SIZE {size}: expected a rank from 0 to {size - 1}.")
    return found


def world_size() -> int:
    """How many ranks there are; from the environment, at least as many as this rank's number needs."""
    distributed = _distributed()
    return distributed.get_world_size() if distributed is not None else _environment("WORLD_SIZE", rank() + 1, least=1)


def is_main_rank() -> bool:
    """Whether this process writes, prints and decides."""
    return rank() == 0


def agree_to_stop(stop: bool) -> bool:
    """Whether every rank stops here: what rank 0 found. Without torch.distributed, what was given.

    All ranks call it at the same place of the same step, or those who do wait for the others.
    """
    return rank_0_decides(stop)


def rank_0_decides(decision: bool) -> bool:
    """What rank 0 gave, on every rank: broadcast where torch.distributed is initialized, else what was given."""
    distributed = _distributed()
    if distributed is None:
        return decision
    found = [decision]
    distributed.broadcast_object_list(found, src=0)
    return found[0]


def wait_for_all_ranks() -> None:
    """Returns when every rank has come here; at once without torch.distributed."""
    distributed = _distributed()
    if distributed is not None:
        distributed.barrier()


def refuse_without_rank_0(reader: str) -> None:
    """InputError on another rank than 0 that cannot wait for rank 0, for work that reads what rank 0 has written."""
    if not is_main_rank() and _distributed() is None:
        raise InputError(
            f"{reader} reads files that rank 0 writes, and RANK is {rank()} here without a torch.distributed group in "
            "which to wait for rank 0. Unset RANK to run it in one process."
        )


def _distributed() -> Any:
    """torch.distributed where a process group is initialized, else None. Nothing is imported for it."""
    module: Any = sys.modules.get("torch.distributed")
    return module if module is not None and module.is_available() and module.is_initialized() else None


def _environment(name: str, default: int, least: int) -> int:
    given = os.environ.get(name, "").strip()
    if not given:
        return default
    if not (given.isascii() and given.isdigit() and int(given) >= least):
        raise InputError(
            f"the environment variable {name} is {given!r:.80}: expected a whole number of {least} or more, as "
            "torchrun sets it. Unset it to run in one process."
        )
    return int(given)
