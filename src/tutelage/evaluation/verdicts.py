"""Questions for people about two policies' replies, and their answers: comparison records both times.

Every pair is asked in both places (`verdict.shown`), so that a preference for the first or the second cancels. A record
whose verdict says nothing yet is a question; answered, it is the same line with `choice` (or a `ranking` with a tie, a
`strength` of 0, or `no_choice`) and `rater`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from tutelage.data.errors import InputError
from tutelage.data.files import Row, read_rows
from tutelage.data.records import Candidate, Comparison, Context, Verdict, candidate_id, explained
from tutelage.evaluation.win_rates import Judgements, Replies
from tutelage.formulas import agreement

FIRST, SECOND, UNPLACED = "first", "second", "unplaced"


@dataclass(frozen=True)
class Answers:
    """What people said: of which replies, as one judge, and each person's own answers (rater -> pair -> outcomes)."""

    replies: Replies
    people: Judgements
    by_rater: Mapping[str, Mapping[int, list[float]]]
    unanswered: int

    @property
    def ratings_NR(self) -> np.ndarray:
        """[pairs, people] 1 the candidate, 0 the other, 0.5 a tie; NaN not asked. Asked twice counts by the mean."""
        table = np.full((len(self.replies), len(self.by_rater)), np.nan)
        for column, outcomes in enumerate(self.by_rater.values()):
            for pair, values in outcomes.items():
                table[pair, column] = (np.sign(np.mean(values) - 0.5) + 1) / 2
        return table


def asked_of_people(replies: Replies, policies: tuple[str, str]) -> list[Comparison]:
    """Two questions a pair, one in each order; pairs of equal replies are no question. Ids do not tell the policy."""
    found = []
    for place, texts in enumerate(zip(replies.prompts, replies.candidate, replies.other, strict=True)):
        prompt, candidate, other = texts
        if candidate.strip() == other.strip():
            continue
        ids = [candidate_id(place, prompt, policy, text) for policy, text in zip(policies, texts[1:], strict=True)]
        candidates = [
            Candidate(id=name, text=text, policy=policy)
            for name, text, policy in zip(ids, texts[1:], policies, strict=True)
        ]
        candidates.sort(key=lambda each: each.id)  # nor does their order
        for shown in (ids, ids[::-1]):
            verdict = Verdict(shown=tuple(shown))
            context = Context(prompt=prompt)
            found.append(Comparison(context=context, candidates=tuple(candidates), verdict=verdict))
    return found


def read_answers(source: str, policies: tuple[str, str]) -> Answers:
    """Comparison records on the two policies' replies, answered or not. InputError where they are about others."""
    reader = _Reader(policies)
    for row in read_rows(source):
        reader.add(row)
    if not reader.pairs:
        raise InputError(f"{source} has no pair of {policies[0]} and {policies[1]}. {reader.others()}")
    if not reader.by_rater:
        raise InputError(
            f"{source}: none of its {reader.unanswered} questions is answered. A verdict needs a choice (the id of a "
            "candidate), or strength 0 for a tie (docs/schema.md)."
        )
    return reader.answers()


def among_people(answers: Answers) -> dict[str, Any]:
    """How far people agree with each other, where two pairs or more were judged by two or more of them."""
    ratings_NR = answers.ratings_NR
    found: dict[str, Any] = {"people": ratings_NR.shape[1], "unanswered": answers.unanswered}
    if ((~np.isnan(ratings_NR)).sum(axis=1) > 1).sum() < 2:
        return found
    alpha = agreement.krippendorff_alpha(ratings_NR, agreement.ordinal)
    return {
        **found,
        "agreement_among_people": agreement.percent_agreement(ratings_NR),
        "alpha_among_people": None if np.isnan(alpha) else alpha,
        **agreement.human_ceiling(ratings_NR).row("human_ceiling"),
    }


def outcome(record: Comparison, candidate: str) -> float | None:
    """1 the candidate (an id) is preferred, 0 the other, 0.5 where neither is or both are bad; None: no answer."""
    verdict = record.verdict
    if verdict.no_choice is not None or verdict.strength == 0 or (verdict.ranking and len(verdict.ranking[0]) == 2):
        return 0.5
    if record.best is None:
        return None
    return float(record.candidates[record.best].id == candidate)


@dataclass
class _Reader:
    """Gathers records: pairs in the order in which they first appear, outcomes by place and by rater."""

    policies: tuple[str, str]
    pairs: dict[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])
    placed: dict[str, dict[int, list[float]]] = field(
        default_factory=lambda: {FIRST: {}, SECOND: {}, UNPLACED: {}},
    )
    by_rater: dict[str, dict[int, list[float]]] = field(default_factory=dict[str, dict[int, list[float]]])
    seen: set[str] = field(default_factory=set[str])
    unanswered: int = 0

    def add(self, row: Row) -> None:
        record = _record(row)
        texts = {each.policy: each for each in record.candidates}
        self.seen.update(str(policy) for policy in texts)
        if set(texts) != set(self.policies) or len(record.candidates) != 2:
            return
        candidate, other = (texts[policy] for policy in self.policies)
        if record.context.prompt is None or candidate.text is None or other.text is None:
            raise InputError(f"{row.place}: expected a prompt and two replies as texts (context.prompt, text).")
        key = (record.context.prompt, candidate.text, other.text)
        pair = self.pairs.setdefault(key, len(self.pairs))
        said = outcome(record, candidate.id)
        if said is None:
            self.unanswered += 1
            return
        rater = record.verdict.rater or "(nobody named)"
        self.by_rater.setdefault(rater, {}).setdefault(pair, []).append(said)
        self.placed[_place(record, candidate.id)].setdefault(pair, []).append(said)

    def answers(self) -> Answers:
        prompts, candidate, other = (list(column) for column in zip(*self.pairs, strict=True))
        columns = {name: _means(values, len(self.pairs)) for name, values in self.placed.items()}
        people = Judgements("people", columns[FIRST], columns[SECOND], columns[UNPLACED])
        return Answers(Replies(prompts, candidate, other), people, self.by_rater, self.unanswered)

    def others(self) -> str:
        names = ", ".join(sorted(self.seen - {"None"}))
        return f"Its candidates are of: {names}." if names else "Its candidates name no policy (candidates[].policy)."


def _record(row: Row) -> Comparison:
    try:
        return Comparison.model_validate(row.fields)
    except ValidationError as error:
        raise InputError(f"{row.place}: {explained(error)} (a comparison record, docs/schema.md).") from error


def _place(record: Comparison, candidate: str) -> str:
    shown = record.verdict.shown
    return UNPLACED if len(shown) != 2 else FIRST if shown[0] == candidate else SECOND


def _means(values: Mapping[int, Sequence[float]], count: int) -> np.ndarray:
    means_N = np.full(count, np.nan)
    for pair, outcomes in values.items():
        means_N[pair] = float(np.mean(outcomes))
    return means_N


def refuse_existing(path: str) -> Path:
    """A file of questions may hold people's answers by now."""
    target = Path(path).expanduser()
    if target.exists():
        raise InputError(f"--write-questions {path} exists and may hold answers: nothing was written. Name another.")
    return target
