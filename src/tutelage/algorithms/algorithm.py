"""What an algorithm's page is to `training.train`: its name, what it needs, how long it takes, and the page itself.

A page is a function of six arguments that trains in place:

    page(config, task, models, sampler, learner, run) -> after how many steps the weights are that it ends with

It loops over `run.steps(..., state={"learner": learner})`, which is all that a run needs to be resumed to the bit.
What an algorithm does not declare it does not get: a critic or a reference is then None, and so is the sampler of one
that learns from given rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tutelage.data.errors import InputError
from tutelage.formulas import schedule
from tutelage.trajectory import Learner, Sampler


class LearnsFrom(Enum):
    """What `task` is: the value says it in a sentence to whoever gave something else."""

    EPISODES = "episodes that the policy acts out: a Task of an environment and a score"
    DEMONSTRATIONS = "demonstrations: a Batch of prompts and replies"
    PAIRS = "pairs: Judgements of which reply of a question is better"


Page = Callable[[Any, Any, Any, Sampler | None, Learner, Any], int]


@dataclass(frozen=True)
class Algorithm:
    """page: see above; it may be given a critic or a reference that it does not need
    total_updates: (config, task) -> optimizer steps of the whole run, the length of the learning-rate schedule
    learns_from: what `task` must be
    critic: needs V(s)   reference: needs the policy as it was at the start, frozen
    groups: needs two or more episodes of every prompt side by side; its settings have `samples`
    anneal: (update, total updates) -> multiplier of the learning rates, after any warm-up
    warm_up: config -> updates of warm-up; None leaves it to the models
    refuse: (config, task) -> InputError where they contradict each other, before anything is prepared
    fit: (config, models) prepares the models, before learner and sampler are made: layers that do not learn, say

    All settings have `learning_rate`, `max_grad_norm` and `tokens_at_once`; those of an algorithm that acts `steps`,
    `trajectories` (episodes a step) and `seed`, too; with a critic `value_learning_rate`.
    """

    name: str
    page: Page
    total_updates: Callable[[Any, Any], int]
    learns_from: LearnsFrom = LearnsFrom.EPISODES
    critic: bool = False
    reference: bool = False
    groups: bool = False
    anneal: Callable[[int, int], float] = schedule.linear
    warm_up: Callable[[Any], int] | None = None
    refuse: Callable[[Any, Any], None] | None = None
    fit: Callable[[Any, Any], None] | None = None

    def __post_init__(self) -> None:
        for name in ("page", "total_updates", "anneal"):
            if not callable(getattr(self, name)):
                raise InputError(f"{self.name}: {name} is {getattr(self, name)!r:.80}; expected a function.")
        if not isinstance(self.learns_from, LearnsFrom):
            kinds = ", ".join(f"LearnsFrom.{each.name}" for each in LearnsFrom)
            raise InputError(f"{self.name}: learns_from is {self.learns_from!r:.80}; expected one of {kinds}.")
