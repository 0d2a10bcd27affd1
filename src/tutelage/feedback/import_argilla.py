"""Exports of Argilla 2 (nested JSON, flat columns as on the hub) and 1: every answer of every user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tutelage.data.files import ReadReport, Row
from tutelage.feedback.foreign import (
    Answer,
    Found,
    Naming,
    Task,
    WithoutResponses,
    combine,
    count_beside,
    drop_all,
    hints_choice,
    judge_alone,
    plain,
    task_of,
)

Answers = dict[str, list[dict[str, Any]]]
BESIDE = "suggestions of a model"
FLAT = (".responses", ".users", ".status", ".suggestion", ".agent", ".score", "-suggestion", "-metadata")


def is_argilla(fields: Mapping[str, Any]) -> bool:
    nested = isinstance(fields.get("fields"), dict) and "responses" in fields
    flat = any(name.endswith(".responses") for name in fields)
    return nested or flat or any(_answers_of(value) for value in fields.values())


def argilla(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    """A comparison for each user who answered; more where one user decided several questions of the record."""
    fields, answers = _parts(row.fields)
    count_beside(report, BESIDE, _suggestions(row.fields))
    by_user: dict[Any, list[tuple[str, Any]]] = {}
    count = 0
    for name, each, place in ((n, each, i) for n, found in answers.items() for i, each in enumerate(found)):
        count += 1
        if each.get("status") not in (None, "submitted"):
            report.drop(row, f"{each['status']}, not submitted")
        elif each.get("value") is None or each.get("value") == []:
            report.drop(row, "an empty answer")
        else:
            by_user.setdefault(_person(each) or place, []).append((name, each["value"]))
    if not count:
        report.drop(row, "without an answer")
    if not by_user:
        return
    try:
        given = task_of(row, fields, naming, _named(fields, answers))
    except WithoutResponses:
        return drop_all(row, sum(map(len, by_user.values())), report)
    partial = {name for name, found in answers.items() if any(_is_partial(given, each.get("value")) for each in found)}
    asks = {name: hints_choice(name) or _names_some(given, found) for name, found in answers.items()}
    for user, said in by_user.items():
        read = [_answer(given, name, value, asks, name in partial) for name, value in said]
        yield from combine(given, read, report, rater=user if isinstance(user, str) else None)


def _parts(row: Mapping[str, Any]) -> tuple[dict[str, Any], Answers]:
    """(fields, question -> answers), whichever way the record was written."""
    if isinstance(row.get("fields"), dict):
        return dict(row["fields"]), _nested(row["responses"] or {})
    answers: Answers = {}
    for name, value in row.items():
        if name.endswith(".responses"):
            users = row.get(f"{name}.users") or [None] * len(value or [])
            states = row.get(f"{name}.status") or [None] * len(value or [])
            said = zip(value or [], users, states, strict=True)
            answers[name.removesuffix(".responses")] = [
                {"value": each, "user_id": user, "status": state} for each, user, state in said
            ]
        elif found := _answers_of(value):
            answers[name] = found
    return {name: value for name, value in row.items() if name not in answers and not name.endswith(FLAT)}, answers


def _nested(responses: Any) -> Answers:
    """Of Argilla 2, question -> answers; of Argilla 1 and its server, a list with the values of one user each."""
    if isinstance(responses, Mapping):
        return {name: list(found or ()) for name, found in responses.items()}
    answers: Answers = {}
    for each in responses:
        about = {"user_id": each.get("user_id"), "status": each.get("status")}
        for name, value in (each.get("values") or {}).items():
            told = value["value"] if isinstance(value, dict) and "value" in value else value
            answers.setdefault(name, []).append({"value": told, **about})
    return answers


def _answers_of(value: Any) -> list[dict[str, Any]]:
    """Argilla 1: a list of {user_id, value, status}, or such an object of lists."""
    if isinstance(value, dict) and {"user_id", "value"} <= value.keys() and isinstance(value["value"], list):
        return [dict(zip(value, each, strict=True)) for each in zip(*value.values(), strict=True)]
    if (
        isinstance(value, list)
        and value
        and all(isinstance(each, dict) and {"user_id", "value"} <= each.keys() for each in value)
    ):
        return [dict(each) for each in value]
    return []


def _suggestions(row: Mapping[str, Any]) -> int:
    """How many questions have a suggestion; they are a model's, and are not taken for a person's."""
    nested = row.get("suggestions")
    if isinstance(row.get("fields"), dict):
        return sum(1 for each in nested or () if each)
    told = [value for name, value in row.items() if name.endswith((".suggestion", "-suggestion"))]
    return sum(1 for value in told if value not in (None, "", [], {}))


def _person(answer: Mapping[str, Any]) -> str | None:
    return f"argilla {answer['user_id']}" if answer.get("user_id") not in (None, "None") else None


def _listed(value: Any) -> Any:
    """A list of objects, which some files hold as an object of lists; any other value as it is."""
    if isinstance(value, dict) and value and all(isinstance(each, list) for each in value.values()):
        return [dict(zip(value, each, strict=True)) for each in zip(*value.values(), strict=True)]
    return value


def _words(value: Any) -> list[Any]:
    """The names that a value may hold: a label, several, or those of a ranking."""
    found = _listed(value)
    listed = found if isinstance(found, list) else [found]
    return [each.get("value") if isinstance(each, dict) else each for each in listed]


def _named(fields: Mapping[str, Any], answers: Answers) -> list[str]:
    """Fields whose names stand in the answers."""
    known = {plain(name): name for name, value in fields.items() if isinstance(value, str) and plain(name)}
    told = {
        plain(word)
        for found in answers.values()
        for each in found
        for word in _words(each.get("value"))
        if isinstance(word, str)
    }
    return [name for key, name in known.items() if key in told]


def _names_some(given: Task, found: Sequence[Mapping[str, Any]]) -> bool:
    words = [word for each in found for word in _words(each.get("value")) if isinstance(word, str)]
    return any(given.find_field(word) is not None for word in words)


def _is_partial(given: Task, value: Any) -> bool:
    """A list of some of the responses, each once: labels that were set, not a ranking."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return False
    return len(set(map(plain, value))) == len(value) < len(given.responses)


def _answer(given: Task, name: str, value: Any, asks: Mapping[str, bool], partial: bool) -> Answer:
    """Of a ranking, a rating, one or several labels, a text, or spans."""
    value = _listed(value)
    if isinstance(value, list):
        return _of_list(given, name, value, partial)
    if isinstance(value, bool):
        return judge_alone(given, name, str(value), None, list(asks)) or Answer(name, text=str(value))
    if isinstance(value, (int, float)):
        return given.rate(name, value, None, list(asks))
    told = given.decide(name, value, asks[name]) or judge_alone(given, name, value, None, list(asks))
    return told or Answer(name, text=str(value))


def _of_list(given: Task, name: str, value: list[Any], partial: bool) -> Answer:
    if all(isinstance(each, dict) and {"start", "end"} <= each.keys() for each in value):
        return Answer(name, reason="spans of a text that were marked")
    if any(isinstance(each, dict) for each in value):
        ranks = [(each.get("rank", i), each["value"]) for i, each in enumerate(value)]
        if any(rank is None for rank, _ in ranks) or len(ranks) < len(given.responses):
            return Answer(name, reason="a ranking that leaves out a response")
        order = sorted({rank for rank, _ in ranks})
        return given.rank(name, [[each for rank, each in ranks if rank == place] for place in order])
    if len(given.responses) > 1 and all(given.find(each) is not None for each in value):
        ranked = "rank" in plain(name) or "order" in plain(name)
        if len(value) == len(given.responses) and (ranked or not partial):
            return given.rank(name, [[each] for each in value])
        if len(set(map(plain, value))) == len(value):
            return Answer(name, reason="a ranking that leaves out a response") if ranked else given.select(name, value)
        return given.rank(name, [[each] for each in value])
    for each in value:
        if len(given.responses) > 1 and given.resembles(each):
            given.named(each)
    return Answer(name, text=", ".join(map(str, value)))
