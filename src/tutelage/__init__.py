"""Reinforcement learning from human feedback, the whole loop: docs/tour.md walks through the rooms in reading order."""

__version__ = "0.1.0"
