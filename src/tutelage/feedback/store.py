"""The feedback store: questions go in, people answer, labels come out (docs/feedback.md)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tutelage.feedback import (
    answers,
    asked,
    chain,
    checks,
    claims,
    counts,
    erasing,
    import_store,
    imports,
    labels,
    signals,
    snapshots,
)
from tutelage.feedback import verify as checking
from tutelage.feedback.asking import Asking, Assignment, Label, LabellerKind, Progress, Receipt, Snapshot
from tutelage.feedback.database import Database

LEASE_SECONDS = 900.0
POLL_SECONDS = 0.05


class Store:
    """One per process and database, thread-safe; a context manager. Every method is one transaction, all or nothing.

    Errors: `Refused` and its kinds (asking.py), each an InputError with one sentence that says what to do.
    """

    def __init__(self, database: Database, clock: Callable[[], float], chance: random.Random) -> None:
        self._database, self._clock, self._chance = database, clock, chance

    @classmethod
    def open(
        cls, url: str | Path, clock: Callable[[], float] = time.time, chance: random.Random | None = None
    ) -> Store:
        """A path is a SQLite file, made on first use with its folder; postgresql://user@host:port/name a server's.

        An older store is brought up to date; InputError for one of a newer tutelage, or for what is no store.
        clock: seconds since 1970; chance: draws the order on the screen (by default the system's randomness).
        """
        return cls(Database(url), clock, chance or random.SystemRandom())

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def place(self) -> str:
        """The file, or the URL without its password."""
        return self._database.place

    # --- those who ask

    def ask(self, questions: Sequence[Asking]) -> list[str]:
        """Adds the questions that are not there yet; the names of all of them, in order."""
        with self._database.writing() as connection:
            return asked.ask(connection, self._clock(), questions)

    def withdraw(self, names: Sequence[str], reason: str) -> int:
        """Asks these no more, where they still want answers; how many. An answer that still comes is kept."""
        with self._database.writing() as connection:
            return asked.withdraw(connection, self._clock(), names, reason)

    def want(self, wanted: int, names: Sequence[str] | None = None) -> tuple[int, int]:
        """Asks this many answers of every open question, or of these; (how many changed, how many that want fewer are
        decided and stay so)."""
        with self._database.writing() as connection:
            return asked.want(connection, self._clock(), wanted, names)

    def open_questions(self, policy: str | None = None) -> list[str]:
        """Asked, neither withdrawn nor satisfied, in the order in which they are offered; of one policy, if given."""
        with self._database.reading() as connection:
            return asked.open_questions(connection, policy)

    def known(self, name: str) -> dict[str, Any] | None:
        """What is kept of one question, also what no page is told; None where it was not asked, or was erased."""
        with self._database.reading() as connection:
            return asked.contents(connection, [name]).get(name)

    def skipped(self) -> list[str]:
        """Open questions that somebody skipped: others may still answer them, that person will not be asked again."""
        with self._database.reading() as connection:
            return asked.skipped(connection)

    def guideline(self, markdown: str) -> str:
        """The version ("1", "2", …) of these instructions, which hold for questions that are claimed from now on."""
        with self._database.writing() as connection:
            return asked.guideline(connection, self._clock(), markdown)

    def guideline_text(self, version: str | None = None) -> str | None:
        """The instructions of a version, by default the newest; None where there are none."""
        with self._database.reading() as connection:
            return asked.guideline_text(connection, version)

    def guideline_version(self) -> str | None:
        """The newest version of the instructions; None where there are none."""
        with self._database.reading() as connection:
            return asked.guideline_version(connection)

    # --- those who answer

    def labeller(self, name: str, kind: LabellerKind = "human") -> str:
        """The id of this labeller, made on first use; it does not tell the name."""
        with self._database.writing() as connection:
            return asked.labeller(connection, self._clock(), name, kind)

    def claim(
        self,
        labeller: str,
        count: int = 1,
        kinds: Sequence[str] | None = None,
        lease_s: float = LEASE_SECONDS,
        names: Sequence[str] | None = None,
        chance: random.Random | None = None,
    ) -> list[Assignment]:
        """At most `count` questions: this labeller's live leases first, renewed, then by priority and order asked.

        names: only some of these; chance: draws the order on the screen, for a rehearsal that is to be repeated
        """
        return self.claim_as(claims.Claim(labeller, count, kinds, lease_s, names), chance=chance)

    def claim_as(
        self, wish: claims.Claim, shares: checks.Shares | None = None, chance: random.Random | None = None
    ) -> list[Assignment]:
        """`claim` with all that can be wished for. shares: how many of the questions are checks, drawn and mixed in."""
        with self._database.writing() as connection:
            if shares is not None:
                checks.mix(connection, self._clock(), wish.labeller, shares, chance or self._chance)
            return claims.claim(connection, self._clock(), wish, chance or self._chance)

    def held(self, labeller: str) -> list[Assignment]:
        """What this labeller has leased and neither answered nor given back."""
        with self._database.reading() as connection:
            return claims.held_by(connection, self._clock(), labeller)

    def extend(self, labeller: str, assignment: str, lease: str, lease_s: float = LEASE_SECONDS) -> float:
        """Renews a lease; until when it runs (seconds since 1970). LeaseLost where somebody else has its place."""
        with self._database.writing() as connection:
            row = claims.leased(connection, labeller, assignment, lease)
            return claims.extend(connection, self._clock(), row, lease_s)

    def answer(
        self,
        labeller: str,
        assignment: str,
        lease: str,
        key: str,
        verdict: Mapping[str, Any],
        times: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """Keeps an answer, durable on return. verdict: in ids of Shown (saying.verdict_of); key: the client's own for
        this act, the same key again returns the first receipt; times: what the page measured, kept as it is
        (shown_at and answered_at in seconds since 1970)."""
        return self._act(
            "answered",
            (labeller, assignment, lease),
            key,
            lambda log, row: answers.answer(log, row, key, verdict, times or {}),
        )

    def skip(self, labeller: str, assignment: str, lease: str, key: str, reason: str) -> Receipt:
        """Gives the question back, not to be asked this labeller again. reason: a short code or line."""
        return self._act(
            "skipped", (labeller, assignment, lease), key, lambda log, row: answers.skip(log, row, key, reason)
        )

    def flag(self, labeller: str, assignment: str, lease: str, key: str, flag: str, note: str = "") -> Receipt:
        """Says that something is wrong with a question (a leak, distressing, broken); the lease goes on."""
        return self._act(
            "flagged", (labeller, assignment, lease), key, lambda log, row: answers.flag(log, row, key, flag, note)
        )

    def _act(
        self,
        kind: str,
        whose: tuple[str, str, str],
        key: str,
        act: Callable[[chain.Log, Any], Receipt],
    ) -> Receipt:
        """Once for every key: the receipt of the first time, or the act on the assignment that the lease holds."""
        with self._database.writing() as connection:
            log = chain.Log.of(connection, self._clock())
            before = answers.repeated(connection, whose[0], key, kind, whose[1])
            return before or act(log, claims.leased(connection, *whose))

    def undo(self, labeller: str, key: str, event: str | None = None, lease_s: float = LEASE_SECONDS) -> Assignment:
        """Takes back the labeller's last answer or skip, or the one of this event (of their last 20, or any skip), and
        leases its question to them again, in the same order on the screen; `returned` tells what had been answered."""
        with self._database.writing() as connection:
            log = chain.Log.of(connection, self._clock())
            return answers.undo(log, labeller, key, event, lease_s)

    def own_acts(self, labeller: str) -> list[tuple[str, Assignment]]:
        """(event, question) of this labeller's last 20 answers and skips, the newest first; `returned` tells what was
        said. Give the event to `undo` to say something else."""
        with self._database.reading() as connection:
            return answers.own_acts(connection, labeller)

    def open_skips(self, labeller: str) -> list[str]:
        """Events of this labeller's skips whose questions still want an answer, the oldest first: for `undo`."""
        with self._database.reading() as connection:
            return answers.open_skips(connection, labeller)

    def progress(self, labeller: str) -> Progress:
        """How far this labeller is, and everybody together."""
        with self._database.reading() as connection:
            return labels.progress(connection, self._clock(), labeller)

    # --- those who watch an agent and say how good that is (signals.py)

    def begin_play(self, labeller: str, game: str, settings: Mapping[str, Any]) -> str:
        """A new agent for this person; the id of the play. settings: whatever its weights depend on beside the log."""
        with self._database.writing() as connection:
            return signals.begin(connection, self._clock(), labeller, game, settings)

    def act(self, labeller: str, play: str, acts: signals.Acts) -> None:
        """Keeps what the agent did."""
        with self._database.writing() as connection:
            signals.act(chain.Log.of(connection, self._clock()), labeller, play, acts)

    def signal(
        self, labeller: str, play: str, key: str, said: signals.Signal, acts: signals.Acts | None = None
    ) -> Receipt:
        """Keeps a signal, durable on return, with the actions (acts) that were not kept before it. key: the client's
        own; the same one again returns the first receipt."""
        with self._database.writing() as connection:
            log = chain.Log.of(connection, self._clock())
            if acts is not None and acts.actions:
                signals.act(log, labeller, play, acts)
            return signals.signal(log, labeller, play, key, said)

    def plays(self, labeller: str, game: str) -> list[str]:
        """The plays of this labeller, the newest last."""
        with self._database.reading() as connection:
            return signals.plays(connection, labeller, game)

    def recorded(self, labeller: str, play: str) -> signals.Recorded:
        """All that happened in a play, in order."""
        with self._database.reading() as connection:
            return signals.read(connection, labeller, play)

    # --- those who learn

    def labels(self, after: int = 0) -> list[Label]:
        """Present answers (neither retracted nor excluded) with seq > after, in order of seq; what people said in
        checks (repeats, swaps, questions whose answer was known) is not among them."""
        with self._database.reading() as connection:
            return labels.current(connection, after)

    def checks(self) -> list[checks.Checked]:
        """Present answers to checks, each beside what it is compared with."""
        with self._database.reading() as connection:
            return checks.answered(connection)

    def adjudicate(self, names: Sequence[str], lead: str) -> list[str]:
        """Asks these questions once more, of this labeller alone, whose answer decides; the names of the new ones."""
        with self._database.writing() as connection:
            return checks.adjudicate(connection, self._clock(), names, lead)

    def decided(self) -> set[str]:
        """Questions that a lead was asked to decide."""
        with self._database.reading() as connection:
            return checks.decided(connection)

    def skips_by(self) -> dict[str, int]:
        """Labeller id -> questions that they gave back."""
        with self._database.reading() as connection:
            return counts.skips_by(connection)

    def label_ids(self, labeller: str) -> list[str]:
        """Present answers of one labeller, also excluded ones."""
        with self._database.reading() as connection:
            return labels.ids_of(connection, labeller)

    def told(self, labeller: str, assignment: str) -> dict[str, Any] | None:
        """Of an answer in the qualification, whether it was right, and why; None of any other."""
        with self._database.reading() as connection:
            return checks.told(connection, labeller, assignment)

    def standing(self, labeller: str) -> checks.Standing:
        """How far this labeller is with the qualification."""
        with self._database.reading() as connection:
            return checks.standing(connection, labeller)

    def label_of(self, question: str, labeller: str) -> Label | None:
        """This labeller's present answer to this question."""
        with self._database.reading() as connection:
            return labels.of(connection, question, labeller)

    def last(self) -> tuple[int, str]:
        """(seq, hash) of the last event. Written down elsewhere, it proves that no history before it was rewritten."""
        with self._database.reading() as connection:
            return chain.end_of(connection)

    def hash_of(self, seq: int) -> str | None:
        """The hash of an event; None where there is none of that number."""
        with self._database.reading() as connection:
            return chain.hash_of(connection, seq)

    def wait(self, after: int, timeout_s: float) -> int:
        """Returns as soon as there is an event with seq > after, or after the timeout: the last seq."""
        until = time.monotonic() + timeout_s
        while True:
            with self._database.reading() as connection:
                seq = chain.last(connection)
            left = until - time.monotonic()
            if seq > after or left <= 0:
                return seq
            time.sleep(min(POLL_SECONDS, left))

    def stats(self) -> dict[str, Any]:
        """Counts of questions, answers, labellers, skips and flags, as plain JSON values (counts.py)."""
        with self._database.reading() as connection:
            return counts.counts(connection)

    def names(self) -> dict[str, str]:
        """Labeller id -> name; without those that were erased."""
        with self._database.reading() as connection:
            return asked.names(connection)

    def take_in(self, found: Sequence[imports.Read], anonymous: str = "imported") -> tuple[int, int]:
        """Adds labels that were given elsewhere (imports.read): (added, already there). anonymous: who gave those
        that name nobody."""
        with self._database.writing() as connection:
            return import_store.take_in(connection, self._clock(), found, anonymous)

    def snapshot(self, label_ids: Sequence[str] | None = None) -> Snapshot:
        """Freezes labels, by default all present ones that are counted or surplus; the same ones, the same snapshot."""
        with self._database.writing() as connection:
            return snapshots.take(connection, self._clock(), label_ids)

    def exclude(self, label_ids: Sequence[str], reason: str, excluded: bool = True) -> int:
        """Leaves labels out of `labels` and of new snapshots, or (excluded=False) takes them in; how many changed."""
        with self._database.writing() as connection:
            return erasing.exclude(connection, self._clock(), label_ids, reason, excluded)

    def erase_labeller(self, labeller: str, reason: str) -> int:
        """Takes a person's name and free text out for good; their choices stay, as nobody's. How many texts went."""
        with self._database.writing() as connection:
            gone = erasing.erase_labeller(connection, self._clock(), labeller, reason)
        self._database.forget()
        return gone

    def erase_question(self, name: str, reason: str) -> int:
        """Takes a question's texts, and what was written about them, out for good; its labels are read no more."""
        with self._database.writing() as connection:
            gone = erasing.erase_question(connection, self._clock(), name, reason)
        self._database.forget()
        return gone

    def verify(self) -> list[str]:
        """Faults in words; empty where no label is lost, doubled, on the wrong side or unaccounted for (verify.py)."""
        with self._database.reading() as connection:
            return checking.verify(connection)

    def snapshot_labels(self, id: str) -> list[Label]:
        """The labels as they were frozen, also those that were retracted since."""
        with self._database.reading() as connection:
            return snapshots.labels_of(connection, id)

    def lineage(self, label: str) -> list[str]:
        """The snapshots that hold this label, the oldest first."""
        with self._database.reading() as connection:
            return snapshots.holding(connection, label)

    def affected(self) -> dict[str, list[str]]:
        """Snapshot -> those of its labels that were retracted or excluded after it was taken."""
        with self._database.reading() as connection:
            return snapshots.affected(connection)
