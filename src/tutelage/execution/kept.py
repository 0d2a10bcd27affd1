"""Sampling that a kill cannot undo: a group of episodes at a time, each group kept as soon as it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from tutelage.trajectory import Batch, Environment, Key, Sampler, Trajectory

Keep = Callable[[str, Callable[[], Mapping[str, Any]]], Mapping[str, Any]]
"""(name, make) -> make()'s result, or what an earlier attempt kept under this name (`Run.piece`)."""


EPISODES = 512  # of a group


def sample(sampler: Sampler, environment: Environment, keys: Sequence[Key], keep: Keep, name: str) -> Batch:
    """What `sampler.sample` gives for these keys, drawn in groups of like lengths."""
    ordered = sorted(keys, key=lambda key: len(environment.episode(key).first))
    groups = [ordered[start : start + EPISODES] for start in range(0, len(ordered), EPISODES)]
    drawn: dict[Key, Trajectory] = {}
    for number, group in enumerate(groups):
        kept = keep(f"{name}-{number:04d}", lambda group=group: as_state(sampler.sample(environment, group)))
        batch = from_state(kept)
        drawn.update({key: batch.row(index) for index, key in enumerate(batch.keys)})
    return Batch.of([drawn[key] for key in keys])


def as_state(batch: Batch) -> dict[str, Any]:
    tensors = {name: value.cpu() for name, value in vars(batch).items() if isinstance(value, Tensor)}
    return {**tensors, "keys": [[key.step, key.prompt, key.sample] for key in batch.keys]}


def from_state(state: Mapping[str, Any]) -> Batch:
    tensors = {name: value for name, value in state.items() if name != "keys"}
    tensors.setdefault("bootstrap_B", tensors["terminated_B"].new_zeros(len(tensors["terminated_B"])))  # 0.1.0: replies
    return Batch(**tensors, keys=tuple(Key(*each) for each in state["keys"]))
