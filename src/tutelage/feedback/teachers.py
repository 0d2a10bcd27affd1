"""Synthetic teachers of control: they see two clips' true rewards and answer as people do, or as they fail to.

The irrationalities are those of B-Pref (Lee et al. 2021), decided in its order: skip, equal, then a choice by the
rewards (myopic, with noise), then a mistake. Thresholds are ε times a typical clip's return; here ε counts once, where
the published code multiplied it in a second time in the course of a run.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from tutelage.feedback.answering import Kind
from tutelage.feedback.asking import Assignment
from tutelage.feedback.store import Store

Said = Literal["first", "second", "equal", "incomparable"]
AT_ONCE = 64  # questions claimed together


@dataclass(frozen=True)
class Teacher:
    """Prefers the clip with the larger sum of true rewards.

    sharpness: log-odds a unit of return; 0: never errs by noise (B-Pref's β, its oracle)
    myopic: what a step before the last is worth, γ of B-Pref; 1: all steps alike
    mistake: share of answers turned round          skip, equal: ε of the two thresholds; 0: never
    floor: the least that a step can earn; thresholds count from there, so that they mean something where all rewards
        are negative
    """

    sharpness: float = 0.0
    myopic: float = 1.0
    mistake: float = 0.0
    skip: float = 0.0
    equal: float = 0.0
    floor: float = 0.0

    def says(self, first_T: np.ndarray, second_T: np.ndarray, typical: float, chance: np.random.Generator) -> Said:
        """typical: the mean return of a clip, above the floor, of the policy that is asked about."""
        noise, slip = chance.random(2)
        one, other = float((first_T - self.floor).sum()), float((second_T - self.floor).sum())
        if self.skip > 0 and max(one, other) <= self.skip * typical:
            return "incomparable"
        if one == other or abs(one - other) < self.equal * typical:
            return "equal"
        weights_T = self.myopic ** np.arange(len(first_T) - 1, -1, -1.0)
        ahead = float((weights_T * (first_T - second_T)).sum())
        prefers_first = noise < expit(self.sharpness * ahead) if self.sharpness > 0 else ahead > 0
        return "first" if prefers_first != (slip < self.mistake) else "second"


@dataclass(frozen=True)
class ClipTeacher:
    """A teacher at the store. rewards: name of a clip -> [T] true rewards; typical: as `Teacher.says` takes it.

    What is said of two clips depends on the seed and on the clips alone.
    seconds: what an answer takes; 0 for a rehearsal that nobody waits for
    """

    teacher: Teacher
    rewards: Callable[[str], np.ndarray]
    seed: int = 0
    typical: float = 0.0
    seconds: float = 0.0
    kind: Kind = "synthetic"

    def answer(self, store: Store, names: Sequence[str]) -> int:
        me = store.labeller("teacher", "synthetic")
        for start in range(0, len(names), AT_ONCE):
            some = list(names[start : start + AT_ONCE])
            shuffled = random.Random(f"{self.seed} {some[0]}")
            for given in store.claim(me, count=len(some), kinds=["clip"], names=some, chance=shuffled):
                time.sleep(self.seconds)
                store.answer(me, given.id, given.lease, f"{me}:{given.id}", self._verdict(given))
        return len(set(names) - set(store.open_questions()))

    def _verdict(self, given: Assignment) -> dict[str, Any]:
        first, second = sorted(given.shown, key=lambda each: each.media or "")
        digest = hashlib.sha256(f"{first.media} {second.media}".encode()).digest()
        chance = np.random.default_rng([self.seed, *digest[:8]])
        rewards = [self.rewards(each.media or "") for each in (first, second)]
        said = self.teacher.says(rewards[0], rewards[1], self.typical, chance)
        if said in ("first", "second"):
            return {"choice": (first if said == "first" else second).id}
        return {"tie": True} if said == "equal" else {"no_choice": "incomparable"}
