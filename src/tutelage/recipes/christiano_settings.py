"""Settings of `tutelage recipe christiano`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from tutelage.algorithms.preferences import PreferenceConfig
from tutelage.data.errors import InputError
from tutelage.feedback.teachers import Teacher

FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix


@dataclass(frozen=True)
class ClipQuestions:
    """Who is asked about which clips, and when."""

    labels: int = 700
    """Answers in all."""
    labeller: Literal["synthetic", "human"] = "synthetic"
    select: Literal["disagreement", "uniform"] = "disagreement"
    """Which of candidates_per_label times as many pairs are asked, once there is a reward to disagree about."""
    candidates_per_label: int = 10
    first_fraction: float = 0.25
    """Share of the answers that is asked about the untrained policy, before anything is learned. 1: no question is
    asked later."""
    half_rate_fraction: float = 0.25
    """Share of the run after which questions come half as often as at its beginning."""
    clip_steps: int = 0
    """Steps of a clip; 0: as suits the task, 1: single frames."""
    open_questions: int = 12
    """Asked ahead, so that people never wait for training; a synthetic teacher needs none."""
    answer_seconds: float = 0.0
    """What a synthetic answer takes. 0: it comes at once, and the run can be repeated to the bit; above: the teacher
    answers in a thread of its own, as a person does, while the policy goes on."""
    without_page: bool = False
    """Of human: open no labelling page; people come by `tutelage label --from-run RUN`."""


@dataclass(frozen=True)
class ChristianoConfig:
    """Deep RL from human preferences (Christiano et al. 2017): a policy learns what people prefer to see.

    env: Pendulum-v1, CartPole-v1, HalfCheetah-v5, Hopper-v5 or HopperBackflip, all with episodes of one length
    steps: of the environment, in all; 0: as suits the task
    baseline: also run PPO on the true reward for as many steps, which `ratio` is measured by
    """

    env: str = "Pendulum-v1"
    seed: int = 0
    steps: int = 0
    baseline: bool = True
    evaluation_episodes: int = 100
    asking: Annotated[ClipQuestions, FLAT] = field(default_factory=ClipQuestions)
    teacher: Teacher = field(default_factory=Teacher)
    reward: PreferenceConfig = field(default_factory=PreferenceConfig)


def refuse_contradictions(config: ChristianoConfig) -> None:
    asking = config.asking
    if asking.labels < 8:
        raise InputError(f"--labels {asking.labels}: give 8 or more; from fewer no reward can be learned and checked.")
    if not 0 < asking.first_fraction <= 1 or asking.half_rate_fraction <= 0:
        raise InputError("--first-fraction lies above 0 and at most at 1, --half-rate-fraction above 0.")
    if min(asking.candidates_per_label, config.reward.members, config.evaluation_episodes) < 1 or asking.clip_steps < 0:
        raise InputError("--candidates-per-label, --reward.members and --evaluation-episodes are 1 or more.")
    if asking.labeller == "human" and config.reward.objective == "returns":
        raise InputError("--reward.objective returns needs the true rewards, which people are not asked for.")
