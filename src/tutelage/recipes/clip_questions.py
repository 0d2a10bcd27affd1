"""Asking about clips: cut from what the policy just did, put as questions of the store, heard back as answers.

What was asked and what was heard is the interview's state. A run that was killed asks the same again, under the same
names, and the store answers with what it knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tutelage.algorithms.preferences import RewardLearner
from tutelage.data.clips import Clips
from tutelage.data.records import Candidate, Comparison, Context, candidate_id
from tutelage.feedback import questions
from tutelage.feedback.asking import Asking, Label
from tutelage.feedback.store import Store
from tutelage.rewards.control import Inputs
from tutelage.trajectory import Batch

CUT = 0xC11B


@dataclass(frozen=True)
class Cuts:
    """Pairs of clips of a batch that could be asked about. rows, starts: [N, 2]; steps: of each clip."""

    rows: np.ndarray
    starts: np.ndarray
    steps: int

    @staticmethod
    def of(batch: Batch, pairs: int, steps: int, chance: np.random.Generator) -> Cuts:
        """Uniform over the rows that are long enough, and over where a clip can begin."""
        lengths_B = batch.lengths_B.numpy()
        long_enough = np.flatnonzero(lengths_B >= steps)
        if not len(long_enough):
            raise ValueError(f"no trajectory has the {steps} steps of a clip; the longest has {lengths_B.max()}")
        rows = chance.choice(long_enough, size=(pairs, 2))
        starts = np.floor(chance.random((pairs, 2)) * (lengths_B[rows] - steps + 1)).astype(np.int64)
        return Cuts(rows, starts, steps)

    def sums(self, values_BT: Tensor) -> np.ndarray:
        """[N, 2] values [..., B, T] summed over every clip, leading dimensions last: [N, 2, ...]."""
        rows, starts = torch.from_numpy(self.rows), torch.from_numpy(self.starts)
        running = torch.nn.functional.pad(values_BT.double().cumsum(dim=-1), (1, 0))
        found = running[..., rows, starts + self.steps] - running[..., rows, starts]
        return found.movedim((-2, -1), (0, 1)).numpy()

    def clip(self, batch: Batch, pair: int, side: int) -> dict[str, np.ndarray]:
        """One clip's parts, as `Clips.keep` takes them."""
        row, start = int(self.rows[pair, side]), int(self.starts[pair, side])
        end = start + self.steps
        actions = batch.actions[row, start:end].numpy().reshape(self.steps, -1).astype(np.float32)
        rewards = batch.extras["true_rewards"][row, start:end, None].numpy()
        return {
            "observations": batch.observations[row, start : end + 1].numpy(),
            "actions": np.concatenate([actions, np.zeros_like(actions[:1])]),
            "scenes": batch.extras["scenes"][row, start : end + 1].numpy(),
            "rewards": np.concatenate([rewards, np.zeros((1, 1), dtype=np.float32)]),
        }


@dataclass
class Interview:
    """What was asked and heard so far.

    people: whether answers come in their own time, may be taken back, and cannot be had again
    asked: names of questions, in order; rows: those that were learned from -> (row of the answers, id of the label)
    dropped: those that were answered without a preference that can be learned -> id of the label
    given_back: how many were skipped; with those that stand it numbers the next question, which must be a new one
    """

    store: Store
    clips: Clips
    inputs: Inputs
    seed: int
    clip_steps: int
    select: str
    candidates_per_label: int
    people: bool = False
    asked: list[str] = field(default_factory=list)
    rows: dict[str, list[Any]] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    given_back: int = 0
    _labels: dict[str, Label] = field(default_factory=dict, repr=False)

    def labels(self) -> dict[str, Label]:
        """Question -> its present answer. Only people take answers back, so only theirs are read anew each time."""
        last = 0 if self.people else max((each.seq for each in self._labels.values()), default=0)
        found = {each.question: each for each in self.store.labels(after=last)}
        self._labels = found if self.people else self._labels | found
        return self._labels

    def ask(self, batch: Batch, version: int, count: int, learner: RewardLearner | None) -> list[str]:
        """Asks `count` questions about this batch, the most disputed of many; their names."""
        if count <= 0:
            return []
        chance = np.random.default_rng([self.seed, CUT, version, self.next_number])
        chooses = learner is not None and self.select == "disagreement" and learner.ensemble.members > 1
        found = Cuts.of(batch, count * (self.candidates_per_label if chooses else 1), self.clip_steps, chance)
        scores_NKM = np.zeros((len(found.rows), 2, 1))
        if learner is not None:
            with torch.no_grad():
                rewards_MBT = learner.ensemble(self.inputs(batch.observations[:, :-1], batch.actions))
            scores_NKM = found.sums(rewards_MBT)
        interest_N = np.ones(len(found.rows))
        if chooses:
            interest_N = questions.leading(questions.disputed_answers(scores_NKM), count)
        probs_N = questions.inclusion(interest_N, count)
        taken = questions.drawn(probs_N, chance)
        means_NK = scores_NKM.mean(axis=2) if learner is not None else None
        asking = [
            self._asking(batch, found, int(pair), (version, place), probs_N, means_NK)
            for place, pair in enumerate(taken)
        ]
        names = self.store.ask(asking)
        self.asked += names
        return names

    def _asking(
        self,
        batch: Batch,
        found: Cuts,
        pair: int,
        number: tuple[int, int],
        probs_N: np.ndarray,
        means_NK: np.ndarray | None,
    ) -> Asking:
        version, place = number
        names = [self.clips.keep(**found.clip(batch, pair, side)) for side in range(2)]
        name = f"version-{version:05d}-{self.next_number + place:05d}-{candidate_id(*names)}"
        candidates = tuple(
            Candidate(
                id=candidate_id(name, side, media),
                media=media,
                policy=f"version-{version}",
                score=None if means_NK is None else float(means_NK[pair, side]),
            )
            for side, media in enumerate(names)
        )
        about = {"asked_with": float(min(1.0, probs_N[pair])), "policy": f"version-{version}"}
        return Asking(Context(), candidates, "clip", name, priority=float(version), **about)

    @property
    def next_number(self) -> int:
        return len(self.asked) + self.given_back

    def typical(self, batch: Batch, floor: float) -> float:
        """The mean return of a clip of this batch, above the floor: what a teacher's thresholds are fractions of."""
        paid = batch.extras["true_rewards"][batch.mask_BT]
        return float((paid - floor).mean()) * self.clip_steps

    def answered(self) -> int:
        """Questions of this interview that have an answer."""
        known = set(self.asked)
        return sum(name in known for name in self.labels())

    def settle(self) -> None:
        """After a kill: what people answered since the last checkpoint belongs to this interview, too. What they were
        asked since is asked no more, for the policy that it was about will not come again as it was."""
        if not self.people:
            return
        known = set(self.asked)
        self.asked += [name for name in self.labels() if name not in known]
        late = [name for name in self.store.open_questions() if name not in known]
        self.store.withdraw(late, "the run was resumed")
        self.given_back += len(late)

    def hear(self, learner: RewardLearner) -> int:
        """Takes in every answer that is new, in the order in which they were asked, and those that were changed."""
        labels = self.labels()
        fresh = [name for name in self.asked if name in labels and name not in self.rows]
        fresh = [name for name in fresh if self.dropped.get(name) != labels[name].id]
        for name, (row, known) in self.rows.items():
            if name in labels and labels[name].id != known:  # taken back, and answered again
                target = target_of(labels[name].comparison)
                learner.answers.target_N[row] = 0.5 if target is None else target
                self.rows[name][1] = labels[name].id
        return self._take(learner, [labels[name] for name in fresh])

    def _take(self, learner: RewardLearner, labels: Sequence[Label]) -> int:
        targets = [target_of(each.comparison) for each in labels]
        told = [(label, target) for label, target in zip(labels, targets) if target is not None]
        self.dropped |= {label.question: label.id for label, target in zip(labels, targets) if target is None}
        if not told:
            return 0
        for place, (label, _) in enumerate(told):
            self.dropped.pop(label.question, None)
            self.rows[label.question] = [len(learner.answers) + place, label.id]
        pairs = [[self.clips.load(each.media or "") for each in label.comparison.candidates] for label, _ in told]
        clips = torch.stack([torch.stack([self._inputs(clip) for clip in pair]) for pair in pairs])
        returns = torch.tensor([[float(clip["rewards"].sum()) for clip in pair] for pair in pairs])
        learner.take(clips, torch.tensor([target for _, target in told]), returns)
        return len(told)

    def _inputs(self, clip: Mapping[str, np.ndarray]) -> Tensor:
        """[L, I] as the ensemble reads a clip."""
        actions = torch.from_numpy(clip["actions"][:-1])
        one_button = self.clips.layout.columns["actions"] == 1 and hasattr(self.inputs.actions, "count")
        observations = torch.from_numpy(clip["observations"][:-1])
        return self.inputs(observations, actions[:, 0].long() if one_button else actions)

    def withdraw_skipped(self) -> int:
        """Questions that somebody gave back are asked no more, and others may take their place; how many."""
        mine = [name for name in self.store.skipped() if name in set(self.asked)]
        self.store.withdraw(mine, "somebody skipped it")
        self.asked = [name for name in self.asked if name not in set(mine)]
        self.given_back += len(mine)
        return len(mine)

    def state(self) -> dict[str, Any]:
        return {
            "asked": list(self.asked),
            "given_back": self.given_back,
            "rows": {name: list(each) for name, each in self.rows.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.asked, self.given_back = list(state["asked"]), state["given_back"]
        self.rows = {name: list(each) for name, each in state["rows"].items()}
        self.dropped = {}


def target_of(said: Comparison) -> float | None:
    """P(first preferred): 1, 0, ½ for a tie; None where they could not be compared."""
    if said.verdict.no_choice is not None:
        return None
    best = said.best
    return 0.5 if best is None else 1.0 - best
