"""Settings of `tutelage loop`, in rounds or live."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import tyro

from tutelage.algorithms.ppo import PPOConfig
from tutelage.algorithms.reward_model import RewardModelConfig
from tutelage.algorithms.sft import SFTConfig
from tutelage.data.errors import InputError
from tutelage.models.pretrained import Trust
from tutelage.recipes.demo import DemoConfig

FLAT = tyro.conf.arg(name="")  # the settings' flags carry no prefix


@dataclass(frozen=True)
class Questions:
    """Who is asked, and which of the pairs that could be asked."""

    labeller: str = "synthetic"
    """synthetic (on the helpdesk), human, a reward model's folder, or the address of an OpenAI-compatible API."""
    judge_model: str = ""
    """Which model of that API judges."""
    select: Literal["uniform", "disagreement", "high-scores"] = "uniform"
    """Which of candidates_per_label times as many pairs are asked, from the second round on."""
    uniform_fraction: float = 0.2
    """Share of the questions that is drawn uniformly in any case; 0.1 at least."""
    candidates_per_label: int = 4
    without_page: bool = False
    """Of human: open no labelling page; people come by `tutelage label --from-run RUN`."""
    wait_s: float = 0.0
    """Seconds without a new answer after which a round goes on with the answers that came and withdraws the other
    questions; 0 waits for ever."""


@dataclass(frozen=True)
class Subject:
    """What learns. Without a model: the helpdesk, a policy trained for it, and its gold score as the measure."""

    model: str = ""
    """Folder or hub id of the first policy."""
    data: str = ""
    """File, folder or hub id of prompts; a tenth of them is kept for evaluation."""
    max_new_tokens: int = 48
    evaluation_prompts: int = 256


@dataclass(frozen=True)
class Pace:
    """Of --live: how training and people keep step."""

    labels_at_once: int = 5
    """New answers that set off a lap: the reward model learns, the policy is optimised, new questions are asked."""
    open_questions: int = 12
    """Kept open, so that nobody waits for training."""
    against_first: float = 0.25
    """Share of the questions that set the newest policy beside the first one: from their answers comes the win rate."""
    stale_versions: int = 4
    """A question about a policy that was replaced so often is withdrawn."""
    reward_model_updates: int = 12
    ppo_steps: int = 3
    """Of a lap. Without new answers nothing is optimised, so that the policy never runs away from the people."""


@dataclass(frozen=True)
class LoopConfig:
    """Iterated RLHF with people, synthetic labellers or a model as judge.

    seeds: repetitions from one first policy, each with its own questions, answers and models
    members: reward models a round, one score by their mean; disagreement needs two or more
    offline: also ask as many labels as all rounds together at the start, and compare
    live: train while people answer, a lap every few answers, until rounds × labels_per_round are there
    """

    seed: int = 0
    seeds: int = 1
    rounds: int = 5
    labels_per_round: int = 200
    members: int = 1
    offline: bool = False
    live: bool = False
    asking: Annotated[Questions, FLAT] = field(default_factory=Questions)
    subject: Annotated[Subject, FLAT] = field(default_factory=Subject)
    pace: Annotated[Pace, FLAT] = field(default_factory=Pace)
    trust: Annotated[Trust, FLAT] = field(default_factory=Trust)
    sft: SFTConfig = field(default_factory=lambda: DemoConfig().sft)
    reward_model: RewardModelConfig = field(default_factory=lambda: replace(DemoConfig().reward_model, warm_up=10))
    ppo: PPOConfig = field(default_factory=lambda: DemoConfig().ppo)


def refuse_contradictions(config: LoopConfig) -> None:
    if bool(config.subject.model) != bool(config.subject.data):
        raise InputError(
            "--model and --data belong together: your policy and your prompts. Without both: the helpdesk."
        )
    if config.subject.model and config.asking.labeller == "synthetic":
        raise InputError(
            "--labeller synthetic means the helpdesk's gold score; for a model of your own give human, a "
            "reward model's folder or the address of a judge."
        )
    if config.asking.select == "disagreement" and config.members < 2:
        raise InputError(f"--select disagreement needs --members 2 or more, got {config.members}.")
    if (
        min(config.rounds, config.seeds, config.labels_per_round, config.asking.candidates_per_label, config.members)
        < 1
    ):
        raise InputError("--rounds, --seeds, --labels-per-round, --candidates-per-label and --members are 1 or more.")
    ignored = [config.offline, config.seeds > 1, config.members > 1, config.asking.select != "uniform"]
    if config.live and any(ignored):
        raise InputError("--live has one seed and one reward model, asks uniformly and has no --offline beside it.")
