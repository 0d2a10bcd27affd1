"""What the answers of a team say of the team: each labeller, how far all agree, what pulls at them, who wins.

Every share comes with its interval: Wilson's where answers are apart, clustered where those of one question or of one
person resemble each other. Nothing here judges anybody; a share without its interval would.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

import numpy as np

from tutelage.data.records import Comparison
from tutelage.feedback.asking import Label
from tutelage.feedback.checks import Checked
from tutelage.formulas import agreement, intervals, ranking

FEWEST_ANNOTATORS = 10  # below, how far people differ cannot be told well enough for an interval of a rating
NOMINAL_MOST = 3  # values; more of them are grades, whose order counts


@dataclass(frozen=True)
class Said:
    """One thing that one person said, comparable with what others said: unit, the question and what it was about."""

    unit: str
    question: str
    labeller: str
    value: float


def said(labels: Sequence[Label]) -> list[Said]:
    """All that can be compared between people: pairs of a ranking or a choice, axes, rules."""
    return [
        Said(f"{label.question} {about}", label.question, label.comparison.verdict.rater or "", value)
        for label in labels
        for about, value in _values(label.comparison)
    ]


def _values(comparison: Comparison) -> Iterator[tuple[str, float]]:
    """(what about, 1 the first, 0 the second, ½ neither; or the rating, or 1 broken, 0 followed, ½ unsure)."""
    for first, second, won in outcomes(comparison):
        yield f"{first} {second}", won
    verdict = comparison.verdict
    for axis, by_id in verdict.ratings.items():
        yield from ((f"{axis} {name}", value) for name, value in by_id.items())
    for rule, broken_by_id in verdict.rules.items():
        for name, broken in broken_by_id.items():
            yield f"{rule} {name}", 0.5 if broken is None else float(broken)


def outcomes(comparison: Comparison) -> Iterator[tuple[str, str, float]]:
    """(candidate, candidate, 1 the first won, 0 the second, ½ a tie), candidates in the order of their names."""
    verdict = comparison.verdict
    place = {name: rank for rank, names in enumerate(verdict.ranking) for name in names}
    if not place and verdict.choice is not None:
        place = {each.id: int(each.id != verdict.choice) for each in comparison.candidates}
        for first, second in combinations(sorted(place), 2):
            if verdict.choice in (first, second):
                yield first, second, float(first == verdict.choice)
        return
    for first, second in combinations(sorted(place), 2):
        yield first, second, 0.5 + 0.5 * float(np.sign(place[second] - place[first]))


def people(labels: Sequence[Label], checks: Sequence[Checked], skips: Counter[str]) -> list[dict[str, Any]]:
    """A row for each labeller, the busiest first."""
    mine: dict[str, list[Label]] = defaultdict(list)
    for each in labels:
        mine[each.comparison.verdict.rater or ""].append(each)
    with_others = _with_others(said(labels))
    rows = []
    for labeller, own in sorted(mine.items(), key=lambda item: -len(item[1])):
        checked = {name: [c.agrees for c in checks if c.labeller == labeller and c.purpose == name] for name in CHECKS}
        rows.append(
            {
                "labeller": labeller,
                "kind": own[0].comparison.verdict.rater_kind,
                "answers": len(own),
                "skips": skips[labeller],
                "seconds": _seconds(own),
                "with_others": _clustered(with_others.get(labeller, [])),
                **{name: _wilson(found) for name, found in checked.items()},
                "first_place": _wilson(first_place(own)),
                "longer": _wilson(longer(own)),
            }
        )
    return rows


CHECKS = ("gold", "qualification", "repeat", "swap")


def _with_others(found: Sequence[Said]) -> dict[str, list[tuple[str, float]]]:
    """Labeller -> (question, whether they and another said the same), for every other who was asked the same."""
    units: dict[str, list[Said]] = defaultdict(list)
    for each in found:
        units[each.unit].append(each)
    pairs: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for together in units.values():
        for one, other in combinations(together, 2):
            same = float(one.value == other.value)
            pairs[one.labeller].append((one.question, same))
            pairs[other.labeller].append((other.question, same))
    return pairs


def _seconds(labels: Sequence[Label]) -> float | None:
    times = [(each.comparison.verdict.shown_at, each.comparison.verdict.answered_at) for each in labels]
    took = [after - before for before, after in times if before is not None and after is not None]
    return round(median(took), 1) if took else None


def first_place(labels: Sequence[Label]) -> list[bool]:
    """Of every pair that was decided, whether what stood first on the screen won (position)."""
    return [
        (verdict.shown.index(first) < verdict.shown.index(second)) == (won == 1.0)
        for label in labels
        if (verdict := label.comparison.verdict).shown
        for first, second, won in outcomes(label.comparison)
        if won != 0.5
    ]


def longer(labels: Sequence[Label]) -> list[bool]:
    """Of every pair that was decided between texts of different length, whether the longer one won (length)."""
    found = []
    for label in labels:
        length = {each.id: len(each.text or "") for each in label.comparison.candidates}
        for first, second, won in outcomes(label.comparison):
            if won != 0.5 and length[first] != length[second]:
                found.append((length[first] > length[second]) == (won == 1.0))
    return found


def seen_before(labels: Sequence[Label]) -> list[bool]:
    """Of every decided pair of one reply that this person had met in an earlier question and one that was new to them,
    whether the one that was first seen earlier won."""
    met: set[str] = set()
    found = []
    for label in sorted(labels, key=lambda each: each.seq):
        text = {each.id: each.text or "" for each in label.comparison.candidates}
        for first, second, won in outcomes(label.comparison):
            if won != 0.5 and (text[first] in met) != (text[second] in met):
                found.append((text[first] in met) == (won == 1.0))
        met |= set(text.values())
    return found


def biases(labels: Sequence[Label]) -> list[dict[str, Any]]:
    """Position, length and first seen: the share that each pulls to itself, ½ where it pulls at nobody."""
    rows = []
    for name, measure in (("position", first_place), ("length", longer), ("first seen", seen_before)):
        by_person: dict[str, list[Label]] = defaultdict(list)
        for each in labels:
            by_person[each.comparison.verdict.rater or ""].append(each)
        found = [(person, float(value)) for person, own in by_person.items() for value in measure(own)]
        rows.append({"name": name, "pairs": len(found), **_clustered(found)})
    return rows


def agreements(labels: Sequence[Label], checks: Sequence[Checked]) -> dict[str, Any]:
    """Percentage, Krippendorff's alpha and the kappas of all pairs of people, beside what each keeps to themselves."""
    ratings_UR, names = table(said(labels))
    found: dict[str, Any] = {"units": len(ratings_UR), "people": names}
    for purpose in ("repeat", "swap"):
        same = [(each.labeller, float(each.agrees)) for each in checks if each.purpose == purpose]
        found[f"test_{purpose}"] = _clustered(same)
    if not len(ratings_UR):
        return {**found, "why": "no question was answered by two people: set `wanted` to 2 or more for some of them"}
    graded = len(np.unique(ratings_UR[~np.isnan(ratings_UR)])) > NOMINAL_MOST
    alpha = agreement.krippendorff_alpha(ratings_UR, agreement.ordinal if graded else agreement.nominal)
    found |= {"percent": agreement.percent_agreement(ratings_UR), "alpha": None if np.isnan(alpha) else alpha}
    found |= {"scale": "ordinal" if graded else "nominal", "kappas": _kappas(ratings_UR, names)}
    return found if alpha == alpha else {**found, "why": "everybody always said the same: chance explains nothing here"}


def table(found: Sequence[Said]) -> tuple[np.ndarray, list[str]]:
    """([U, R] what each said of what two people or more were asked, NaN not asked; the R people)."""
    names = sorted({each.labeller for each in found})
    units: dict[str, dict[str, float]] = defaultdict(dict)
    for each in found:
        units[each.unit][each.labeller] = each.value
    rows = [[unit.get(name, np.nan) for name in names] for unit in units.values() if len(unit) > 1]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(names)), names


def _kappas(ratings_UR: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for i, j in combinations(range(len(names)), 2):
        both = int((~np.isnan(ratings_UR[:, [i, j]]).any(axis=1)).sum())
        if both:
            kappa = agreement.cohen_kappa(ratings_UR[:, i], ratings_UR[:, j])
            told = None if np.isnan(kappa) else round(kappa, 3)
            rows.append({"first": names[i], "second": names[j], "units": both, "kappa": told})
    return rows


def ratings(labels: Sequence[Label]) -> dict[str, Any]:
    """Bradley and Terry's strengths of policies as Elo points, the first by name at 0, clustered by annotator."""
    games, who = [], []
    for label in labels:
        policy = {each.id: each.policy for each in label.comparison.candidates}
        for first, second, won in outcomes(label.comparison):
            if policy[first] and policy[second] and policy[first] != policy[second]:
                games.append((policy[first], policy[second], won))
                who.append(label.comparison.verdict.rater or "")
    names = sorted({name for first, second, _ in games for name in (first, second)})
    if len(names) < 2:
        return {"policies": [], "why": "no answer compares replies of two policies"}
    numbered = np.array([(names.index(first), names.index(second), won) for first, second, won in games])
    wins_PP = np.zeros((len(names), len(names)))
    np.add.at(wins_PP, (numbered[:, 0].astype(int), numbered[:, 1].astype(int)), numbered[:, 2])
    np.add.at(wins_PP, (numbered[:, 1].astype(int), numbered[:, 0].astype(int)), 1 - numbered[:, 2])
    joined_P, people_ = ranking.connected(wins_PP), len(set(who))
    why = "" if people_ >= FEWEST_ANNOTATORS else no_interval(people_)
    halves_P = np.full(len(names), np.nan)
    strengths_P = ranking.bradley_terry(wins_PP)
    if not why:
        strengths_P, halves_P = ranking.clustered_strengths(numbered, who, len(names))
    points_P, widths_P = ranking.POINTS_PER_NAT * strengths_P, ranking.POINTS_PER_NAT * halves_P
    rows = [
        {
            "policy": name,
            "games": int(wins_PP[i].sum() + wins_PP[:, i].sum()),
            "elo": round(float(points_P[i]), 1) if joined_P[i] else None,
            "low": None if why or not joined_P[i] else round(float(points_P[i] - widths_P[i]), 1),
            "high": None if why or not joined_P[i] else round(float(points_P[i] + widths_P[i]), 1),
        }
        for i, name in enumerate(names)
    ]
    apart = [name for name, there in zip(names, joined_P) if not there]
    why = f"{why} Nothing joins {', '.join(apart)} with {names[0]}." if apart else why
    return {"policies": rows, "annotators": people_, "why": why.strip()}


def no_interval(annotators: int) -> str:
    if annotators == 1:
        return "One person's taste: nobody else was asked, so there is no interval."
    return f"{annotators} people answered: an interval of how far people differ takes {FEWEST_ANNOTATORS} or more."


def _wilson(found: Sequence[bool]) -> dict[str, Any]:
    if not found:
        return {"share": None, "low": None, "high": None, "of": 0}
    low, high = intervals.wilson(sum(found), len(found))
    return {"share": sum(found) / len(found), "low": low, "high": high, "of": len(found)}


def _clustered(found: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """(cluster, value) -> their mean with its interval; Wilson's where there is one cluster or nothing scatters."""
    if len({cluster for cluster, _ in found}) < 2 or len({value for _, value in found}) < 2:
        return _wilson([value == 1.0 for _, value in found])
    share, low, high = intervals.clustered([value for _, value in found], [cluster for cluster, _ in found])
    return {"share": share, "low": max(0.0, low), "high": min(1.0, high), "of": len(found)}
