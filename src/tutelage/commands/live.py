"""Training while people answer: every few answers the reward model learns, the policy is optimised, and asks anew.

Deep RL from human preferences (Christiano et al. 2017) runs its three processes at once; here they take turns in one
process, and only the people are in another: they always find open questions, so an answer never waits for training.
Training waits for answers: a lap is set off by new ones, and the policy is optimised so many steps and no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from tutelage.algorithms.minibatches import minibatch
from tutelage.algorithms.ppo import PPO, improve
from tutelage.algorithms.reward_losses import PAIRS
from tutelage.algorithms.reward_model import REWARD_MODEL, judged_loss
from tutelage.commands.drift import Drift, over_first, what_wins
from tutelage.commands.loop_settings import LoopConfig
from tutelage.data import preferences
from tutelage.data.errors import InputError
from tutelage.data.judgements import Judgements, judged, tokenised
from tutelage.data.records import candidate_id
from tutelage.execution.ranks import agree_to_stop
from tutelage.feedback.answering import Labeller
from tutelage.feedback.asking import Label
from tutelage.feedback.store import Store
from tutelage.models.pretrained import load_sequence_classifier
from tutelage.recipes.asking import Pairs, asked_of
from tutelage.rewards.language import ModelScore, RewardModel, start_head
from tutelage.runs.files import append_lines, read_lines, write_folder, write_json, write_lines
from tutelage.runs.progress import ProgressSettings
from tutelage.runs.run import Run
from tutelage.training.episode_keys import prompt_keys
from tutelage.training.models import critic_of, language_models
from tutelage.training.reward_models import reward_models
from tutelage.training.speaker import Speaker
from tutelage.training.train import keep_rate, prepare

LIVE, VERSIONS, ANSWERS, FIRST = "live.json", "versions.jsonl", "comparisons.jsonl", "first"
WAIT_S = 0.5  # between two looks for new answers


@dataclass(frozen=True)
class Material:
    """speaker: the policy that learns; first, first_speaker: where it started, the folder and a policy that stays so

    prompts: to ask about and to train on; unseen: to compare policies on
    """

    speaker: Speaker
    first: str
    first_speaker: Speaker
    prompts: list[str]
    unseen: list[str]


@dataclass
class Apprentice:
    """The policy, its critic and the reward model, each with its optimiser: what changes from lap to lap."""

    config: LoopConfig
    material: Material
    reward_model: RewardModel = field(init=False)
    mean: float = 0.0
    deviation: float = 1.0
    steps: int = 0
    reward_updates: int = 0

    def __post_init__(self) -> None:
        config, speaker = self.config, self.material.speaker
        classifier = load_sequence_classifier(self.material.first, trust=config.trust)
        start_head(classifier, config.seed)
        critic = critic_of(speaker.policy, classifier)
        self.reward_model = RewardModel(classifier)
        self.environment = speaker.environment(self.material.prompts)
        prepare_constant = partial(prepare, engine=speaker.engine, rates=keep_rate)
        settings = replace(config.ppo, seed=config.seed)
        self.parts = prepare_constant(PPO, settings, None, language_models(speaker, critic))
        self.judge = prepare_constant(
            REWARD_MODEL, config.reward_model, None, reward_models(self.reward_model, PAIRS)
        ).learner

    def learn(self, judgements: Judgements, sample: Any) -> dict[str, float]:
        """The reward model goes on, on all answers so far; its scale is the sample's: mean 0, deviation 1 there."""
        config = self.config.reward_model
        loss = partial(judged_loss, self.reward_model, PAIRS)
        batch = partial(minibatch, len(judgements), min(config.batch_size, len(judgements)), config.seed)
        found: dict[str, float] = {}
        for _ in range(self.config.pace.reward_model_updates):
            found = self.judge.update(judgements.select(batch(self.reward_updates)), loss)
            self.reward_updates += 1
        scores_N = ModelScore(self.reward_model)(sample).sum(dim=1)
        self.mean, self.deviation = float(scores_N.mean()), max(1e-3, float(scores_N.std(unbiased=False)))
        return {"reward_model_loss": found["loss"], "reward_model_accuracy": found["accuracy"]}

    def practise(self) -> dict[str, float]:
        """Some steps of PPO against the reward model as it is now."""
        ppo, parts, models, found = self.config.ppo, self.parts, self.parts.models, {}
        score = ModelScore(lambda batch: (self.reward_model(batch) - self.mean) / self.deviation)
        for _ in range(self.config.pace.ppo_steps):
            keys = prompt_keys(len(self.material.prompts), ppo, self.steps)
            batch = parts.sampler.sample(self.environment, keys)
            found = improve(
                ppo, batch, score(batch), ppo.kl_coefficient, models.critic, models.reference, parts.learner
            )
            parts.sampler.publish()
            self.steps += 1
        return found

    def state(self) -> dict[str, Any]:
        counted = {"reward_updates": self.reward_updates}
        return {"learner": self.parts.learner.state(), "judge": self.judge.state(), "steps": self.steps, **counted}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.parts.learner.restore(state["learner"])
        self.judge.restore(state["judge"])
        self.steps, self.reward_updates = state["steps"], state["reward_updates"]
        self.parts.sampler.publish()


def live(
    config: LoopConfig, material: Material, labeller: Labeller, store: Store, run: Run, stage: Run
) -> dict[str, Any]:
    """Laps until rounds × labels_per_round answers are there; returns what moved and how long an answer took."""
    apprentice = Apprentice(config, material)
    drift = Drift(material.speaker, material.unseen, config.seed + 50)
    wanted = config.rounds * config.labels_per_round
    tell(run, stage, store.labels(), waiting=True)
    told = ProgressSettings(("waiting for answers", "learning"), counted_by="labels", timed=False)
    for version in stage.steps(wanted, ("kl_nats_to_first",), state={"apprentice": apprentice}, told=told):
        forget_after(stage, version)
        if agree_to_stop(answered(stage) >= wanted):
            break
        keep_open(config, apprentice, version, store)
        known, new = fresh(config, labeller, store, stage, partial(keep_open, config, apprentice, version, store))
        tell(run, stage, known, waiting=False)
        stage.enter_phase("learning")
        snapshot = store.snapshot([each.id for each in known])
        found = apprentice.learn(answers_of(material.speaker, known, stage), drift.sample) | apprentice.practise()
        waited = published(stage, version + 1, snapshot.id, known, new)
        found |= drift.measured(apprentice.reward_model, apprentice.parts.models.reference)
        stage.keep_samples(version + 1, drift.samples())
        stage.record(version, {**found, "labels": float(len(known)), "seconds_from_answer": waited})
        tell(run, stage, known, waiting=True)
        stage.enter_phase("waiting for answers")
    material.speaker.save(stage)
    apprentice.reward_model.normalise(ModelScore(apprentice.reward_model)(drift.sample).sum(dim=1), deviation=1.0)
    write_folder(stage.path / "reward-model", partial(apprentice.reward_model.save, codec=material.speaker.codec))
    return summary(stage, store)


def keep_open(config: LoopConfig, apprentice: Apprentice, version: int, store: Store) -> None:
    """Withdraws what was skipped and questions about policies replaced long ago, and asks as many as are missing about
    the newest."""
    pace, still, given_back = config.pace, store.open_questions(), store.skipped()
    old = {name for name in still if version_of(name) < version - pace.stale_versions}
    store.withdraw(given_back, "somebody skipped it")
    store.withdraw(sorted(old - set(given_back)), "the policy has moved on")
    missing = pace.open_questions - (len(still) - len(old | set(given_back)))
    if missing <= 0:
        return
    rng = np.random.default_rng([config.seed, version, store.last()[0]])
    beside_first = int(rng.binomial(missing, pace.against_first))
    prompts = apprentice.material.prompts
    places = rng.permutation(len(prompts))[:missing].tolist()
    for kind, mine in (("first", places[:beside_first]), ("same", places[beside_first:])):
        pairs = pairs_of(apprentice, version, kind, [prompts[place] for place in mine])
        if pairs.differing():
            store.ask(asked_of(pairs, len(mine), 1.0))


def pairs_of(apprentice: Apprentice, version: int, kind: str, prompts: list[str]) -> Pairs:
    """Two replies of the newest policy, or one of it and one of the first policy."""
    material, newest = apprentice.material, f"version-{version}"
    seed = 1_000_000 * (apprentice.config.seed + 1) + version
    two = [material.speaker, material.speaker if kind == "same" else material.first_speaker]
    replies = [each.replies(prompts, seed + 1000 * slot)[1] if prompts else [] for slot, each in enumerate(two)]
    # a lap that is done again after a kill may have learned from other answers: its questions have other names
    name = f"version-{version:05d}-{kind}-{candidate_id(*replies[0], *replies[1])}"
    policies = (newest, newest if kind == "same" else FIRST)
    return Pairs(name, policies, prompts, list(zip(*replies, strict=True)), None, "uniform", seed)


def version_of(question: str) -> int:
    return int(question.split("-")[1])


def fresh(
    config: LoopConfig, labeller: Labeller, store: Store, stage: Run, refill: Callable[[], None]
) -> tuple[list[Label], list[Label]]:
    """(all answers, those that no version has learned from) as soon as there are enough new ones for a lap.

    refill: asks other questions in the place of those that were skipped. InputError where a judge answers none at all.
    """
    wanted = config.rounds * config.labels_per_round
    seen = {each for row in versions(stage) for each in row["new"]}
    while True:
        labels = store.labels()
        new = [each for each in labels if each.id not in seen]
        if len(new) >= min(config.pace.labels_at_once, max(1, wanted - len(seen))):
            return labels, new
        if store.skipped():
            refill()
        if labeller.kind == "human":
            store.wait(labels[-1].seq if labels else 0, WAIT_S)
        elif not labeller.answer(store, store.open_questions()[: config.pace.labels_at_once]):
            raise InputError(
                "the judge gave no verdict on any of the questions it was asked. See what it says to them, or give "
                "another --labeller; `tutelage resume` goes on."
            )


def answers_of(speaker: Speaker, known: Sequence[Label], stage: Run) -> Judgements:
    """The answers as the reward model reads them, written down beside the run, too."""
    target = stage.path / ANSWERS
    write_lines(target, [each.comparison.row() for each in known])
    questions = preferences.comparisons(str(target), speaker.codec)[0]
    if not questions:
        raise InputError("none of the answers prefers one reply to another, so there is nothing to learn from.")
    return judged(tokenised(speaker.codec, questions)[0], questions)


def versions(stage: Run) -> list[dict[str, Any]]:
    """One row a policy version: the snapshot that it was trained on, and the answers that were new in it."""
    return read_lines(stage.path / VERSIONS) if (stage.path / VERSIONS).exists() else []


def forget_after(stage: Run, version: int) -> None:
    """Drops versions that a kill left behind the last checkpoint: their answers are to be learned from again."""
    rows = versions(stage)
    if any(row["version"] > version for row in rows):
        write_lines(stage.path / VERSIONS, [row for row in rows if row["version"] <= version])


def answered(stage: Run) -> int:
    return sum(len(row["new"]) for row in versions(stage))


def published(stage: Run, version: int, snapshot: str, known: Sequence[Label], new: Sequence[Label]) -> float:
    """Writes down that this version acts from now on; the median seconds that its new answers took until then."""
    now = time.time()
    waited = median(now - each.at for each in new)
    row = {"version": version, "snapshot": snapshot, "labels": len(known), "published_at": now}
    append_lines(stage.path / VERSIONS, [{**row, "seconds_from_answer": waited, "new": [each.id for each in new]}])
    return waited


def tell(run: Run, stage: Run, known: Sequence[Label], *, waiting: bool) -> None:
    """What the page shows beside the questions."""
    moved = over_first(known, FIRST)
    if "kl_nats_to_first" in stage.latest:
        moved["kl_nats"] = stage.latest["kl_nats_to_first"]
    says = "waiting for your answers" if waiting else "learning from your answers"
    about = {"step": stage.step, "policy": f"version-{stage.step}", "labels": len(known), "waiting": waiting}
    write_json(run.path / LIVE, {**about, **moved, "says": says, "wins": what_wins(known)})


def summary(stage: Run, store: Store) -> dict[str, Any]:
    rows = versions(stage)
    kinds = [each.comparison.verdict.rater_kind for each in store.labels()]
    shares = {f"share_{kind}": kinds.count(kind) / len(kinds) for kind in ("human", "synthetic", "model")}
    waits = [row["seconds_from_answer"] for row in rows for _ in row["new"]]
    people = {f"{name}_by_answers": value for name, value in over_first(store.labels(), FIRST).items()}
    return {
        **people,
        "versions": len(rows),
        "labels": len(kinds),
        **shares,
        "seconds_from_answer_median": median(waits),
        **{name: value for name, value in stage.latest.items() if name.startswith(MOVED)},
    }


MOVED = ("win_rate", "shorter", "words", "kl_nats_to_first")
