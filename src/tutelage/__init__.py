"""Reinforcement learning from human feedback, the whole loop: docs/tour.md walks through the rooms in reading order."""

import os
from collections.abc import MutableMapping

__version__ = "0.1.0"

KERNELS = {"cpu": "tutelage.execution.cpu.kernels:CpuKernels", "plain": "tutelage.models.kernels:Kernels"}
"""What TUTELAGE_KERNELS may name. It is here because models/kernels.py, which reads it, may not import execution/."""

# Linux hands out a gradient over a large vocabulary in 4 KiB pages, and clearing them costs more than the sums do.
# torch asks for large pages where this is set before its first tensor; no number changes.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

SPIN_COUNT = 2000
"""Turns that an idle thread of GNU OpenMP checks whether there is work before it sleeps (GOMP_SPINCOUNT)."""


def bound_spinning(environment: MutableMapping[str, str]) -> None:
    """Sets GOMP_SPINCOUNT in `environment`, unless the user has set it or OMP_WAIT_POLICY.

    The threads of torch and scikit-learn wait for each other at the end of every loop. GNU OpenMP lets them check
    300,000 times before they sleep, milliseconds in which they hold a core; where another process needs that core, the
    thread that all wait for does not run, and training takes ten to twenty times as long. A few thousand turns still
    cover the wait between two loops on a quiet machine. No number that is computed changes.

    GNU OpenMP reads the variable when it is loaded, so it must be set before torch is imported; processes that are
    started from this one inherit it.
    """
    if not environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        environment["GOMP_SPINCOUNT"] = str(SPIN_COUNT)


bound_spinning(os.environ)
