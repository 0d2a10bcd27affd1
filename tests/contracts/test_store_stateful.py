"""Claim, answer, skip, undo, expire, withdraw in any order: the store does what a small model does."""

from __future__ import annotations

import random
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.contracts.test_store import Clock, question
from tests.databases import BACKENDS, database

from tutelage.feedback.asking import LeaseLost, Refused
from tutelage.feedback.store import Store

PEOPLE = ("ann", "bob", "cid")
LEASE = 100.0


@dataclass
class Held:
    """What somebody has of a question. at: when it came to this state, as a count of acts."""

    state: str
    expires: float
    at: int
    answer: str = ""


@dataclass
class Model:
    """The reference: no SQL, no events, only the rules."""

    wanted: list[int]
    priority: list[float]
    now: float = 1_000_000.0
    acts: int = 0
    withdrawn: set[int] = field(default_factory=set)
    held: dict[tuple[int, str], Held] = field(default_factory=dict)

    def counted(self, q):
        return sum(
            each.state == "answered" and each.answer == "counted" for (n, _), each in self.held.items() if n == q
        )

    def live(self, q, besides=None):
        return sum(
            each.state == "leased" and each.expires > self.now
            for (n, who), each in self.held.items()
            if n == q and who != besides
        )

    def claim(self, who):
        """The question that is offered, or None."""
        own = [
            (each.at, -self.priority[q], q) for (q, w), each in self.held.items() if w == who and self.is_mine(q, who)
        ]
        if own:
            found = min(own)[2]
            self.held[found, who].expires = max(self.held[found, who].expires, self.now + LEASE)
            return found
        for q in sorted(range(len(self.wanted)), key=lambda q: (-self.priority[q], q)):
            mine = self.held.get((q, who))
            free = self.counted(q) + self.live(q) < self.wanted[q] and q not in self.withdrawn
            if free and (mine is None or (mine.state == "leased" and mine.expires <= self.now)):
                self.acts += 1
                self.held[q, who] = Held("leased", self.now + LEASE, self.acts)
                return q
        return None

    def is_mine(self, q, who):
        each = self.held[q, who]
        return each.state == "leased" and each.expires > self.now and q not in self.withdrawn

    def answer(self, q, who):
        each = self.held[q, who]
        if q in self.withdrawn:
            state = "withdrawn"
        elif each.expires > self.now:
            state = "counted" if self.counted(q) < self.wanted[q] else "surplus"
        else:
            state = "counted" if self.counted(q) + self.live(q, who) < self.wanted[q] else "late"
        self.acts += 1
        self.held[q, who] = Held("answered", each.expires, self.acts, state)
        return state

    def last(self, who):
        done = [(each.at, q) for (q, w), each in self.held.items() if w == who and each.state != "leased"]
        return max(done)[1] if done else None


class Machine(RuleBasedStateMachine):
    backend = "sqlite"

    @initialize(
        questions=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([0.0, 1.0])), min_size=1, max_size=4),
        seed=st.integers(0, 5),
    )
    def begin(self, questions, seed):
        self.open = ExitStack()
        folder = Path(self.open.enter_context(tempfile.TemporaryDirectory()))
        self.url = self.open.enter_context(database(self.backend, folder))
        self.clock, self.keys = Clock(), 0
        self.model = Model([wanted for wanted, _ in questions], [priority for _, priority in questions])
        self.store = Store.open(self.url, self.clock, random.Random(seed))
        self.store.ask([question(f"q{i}", wanted=w, priority=p) for i, (w, p) in enumerate(questions)])
        self.ids = {name: self.store.labeller(name) for name in PEOPLE}
        self.given = {}

    def key(self):
        self.keys += 1
        return f"k{self.keys}"

    @rule(who=st.sampled_from(PEOPLE))
    def claim(self, who):
        expected = self.model.claim(who)
        found = self.store.claim(self.ids[who], lease_s=LEASE)
        assert [each.context.prompt for each in found] == ([] if expected is None else [f"prompt of q{expected}"])
        for each in found:
            self.given[expected, who] = each

    @rule(seconds=st.sampled_from([1.0, 60.0, LEASE]))
    def wait(self, seconds):
        self.clock.now += seconds
        self.model.now += seconds

    @precondition(lambda self: self.given)
    @rule(data=st.data(), twice=st.booleans())
    def answer(self, data, twice):
        q, who = data.draw(st.sampled_from(sorted(self.given)))
        each, key = self.given[q, who], self.key()
        arguments = (self.ids[who], each.id, each.lease, key, {"choice": each.shown[0].id})
        if self.model.held[q, who].state != "leased":
            with pytest.raises(LeaseLost):
                self.store.answer(*arguments)
            return
        receipt = self.store.answer(*arguments)
        assert receipt.state == self.model.answer(q, who)
        if twice:
            again = self.store.answer(*arguments)
            assert again.repeated and (again.event, again.state) == (receipt.event, receipt.state)

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def skip(self, data):
        q, who = data.draw(st.sampled_from(sorted(self.given)))
        each, held = self.given[q, who], self.model.held[q, who]
        if held.state != "leased":
            return
        self.store.skip(self.ids[who], each.id, each.lease, self.key(), "unclear")
        self.model.acts += 1
        self.model.held[q, who] = Held("skipped", held.expires, self.model.acts)

    @rule(who=st.sampled_from(PEOPLE))
    def undo(self, who):
        q, key = self.model.last(who), self.key()
        if q is None:
            with pytest.raises(Refused, match="nothing to undo"):
                self.store.undo(self.ids[who], key, lease_s=LEASE)
            return
        self.given[q, who] = self.store.undo(self.ids[who], key, lease_s=LEASE)
        self.model.acts += 1
        self.model.held[q, who] = Held("leased", self.model.now + LEASE, self.model.acts)

    @rule(data=st.data())
    def withdraw(self, data):
        q = data.draw(st.integers(0, len(self.model.wanted) - 1))
        going = q not in self.model.withdrawn and self.model.counted(q) < self.model.wanted[q]
        assert self.store.withdraw([f"q{q}"], "old") == going
        self.model.withdrawn |= {q} if going else set()

    @rule()
    def open_again(self):
        """As after a kill."""
        self.store.close()
        self.store = Store.open(self.url, self.clock, random.Random(1))

    @invariant()
    def as_the_model_says(self):
        labels = {(each.question, each.comparison.verdict.rater, each.state) for each in self.store.labels()}
        expected = {
            (f"q{q}", self.ids[who], each.answer)
            for (q, who), each in self.model.held.items()
            if each.state == "answered"
        }
        assert labels == expected
        satisfied = (q for q in range(len(self.model.wanted)) if self.model.counted(q) == self.model.wanted[q])
        gone = {f"q{q}" for q in (*satisfied, *self.model.withdrawn)}
        assert gone.isdisjoint(self.store.open_questions())

    def teardown(self):
        if hasattr(self, "store"):
            faults = self.store.verify()
            self.store.close()
            self.open.close()
            assert faults == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_any_order_of_acts(backend, tmp_path):
    with database(backend, tmp_path):  # skips where there is none
        machine = type("Machine", (Machine,), {"backend": backend})
        every = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        examples = 40 if backend == "sqlite" else 15
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=every
            ),
        )
