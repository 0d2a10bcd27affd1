"""Samples control in this process, many episodes a step: every step asks the policy once and moves all bodies at once.

The same keys give the same trajectories as `stepwise.py`, to the bit; here the steps stand in arrays from the
beginning, and long episodes may be cut into pieces. A piece is a trajectory that somebody stopped counting: truncated,
so that the value of the state after it stands for what was cut off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.execution.native import stream
from tutelage.trajectory import Batch, Key


class Moving(Protocol):
    """Episodes that run together (environments.control.Troupe, environments.classic.Crowd)."""

    @property
    def observations_ND(self) -> np.ndarray: ...

    def step(self, actions_N: np.ndarray, running: Sequence[int]) -> Any: ...

    def scenes(self) -> np.ndarray: ...


class Stage(Protocol):
    """Where they run. horizon: steps after which every episode is truncated."""

    @property
    def horizon(self) -> int: ...

    def episodes(self, keys: Sequence[Key]) -> Moving: ...


class TogetherSampler:
    """Reads the very weights that learn, so publishing sends nothing.

    policy: the module that learns; `act(observations, noise)` and `noises(stream, steps)`, as in policies.control
    piece: steps of a trajectory of the batch; None leaves episodes whole

    The environment's own worth of a step stands in the batch's extra `true_rewards`, what can be drawn of a state in
    `scenes`. Where the policy keeps a scale of observations, publish() moves it by what was sampled last: never between
    an action and the update that learns from it.
    """

    def __init__(self, policy: Any, seed: int, *, piece: int | None = None) -> None:
        self.policy, self.seed, self.piece = policy, seed, piece
        self.device = next(policy.parameters()).device if isinstance(policy, nn.Module) else torch.device("cpu")
        self._seen: Tensor | None = None

    def publish(self) -> None:
        saw = getattr(self.policy, "saw", None)
        if saw is not None and self._seen is not None:
            saw(self._seen)
        self._seen = None

    @torch.no_grad()
    def sample(self, environment: Any, keys: Sequence[Key]) -> Batch:
        """One episode for every key; a row for each, or for each of its pieces, in the order of the keys."""
        columns, lengths_N, terminated_N = self._played(environment, keys)
        batch = cut(columns, lengths_N, terminated_N, keys, self.piece or environment.horizon)
        self._seen = batch.observations[:, :-1][batch.mask_BT]
        return batch.to(self.device)

    def _played(self, environment: Stage, keys: Sequence[Key]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """(columns [N, H, ...] or [N, H+1, ...] by name, lengths [N], terminated [N])."""
        playing, count, horizon = environment.episodes(keys), len(keys), environment.horizon
        noise_NH = np.stack([self.policy.noises(stream(self.seed, key), horizon) for key in keys])
        columns: dict[str, np.ndarray] = {}
        lengths_N, terminated_N = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=bool)
        running = list(range(count))
        size = (count, horizon + 1)
        now = {"observations": playing.observations_ND.copy(), "scenes": playing.scenes()}
        note(columns, now, (running, 0), size)
        for t in range(horizon):
            seen = torch.from_numpy(np.ascontiguousarray(now["observations"])).to(self.device)
            drawn = torch.from_numpy(noise_NH[running, t]).to(self.device)
            actions, log_probs_N = self.policy.act(seen, drawn)
            actions = actions.cpu().numpy()
            moved = playing.step(actions, running)
            if not np.isfinite(moved.rewards_N).all():
                raise FloatingPointError(f"the environment paid {moved.rewards_N} at step {t}")
            done = {"actions": actions, "log_probs": log_probs_N.cpu().numpy(), "rewards": moved.rewards_N}
            note(columns, {**done, "true_rewards": moved.true_rewards_N}, (running, t), size)
            now = {"observations": moved.observations_ND, "scenes": playing.scenes()[running]}
            note(columns, now, (running, t + 1), size)
            lengths_N[running] = t + 1
            terminated_N[running] = moved.terminated_N
            left = np.flatnonzero(~moved.terminated_N)
            if len(left) < len(running):
                running = [running[place] for place in left]
                now = {name: each[left] for name, each in now.items()}
            if not running:
                break
        return columns, lengths_N, terminated_N


def note(
    columns: dict[str, np.ndarray], found: dict[str, np.ndarray], place: tuple[list[int], int], size: tuple[int, int]
) -> None:
    """Writes one step of the running episodes into its columns, which are made when something first comes."""
    rows, t = place
    for name, each in found.items():
        if name not in columns:
            columns[name] = np.zeros((*size, *each.shape[1:]), dtype=each.dtype)
        columns[name][rows, t] = each


def cut(
    columns: dict[str, np.ndarray], lengths_N: np.ndarray, terminated_N: np.ndarray, keys: Sequence[Key], piece: int
) -> Batch:
    """Episodes in columns [N, H+1, ...] -> a batch of their pieces of at most `piece` steps."""
    pieces_N = -(-lengths_N // piece)
    rows_B = np.repeat(np.arange(len(keys)), pieces_N)
    numbers_B = np.concatenate([np.arange(each) for each in pieces_N])
    starts_B = numbers_B * piece
    lengths_B = np.minimum(lengths_N[rows_B] - starts_B, piece)
    longest = int(lengths_B.max())
    steps_BS = np.minimum(starts_B[:, None] + np.arange(longest + 1), lengths_N[rows_B][:, None])
    there_BS = np.arange(longest + 1) <= lengths_B[:, None]
    mask_BT = there_BS[:, 1:]

    def taken(name: str, there: np.ndarray) -> Tensor:
        found = columns[name][rows_B[:, None], steps_BS[:, : there.shape[1]]]
        found[~there] = 0
        return torch.from_numpy(found)

    terminated_B = terminated_N[rows_B] & (numbers_B == pieces_N[rows_B] - 1)
    return Batch(
        observations=taken("observations", there_BS),
        actions=taken("actions", mask_BT),
        mask_BT=torch.from_numpy(mask_BT.copy()),
        behaviour_log_probs_BT=taken("log_probs", mask_BT),
        rewards_BT=taken("rewards", mask_BT).float(),
        lengths_B=torch.from_numpy(lengths_B),
        terminated_B=torch.from_numpy(terminated_B),
        bootstrap_B=torch.from_numpy(~terminated_B),
        keys=tuple(
            Key(keys[row].step, keys[row].prompt, keys[row].sample + len(keys) * number)
            for row, number in zip(rows_B.tolist(), numbers_B.tolist())
        ),
        extras={"true_rewards": taken("true_rewards", mask_BT), "scenes": taken("scenes", there_BS)},
    )
