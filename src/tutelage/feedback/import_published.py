"""Published data sets by their columns: WebGPT's comparisons, TL;DR's comparisons and axes, UltraFeedback.

Nakano et al. 2021 (openai/webgpt_comparisons); Stiennon et al. 2020 (openai/summarize_from_feedback); Cui et al. 2023
(openbmb/UltraFeedback, and the pairs of HuggingFaceH4/ultrafeedback_binarized).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row
from tutelage.data.records import Candidate, Comparison, Context, Verdict, candidate_id
from tutelage.feedback.foreign import Found, Naming

ULTRAFEEDBACK = {"rater": "ultrafeedback gpt-4", "rater_kind": "model"}
MIDDLE, MOST = 5, 4.0  # of the nine grades of confidence: which summary is better is open at 5, sure at 1 and 9
WITHOUT = "without an answer"


def is_webgpt(fields: Mapping[str, Any]) -> bool:
    return {"question", "answer_0", "answer_1", "score_0", "score_1"} <= fields.keys()


def webgpt(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    """score_0 and score_1 (−1 to 1) say which answer is better and how much; 0 is a tie."""
    fields = row.fields
    question = fields["question"]
    prompt = question["full_text"] if isinstance(question, Mapping) else question
    scores = [_number(fields[f"score_{i}"]) for i in range(2)]
    if None in scores:
        return report.drop(row, WITHOUT)
    candidates = tuple(
        Candidate(
            id=candidate_id(prompt, i, fields[f"answer_{i}"]), text=fields[f"answer_{i}"], evidence=_quotes(row, i)
        )
        for i in range(2)
    )
    apart = (float(scores[0] or 0.0) - float(scores[1] or 0.0)) / 2.0
    verdict = _decision([each.id for each in candidates], int(apart < 0), abs(apart))
    yield Found(Comparison(context=Context(prompt=prompt), candidates=candidates, verdict=Verdict(**verdict)))


def _decision(ids: Sequence[str], better: int, strength: float) -> dict[str, Any]:
    if not strength:
        return {"ranking": (tuple(sorted(ids)),), "strength": 0.0}
    return {"choice": ids[better], "strength": strength}


def _quotes(row: Row, side: int) -> tuple[str, ...]:
    found = row.fields.get(f"quotes_{side}") or {}
    return tuple(found.get("extract") or ()) if isinstance(found, Mapping) else ()


def is_tldr(fields: Mapping[str, Any]) -> bool:
    compared = {"info", "summaries", "choice"} <= fields.keys()
    rated = (
        {"info", "summary"} <= fields.keys() and isinstance(fields["summary"], Mapping) and "axes" in fields["summary"]
    )
    return compared or rated


def tldr(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    """Which of two summaries is better (choice, and extra.confidence from 1 to 9), or ratings of one by axis."""
    fields = row.fields
    context = Context(prompt=_post(row))
    said = fields["summaries"] if "summaries" in fields else [fields["summary"]]
    candidates = tuple(
        Candidate(id=candidate_id(context.row(), i, each["text"]), text=each["text"], policy=each.get("policy"))
        for i, each in enumerate(said)
    )
    about: dict[str, Any] = {}
    if fields.get("worker") not in (None, ""):
        about["rater"] = f"summarize-from-feedback {fields['worker']}"
    notes = [str(each["note"]) for each in said if each.get("note")]
    about |= {"notes": "\n".join(notes)} if notes else {}
    if "summaries" in fields:
        if fields["choice"] is None:
            return report.drop(row, WITHOUT)
        if fields["choice"] not in range(len(said)):
            raise InputError(f"{row.place}: choice is {fields['choice']!r:.60}, expected 0 to {len(said) - 1}.")
        grade = (fields.get("extra") or {}).get("confidence")
        graded = {} if grade in (None, MIDDLE) else {"strength": abs(grade - MIDDLE) / MOST}
        verdict = Verdict(choice=candidates[fields["choice"]].id, **graded, **about)
        yield Found(Comparison(context=context, candidates=candidates, verdict=verdict))
        return
    rated = {axis: {candidates[0].id: _rating(row, value)} for axis, value in _axes(said[0]) if value is not None}
    if not rated:
        return report.drop(row, WITHOUT)
    verdict = Verdict(ratings=rated, **about)
    yield Found(Comparison(context=context, candidates=candidates, verdict=verdict), len(rated))


def _axes(summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from (summary["axes"] or {}).items()


def _post(row: Row) -> str:
    """The post, with subreddit and title as the paper's queries have them, or the article."""
    info = row.fields["info"]
    if not isinstance(info, Mapping) or not (info.get("post") or info.get("article")):
        raise InputError(f"{row.place}: info holds neither post nor article, which is what was summarized.")
    if not info.get("post"):
        return "\n\n".join(str(info[name]) for name in ("title", "article") if info.get(name))
    head = [("SUBREDDIT: r/", info.get("subreddit")), ("TITLE: ", info.get("title")), ("POST: ", info["post"])]
    return "\n\n".join(f"{name}{value}" for name, value in head if value) + "\n\nTL;DR:"


def is_ultrafeedback(fields: Mapping[str, Any]) -> bool:
    found = fields.get("completions")
    whole = isinstance(found, list) and all(isinstance(each, dict) and "response" in each for each in found)
    return "instruction" in fields and whole


def ultrafeedback(row: Row, naming: Naming, report: ReadReport) -> Iterator[Found]:
    """Ratings of several completions by aspect, and their overall scores; all by a model."""
    prompt, said = row.fields["instruction"], row.fields["completions"]
    candidates = tuple(
        Candidate(id=candidate_id(prompt, i, each["response"]), text=each["response"], policy=each.get("model"))
        for i, each in enumerate(said)
    )
    ratings: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    answers, empty = 0, 0
    for place, (candidate, each) in enumerate(zip(candidates, said), start=1):
        for axis, value, why in _aspects(each):
            rating = _number(value)
            if rating is None:
                report.drop(row, "a rating that is no number")
                empty += 1
                continue
            answers += 1
            ratings.setdefault(axis, {})[candidate.id] = rating
            notes += [f"{axis} of {place}: {why}"] if why else []
    if not ratings:
        return None if empty else report.drop(row, WITHOUT)
    told: dict[str, Any] = {**ULTRAFEEDBACK, **({"notes": "\n".join(notes)} if notes else {})}
    verdict = Verdict(ratings=ratings, **told)
    yield Found(Comparison(context=Context(prompt=prompt), candidates=candidates, verdict=verdict), answers)


def _aspects(completion: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """(axis, rating, why)"""
    for axis, found in (completion.get("annotations") or {}).items():
        for each in found if isinstance(found, list) else [found]:
            if each is not None:
                yield axis, each.get("Rating"), str(each.get("Rationale For Rating") or each.get("Rationale") or "")
    for axis in ("overall_score", "fine-grained_score"):
        if completion.get(axis) is not None:
            yield axis, completion[axis], str(completion.get("critique") or "") if axis == "overall_score" else ""


def scores_of(fields: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Of chosen and rejected, as UltraFeedback's pairs have them."""
    names = ("score_{}", "{}-rating", "{}_rating", "{}_score", "{}_avg_rating")
    both = [[fields.get(name.format(side)) for side in ("chosen", "rejected")] for name in names]
    found = next((pair for pair in both if any(each is not None for each in pair)), [None, None])
    return _number(found[0]), _number(found[1])


def is_ultrafeedback_pair(fields: Mapping[str, Any]) -> bool:
    return {"prompt_id", "score_chosen", "score_rejected"} <= fields.keys() or "chosen-rating" in fields


def _rating(row: Row, value: Any) -> float:
    found = _number(value)
    if found is None:
        raise InputError(f"{row.place}: a rating is {value!r:.60}, expected a number.")
    return found


def _number(value: Any) -> float | None:
    """A finite number; None for what is none (N/A, null)."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) else math.nan
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None
