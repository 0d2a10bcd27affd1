"""The one place that trains: what an algorithm needs is prepared, checked and handed to its page, and what it made is
saved.

    models        policy, critic, reference: training.models
    engine        factories of sampler and learner: training.engine
    algorithm     what it needs and its page: algorithms.algorithm
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, Generic, TypeVar

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.environments.checks import refuse_unusable_environment
from tutelage.formulas import schedule
from tutelage.runs.run import Run
from tutelage.training.argument_checks import CheckedScore, read_steps, read_total, refuse_unfit, refuse_wrong_types
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import LOCAL, Engine
from tutelage.training.episode_keys import prompt_keys
from tutelage.training.first_checks import check_first
from tutelage.training.models import LanguageModels, Models
from tutelage.training.monitoring import monitor
from tutelage.trajectory import Learner, Task, no_keys

M = TypeVar("M", bound=Models)


@dataclass(frozen=True)
class Parts(Generic[M]):
    """What an algorithm's page is given: models that hold all it needs, who samples, who learns.

    sampler: a `Sampler`, or None where nobody acts
    """

    models: M
    sampler: Any
    learner: Learner


def train(
    algorithm: Algorithm,
    config: Any,
    task: Any,
    models: Models,
    engine: Engine,
    run: Run,
    callbacks: Callbacks = Callbacks(),
) -> int:
    """Trains `models` in place and saves them; returns after how many steps the weights are that the run ends with.

    config: the algorithm's settings     task: what it learns from (`algorithm.learns_from`)
    run: where it is recorded; an interrupted one goes on from its last checkpoint, to the bit. `Run.watch` looks at
        every record: the live doctor, which commands set (from Python: `run.watch = Watch("warn")`)

    raises InputError: where algorithm, settings, task, models and engine do not fit, before anything is written
    """
    refuse_wrong_types(algorithm, models, engine, run, callbacks)
    refuse_unfit(algorithm, config, task, models)
    if algorithm.refuse is not None:
        algorithm.refuse(config, task)
    with run.mark_if_stopped():
        parts = prepare(algorithm, config, task, models, engine)
        import_module("tutelage.training.disk_space").refuse_full_disk(parts.models, config, run)
        run.begin_training(task, parts.models)
        if parts.sampler is not None:
            parts, task = ready_to_act(algorithm, config, task, parts, callbacks, run)
        done = algorithm.page(config, task, parts.models, parts.sampler, parts.learner, run)
        parts.models.save(run)
    return read_steps(algorithm, done)


def prepare(
    algorithm: Algorithm,
    config: Any,
    task: Any,
    models: M,
    engine: Engine = LOCAL,
    rates: Callable[[int], float] | None = None,
) -> Parts[M]:
    """Reference, sampler and learner, for whoever writes a loop of its own (training that waits for people).

    rates: update -> multiplier of the learning rates, in the place of the algorithm's schedule
    """
    fitted = models.fitted_to(algorithm)
    if algorithm.fit is not None:
        algorithm.fit(config, fitted)
    sampler = fitted.make_sampler(engine, config.seed) if algorithm.learns_from is LearnsFrom.EPISODES else None
    if rates is None:
        warm_up = algorithm.warm_up(config) if algorithm.warm_up else type(models).warm_up
        rates = partial(
            annealed, algorithm.anneal, read_total(algorithm, algorithm.total_updates(config, task)), warm_up
        )
    learner = engine.learner(
        fitted.parameter_groups(config),
        schedule=rates,
        max_grad_norm=config.max_grad_norm,
        tokens_at_once=config.tokens_at_once,
    )
    return Parts(fitted, sampler, learner)


def ready_to_act(
    algorithm: Algorithm, config: Any, task: Task, parts: Parts[Any], callbacks: Callbacks, run: Run
) -> tuple[Parts[Any], Task]:
    """The parts and the task of an algorithm that acts: its episodes, who looks on, and the preflight passed."""
    if task.keys is no_keys:
        environment: Any = task.environment
        refuse_unusable_environment(environment)
        task = replace(task, keys=partial(prompt_keys, len(environment), config))
    task = replace(task, score=CheckedScore(task.score))
    if isinstance(parts.models, LanguageModels):
        parts = check_first(config, task, parts, run)
        task = monitor(config, task, parts, callbacks, run)
    return parts, task


def annealed(shape: Callable[[int, int], float], steps: int, warm_up: int, update: int) -> float:
    """Warm-up from a tenth, then the shape (linear or cosine) to 0."""
    return schedule.warmed_up(update, warm_up, 0.1) * shape(update, steps)


def keep_rate(update: int) -> float:
    """1: learning rates that do not change, where the number of updates is not known."""
    return 1.0
