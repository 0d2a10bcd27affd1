"""The stages of InstructGPT on text: models, texts and settings in, a filled run out.

Each function assembles one algorithm page from its parts. Recipes and the command line call the same ones.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.algorithms.ppo import PPOConfig, ppo
from tutelage.algorithms.reward_losses import Objective
from tutelage.algorithms.reward_model import RewardModelConfig, reward_model, scores_of
from tutelage.algorithms.sft import SFTConfig, sft
from tutelage.data.errors import InputError
from tutelage.data.judgements import Judgements
from tutelage.data.tokens import Codec, written
from tutelage.environments.language import Language, refuse_crowded
from tutelage.evaluation.replies import alike
from tutelage.execution import kept
from tutelage.execution.exact_parity import ExactParitySampler
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.execution.preflight import PROBE_EPISODES, Finding, Flight, preflight
from tutelage.formulas import kl, schedule
from tutelage.formulas.intervals import share_of
from tutelage.models.causality import remember_as_loaded
from tutelage.models.trunk import Numerics
from tutelage.policies.language import (
    Frozen,
    LanguagePolicy,
    SeparateCritic,
    SharedCritic,
    ValueModel,
    exact_kl,
    stop_tokens,
)
from tutelage.rewards.language import Heads, RewardModel, start_head
from tutelage.runs.files import write_folder, write_json
from tutelage.runs.run import Run
from tutelage.training.probe import PROMPTS, Probe, probe_keys, steps_between
from tutelage.training.token_rows import with_tokens
from tutelage.trajectory import Batch, Finish, Key, Sampler, Score, Task, in_parts


def unkept(name: str, make: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Keeps nothing."""
    return make()


@dataclass(frozen=True)
class Speaker:
    """A policy, the codec of its tokens, and how it is sampled.

    fixed_length: replies are exactly max_new_tokens long and that ends them; no token stops one (Ziegler et al. 2019)
    drawn_by: who samples, made of (policy, stop tokens, seed, settings): NativeSampler or VLLMSampler
    """

    policy: LanguagePolicy
    codec: Codec
    sampling: SamplingSettings
    fixed_length: bool = False
    drawn_by: Callable[[LanguagePolicy, Sequence[int], int, SamplingSettings], Sampler] = NativeSampler

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """What ends a reply: none where replies have a fixed length."""
        return () if self.fixed_length else stop_tokens(self.policy.model, self.codec)

    def sampler(self, seed: int) -> Sampler:
        return self.drawn_by(self.policy, self.stop_tokens, seed, self.sampling)

    def save(self, run: Run) -> None:
        """RUN/model, as transformers reads it (an adapter's folder where the policy is one)."""

        def fill(folder: Path) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of peft, on what it saves beside an adapter
                self.policy.model.save_pretrained(folder)
            self.codec.tokenizer.save_pretrained(folder)

        write_folder(run.path / "model", fill)

    def environment(self, prompts: Sequence[str], context_tokens: int | None = None) -> Language:
        tokens = [self.codec.prompt(prompt) for prompt in prompts]
        refuse_crowded(tokens, self.sampling.max_new_tokens, context_tokens)
        return Language(tokens, Finish.TERMINATED if self.fixed_length else Finish.LENGTH)

    def replies(
        self, prompts: Sequence[str], seed: int, samples: int = 1, keep: kept.Keep = unkept, name: str = "replies"
    ) -> tuple[Batch, list[str]]:
        """`samples` replies to every prompt, those of a prompt side by side: the batch and the texts.

        keep, name: where groups of replies are kept as they are drawn (`Run.piece`)
        """
        keys = [Key(0, prompt, sample) for prompt in range(len(prompts)) for sample in range(samples)]
        batch = kept.sample(self.sampler(seed), self.environment(prompts), keys, keep, name)
        return batch, self.codec.prompts_and_responses(batch)[1]


def run_stages(todo: Mapping[str, Callable[[Run], dict[str, Any]]], run: Run) -> None:
    """Every stage that is not finished yet, in order; each leaves its results and its seconds in its own summary."""
    for name, act in todo.items():
        stage = run.stage(name)
        if not stage.finished:
            began = time.monotonic()
            stage.mark_finished({**act(stage), "seconds": time.monotonic() - began})


def encoded(codec: Codec, pairs: Sequence[tuple[str, str]], device: Any = "cpu") -> Batch:
    """(prompt, response) texts as one batch of written trajectories."""
    return Batch.of([written(*codec.pair(prompt, response)) for prompt, response in pairs]).to(device)


def run_sft(config: SFTConfig, speaker: Speaker, rows: Batch, run: Run) -> None:
    """Trains the speaker's policy in place on demonstrations (`encoded`) and saves it."""
    steps = config.total_steps(len(rows))
    learner = LocalLearner(
        {"policy": (speaker.policy.parameters(), config.learning_rate)},
        schedule=partial(annealed, schedule.cosine, steps, config.warm_up),
        max_grad_norm=config.max_grad_norm,
        tokens_at_once=config.tokens_at_once,
    )
    sft(config, rows, speaker.policy, learner, run)
    remember_as_loaded(speaker.policy.model)
    speaker.save(run)


def annealed(shape: Callable[[int, int], float], steps: int, warm_up: int, update: int) -> float:
    """Warm-up from a tenth, then the shape (linear or cosine) to 0."""
    return schedule.warmed_up(update, warm_up, 0.1) * shape(update, steps)


@dataclass(frozen=True)
class HeldOut:
    """How often the reward model agrees with the held-out answers."""

    right: float
    questions: int

    @property
    def accuracy(self) -> float:
        return self.right / self.questions

    @property
    def row(self) -> dict[str, Any]:
        """accuracy, accuracy_low, accuracy_high, accuracy_n."""
        return share_of(self.right, self.questions).row("accuracy")


THRESHOLD_LEARNING_RATE = 1e-2  # of an ordinal loss: they are scores, and weights of a network move far less


def train_reward_model(
    config: RewardModelConfig, model: Heads, learned: Judgements, objective: Objective, run: Run
) -> None:
    """Trains the model as it is, in place, and what else the objective learns."""
    groups: dict[str, Any] = {"reward_model": (model.parameters(), config.learning_rate)}
    if objective.learns is not None:
        groups["thresholds"] = (objective.learns.parameters(), THRESHOLD_LEARNING_RATE)
    learner = LocalLearner(
        groups,
        schedule=partial(annealed, schedule.cosine, config.total_steps(len(learned)), config.warm_up),
        max_grad_norm=config.max_grad_norm,
        tokens_at_once=config.tokens_at_once,
    )
    reward_model(config, learned, model, objective, learner, run)
    model.eval()


def run_reward_model(
    config: RewardModelConfig,
    classifier: Any,
    learned: Judgements,
    held_out: Judgements,
    objective: Objective,
    run: Run,
    numerics: Numerics = Numerics(),
) -> tuple[RewardModel, HeldOut]:
    """Trains a fresh head and the trunk below it; the model comes back neither normalised nor saved.

    The objective must be countable (comparisons, or good and bad): what is held out is counted.
    """
    start_head(classifier, config.seed)
    model = RewardModel(classifier, numerics)
    train_reward_model(config, model, learned, objective, run)
    return model, counted(objective, scores_of(model, held_out), held_out)


def counted(objective: Objective, scores_NK: Tensor, held_out: Judgements) -> HeldOut:
    if objective.right is None:
        raise ValueError("what is right cannot be counted for this loss; measure its concordance instead")
    return HeldOut(float(objective.right(scores_NK, held_out).sum()), len(held_out))


def critic_of(policy: LanguagePolicy, classifier: Any | None) -> SeparateCritic | SharedCritic:
    """A value model started from the reward model, or a head on the policy where there is none."""
    if classifier is None:
        return SharedCritic(policy)
    return SeparateCritic(policy, ValueModel(copy.deepcopy(classifier).requires_grad_(True), policy.numerics))


@dataclass(frozen=True)
class Beside:
    """What stands beside a run of PPO and is not optimised.

    look: sees every scored batch, to judge it; what it returns are samples, one for each of the first episodes, which
        are kept with the numbers of their tokens
    held_out: a second score, for `PPOConfig.stop_at_peak`
    demonstrations: texts that the policy once learned; how likely they still are is recorded every LOOKED_BACK steps
    probes: prompts whose replies are kept along the run (`Probe`); 0 where `look` itself keeps replies to fixed prompts
    """

    look: Callable[[int, Batch, Tensor], Sequence[Mapping[str, Any]] | None] | None = None
    held_out: Score | None = None
    demonstrations: Batch | None = None
    probes: int = PROMPTS


def run_ppo(
    config: PPOConfig,
    speaker: Speaker,
    critic: SeparateCritic | SharedCritic,
    score: Score,
    environment: Language,
    run: Run,
    beside: Beside = Beside(),
) -> int:
    """Trains the speaker's policy in place and saves it; returns after how many updates its weights are."""
    refuse_peak_without_judge(config, beside)
    updates = config.steps * config.epochs * config.minibatches
    learner = make_ppo_learner(config, speaker.policy, critic, partial(annealed, schedule.linear, updates, 10))
    reference, sampler = Frozen(speaker.policy), speaker.sampler(config.seed)
    if speaker.policy.numerics.rounding and getattr(sampler, "samples_in_fp32", False):
        sampler = ExactParitySampler(sampler, speaker.policy, config.parity_tolerance_nats)
    probe = Probe(
        keys=probe_keys(environment.prompts, beside.probes),
        every=steps_between(config, beside.probes),
        last=config.steps - 1,
        sampler=sampler,
        environment=environment,
        score=score,
        critic=critic,
        reference=reference,
        codec=speaker.codec,
        tokens_at_once=config.tokens_at_once,
    )
    looked_at, learned = watched(config, speaker, score, beside, run, probe)
    keys = partial(prompt_keys, len(environment.prompts), config)
    task = Task(environment, looked_at, keys, beside.held_out, learned)
    flight = Flight(
        policy=speaker.policy,
        actor_critic=critic,
        reference=reference,
        sampler=sampler,
        environment=environment,
        score=score,
        codec=speaker.codec,
        stop_tokens=speaker.stop_tokens,
        tokens_at_once=config.tokens_at_once,
        tolerance_nats=config.parity_tolerance_nats,
        noisy=bool(getattr(getattr(score, "function", None), "noisy", False)),
        episodes=min(PROBE_EPISODES, max(2, config.trajectories)),
    )
    check_first(flight, run)
    weights_of_step = ppo(config, task, critic, reference, sampler, learner, run)
    remember_as_loaded(speaker.policy.model)
    speaker.save(run)
    return weights_of_step


def refuse_peak_without_judge(config: PPOConfig, beside: Beside) -> None:
    if config.stop_at_peak < 0:
        raise InputError(f"--stop-at-peak {config.stop_at_peak}: expected 0 (run on), or 1 step or more of patience.")
    if config.stop_at_peak and beside.held_out is None:
        raise InputError(
            "--stop-at-peak needs a held-out reward: a second one, from labels that the first did not see."
        )


def make_ppo_learner(
    config: PPOConfig,
    policy: LanguagePolicy,
    critic: SeparateCritic | SharedCritic,
    learning_rate_schedule: Callable[[int], float] = lambda update: 1.0,
) -> LocalLearner:
    """The optimizer of a policy and its critic: parameters that both share learn at the policy's rate."""
    shared = set(policy.parameters())
    value = [parameter for parameter in critic.parameters() if parameter not in shared]
    return LocalLearner(
        {"policy": (policy.parameters(), config.learning_rate), "value": (value, config.value_learning_rate)},
        schedule=learning_rate_schedule,
        max_grad_norm=config.max_grad_norm,
        tokens_at_once=config.tokens_at_once,
    )


def watched(
    config: PPOConfig, speaker: Speaker, score: Score, beside: Beside, run: Run, probe: Probe
) -> tuple[Score, Callable[[Batch], None]]:
    """(the score, showing every batch to what stands beside; what keeps samples with the numbers of their tokens)."""
    samples: list[Mapping[str, Any]] = []

    def looked_at(batch: Batch) -> Tensor:
        if probe.is_due(batch.keys[0].step):
            run.keep_samples(batch.keys[0].step, probe.rows())
            run.lap("probe")
        score_BT = score(batch)
        run.note(**alike(speaker.codec.prompts_and_responses(batch)[1]))
        if beside.demonstrations is not None and batch.keys[0].step % LOOKED_BACK == 0:
            run.note(demonstration_loss=surprise(speaker.policy, beside.demonstrations, config.tokens_at_once))
        samples[:] = (beside.look(batch.keys[0].step, batch, score_BT) if beside.look is not None else None) or ()
        return score_BT

    def learned(targets: Batch) -> None:
        if samples:
            run.keep_samples(targets.keys[0].step, with_tokens(speaker.codec, targets, samples))

    return looked_at, learned


LOOKED_BACK = 5  # steps between looks at the demonstrations, each of which is a forward pass


@torch.no_grad()
def surprise(policy: LanguagePolicy, batch: Batch, tokens_at_once: int = 1024) -> float:
    """−log π of written actions, nats an action."""
    (log_probs_BT,) = in_parts(lambda part: (policy.log_probs(part),), batch, tokens_at_once)
    return -float(log_probs_BT.masked_fill(~batch.mask_BT, 0.0).sum()) / batch.weight


def check_first(flight: Flight, run: Run) -> None:
    """The preflight, once a run: a table, preflight.json, and an InputError where something failed."""
    target = run.path / "preflight.json"
    if target.exists():
        return
    if run.skip_preflight:
        write_json(target, {"skipped": True})
        return
    findings = preflight(flight, lambda finding: print(as_line(finding), flush=True))
    failed = [each for each in findings if each.passed is False]
    if failed:
        first = failed[0].found.removesuffix(".")
        raise InputError(
            f"preflight: {len(failed)} of {len(findings)} checks failed ({', '.join(each.name for each in failed)}). "
            f"First: {first}; {failed[0].remedy}. --skip-preflight trains all the same."
        )
    write_json(target, {"findings": [vars(each) for each in findings]})


def as_line(finding: Finding) -> str:
    word = {True: "pass", False: "FAIL", None: "-"}[finding.passed]
    return f"preflight  {word:4s}  {finding.name:30s}  {finding.seconds:5.1f} s  {finding.found}"


def prompt_keys(prompts: int, config: PPOConfig, step: int) -> list[Key]:
    """The episodes of a step: walk through the prompts in a shuffle of the seed's, epoch after epoch."""
    first = step * config.trajectories
    keys = []
    for place in range(first, first + config.trajectories):
        epoch, index = divmod(place, prompts)
        keys.append(Key(step, int(shuffle(prompts, config.seed * 1000003 + epoch)[index]), place - first))
    return keys


@lru_cache(maxsize=2)
def shuffle(count: int, seed: int) -> Tensor:
    """[count] the numbers below `count` in an order that the seed decides; cached, since an epoch asks often."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def sequence_kl(
    policy: LanguagePolicy, reference: LanguagePolicy, batch: Batch, tokens_at_once: int = 1024
) -> dict[str, float]:
    """Mean KL of a reply over the policy's own replies, in nats: as it was sampled, and exactly at the states visited.

    kl_nats_per_sequence: Σ_t (log π − log π_ref); kl_nats_per_sequence_exact: Σ_t over the whole vocabulary
    """

    def both(part: Batch) -> tuple[Tensor, ...]:
        return kl.k1(policy.log_probs(part), reference.log_probs(part)), exact_kl(policy, reference, part)

    sampled_BT, exact_BT = in_parts(both, batch, tokens_at_once)
    mean = {name: float(each.sum(dim=1).mean()) for name, each in (("", sampled_BT), ("_exact", exact_BT))}
    return {f"kl_nats_per_sequence{name}": value for name, value in mean.items()}
