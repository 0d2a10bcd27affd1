"""From a run folder to findings: every disease asks every stage that can have it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.doctor import (
    contradictory_pairs,
    dead_critic,
    deployment_drift,
    duplicate_pairs,
    eos_collapse,
    forgetting,
    kl_negative,
    kl_runaway,
    kl_too_strong,
    label_leakage,
    learning_rate_high,
    learning_rate_low,
    length_bias,
    length_hacking,
    lora_not_delivered,
    mode_collapse,
    one_sided_labeller,
    out_of_distribution,
    overconfidence,
    position_bias,
    ranking_conflict,
    reward_hacking,
    reward_scale,
    sparse_reward,
    stale_sampler,
    template_phrases,
    truncation_storm,
    value_clip,
)
from tutelage.doctor.chart import Chart, Kind, Stage, chart_of
from tutelage.doctor.deployed import Deployment
from tutelage.doctor.finding import SEVERITIES, Disease, Finding
from tutelage.runs.outcome import Outcome, outcome_of

DISEASES: tuple[Disease, ...] = (  # where two are as severe, the one that explains more comes first
    stale_sampler.DISEASE,
    lora_not_delivered.DISEASE,
    kl_negative.DISEASE,
    sparse_reward.DISEASE,
    reward_scale.DISEASE,
    value_clip.DISEASE,
    learning_rate_high.DISEASE,
    ranking_conflict.DISEASE,
    eos_collapse.DISEASE,
    truncation_storm.DISEASE,
    length_hacking.DISEASE,
    reward_hacking.DISEASE,
    mode_collapse.DISEASE,
    template_phrases.DISEASE,
    kl_runaway.DISEASE,
    kl_too_strong.DISEASE,
    learning_rate_low.DISEASE,
    dead_critic.DISEASE,
    out_of_distribution.DISEASE,
    forgetting.DISEASE,
    length_bias.DISEASE,
    label_leakage.DISEASE,
    overconfidence.DISEASE,
    one_sided_labeller.DISEASE,
    position_bias.DISEASE,
    contradictory_pairs.DISEASE,
    duplicate_pairs.DISEASE,
)
AFTER_DEPLOYMENT = deployment_drift.DISEASE  # looked for where samples from the world are given


@dataclass(frozen=True)
class Diagnosis:
    """findings: the severest first; known: diseases that the run records enough of to tell; unseen: those of its kinds
    of stages that it does not; outcome: how the run ended; subject: what was looked at, in words"""

    path: Path
    findings: tuple[Finding, ...]
    known: tuple[str, ...]
    unseen: tuple[str, ...]
    outcome: Outcome
    subject: str

    @property
    def alarms(self) -> bool:
        return any(each.alarms for each in self.findings)

    @property
    def missing(self) -> str:
        """Why there is no diagnosis, where there is none: a run that ended badly is not healthy because no rule saw
        it, nor is one that no rule is about. "" where there is one."""
        if self.alarms:
            return ""
        if self.outcome.ended_badly:
            return str(self.outcome)
        return "" if self.known else f"none of the rules applies to {self.subject}"

    def row(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run": str(self.path),
            "no_diagnosis": self.missing or None,
            "outcome": dataclasses.asdict(self.outcome),
            "findings": [dataclasses.asdict(each) for each in self.findings],
            "not_looked_for": list(self.unseen),
        }


def diagnose(path: Path, deployed: Deployment | None = None) -> Diagnosis:
    """Everything that is found in a run folder, and in what came back from the world where that is given.

    InputError where it is no run folder, or damaged.
    """
    run = dataclasses.replace(chart_of(path), deployed=deployed)
    kinds = {stage.kind for stage in run.stages}
    known = [each.name for each in DISEASES if any(told_of(each, stage) for stage in run.stages)]
    unseen = [each.name for each in DISEASES if each.kind in kinds and each.name not in known]
    if deployed is not None:
        known.append(AFTER_DEPLOYMENT.name)
    found = by_severity([*found_in(run, run.stages), *drifted(run)])
    return Diagnosis(path, tuple(found), tuple(known), tuple(unseen), outcome_of(path), subject_of(run))


SUBJECTS: dict[Kind, str] = {
    "ppo": "PPO",
    "reward model": "the training of a reward model",
    "supervised": "supervised fine-tuning",
    "labels": "labels",
}


def subject_of(run: Chart) -> str:
    """What the stages did, as far as their records tell."""
    kinds = dict.fromkeys(SUBJECTS[stage.kind] for stage in run.stages if stage.kind in SUBJECTS)
    if kinds:
        return " and ".join(kinds)
    return "what this run records" if any(stage.events for stage in run.stages) else "a run that recorded no step"


def drifted(run: Chart) -> list[Finding]:
    """Drift after deployment, of the first stage that optimised a policy."""
    stage = next((each for each in run.stages if each.kind == AFTER_DEPLOYMENT.kind), run.stages[0])
    sign = AFTER_DEPLOYMENT.examine(stage, run)
    return [] if sign is None else [Finding.of(AFTER_DEPLOYMENT, stage, sign)]


def told_of(disease: Disease, stage: Stage) -> bool:
    """Whether this stage can tell of the disease; of reward hacking only where somebody looked on."""
    if disease is reward_hacking.DISEASE and stage.kind == "ppo":
        return reward_hacking.watched(stage) or stage.result("win_rate_high_by_answers") is not None
    return disease.possible(stage)


def found_in(run: Chart, stages: Sequence[Stage]) -> list[Finding]:
    """Findings of these stages of a run, the severest first."""
    asked = [(disease, stage) for disease in DISEASES for stage in stages if disease.possible(stage)]
    with np.errstate(all="ignore"):  # a number near the largest one may overflow: then it is no sign of anything
        signs = [(disease, stage, disease.examine(stage, run)) for disease, stage in asked]
    return by_severity([Finding.of(disease, stage, sign) for disease, stage, sign in signs if sign is not None])


def by_severity(found: Sequence[Finding]) -> list[Finding]:
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))
