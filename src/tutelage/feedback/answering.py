"""Who answers the questions of the store: people at the page, synthetic labellers, a model.

All of them go the same way: a question is asked in the store, claimed, answered and kept with who answered it, what was
shown where and when. Training asks by `Labeller.answer` and does not know who is there.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from tutelage.data.records import Context
from tutelage.feedback.asking import Assignment
from tutelage.feedback.labellers import SyntheticLabeller
from tutelage.feedback.store import Store

Kind = Literal["human", "synthetic", "model"]


class Labeller(Protocol):
    """Answers questions, or sees to it that somebody does."""

    @property
    def kind(self) -> Kind: ...

    def answer(self, store: Store, names: Sequence[str]) -> int:
        """Returns how many of these questions have all the answers they want: all, where this labeller finishes what
        it is asked; fewer, where it stops waiting."""
        ...


@dataclass(frozen=True)
class Panel:
    """Synthetic labellers, for rehearsals in which the truth is known.

    Who answers a question, in which order it is shown and what is said depends on the seed and the question's name,
    not on when it is asked: a rehearsal that was killed goes on to the same end. One call is one sitting, in which
    everybody answers as many and tires.
    """

    members: Sequence[SyntheticLabeller]
    seed: int = 0
    kind: Kind = "synthetic"

    def answer(self, store: Store, names: Sequence[str]) -> int:
        for place, name in enumerate(names):
            for member in self._asked(name):
                self._answer(store, name, member.tired(place // len(self.members)))
        return _answered(store, names)

    def _asked(self, name: str) -> list[SyntheticLabeller]:
        """Everybody, in the order in which they are asked about this question; the first ones answer."""
        return [self.members[place] for place in self._random(name).permutation(len(self.members))]

    def _answer(self, store: Store, name: str, member: SyntheticLabeller) -> None:
        person = store.labeller(member.name, "synthetic")
        shuffled = random.Random(f"{self.seed} {name}")
        for given in store.claim(person, names=[name], chance=shuffled):
            texts = [each.text or "" for each in given.shown]
            choice = member.choose(prompt_of(given.context), texts, self._random(name, member.name))
            verdict = {"choice": given.shown[choice].id}
            store.answer(person, given.id, given.lease, f"{person}:{given.id}", verdict)

    def _random(self, *parts: str) -> np.random.Generator:
        digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
        return np.random.default_rng([self.seed, *digest[:8]])


Judge = Callable[[str, str, str], float]
"""(prompt, first, second) -> the probability that the first is better."""


class NoVerdict(RuntimeError):
    """A judge that gave no usable answer; the question is skipped and nobody's opinion is made up."""


@dataclass(frozen=True)
class ModelLabeller:
    """A model as a judge: asked in both orders, so that a preference for a place cancels (Zheng et al. 2023).

    Its answers stand in the store as a model's, beside people's; they are never shown to people.
    """

    name: str
    judge: Judge
    both_orders: bool = True
    kind: Kind = "model"

    def answer(self, store: Store, names: Sequence[str]) -> int:
        me = store.labeller(self.name, "model")
        for name in names:
            for given in store.claim(me, names=[name]):
                self._answer(store, me, given)
        return _answered(store, names)

    def _answer(self, store: Store, me: str, given: Assignment) -> None:
        first, second = given.shown
        key = f"{me}:{given.id}"
        try:
            probability = self._judged(prompt_of(given.context), first.text or "", second.text or "")
        except NoVerdict as error:
            store.skip(me, given.id, given.lease, key, f"no verdict: {error}"[:200])
            return
        verdict: dict[str, Any] = {"tie": True}
        if probability != 0.5:
            verdict = {"choice": (first if probability > 0.5 else second).id, "strength": abs(2 * probability - 1)}
        store.answer(me, given.id, given.lease, key, verdict)

    def _judged(self, prompt: str, first: str, second: str) -> float:
        forth = self.judge(prompt, first, second)
        found = (forth + 1.0 - self.judge(prompt, second, first)) / 2 if self.both_orders else forth
        if not 0.0 <= found <= 1.0:
            raise NoVerdict(f"the probability is {found}")
        return found


@dataclass(frozen=True)
class HumanLabeller:
    """People at the labelling page, in another process: this one waits for their answers.

    A question that somebody skipped is not waited for: nobody knows whether there is anybody else.

    patience_s: how long it waits without any new answer before it goes on with those that are there; None waits for
    ever. says: called once, when waiting begins, with how many answers are missing
    """

    patience_s: float | None = None
    says: Callable[[int], None] = lambda missing: print(f"waiting for {missing} answers", flush=True)
    kind: Kind = "human"
    poll_s: float = 1.0

    def answer(self, store: Store, names: Sequence[str]) -> int:
        wanted = set(names)
        seen, last = store.wait(0, 0.0), time.monotonic()
        missing = unanswered(store, wanted)
        if missing:
            self.says(len(missing))
        while missing:
            newest = store.wait(seen, self.poll_s)
            if newest > seen:
                seen, last = newest, time.monotonic()
                missing = unanswered(store, wanted)
            elif self.patience_s is not None and time.monotonic() - last > self.patience_s:
                break
        return _answered(store, names)


def unanswered(store: Store, names: Collection[str]) -> set[str]:
    """Those that still want an answer and that nobody has skipped."""
    return (set(names) & set(store.open_questions())) - set(store.skipped())


def prompt_of(context: Context) -> str:
    """The text that is answered: a prompt, or the messages of a talk, one a line."""
    return context.prompt or "\n\n".join(f"{each['role']}: {each['content']}" for each in context.messages)


def _answered(store: Store, names: Sequence[str]) -> int:
    return len(set(names) - set(store.open_questions()))
