"""Reinforcement learning from human feedback, the whole loop: docs/tour.md walks through the rooms in reading order."""

import os

__version__ = "0.1.0"

KERNELS = {"cpu": "tutelage.execution.cpu.kernels:CpuKernels", "plain": "tutelage.models.kernels:Kernels"}
"""What TUTELAGE_KERNELS may name. It is here because models/kernels.py, which reads it, may not import execution/."""

# Linux hands out a gradient over a large vocabulary in 4 KiB pages, and clearing them costs more than the sums do.
# torch asks for large pages where this is set before its first tensor; no number changes.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
