"""What Argilla and Label Studio export, as comparisons. Which field is what is guessed from names, or told.

A field named prompt, instruction, question, … is the prompt; the other texts are the responses, in their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row
from tutelage.data.records import Candidate, Comparison, Context, Verdict, candidate_id

PROMPTS = ("prompt", "instruction", "question", "input", "query", "context", "text")
TIES = {"tie", "same", "equal", "both", "bothgood", "draw"}
NEITHER = {"neither", "none", "bothbad", "allbad"}
ABOUT = {
    "id",
    "externalid",
    "status",
    "insertedat",
    "updatedat",
    "serverid",
    "score",
    "metadata",
}  # of the record, not of the task
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Naming:
    """Which fields are the prompt and the responses; empty: guessed."""

    prompt: str = ""
    responses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """A prompt (a text, or messages) and its responses: field -> text."""

    row: Row
    prompt: Any
    responses: Mapping[str, str]

    def compared(self, **verdict: Any) -> Comparison:
        context = Context(messages=tuple(self.prompt)) if isinstance(self.prompt, list) else Context(prompt=self.prompt)
        names = self.ids
        candidates = tuple(Candidate(id=names[field], text=text) for field, text in self.responses.items())
        return Comparison(context=context, candidates=candidates, verdict=Verdict(**verdict))

    @property
    def ids(self) -> dict[str, str]:
        """Field -> opaque id of its candidate."""
        parts = enumerate(self.responses.items())
        return {field: candidate_id(json.dumps(self.prompt), i, text) for i, (field, text) in parts}

    def named(self, value: Any) -> str:
        """The id of the candidate that a value names: by its field (however it is written), number or letter."""
        told = plain(value)
        fields = {plain(field): name for field, name in self.ids.items()}
        by_place = {str(i): name for i, name in enumerate(self.ids.values(), start=1)}
        by_letter = dict(zip(LETTERS, self.ids.values(), strict=False))
        number = re.sub(r"^(response|answer|reply|completion|text|model|option|output)", "", told)
        for known in (fields, {"left": by_place["1"], "right": by_place["2"]}, by_letter, by_place):
            if told in known or number in known:
                return known.get(told) or known[number]
        fields_told = ", ".join(self.responses)
        raise InputError(f"{self.row.place}: {value!r:.60} names none of the responses ({fields_told}).")

    def chosen(self, value: Any) -> dict[str, Any]:
        """The fields of a verdict that a choice by name means."""
        if plain(value) in TIES:
            return {"ranking": (tuple(sorted(self.ids.values())),), "strength": 0.0}
        if plain(value) in NEITHER:
            return {"no_choice": "all bad"}
        return {"choice": self.named(value)}

    def ranked(self, places: Sequence[Sequence[Any]]) -> dict[str, Any]:
        ranking = tuple(tuple(self.named(each) for each in place) for place in places)
        if sorted(name for place in ranking for name in place) != sorted(self.ids.values()):
            raise InputError(f"{self.row.place}: the ranking {places!r:.80} does not hold every response once.")
        return {"ranking": ranking}


def plain(value: Any) -> str:
    """A name without case, blanks and signs: response-1, response_1 and Response 1 are the same."""
    return re.sub(r"[^a-z0-9]", "", str(value).casefold())


def task(row: Row, fields: Mapping[str, Any], naming: Naming) -> Task:
    """The prompt and the responses among the fields. InputError where that cannot be told."""
    texts = {name: value for name, value in fields.items() if isinstance(value, str) and plain(name) not in ABOUT}
    talks = {name: value for name, value in fields.items() if _is_talk(value)}
    prompt = naming.prompt or next((name for each in PROMPTS for name in {**talks, **texts} if plain(name) == each), "")
    wanted = naming.responses or tuple(name for name in texts if name != prompt)
    missing = [name for name in (prompt, *wanted) if name not in {**texts, **talks}]
    if not prompt or missing or len(wanted) < 2:
        there = ", ".join(f"{name:.40}" for name in list({**texts, **talks})[:20]) or "none"
        raise InputError(
            f"{row.place}: which fields are the prompt and the responses? There are {there}. "
            "Say it: --prompt NAME --responses NAME NAME."
        )
    return Task(row, {**texts, **talks}[prompt], {name: texts[name] for name in wanted})


def _is_talk(value: Any) -> bool:
    whole = isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
    return bool(whole) and all({"role", "content"} <= each.keys() for each in value)


# --- Argilla


def is_argilla(fields: Mapping[str, Any]) -> bool:
    nested = isinstance(fields.get("fields"), dict) and "responses" in fields
    flat = any(name.endswith(".responses") for name in fields)
    return nested or flat or any(_answers_of(value) for value in fields.values())


def argilla(row: Row, naming: Naming, report: ReadReport) -> Iterator[Comparison]:
    """Records of Argilla 2 (nested or flat) and 1: a comparison for each person and question of theirs."""
    fields, answers = _argilla_parts(row.fields)
    given = task(row, fields, naming)
    if not any(answers.values()):
        report.drop(row, "without an answer")
    for name, each in ((name, each) for name, found in answers.items() for each in found):
        if each.get("status") not in (None, "submitted"):
            report.drop(row, f"{each['status']}, not submitted")
            continue
        yield given.compared(**_argilla_verdict(given, name, each.get("value")), rater=_person("argilla", each))


def _argilla_parts(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """(fields, question -> answers), whichever way the record was written."""
    if isinstance(row.get("fields"), dict):
        return dict(row["fields"]), {name: list(found) for name, found in (row["responses"] or {}).items()}
    answers: dict[str, list[dict[str, Any]]] = {}
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
    about = (".responses", ".users", ".status", ".suggestion", ".agent", ".score", "-suggestion", "-metadata")
    fields = {name: value for name, value in row.items() if name not in answers and not name.endswith(about)}
    return fields, answers


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


def _argilla_verdict(given: Task, question: str, value: Any) -> dict[str, Any]:
    """Of a ranking, a rating of one response, or a choice by name."""
    if isinstance(value, dict) and {"value", "rank"} <= value.keys():
        value = [{"value": each, "rank": rank} for each, rank in zip(value["value"], value["rank"], strict=True)]
    if isinstance(value, list):
        ranks = [(each["rank"], each["value"]) if isinstance(each, dict) else (i, each) for i, each in enumerate(value)]
        return given.ranked(
            [[name for rank, name in ranks if rank == place] for place in sorted({r for r, _ in ranks})]
        )
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        about = [field for field in given.responses if plain(field) in plain(question)]
        if len(about) != 1:
            raise InputError(f"{given.row.place}: of which response is {question!r} the rating? Its name tells none.")
        axis = plain(question).replace(plain(about[0]), "") or "rating"
        return {"ratings": {axis: {given.ids[about[0]]: float(value)}}}
    return given.chosen(value)


def _person(tool: str, answer: Mapping[str, Any]) -> str | None:
    return f"{tool} {answer['user_id']}" if answer.get("user_id") not in (None, "None") else None


# --- Label Studio


def is_label_studio(fields: Mapping[str, Any]) -> bool:
    return isinstance(fields.get("data"), dict) and isinstance(fields.get("annotations"), list)


def label_studio(row: Row, naming: Naming, report: ReadReport) -> Iterator[Comparison]:
    """Tasks as its JSON export has them: a comparison for each annotation."""
    given = task(row, row.fields["data"], naming)
    if not row.fields["annotations"]:
        report.drop(row, "without an answer")
    for each in row.fields["annotations"]:
        if each.get("was_cancelled"):
            report.drop(row, "cancelled")
            continue
        verdict: dict[str, Any] = {}
        for result in each.get("result", ()):
            verdict |= _label_studio_verdict(given, result)
        if not verdict.keys() - {"notes"}:
            report.drop(row, "without an answer")
            continue
        yield given.compared(**verdict, **_when_and_who(each, row))


def _label_studio_verdict(given: Task, result: Mapping[str, Any]) -> dict[str, Any]:
    kind, value = result.get("type"), result.get("value") or {}
    if kind == "pairwise":
        return given.chosen(value.get("selected"))
    if kind == "choices" and len(value.get("choices", ())) == 1:
        return given.chosen(value["choices"][0])
    if kind == "ranker":
        return given.ranked([[each] for each in _one_list(value.get("ranker"), given)])
    if kind == "rating":
        return {"ratings": {str(result.get("from_name")): {given.named(result.get("to_name")): float(value["rating"])}}}
    if kind == "textarea":
        return {"notes": "\n".join(map(str, value.get("text", ())))}
    raise InputError(f"{given.row.place}: a result of the kind {kind!r} is not read; pairwise, choices, ranker are.")


def _one_list(value: Any, given: Task) -> list[Any]:
    lists = [value] if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    if len(lists) != 1:
        raise InputError(f"{given.row.place}: the ranker has {len(lists)} lists, expected one that ranks all.")
    return lists[0]


def _when_and_who(annotation: Mapping[str, Any], row: Row) -> dict[str, Any]:
    who = annotation.get("completed_by")
    who = who.get("id", who.get("email")) if isinstance(who, dict) else who
    told: dict[str, Any] = {} if who is None else {"rater": f"label-studio {who}"}
    if annotation.get("created_at"):
        try:
            told["answered_at"] = datetime.fromisoformat(str(annotation["created_at"])).timestamp()
        except ValueError as error:
            raise InputError(
                f"{row.place}: created_at is {annotation['created_at']!r:.60}, expected a time."
            ) from error
        if isinstance(annotation.get("lead_time"), (int, float)):
            told["shown_at"] = told["answered_at"] - annotation["lead_time"]
    return told
