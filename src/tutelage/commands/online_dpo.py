"""`tutelage online-dpo`: a policy learns from pairs of its own replies, judged by a reward, a model or people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from tutelage.algorithms.online_dpo import ONLINE_DPO, OnlineDPOConfig
from tutelage.commands.acting import FLAT, ActingJob, prepare_acting, train_acting
from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, candidate_id
from tutelage.data.tokens import Codec
from tutelage.feedback.answering import Labeller
from tutelage.feedback.asking import Asking
from tutelage.feedback.store import Store
from tutelage.recipes.asking import context_of
from tutelage.recipes.labelling import labeller_of
from tutelage.runs.run import ANSWERS, Run
from tutelage.trajectory import Batch

FIRST_PROBE = 2**31  # steps from here on are of probes (preflight, fixed prompts), about which nobody is asked


@dataclass(frozen=True)
class OnlineDPOJob(ActingJob):
    """Optimize a policy on pairs of its own replies (online DPO)."""

    judge: str = "reward"
    """Who says which reply is better: reward (the scores of --reward); people, at a labelling page; or as --labeller of
    `tutelage loop`: the address of an OpenAI-compatible API, or synthetic (on the helpdesk)."""
    judge_model: str = ""
    """Which model of that API judges."""
    without_page: bool = False
    """Of people: open no labelling page; they come by `tutelage label --from-run RUN`."""
    wait_s: float = 0.0
    """Seconds without a new answer after which a step goes on with the answers that came; 0 waits for ever."""
    settings: Annotated[OnlineDPOConfig, FLAT] = field(default_factory=OnlineDPOConfig)

    @property
    def needs_reward(self) -> bool:
        return self.judge == "reward"

    @property
    def labeller(self) -> str:
        """As `recipes.labelling.labeller_of` calls the judge."""
        return "human" if self.judge == "people" else self.judge


def online_dpo_job(job: OnlineDPOJob, run: Run) -> dict[str, Any]:
    if job.needs_reward:
        return train_acting(ONLINE_DPO, job.settings, prepare_acting(job, run), run)
    if job.judge not in ("people", "synthetic") and not job.judge.startswith(("http://", "https://")):
        raise InputError(f"--judge {job.judge!r}: expected reward, people, synthetic, or an address (http://…/v1).")
    if job.reward or job.settings.samples != 2:
        fault = "no --reward" if job.reward else f"--samples 2, not {job.settings.samples}"
        raise InputError(f"--judge {job.judge} compares two replies to a prompt: it takes {fault}.")
    judge = labeller_of(job.labeller, job.judge_model, job.settings.seed, job.wait_s or None)
    acting = prepare_acting(job, run)
    score = AskedScore(judge, run.path / ANSWERS, acting.speaker.codec)
    try:
        found = train_acting(ONLINE_DPO, job.settings, replace(acting, task=replace(acting.task, score=score)), run)
        return {**found, "labels": len(score.store.labels()), "snapshot": score.store.snapshot().id}
    finally:
        score.close()


@dataclass
class AskedScore:
    """A `Score` of two replies side by side: 1 for the one that was preferred, 0 for the other, ½ each where neither
    was (a tie, equal replies, no answer). Every pair is a question of the store, with the name of its step.

    place: of the store; it is opened when the first question is asked, so that what cannot train leaves no folder
    """

    judge: Labeller
    place: Path
    codec: Codec
    asks_people: ClassVar[bool] = True  # the preflight does not expect it to tell the probe's replies apart

    @property
    def function(self) -> AskedScore:
        """Where the preflight looks for what a score says of itself."""
        return self

    @cached_property
    def store(self) -> Store:
        return Store.open(self.place)

    def close(self) -> None:
        if "store" in vars(self):
            self.store.close()

    def __call__(self, batch: Batch) -> Tensor:
        if batch.keys[0].step >= FIRST_PROBE:
            return torch.zeros_like(batch.rewards_BT)
        prompts, replies = self.codec.prompts_and_responses(batch)
        score_B, first_row = torch.full((len(batch),), 0.5), dict[str, int]()
        askings = list[Asking]()
        for row in range(0, len(batch), 2):
            if replies[row].strip() != replies[row + 1].strip():
                about = f"step-{batch.keys[row].step:06d}-{row // 2:04d}", f"step-{batch.keys[row].step}"
                askings.append(question(*about, prompts[row], replies[row : row + 2]))
                first_row[str(askings[-1].name)] = row
        names = self.store.ask(askings)
        self.judge.answer(self.store, names)
        self.store.withdraw(sorted(set(names) & set(self.store.open_questions())), "the policy has moved on")
        for label in self.store.labels():
            row, best = first_row.get(label.question), label.comparison.best
            if row is not None and best is not None:
                score_B[row : row + 2] = torch.tensor([1.0 - best, float(best)])
        return batch.at_last_action(score_B.to(batch.mask_BT.device))


def question(place: str, policy: str, prompt: str, replies: Sequence[str]) -> Asking:
    """The same pair at the same place has the same name: a run that was killed does not ask it again."""
    name = f"{place}-{candidate_id(prompt, *replies)}"
    two = (Candidate(id=candidate_id(name, slot, text), text=text, policy=policy) for slot, text in enumerate(replies))
    return Asking(context_of(prompt), tuple(two), name=name, policy=policy)
