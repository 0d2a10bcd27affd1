"""From the words of the page to a verdict: names on the screen become candidates, and what is no answer is refused.

A page names candidates by the ids that it was given for this assignment. Only here are they turned into the candidates'
own; what was said and what it means both go into the log, and `verify` does the turning again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from tutelage.data.records import Candidate, Comparison, Context, Verdict, explained
from tutelage.feedback.asking import Refused, canonical

ONE_OF = ("choice", "tie", "no_choice", "ranking", "ratings", "rules", "edits", "signals")
KINDS: dict[str, frozenset[str]] = {
    "pair": frozenset({"choice", "tie", "no_choice", "strength", "notes"}),
    "ranking": frozenset({"ranking", "tie", "no_choice", "notes"}),
    "good": frozenset({"ratings", "notes"}),
    "rating": frozenset({"ratings", "notes"}),
    "attack": frozenset({"ratings", "notes"}),
    "rules": frozenset({"rules", "notes"}),
    "edit": frozenset({"edits", "notes"}),
    "turn": frozenset({"choice", "tie", "no_choice", "strength", "notes"}),
    "clip": frozenset({"choice", "tie", "no_choice", "strength", "signals", "notes"}),
}
"""Kind of question -> what an answer to it may hold. A kind that is not listed may hold everything."""
EVERYTHING = frozenset({*ONE_OF, "strength", "notes"})
PRIVATE = ("notes", "edits")  # free text, kept where it can be erased
LONGEST = 1_000_000  # letters of an answer as JSON
TIMES_LONGEST = 20_000


def verdict_of(kind: str, said: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a Verdict (without who and when). shown: id on the screen -> the candidate's own, in that order.

    said: one of choice (an id), tie (True), no_choice ("incomparable" | "all bad"), ranking (places of ids), or, of
    other kinds of question, ratings, rules, edits, signals; besides strength (0 to 1) and notes.
    Raises Refused for anything else.
    """
    known = KINDS.get(kind, EVERYTHING)
    given = {
        name: value for name, value in said.items() if value is not None and not (name == "tie" and value is False)
    }
    _refuse_unknown(kind, given, known)
    answers = [name for name in ONE_OF if name in given]
    exclusive = [name for name in answers if name in ("choice", "tie", "no_choice", "ranking")]
    if not answers or len(exclusive) > 1:
        told = " and ".join(exclusive) or "none of them"
        raise Refused(
            f"an answer to a {kind} says one of {', '.join(n for n in ONE_OF if n in known)}; it says {told}."
        )
    return _checked(kind, turned(given, shown), list(shown.values()))


def turned(said: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    """The same in candidates' own names; a tie is a ranking of one place. Refused for a name that was not shown."""
    fields = {name: TURNS.get(name, _as_it_is)(value, shown) for name, value in said.items() if name != "tie"}
    return fields | ({"ranking": [sorted(shown.values())], "strength": 0.0} if said.get("tie") else {})


def said_of(fields: Mapping[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    """The way back: a verdict's fields in ids on the screen, so that a page can show what had been answered."""
    back = {own: on_screen for on_screen, own in shown.items()}
    if fields.get("strength") == 0.0 and len(fields.get("ranking", ())) == 1:
        return {"tie": True, **({"notes": fields["notes"]} if "notes" in fields else {})}
    return {name: TURNS.get(name, _as_it_is)(value, back) for name, value in fields.items()}


def checked_times(times: Mapping[str, Any]) -> dict[str, Any]:
    """What a page measured, as plain JSON of moderate size. shown_at, answered_at: seconds since 1970."""
    _refuse_long(times, TIMES_LONGEST, "the times of an answer")
    for name in ("shown_at", "answered_at"):
        value = times.get(name)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise Refused(f"times.{name} is {value!r:.60}, expected seconds since 1970.")
    return dict(times)


def _refuse_unknown(kind: str, given: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise Refused(
            f"an answer to a {kind} cannot hold {', '.join(unknown)}. It may hold {', '.join(sorted(known))}."
        )
    _refuse_long(given, LONGEST, "an answer")
    if "tie" in given and given["tie"] is not True:
        raise Refused(f"tie is {given['tie']!r:.60}, expected true.")
    if "tie" in given and given.get("strength"):
        raise Refused(f"the answer is a tie and has the strength {given['strength']!r:.60}; give one of them.")


def _refuse_long(given: Mapping[str, Any], longest: int, what: str) -> None:
    try:
        size = len(canonical(dict(given)))
    except (TypeError, ValueError) as error:
        raise Refused(f"{what} must be plain JSON values: {error}.") from error
    if size > longest:
        raise Refused(f"{what} has {size} letters as JSON; at most {longest} are taken.")


def _checked(kind: str, fields: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    """Valid as a record, and complete: a ranking ranks all."""
    try:
        verdict = Verdict(**fields)
        Comparison(context=Context(), candidates=tuple(Candidate(id=each) for each in ids), verdict=verdict)
    except ValidationError as error:
        raise Refused(f"that is no answer to a {kind}: {explained(error)}.") from error
    ranked = [each for place in verdict.ranking for each in place]
    if ranked and len(ranked) != len(ids):
        raise Refused(f"the ranking holds {len(ranked)} of {len(ids)} candidates; rank all of them.")
    return verdict.row()


def _as_it_is(value: Any, names: Mapping[str, str]) -> Any:
    return value


def _name(value: Any, names: Mapping[str, str]) -> str:
    if not isinstance(value, str) or value not in names:
        raise Refused(f"{value!r:.60} is no candidate of this assignment. There are {', '.join(names)}.")
    return names[value]


def _places(value: Any, names: Mapping[str, str]) -> list[list[str]]:
    if not isinstance(value, Sequence) or isinstance(value, str) or any(isinstance(each, str) for each in value):
        raise Refused(f"ranking is {value!r:.60}, expected a list of places, each a list of ids that tie.")
    return [[_name(each, names) for each in place] for place in value]


def _by_name(value: Any, names: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused(f"expected an object by candidate, got {value!r:.60}.")
    return {_name(each, names): inner for each, inner in value.items()}


def _by_axis(value: Any, names: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise Refused(f"expected an object by axis, got {value!r:.60}.")
    return {axis: _by_name(inner, names) for axis, inner in value.items()}


TURNS: dict[str, Callable[[Any, Mapping[str, str]], Any]] = {
    "choice": _name,
    "ranking": _places,
    "ratings": _by_axis,
    "rules": _by_axis,
    "edits": _by_name,
    "signals": _by_name,
}
