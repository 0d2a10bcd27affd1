"""The blind arena: two policies answer, the store draws who stands where, and names are told after the choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tutelage.data.records import Candidate, Comparison, Context, candidate_id
from tutelage.feedback.asking import Asking, Assignment, Label, Refused
from tutelage.feedback.store import Store

KIND = "arena"  # no other page asks these questions


def asked(
    store: Store, labeller: str, prompt: str, replies: Mapping[str, str], sampler: Mapping[str, Any]
) -> Assignment:
    """The question, leased to who asked for it. replies: policy -> what it wrote; Refused where they are alike."""
    if len(set(replies.values())) < 2:
        raise Refused(
            "Both wrote the same, so there is nothing to choose. Ask something else, or at a higher temperature."
        )
    candidates = tuple(
        Candidate(id=candidate_id(KIND, prompt, place, text), text=text, policy=name, sampler=dict(sampler))
        for place, (name, text) in enumerate(replies.items())
    )
    [name] = store.ask([Asking(Context(prompt=prompt), candidates, kind=KIND)])
    given = store.claim(labeller, 1, [KIND], names=[name])
    if not given:
        raise Refused("These two replies to this prompt were judged before. Ask again for new ones.")
    return given[0]


def revealed(store: Store, event: str, seq: int) -> list[str]:
    """Who stood on the left and who on the right of an answer that has been given."""
    label = next((each for each in store.labels(after=seq - 1) if each.id == event), None)
    if label is None:
        return []
    policies = {each.id: each.policy or "" for each in label.comparison.candidates}
    return [policies[shown] for shown in label.comparison.verdict.shown]


def standing(labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Every pair of policies that met: how often the first was preferred, a tie half, with a 95 % interval."""
    from tutelage.formulas.intervals import win_rate  # beside scipy: only who asks waits for it

    meetings: dict[tuple[str, str], Counter[str]] = {}
    for label in labels:
        names = sorted({each.policy or "" for each in label.comparison.candidates})
        if len(names) == 2 and all("//" in name for name in names):
            meetings.setdefault((names[0], names[1]), Counter())[outcome(label.comparison, names[0])] += 1
    rows: list[dict[str, Any]] = []
    for (first, second), counts in sorted(meetings.items()):
        total = counts.total()
        found = win_rate(counts["won"], total - counts["won"] - counts["lost"], counts["lost"])
        about = {"rate": found.value, "low": found.low, "high": found.high, "n": found.n}
        rows.append(
            {"first": first, "second": second, "answers": total, **about}
            | {name: counts[name] for name in ("won", "lost", "tied", "bad")}
        )
    return rows


def outcome(said: Comparison, first: str) -> str:
    """won or lost of the first policy; tied; bad where both were."""
    if said.verdict.no_choice is not None:
        return "bad"
    best = said.best if said.verdict.strength != 0.0 else None
    if best is None:
        return "tied"
    return "won" if said.candidates[best].policy == first else "lost"
