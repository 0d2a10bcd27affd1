"""Checks of what `train` is given: algorithm, settings, task, models, engine. One sentence where they do not fit."""

from __future__ import annotations

import math
from inspect import signature
from numbers import Integral
from typing import Any

from torch import Tensor

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.data.errors import InputError
from tutelage.runs.run import Run
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import Engine
from tutelage.training.models import Models
from tutelage.trajectory import Batch, Task


def refuse_wrong_types(algorithm: Any, models: Any, engine: Any, run: Any, callbacks: Any) -> None:
    """InputError where an argument of `train` is something else, such as a policy in the place of its models."""
    given = ((algorithm, Algorithm), (models, Models), (engine, Engine), (run, Run), (callbacks, Callbacks))
    for each, kind in given:
        if not isinstance(each, kind):
            raise InputError(
                f"train was given {each!r:.80} ({type(each).__name__}) in the place of its {kind.__name__.lower()}; "
                f"expected an object of {kind.__module__}.{kind.__name__} (docs/extending.md)."
            )


def refuse_unfit(algorithm: Algorithm, config: Any, task: Any, models: Models) -> None:
    """InputError where a page would be given what it cannot learn from."""
    if kind_of(task) is not algorithm.learns_from:
        raise InputError(f"{algorithm.name} learns from {algorithm.learns_from.value}; it was given {describe(task)}.")
    missing = [name for name in needed_settings(algorithm) if not hasattr(config, name)]
    if missing:
        raise InputError(
            f"{type(config).__name__} lacks {', '.join(missing)}; the settings of {algorithm.name} need "
            f"{', '.join(needed_settings(algorithm))}."
        )
    refuse_wrong_numbers(algorithm, config)
    if algorithm.learns_from is LearnsFrom.EPISODES:
        refuse_uneven_groups(algorithm, config)
        refuse_unfit_task(task, models)


def refuse_wrong_numbers(algorithm: Algorithm, config: Any) -> None:
    """InputError where a setting that every algorithm of this kind has is no number that can be used."""
    for name in (*needed_settings(algorithm), *(("samples",) if hasattr(config, "samples") else ())):
        value = getattr(config, name)
        if name in ("learning_rate", "value_learning_rate", "max_grad_norm"):
            fits = isinstance(value, (int, float)) and not math.isnan(value) and value >= 0
            expected = "a number, 0 or more"
        else:
            fits, expected = isinstance(value, Integral), "a whole number"
        if not fits:
            raise InputError(f"{name} is {value!r:.80}; {algorithm.name} expects {expected}.")


def refuse_unfit_task(task: Task, models: Models) -> None:
    """InputError where these models cannot act in the environment, or nothing scores what they do there."""
    missing = [name for name in models.acts_in if not hasattr(task.environment, name)]
    if missing:
        raise InputError(
            f"{type(models).__name__} act in an environment with {' and '.join(models.acts_in)}; "
            f"{type(task.environment).__name__} has no {' and no '.join(missing)}."
        )
    for name in ("score", "keys"):
        if not callable(getattr(task, name)):
            raise InputError(f"the task's {name} is {getattr(task, name)!r:.80}; expected a function.")


class CheckedScore:
    """A score that gives what a score must: InputError where it takes no batch, or gives no tensor [B, T]."""

    def __init__(self, score: Any) -> None:
        self.score, self.function = score, getattr(score, "function", None)
        try:
            signature(score).bind(None)
        except TypeError as error:
            raise InputError(
                f"the task's score cannot be called with a batch alone: {error}. A function of prompts and responses "
                "becomes a score by tutelage.rewards.language.TextScore(function, codec)."
            ) from error
        except ValueError:  # some built-in callables have no signature
            pass

    def __call__(self, batch: Batch) -> Tensor:
        found = self.score(batch)
        if not isinstance(found, Tensor) or found.shape != batch.mask_BT.shape:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"the task's score gave {shape}; expected a tensor of shape {tuple(batch.mask_BT.shape)}: a number an "
                "action, such as batch.at_last_action(score_B) for whole episodes."
            )
        return found


def read_total(algorithm: Algorithm, total: Any) -> int:
    """What `total_updates` gave."""
    if not isinstance(total, Integral) or int(total) < 0:
        raise InputError(f"total_updates of {algorithm.name} gave {total!r:.80}; expected a whole number, 0 or more.")
    return int(total)


def read_steps(algorithm: Algorithm, done: Any) -> int:
    """What a page returned; InputError where that is no number of steps (the models are saved by then)."""
    if not isinstance(done, Integral):
        raise InputError(
            f"the page of {algorithm.name} returned {done!r:.80}; expected after how many steps the weights are that "
            "it ends with, a whole number such as config.steps. The models are saved."
        )
    return int(done)


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
    kind = kind_of(task)
    return words[kind] if kind is not None else f"an object of type {type(task).__name__}"
