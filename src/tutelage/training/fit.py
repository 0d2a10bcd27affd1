"""Whether an algorithm, its settings and its task fit together: one sentence before anything is written where not."""

from __future__ import annotations

from typing import Any

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.data.errors import InputError
from tutelage.trajectory import Batch, Task


def refuse_unfit(algorithm: Algorithm, config: Any, task: Any) -> None:
    """InputError where a page would be given what it cannot learn from."""
    if kind_of(task) is not algorithm.learns_from:
        raise InputError(f"{algorithm.name} learns from {algorithm.learns_from.value}; it was given {describe(task)}.")
    missing = [name for name in needed_settings(algorithm) if not hasattr(config, name)]
    if missing:
        raise InputError(
            f"{type(config).__name__} lacks {', '.join(missing)}; the settings of {algorithm.name} need "
            f"{', '.join(needed_settings(algorithm))}."
        )
    if algorithm.learns_from is LearnsFrom.EPISODES:
        refuse_uneven_groups(algorithm, config)


def needed_settings(algorithm: Algorithm) -> tuple[str, ...]:
    acting = ("steps", "trajectories", "seed") if algorithm.learns_from is LearnsFrom.EPISODES else ()
    value, groups = ("value_learning_rate",) if algorithm.critic else (), ("samples",) if algorithm.groups else ()
    return ("learning_rate", "max_grad_norm", "tokens_at_once", *acting, *value, *groups)


def refuse_uneven_groups(algorithm: Algorithm, config: Any) -> None:
    samples = getattr(config, "samples", 1)
    if algorithm.groups and samples < 2:
        raise InputError(
            f"{algorithm.name} compares the replies to a prompt: samples is {samples}, expected 2 or more."
        )
    if samples < 1 or config.trajectories < samples or config.trajectories % samples:
        raise InputError(
            f"trajectories {config.trajectories} and samples {samples}: a step's episodes are prompts × samples, so "
            "trajectories is a multiple of samples."
        )


def count_episodes(environment: Any) -> int:
    """How many starts there are; InputError where they cannot be numbered, or where there are none."""
    if not callable(getattr(environment, "__len__", None)):
        raise InputError(
            f"{type(environment).__name__} has no length, so its episodes cannot be numbered: give it __len__, or the "
            "task `keys`."
        )
    if not len(environment):
        raise InputError(f"{type(environment).__name__} has no episode: its length is 0; give it at least one start.")
    return len(environment)


def kind_of(task: Any) -> LearnsFrom | None:
    """What can be learned from it; None: nothing that is known here."""
    if isinstance(task, Task):
        return LearnsFrom.EPISODES
    if isinstance(task, Batch):
        return LearnsFrom.DEMONSTRATIONS
    return LearnsFrom.PAIRS if hasattr(task, "candidates") else None  # data.judgements.Judgements


def describe(task: Any) -> str:
    """What somebody gave, in a few words."""
    words = {
        LearnsFrom.EPISODES: "a Task of prompts",
        LearnsFrom.DEMONSTRATIONS: "a Batch of demonstrations",
        LearnsFrom.PAIRS: "Judgements",
    }
    return words.get(kind_of(task) or "", f"an object of type {type(task).__name__}")
