"""Exports of Label Studio, JSON and JSON_MIN (also as CSV): every result of every annotation.

The candidates are the fields that `to_name` names, or the items of a list that is ranked. A result becomes a decision,
a rating, or words beside them; what is none of these is counted with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row
from tutelage.data.json_text import json_value
from tutelage.data.talks import ROLES
from tutelage.feedback.foreign import (
    METADATA,
    PROMPTS,
    REPLIES,
    Answer,
    Found,
    Naming,
    Task,
    WithoutResponses,
    choose_responses,
    combine,
    count_beside,
    drop_all,
    guess_prompt,
    hints_choice,
    is_talk,
    judge_alone,
    plain,
    split_name,
    task_of,
)

SPANS = {"labels", "hypertextlabels", "paragraphlabels", "timeserieslabels", "timelinelabels", "relation"}
WORDS = {"textarea": "text", "taxonomy": "taxonomy", "datetime": "datetime"}
BESIDE = "predictions of a model"
KEYS = {"selected": "pairwise", "rating": "rating", "ranker": "ranker", "choices": "choices", "text": "textarea"}
KEYS |= {"number": "number", "taxonomy": "taxonomy", "datetime": "datetime"}
OF_ANNOTATION = {"annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}


def is_label_studio(fields: Mapping[str, Any]) -> bool:
    answers = fields.get("annotations", fields.get("completions"))
    return isinstance(fields.get("data"), dict) and isinstance(answers, list)


def is_label_studio_min(fields: Mapping[str, Any]) -> bool:
    return {"annotator", "annotation_id", "lead_time"} <= fields.keys()


def label_studio(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    """Tasks as its JSON export has them: a comparison for each annotation; more where one decided several times."""
    annotations = row.fields.get("annotations", row.fields.get("completions"))
    count_beside(report, BESIDE, len(row.fields.get("predictions") or ()))
    for each in row.fields.get("drafts") or ():
        report.drop(row, "draft, not submitted") if isinstance(each, dict) else None
    if not annotations:
        report.drop(row, "without an answer")
    results = [result for each in annotations for result in each.get("result") or ()]
    try:
        given = _task(row, row.fields["data"], naming, results)
    except WithoutResponses:
        return drop_all(row, sum(len(each.get("result") or ()) or 1 for each in annotations), report)
    for each in annotations:
        said = each.get("result") or ()
        if each.get("was_cancelled") or each.get("skipped"):
            for _ in range(max(1, len(said))):
                report.drop(row, "cancelled")
        elif not said:
            report.drop(row, "without an answer")
        else:
            answers = [_answer(given, result) for result in said]
            yield from combine(given, answers, report, **_when_and_who(each, row))


def label_studio_min(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    """JSON_MIN: one row an annotation, its fields and its results side by side; what a result is about is not told."""
    data, results = _split(row)
    if not results:
        return report.drop(row, "without an answer")
    try:
        given = _task(row, data, naming, results)
    except WithoutResponses:
        return drop_all(row, len(results), report)
    about = {**row.fields, "completed_by": row.fields.get("annotator")}
    names = [result["from_name"] for result in results]
    answers = [_answer(given, result, names) for result in results]
    yield from combine(given, answers, report, **_when_and_who(about, row))


def _split(row: Row) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(data, results). Results stand behind the task's id; where the columns are sorted (CSV), they are what is neither
    prompt, response nor metadata."""
    values = {name: _parsed(value) for name, value in row.fields.items() if name not in OF_ANNOTATION and name != "id"}
    texts = [name for name, value in values.items() if isinstance(value, str)]
    prompt = guess_prompt(values)
    data = {prompt, *choose_responses([name for name in texts if name != prompt], set())} - {""}
    names = list(row.fields)
    end = min(names.index(name) for name in OF_ANNOTATION if name in names)
    start = names.index("id") if "id" in names else end
    ordered = data and 0 < start < end and any(names.index(name) < start for name in data)
    results: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for name, value in values.items():
        inside = start < names.index(name) < end if ordered else name not in data and plain(name) not in METADATA
        said = list(_results(name, value, inside))
        results += said
        if not said and not inside:
            found[name] = value
    return found, results


def _parsed(value: Any) -> Any:
    """What a CSV holds as JSON."""
    if isinstance(value, str) and value.startswith(("[{", "{", "[[", '["')):
        try:
            return json_value(value)
        except ValueError:
            return value
    return value


def _results(name: str, value: Any, is_result: bool) -> Iterator[dict[str, Any]]:
    listed = value if isinstance(value, list) else [value]
    kinds = [next((kind for key, kind in KEYS.items() if isinstance(x, dict) and key in x), None) for x in listed]
    if listed and all(kinds) and not is_talk(value) and (is_result or not all("id" in each for each in listed)):
        for kind, each in zip(kinds, listed):
            yield {"from_name": name, "type": kind, "value": each}
    elif is_result and isinstance(value, (int, float)) and not isinstance(value, bool):
        yield {"from_name": name, "type": "number", "value": {"number": value}}
    elif is_result and value not in (None, "", []):
        texts = [each if isinstance(each, str) else json.dumps(each) for each in listed]
        kind = {"type": "choices", "value": {"choices": texts}}
        yield {"from_name": name, **kind}


# --- which fields are compared


def _tags(result: Mapping[str, Any]) -> list[str]:
    told = result.get("to_name")
    parts = told if isinstance(told, list) else str(told or "").split(",")
    return [str(each).strip() for each in parts if str(each).strip()]


def _task(row: Row, data: Mapping[str, Any], naming: Naming, results: Sequence[Mapping[str, Any]]) -> Task:
    data = {name: _as_talk(value) for name, value in data.items()}
    items = _items(data, results)
    if items is not None and not naming.responses:
        rest = {name: value for name, value in data.items() if isinstance(value, str) or is_talk(value)}
        blank = {"response 1": "", "response 2": ""}  # the list's items stand in their place
        given = task_of(row, {**rest, **blank}, naming, list(blank))
        return replace(given, responses=items)
    tags = list(dict.fromkeys(tag for result in results for tag in _tags(result)))
    texts = {plain(name): name for name, value in data.items() if isinstance(value, str)}
    prompt = naming.prompt or guess_prompt({**data})
    compared, exact = _compared(results, {key: name for key, name in texts.items() if name != prompt})
    given = task_of(row, data, naming, compared, exact)
    given = replace(given, tags=_aliases(given, [tag for tag in tags if plain(tag) not in texts]))
    return replace(given, axes=_axes(given, results))


def _axes(given: Task, results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Controls that differ in their number only, each about the response of that number (help1, help2) -> help."""
    suffixes = {own: split_name(name)[1] for name, own in given.ids.items()}
    targets: dict[str, set[str | None]] = {}
    for result in results:
        targets.setdefault(str(result.get("from_name")), set()).add(suffixes.get(_target(given, result) or ""))
    stems: dict[str, list[str]] = {}
    for name in targets:
        if split_name(name)[1]:
            stems.setdefault(split_name(name)[0], []).append(name)
    return {
        name: stem
        for stem, names in stems.items()
        for name in names
        if len(names) > 1 and all(targets[each] == {split_name(each)[1]} for each in names)
    }


def _compared(results: Sequence[Mapping[str, Any]], texts: Mapping[str, str]) -> tuple[list[str], bool]:
    """(fields that results are about, whether one result compares several of them). A text or choice can also be about
    the prompt or something else, so these name a response only where its name is that of a reply."""
    found: dict[str, bool] = {}
    exact = False
    for result in results:
        named = [texts[plain(tag)] for tag in _tags(result) if plain(tag) in texts]
        exact = exact or len(named) > 1
        judges = result.get("type") in ("pairwise", "rating", "number") or len(named) > 1
        for name in named:
            replies = split_name(name)[0].removesuffix("s") in REPLIES
            if replies or (judges and plain(name) not in PROMPTS):
                found[name] = True
    return list(found), exact


def _aliases(given: Task, tags: Sequence[str]) -> dict[str, str]:
    """Tags that are called otherwise than their fields (t1 -> answer1): by their numbers, else by their places."""
    numbered = [tag for tag in tags if split_name(tag)[1]]
    by_suffix = {split_name(name)[1]: name for name in given.responses if split_name(name)[1]}
    found = {tag: by_suffix[split_name(tag)[1]] for tag in numbered if split_name(tag)[1] in by_suffix}
    if len(set(found.values())) == len(found) == len(numbered) > 0:
        return found
    return dict(zip(tags, given.responses)) if len(tags) == len(given.responses) else {}


def _as_talk(value: Any) -> Any:
    """Paragraphs (author and text) as messages."""
    if not isinstance(value, list) or is_talk(value) or not value:
        return value
    turns = [
        {"role": _role(each), "content": each["text"]}
        for each in value
        if isinstance(each, dict) and isinstance(each.get("text"), str) and {"role", "author", "speaker"} & each.keys()
    ]
    return turns if len(turns) == len(value) else value


def _role(turn: Mapping[str, Any]) -> str:
    told = str(turn.get("role", turn.get("author", turn.get("speaker"))))
    return ROLES.get(told.casefold(), told)


def _items(data: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, str] | None:
    """Id -> text of the items of the list that is ranked; None where no list is."""
    lists = {
        name: value
        for name, value in data.items()
        if isinstance(value, list) and value and all(isinstance(each, dict) and "id" in each for each in value)
    }
    texts = [name for name, value in data.items() if isinstance(value, str) and name != guess_prompt(data)]
    ranked = any(result.get("type") == "ranker" for result in results)
    if not lists or not (ranked or len(choose_responses(texts, set())) < 2):
        return None
    told = {plain(tag) for result in results if result.get("type") == "ranker" for tag in _tags(result)}
    chosen = next((name for name in lists if plain(name) in told), next(iter(lists)))
    return {str(each["id"]): _item_text(each) for each in lists[chosen]}


def _item_text(item: Mapping[str, Any]) -> str:
    parts = [item.get("title"), item.get("body") or item.get("text") or item.get("content") or item.get("html")]
    return "\n\n".join(str(each) for each in parts if each)


# --- what is said


def _answer(given: Task, result: Mapping[str, Any], siblings: Sequence[str] = ()) -> Answer:
    kind, value, name = result.get("type"), result.get("value") or {}, str(result.get("from_name") or "")
    if kind in SPANS or ("start" in value and "end" in value):
        return Answer(name, reason="spans of a text that were marked")
    if kind == "chatmessage":
        return Answer(name, reason="messages of a chat that were written")
    if kind in WORDS:
        said = value.get(WORDS[str(kind)])
        text = "\n".join(map(_words, said)) if isinstance(said, list) else _words(said)
        return Answer(name, text=text) if text else Answer(name, reason="an empty answer")
    if kind in ("rating", "number"):
        return _rating(given, name, value.get(str(kind)), result, siblings)
    if kind == "pairwise":
        return _pairwise(given, name, value.get("selected"), result)
    if kind == "choices":
        return _choices(given, name, value.get("choices"), result, siblings)
    if kind == "ranker":
        return _ranker(given, name, value.get("ranker"))
    return Answer(name, reason=f"results of the kind {kind!r}, which judge no text")


def _words(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _target(given: Task, result: Mapping[str, Any]) -> str | None:
    """The one response that a result is about."""
    found = {given.find_field(tag) for tag in _tags(result)} - {None}
    return found.pop() if len(found) == 1 else None


def _rating(given: Task, name: str, value: Any, result: Mapping[str, Any], siblings: Sequence[str]) -> Answer:
    if value is None:
        return Answer(name, reason="an empty answer")
    target = _target(given, result)
    if target is None and len(_tags(result)) > 1:
        return Answer(name, reason="a rating of several responses at once")
    return given.rate(name or "rating", value, target, siblings)


def _pairwise(given: Task, name: str, value: Any, result: Mapping[str, Any]) -> Answer:
    """left and right are those of `to_name`, in its order."""
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    sides = [given.find_field(tag) for tag in _tags(result)]
    if value in ("left", "right") and len(sides) == 2 and None not in sides:
        return Answer(name, decision={"choice": sides[value == "right"]})
    if value in ("left", "right") and len(given.responses) > 1:
        return Answer(name, decision={"choice": list(given.ids.values())[value == "right"]})
    return given.decide(name, value) or Answer(name, decision={"choice": given.named(value)})


def _choices(given: Task, name: str, value: Any, result: Mapping[str, Any], siblings: Sequence[str]) -> Answer:
    chosen = value if isinstance(value, list) else [value] if value else []
    target = _target(given, result)
    if not chosen:
        return Answer(name, reason="an empty answer")
    if len(chosen) == 1:
        graded = target is not None and not hints_choice(name)
        if graded and plain(chosen[0]).isdecimal():
            return given.rate(name, float(plain(chosen[0])), target, siblings)
        if graded and len(plain(chosen[0])) == 1:
            return Answer(name, text=str(chosen[0]))
        sure = not graded or plain(chosen[0]) not in {"none", "same", "equal", "both"}
        said = given.decide(name, chosen[0], sure) or judge_alone(given, name, chosen[0], target, siblings)
        return said or Answer(name, text=str(chosen[0]))
    if len(given.responses) > 1 and all(given.find(each) is not None for each in chosen):
        return given.select(name, chosen)
    return Answer(name, text=", ".join(map(str, chosen)))


def _ranker(given: Task, name: str, value: Any) -> Answer:
    """One list that holds all is a ranking, of which a part was marked; buckets are an axis each, 1 for those in it."""
    lists = {"": value} if isinstance(value, list) else dict(value) if isinstance(value, dict) else {}
    if len(lists) == 1:
        [only] = lists.values()
        if len(only) < len(given.responses) and len(set(map(plain, only))) == len(only) > 0:
            return given.select(name, only)
        return given.rank(name, [[each] for each in only])
    if not lists:
        raise InputError(f"{given.row.place}: the ranker is {value!r:.60}, expected lists of items.")
    ratings: dict[str, dict[str, float]] = {}
    for bucket, inside in lists.items():
        if bucket != "_":  # what was left in the list
            ratings.update({axis: dict(by) for axis, by in given.select(f"{name}: {bucket}", inside).ratings.items()})
    return Answer(name, ratings=ratings)


def _when_and_who(annotation: Mapping[str, Any], row: Row) -> dict[str, Any]:
    who = annotation.get("completed_by")
    who = who.get("id", who.get("email")) if isinstance(who, dict) else who
    told: dict[str, Any] = {} if who in (None, "") else {"rater": f"label-studio {who}"}
    if annotation.get("created_at"):
        try:
            told["answered_at"] = datetime.fromisoformat(str(annotation["created_at"])).timestamp()
        except ValueError as error:
            raise InputError(
                f"{row.place}: created_at is {annotation['created_at']!r:.60}, expected a time."
            ) from error
        lead = annotation.get("lead_time")
        lead = float(lead) if isinstance(lead, str) and lead.strip() else lead
        if isinstance(lead, (int, float)):
            told["shown_at"] = told["answered_at"] - lead
    return told
