"""The preflight of a run, made once: a table, preflight.json, and an error that says what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tutelage.data.errors import InputError
from tutelage.execution.exact_parity import ExactParitySampler
from tutelage.execution.preflight import PROBE_EPISODES, Finding, Flight, preflight
from tutelage.execution.ranks import agree_to_stop, is_main_rank, rank_0_decides
from tutelage.runs.files import write_json
from tutelage.runs.run import Run
from tutelage.training.models import with_values
from tutelage.trajectory import Batch, Key, Task

PARITY_TOLERANCE_NATS = 1e-3  # of settings that name none


def check_first(config: Any, task: Task, parts: Any, run: Run) -> Any:
    """The parts (`training.train.Parts` of a language model), with a sampler that can be compared with the learner."""
    models, sampler = parts.models, KeyedSampler(parts.sampler)
    environment: Any = task.environment
    tolerance = getattr(config, "parity_tolerance_nats", PARITY_TOLERANCE_NATS)
    if models.policy.numerics.rounding and getattr(sampler, "samples_in_fp32", False):
        sampler = ExactParitySampler(sampler, models.policy, tolerance)
    flight = Flight(
        policy=models.policy,
        actor_critic=with_values(models),
        reference=models.reference or models.policy.log_probs,
        sampler=sampler,
        environment=environment,
        score=task.score,
        codec=models.speaker.codec,
        stop_tokens=models.speaker.stop_tokens,
        tokens_at_once=config.tokens_at_once,
        tolerance_nats=tolerance,
        noisy=bool(getattr(getattr(task.score, "function", None), "noisy", False)),
        episodes=min(PROBE_EPISODES, max(2, config.trajectories)),
    )
    run_preflight(flight, run)
    return replace(parts, sampler=sampler)


class KeyedSampler:
    """A sampler whose episodes are those that were asked for, in their order: InputError where they are not.

    Otherwise fewer episodes would be learned from unnoticed, and groups would hold the replies to several prompts.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.samples_in_fp32 = bool(getattr(sampler, "samples_in_fp32", False))

    def sample(self, environment: Any, keys: Sequence[Key]) -> Batch:
        batch = self.sampler.sample(environment, keys)
        name = type(self.sampler).__name__
        if not isinstance(batch, Batch):
            raise InputError(f"the sampler {name} gave {type(batch).__name__}; expected a tutelage.trajectory.Batch.")
        if list(batch.keys) != list(keys):
            drawn, asked = len(batch.keys), len(keys)
            which = f"{drawn} episodes for {asked} keys" if drawn != asked else f"other keys than the {drawn} given"
            raise InputError(f"the sampler {name} gave {which}; expected one episode for each key, in their order.")
        return batch

    def publish(self) -> None:
        self.sampler.publish()


def run_preflight(flight: Flight, run: Run) -> None:
    """InputError where a check failed."""
    target = run.path / "preflight.json"
    if rank_0_decides(target.exists()):
        return
    if run.skip_preflight:
        write_json(target, {"skipped": True})
        return
    findings = preflight(flight, lambda finding: show(as_line(finding)))
    failed = [each for each in findings if each.passed is False]
    if agree_to_stop(bool(failed)):
        if not failed:
            raise InputError("preflight: a check of rank 0 failed, and rank 0 says which.")
        first = failed[0].found.removesuffix(".")
        raise InputError(
            f"preflight: {len(failed)} of {len(findings)} checks failed ({', '.join(each.name for each in failed)}). "
            f"First: {first}; {failed[0].remedy}. --skip-preflight trains all the same."
        )
    write_json(target, {"findings": [vars(each) for each in findings]})


def show(line: str) -> None:
    """Prints it, on rank 0 alone."""
    if is_main_rank():
        print(line, flush=True)


def as_line(finding: Finding) -> str:
    word = {True: "pass", False: "FAIL", None: "-"}[finding.passed]
    return f"preflight  {word:4s}  {finding.name:30s}  {finding.seconds:5.1f} s  {finding.found}"
