"""Christiano et al. 2017: a reward from comparisons of clips, and a policy from that reward, at the same time.

Three stages: what the untrained policy earns, what PPO earns on the true reward, what it earns on a reward that was
learned from answers. The last two are the same page with the same settings and steps; only the score differs. The true
reward is seen by the synthetic teacher and by the report, never by the learner.

Policy, teacher and reward advance together. Questions are asked as the schedule says, the policy goes no farther than
the answers that are due by then, and people find a few questions open at any time, so that nobody waits for the other.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tutelage.algorithms.ppo import PPO, PPOConfig, improve
from tutelage.algorithms.preferences import Answers, RewardLearner
from tutelage.data.clips import LAYOUT, Clips, Layout
from tutelage.data.errors import InputError
from tutelage.feedback.store import Store
from tutelage.feedback.teachers import ClipTeacher
from tutelage.formulas import schedule
from tutelage.recipes.christiano_settings import ChristianoConfig, refuse_contradictions
from tutelage.recipes.clip_questions import Interview
from tutelage.recipes.control_tasks import (
    ControlTask,
    Learning,
    control_models,
    episodes_of,
    task_of,
    with_steps,
)
from tutelage.rewards.control import EnsembleScore, RewardEnsemble, TrueScore, correlation
from tutelage.runs.files import write_json
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.training import stages
from tutelage.training.control import ControlModels, unmoved
from tutelage.training.engine import engine_of
from tutelage.training.train import train
from tutelage.trajectory import Batch, Key, Task, group_keys

STORE, CLIPS, LIVE, PAIRS = "feedback.db", "clips", "live.json", "pairs.json"
FIRST, AFTER = 2**31, 2**31 + 1  # steps of their own: no stream is used twice
WAIT_S = 0.2  # between two looks for new answers
SHOWN_PAIRS = 6  # of the report


@dataclass(frozen=True)
class Scene:
    """What every stage needs. ppo: the task's settings, for the steps that were asked for."""

    config: ChristianoConfig
    task: ControlTask
    ppo: PPOConfig

    @staticmethod
    def of(config: ChristianoConfig) -> Scene:
        task = task_of(config.env)
        clip_steps = config.asking.clip_steps or task.clip_steps
        if clip_steps > task.piece:
            task = replace(task, piece=clip_steps * (1 + task.piece // clip_steps))
        return Scene(
            config, replace(task, clip_steps=clip_steps), replace(with_steps(task, config.steps), seed=config.seed)
        )


def christiano(config: ChristianoConfig, run: Run) -> dict[str, Any]:
    """Every stage that is not finished yet; returns the three true returns and how the answers were used."""
    refuse_contradictions(config)
    todo = {"random": random_stage, **({"ppo": ppo_stage} if config.baseline else {}), "preferences": preferences_stage}
    with Store.open(run.path / STORE) as store:  # first, since the labelling page begins beside this and looks for it
        scene = Scene.of(config)
        stages.run_stages({name: partial(act, scene, run, store) for name, act in todo.items()}, run)
    return summary({name: Run(run.path / name).summary for name in todo}, scene)


def random_stage(scene: Scene, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    return {"true_return_random": mean_return(scene, fresh(scene, control_models(scene.task, scene.ppo), stage))}


def ppo_stage(scene: Scene, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    """PPO on the true reward: the same page, settings, episodes and scale."""
    models, true = control_models(scene.task, scene.ppo), TrueScore()
    stage.stateful |= {"scale": models.policy.scale, "true_score": true}

    def score(batch: Batch) -> torch.Tensor:
        stage.note(**measured(scene, batch))
        return true(batch)

    task = Task(scene.task.environment(scene.config.seed), score, partial(episodes_of, scene.ppo))
    train(PPO, scene.ppo, task, models, engine_of(stage), stage)
    return {
        "true_return_ppo": mean_return(scene, fresh(scene, models, stage)),
        "environment_steps": scene.task.steps_of(scene.ppo),
    }


def preferences_stage(scene: Scene, run: Run, store: Store, stage: Run) -> dict[str, Any]:
    """The loop: act, ask, hear, learn the reward, improve."""
    work = Work.of(scene, run, store)
    learning, reward, interview = work.learning, work.reward, work.interview
    environment = scene.task.environment(scene.config.seed)
    kept = {"learner": learning.learner, "scale": learning.policy.scale, "reward": reward, "interview": interview}
    settled = False
    with answering(work):
        told = ProgressSettings(timed=scene.config.asking.labeller != "human")
        for step in stage.steps(scene.ppo.steps, shows=("true_return", "labels"), state=kept, told=told):
            if not settled:
                interview.settle()
            settled = True
            if step == 0:
                begin(work, environment)
            batch = learning.sampler.sample(environment, learning.keys(step))
            due(work, batch, step)
            found = reward.learn(scene.config.reward.updates)
            score_BT = work.score(batch)
            stats = improve(scene.ppo, batch, score_BT, 0.0, learning.policy, unmoved, learning.learner)
            learning.sampler.publish()
            alike = correlation([(score_BT, batch)])
            told = {**measured(scene, batch), **({} if alike is None else {"reward_correlation": alike})}
            stage.record(step, {**stats, **found, **told, "labels": float(len(interview.rows))})
            tell(work, step)
    used, lost = len(interview.rows), unheard(interview)
    write_json(stage.path / PAIRS, {"pairs": shown_pairs(interview)})
    learning.models.save(stage)
    save_file(reward.ensemble.state_dict(), stage.path / "reward.safetensors")
    last = fresh(scene, learning.models, stage)
    seen = [fresh(scene, control_models(scene.task, scene.ppo), stage), last]
    return {
        "true_return_preferences": mean_return(scene, last),
        "labels_used": used,
        "labels_incomparable": len(interview.dropped),
        "labels_lost": lost,
        "reward_correlation": correlation([(work.score(batch), batch) for batch in seen]),
        **{f"reward_held_out_accuracy{end}": stage.latest.get(f"{HELD}{end}") for end in ("", "_low", "_high", "_n")},
        "environment_steps": scene.task.steps_of(scene.ppo),
    }


HELD = "reward_model_held_out_accuracy"


@dataclass
class Work:
    """What changes while the loop runs, and who answers."""

    scene: Scene
    run: Run
    store: Store
    learning: Learning
    reward: RewardLearner
    interview: Interview
    teacher: ClipTeacher

    @staticmethod
    def of(scene: Scene, run: Run, store: Store) -> Work:
        task, config = scene.task, replace(scene.config.reward, seed=scene.config.seed)
        learning = Learning.of(task, scene.ppo, engine_of(run))
        ensemble = RewardEnsemble(
            task.inputs, members=config.members, width=config.width, seed=config.seed, scale=learning.policy.scale
        )
        learner = engine_of(run).learner(
            {"reward": (ensemble.parameters(), config.learning_rate)},
            max_grad_norm=config.max_grad_norm,
            tokens_at_once=10**9,
            adam_epsilon=1e-8,
        )
        answers = Answers.none(config.members, task.clip_steps, task.inputs.size)
        clips = clips_of(scene, run, learning)
        asking = scene.config.asking
        interview = Interview(
            store, clips, task.inputs, scene.config.seed, task.clip_steps, asking.select, asking.candidates_per_label
        )
        interview.people = asking.labeller == "human" or asking.answer_seconds > 0
        teacher = ClipTeacher(
            replace(scene.config.teacher, floor=scene.config.teacher.floor or task.floor),
            lambda name: clips.load(name)["rewards"][:-1, 0].astype(np.float64),
            scene.config.seed,
            seconds=asking.answer_seconds,
        )
        return Work(scene, run, store, learning, RewardLearner(config, ensemble, learner, answers), interview, teacher)

    @property
    def score(self) -> EnsembleScore:
        return EnsembleScore(self.reward.ensemble, self.scene.task.inputs)

    @property
    def waits(self) -> bool:
        """Whether answers come in their own time: from people, or from a teacher that takes as long as they do."""
        return self.interview.people


def clips_of(scene: Scene, run: Run, learning: Learning) -> Clips:
    """The folder of clips, with what its columns are."""
    (run.path / CLIPS).mkdir(parents=True, exist_ok=True)
    one = scene.task.environment(0).episodes([Key(FIRST, 0, 0)])
    task = scene.task
    columns = {
        "observations": task.observation_size,
        "actions": 1 if hasattr(task.actions, "count") else task.actions.size,
        "scenes": one.scenes().shape[1],
        "rewards": 1,
    }
    layout = Layout(task.draws, task.seconds_per_step, columns)
    write_json(run.path / CLIPS / LAYOUT, vars(layout))
    return Clips(run.path / CLIPS, layout)


def begin(work: Work, environment: Any) -> None:
    """The first answers, about what the untrained policy does, and a reward learned from them."""
    asking, learning = work.scene.config.asking, work.learning
    # enough for clips that differ, however few episodes a step of PPO has
    episodes = max(work.scene.ppo.trajectories, -(-4 * work.scene.task.clip_steps * 8 // work.scene.task.horizon))
    batch = learning.sampler.sample(environment, group_keys(FIRST, [1], episodes))
    learning.sampler.publish()
    if work.scene.config.asking.labeller == "human":
        work.store.guideline(f"# What is better?\n\n{work.scene.task.goal}\n\nLook only at what is shown.")
    wanted = round(asking.labels * asking.first_fraction)
    hear(work, batch, 0, wanted, None)
    if not len(work.reward.answers):
        raise InputError("none of the first answers prefers one clip to another, so there is nothing to learn from.")
    work.reward.learn(work.scene.config.reward.first_updates)


def due(work: Work, batch: Batch, step: int) -> int:
    """Asks what the schedule wants at this step about this batch, and hears; how many answers were new."""
    asking, steps = work.scene.config.asking, work.scene.ppo.steps
    first = round(asking.labels * asking.first_fraction)
    wanted = schedule.labels_due(step + 1, steps, asking.labels, first, asking.half_rate_fraction * steps)
    return hear(work, batch, step + 1, wanted, work.reward)


def hear(work: Work, batch: Batch, version: int, wanted: int, reward: RewardLearner | None) -> int:
    """Asks until `wanted` answers can be there, waits until they are, and takes them in."""
    asking, interview = work.scene.config.asking, work.interview
    ahead = min(asking.labels, wanted + (asking.open_questions if work.waits else 0))
    work.teacher = replace(work.teacher, typical=interview.typical(batch, work.teacher.teacher.floor))
    names = interview.ask(batch, version, ahead - len(interview.asked), reward)
    if not work.waits:
        work.teacher.answer(work.store, names)
    tell(work, version, waiting=True)
    while work.waits and interview.answered() < wanted:
        work.store.wait(work.store.last()[0], WAIT_S)
        if interview.withdraw_skipped():
            interview.ask(batch, version, ahead - len(interview.asked), reward)
    return interview.hear(work.reward)


@contextmanager
def answering(work: Work) -> Iterator[None]:
    """A synthetic teacher that takes its time answers in a thread of its own."""
    if work.scene.config.asking.labeller == "human" or work.teacher.seconds <= 0:
        yield
        return
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            open_now = work.store.open_questions()
            if not open_now or not work.teacher.answer(work.store, open_now[:1]):
                stop.wait(WAIT_S)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def fresh(scene: Scene, models: ControlModels, stage: Run) -> Batch:
    """Episodes nothing learns from, sampled as the policy acts."""
    environment = scene.task.environment(scene.config.seed)
    keys = group_keys(AFTER, [0], scene.config.evaluation_episodes)
    return models.make_sampler(engine_of(stage), scene.ppo.seed).sample(environment, keys)


def mean_return(scene: Scene, batch: Batch) -> float:
    """The true one, of the fresh episodes."""
    return float(batch.extras["true_rewards"].sum()) / scene.config.evaluation_episodes


def measured(scene: Scene, batch: Batch) -> dict[str, float]:
    """What the learner does not know."""
    return {"true_return": float(batch.extras["true_rewards"].sum()) / scene.ppo.trajectories}


def unheard(interview: Interview) -> int:
    """Answers of the store to this interview's questions that the reward learner never saw."""
    known = set(interview.asked)
    heard = interview.rows.keys() | interview.dropped.keys()
    return sum(each.question in known and each.question not in heard for each in interview.store.labels())


def shown_pairs(interview: Interview) -> list[dict[str, Any]]:
    """The latest questions with what was preferred, for the report."""
    labels = interview.labels()
    rows = [labels[name].comparison for name in interview.asked if name in labels][-SHOWN_PAIRS:]
    return [
        {
            "clips": [each.media for each in row.candidates],
            "best": row.best,
            "scores": [each.score for each in row.candidates],
        }
        for row in rows
    ]


def tell(work: Work, step: int, *, waiting: bool = False) -> None:
    """What the labelling page shows beside the questions."""
    if work.scene.config.asking.labeller != "human":
        return
    says = "waiting for your answers" if waiting else "practising what you prefer"
    about = {"step": step, "labels": len(work.interview.rows), "waiting": waiting, "says": says}
    write_json(work.run.path / LIVE, about)


def summary(found: dict[str, dict[str, Any]], scene: Scene) -> dict[str, Any]:
    """summary.json of the recipe, from the summaries of its stages."""
    random, preferences = found["random"], found["preferences"]
    seconds = {name: round(each.pop("seconds"), 1) for name, each in found.items()}
    told: dict[str, Any] = {
        "env": scene.config.env,
        "seed": scene.config.seed,
        "labels": scene.config.asking.labels,
        "labeller": scene.config.asking.labeller,
        "true_return_random": random["true_return_random"],
        **preferences,
    }
    if "ppo" in found:
        ppo_return, base = found["ppo"]["true_return_ppo"], random["true_return_random"]
        told |= {"true_return_ppo": ppo_return}
        if ppo_return != base:
            told["ratio"] = (preferences["true_return_preferences"] - base) / (ppo_return - base)
    return {**told, "seconds_total": round(sum(seconds.values()), 1), "seconds_by_stage": seconds}
