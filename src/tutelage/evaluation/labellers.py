"""What the answers of a team say of the team: each labeller, how far all agree, what pulls at them, who wins.

Every share comes with its interval and its size: of single answers, or of questions or people where the answers of one
of them resemble each other (`intervals.share`).
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
from tutelage.formulas.intervals import Estimate, share

FEWEST_ANNOTATORS = 10  # below, how far people differ cannot be told well enough for an interval of a rating
NOMINAL, ORDINAL = "nominal", "ordinal"
DISTANCES = {NOMINAL: agreement.nominal, ORDINAL: agreement.ordinal}


@dataclass(frozen=True)
class Said:
    """One thing that one person said, comparable with what others said: unit, the question and what it was about.

    kind, axis: what was asked. Only answers of one kind and one axis stand on one scale: `choice` (pairs of a choice or
    ranking: won, tied, lost), `rating` (axis: which one), `rule` (axis: which one).
    """

    unit: str
    question: str
    labeller: str
    value: float
    kind: str
    axis: str = ""

    @property
    def scale(self) -> str:
        """Level of measurement: ratings are grades, whose order counts. Everything else names what was said."""
        return ORDINAL if self.kind == RATING else NOMINAL


CHOICE, RATING, RULE = "choice", "rating", "rule"


def said(labels: Sequence[Label]) -> list[Said]:
    """All that can be compared between people: pairs of a ranking or a choice, axes, rules."""
    return [
        Said(f"{label.question} {about}", label.question, label.comparison.verdict.rater or "", value, kind, axis)
        for label in labels
        for kind, axis, about, value in _values(label.comparison)
    ]


def _values(comparison: Comparison) -> Iterator[tuple[str, str, str, float]]:
    """(kind, axis, what about, value): 1 the first, 0 the second, ½ neither; or the rating; or 1 broken, 0 followed, ½
    unsure."""
    for first, second, won in outcomes(comparison):
        yield CHOICE, "", f"{first} {second}", won
    verdict = comparison.verdict
    for axis, by_id in verdict.ratings.items():
        yield from ((RATING, axis, f"{axis} {name}", value) for name, value in by_id.items())
    for rule, broken_by_id in verdict.rules.items():
        for name, broken in broken_by_id.items():
            yield RULE, rule, f"{rule} {name}", 0.5 if broken is None else float(broken)


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
                "with_others": _share(with_others.get(labeller, [])),
                **{name: _share(found) for name, found in checked.items()},
                "first_place": _share(first_place(own)),
                "longer": _share(longer(own)),
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
        rows.append({"name": name, "pairs": len(found), **_share(found)})
    return rows


def agreements(labels: Sequence[Label], checks: Sequence[Checked]) -> dict[str, Any]:
    """How far people agree, of each kind of question and axis apart (`scales`), beside what each keeps to themselves.

    Answers of different kinds never share a table: a coefficient over choices (0, 1) and grades (1 to 7) together
    would find agreement in what was asked. The keys beside `scales` are those of the scale with the most units.
    """
    by_scale: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for each in said(labels):
        by_scale[each.kind, each.axis].append(each)
    names = sorted({each.labeller for found in by_scale.values() for each in found})
    scales = [found for found in (agreement_of(each) for each in by_scale.values()) if found["units"]]
    scales.sort(key=lambda each: (-each["units"], each["kind"], each["axis"]))
    found: dict[str, Any] = {"units": 0, "people": names, "scales": scales}
    for purpose in ("repeat", "swap"):
        same = [(each.labeller, float(each.agrees)) for each in checks if each.purpose == purpose]
        found[f"test_{purpose}"] = _share(same)
    if not scales:
        return {**found, "why": "no question was answered by two people: set `wanted` to 2 or more for some of them"}
    return {**found, **scales[0]}


def agreement_of(answers: Sequence[Said]) -> dict[str, Any]:
    """Of one kind and axis: percentage and Krippendorff's alpha with their intervals over questions, and the kappa of
    every two people. units: what two people or more were asked."""
    about: dict[str, Any] = {"kind": answers[0].kind, "axis": answers[0].axis, "scale": answers[0].scale}
    ratings_UR, names = table(answers)
    about["units"] = len(ratings_UR)
    if not len(ratings_UR):
        return about
    clusters_U, same = unit_questions(answers), _with_others(answers)
    pairs = [pair for found in same.values() for pair in found]
    percent = share([value for _, value in pairs], [question for question, _ in pairs])
    distance = DISTANCES[answers[0].scale]
    alpha = intervals.jackknife(
        lambda rows: agreement.krippendorff_alpha(ratings_UR[rows], distance), clusters_U, (-1.0, 1.0)
    )
    found = {**about, **percent.row("percent"), **alpha.row("alpha"), "kappas": _kappas(ratings_UR, names)}
    return found if found["alpha"] is not None else {**found, "why": ALWAYS}


ALWAYS = "everybody always said the same: chance explains nothing here"


def unit_questions(found: Sequence[Said]) -> list[str]:
    """The question of each row of `table`: what one question asks of several replies is one cluster."""
    people: dict[str, set[str]] = defaultdict(set)
    question: dict[str, str] = {}
    for each in found:
        people[each.unit].add(each.labeller)
        question[each.unit] = each.question
    return [question[unit] for unit, names in people.items() if len(names) > 1]


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
    found = [Estimate(float(each), np.nan, np.nan, people_) for each in ranking.bradley_terry(wins_PP)]
    if not why:
        found = ranking.clustered_strengths(numbered, who, len(names))
    points_P = [each.mapped(lambda nats: float(ranking.POINTS_PER_NAT * nats)).row("elo") for each in found]
    rows = [
        {
            "policy": name,
            "games": int(wins_PP[i].sum() + wins_PP[:, i].sum()),
            **{
                name: None if points_P[i][key] is None or not joined_P[i] else round(float(points_P[i][key] or 0), 1)
                for name, key in (("elo", "elo"), ("low", "elo_low"), ("high", "elo_high"))
            },
            "n": people_,
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


def _share(found: Sequence[bool] | Sequence[tuple[str, float]]) -> dict[str, Any]:
    """Of independent answers, or of (cluster, value); n: clusters."""
    if not found:
        return {"share": None, "low": None, "high": None, "of": 0, "n": 0}
    pairs = [each if isinstance(each, tuple) else (str(place), float(each)) for place, each in enumerate(found)]
    estimate = share([value for _, value in pairs], [cluster for cluster, _ in pairs])
    return {"share": estimate.value, "low": estimate.low, "high": estimate.high, "of": len(found), "n": estimate.n}
