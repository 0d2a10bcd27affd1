"""Samples control in this process: tau ~ pi, step by step, many episodes at once.

Every step asks the policy once, for all episodes that still run, and then each environment. Read it beside `native.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.execution.native import stream
from tutelage.trajectory import Batch, Environment, Episode, Finish, Key, Step, Trajectory


class Actor(Protocol):
    """A policy that acts on single observations; the noise is the caller's, so that every episode has its own."""

    def noise(self, stream: np.random.Generator) -> np.ndarray: ...

    def act(self, observations: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass
class Row:
    """One episode while it is being sampled."""

    episode: Episode
    stream: np.random.Generator
    observations: list[Any]
    actions: list[np.ndarray] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    finish: Finish | None = None

    def take(self, action: np.ndarray, log_prob: float, step: Step, steps_at_most: int | None) -> None:
        """Note what was done and how the environment answered."""
        if not math.isfinite(step.reward):
            raise FloatingPointError(f"the environment paid {step.reward} at step {len(self.actions)}")
        self.observations.append(step.observation)
        self.actions.append(action)
        self.log_probs.append(log_prob)
        self.rewards.append(step.reward)
        self.finish = step.finish
        if self.finish is None and len(self.actions) == steps_at_most:
            self.finish = Finish.TRUNCATED

    def trajectory(self, key: Key, device: torch.device) -> Trajectory:
        assert self.finish is not None
        return Trajectory(
            observations=torch.from_numpy(np.stack(self.observations)).to(device),
            actions=torch.from_numpy(np.stack(self.actions)).to(device),
            mask_T=torch.ones(len(self.actions), dtype=torch.bool, device=device),
            behaviour_log_probs_T=torch.tensor(self.log_probs, dtype=torch.float32, device=device),
            rewards_T=torch.tensor(self.rewards, dtype=torch.float32, device=device),
            finish=self.finish,
            key=key,
        )


class StepwiseSampler:
    """Reads the very weights that learn, so publishing has nothing to send.

    policy: both an Actor and the module that learns
    steps_at_most: an episode longer than this is truncated; None leaves that to the environment's own limit
    episodes_at_once: how many advance together (memory against speed)
    """

    def __init__(
        self, policy: Any, seed: int, *, steps_at_most: int | None = None, episodes_at_once: int = 256
    ) -> None:
        self.policy: Actor = policy
        self.seed, self.steps_at_most, self.episodes_at_once = seed, steps_at_most, episodes_at_once
        self.device = next(policy.parameters()).device if isinstance(policy, nn.Module) else torch.device("cpu")

    def publish(self) -> None:
        """Nothing to send: the weights are shared."""

    @torch.no_grad()
    def sample(self, environment: Environment, keys: Sequence[Key]) -> Batch:
        """One episode for every key, in their order."""
        trajectories = []
        for start in range(0, len(keys), self.episodes_at_once):
            some = keys[start : start + self.episodes_at_once]
            rows = []
            for key in some:
                episode = environment.episode(key)
                rows.append(Row(episode, stream(self.seed, key), [episode.first]))
            self._finish(rows)
            trajectories.extend(row.trajectory(key, self.device) for row, key in zip(rows, some, strict=True))
        return Batch.of(trajectories)

    def _finish(self, rows: list[Row]) -> None:
        """Run these episodes to their end."""
        while rows:
            observations = torch.from_numpy(np.stack([row.observations[-1] for row in rows])).to(self.device)
            noise = torch.from_numpy(np.stack([self.policy.noise(row.stream) for row in rows])).to(self.device)
            actions, log_probs_N = self.policy.act(observations, noise)
            for row, action, log_prob in zip(rows, actions.cpu().numpy(), log_probs_N.tolist(), strict=True):
                row.take(action, log_prob, row.episode.step(action), self.steps_at_most)
            rows = [row for row in rows if row.finish is None]
