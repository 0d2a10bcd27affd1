"""Records of other labeling tools as comparisons: which field is the prompt, which are the responses, what is said.

A field named prompt, instruction, question, … is the prompt. The responses are the fields that answers name, then those
that are numbered alike (response_1, response_2), then all other texts that are not metadata; or both are told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport, Row
from tutelage.data.records import Candidate, Comparison, Context, Verdict, candidate_id

PROMPTS = ("prompt", "instruction", "question", "input", "query", "context", "text")
REPLIES = {
    "response",
    "answer",
    "reply",
    "completion",
    "output",
    "option",
    "candidate",
    "generation",
    "summary",
    "text",
}
TIES = {
    "tie",
    "tied",
    "same",
    "equal",
    "both",
    "bothgood",
    "draw",
    "equallygood",
    "nopreference",
    "aboutsame",
    "bothequallygood",
}
NEITHER = {"neither", "none", "bothbad", "allbad", "noneabove", "equallybad", "neithergood", "nonegood"}
WEAK = {"same", "equal", "both", "none"}  # they also answer questions that are not about which response is better
GOOD = {"good", "yes", "true", "acceptable", "correct", "thumbsup"}
BAD = {"bad", "no", "false", "unacceptable", "incorrect", "thumbsdown"}
HINTS = (
    "prefer",
    "better",
    "best",
    "winner",
    "choice",
    "compar",
    "rank",
    "pairwise",
    "verdict",
    "which",
    "vote",
    "pick",
)
FILLER = {"is", "was", "are", "the", "much", "slightly", "significantly", "clearly", "far", "a bit", "better", "best"}
FILLER |= {"wins", "won", "preferred", "bit"}
ABOUT = {"id", "externalid", "status", "insertedat", "updatedat", "serverid", "score", "metadata"}  # of the record
METADATA = ABOUT | {"model", "source", "category", "lang", "language", "url", "date", "dataset", "split", "domain"}
METADATA |= {"policy", "author", "topic", "version", "uuid", "promptid", "taskid"}
SMALL = {"is", "are", "the", "of", "them", "they", "responses", "answers", "replies", "these"}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
NAMED_KIND = re.compile(r"^(response|answer|reply|completion|text|model|option|output|generation|candidate|summary)")


@dataclass(frozen=True)
class Naming:
    """Which fields are the prompt and the responses; empty: guessed."""

    prompt: str = ""
    responses: tuple[str, ...] = ()


@dataclass
class ImportReport(ReadReport):
    """beside: what a file holds that is no answer of a person (suggestions, predictions of a model) -> how often."""

    beside: dict[str, int] = field(default_factory=dict[str, int])


def count_beside(report: ReadReport, what: str, count: int = 1) -> None:
    if isinstance(report, ImportReport) and count:
        report.beside[what] = report.beside.get(what, 0) + count


@dataclass(frozen=True)
class Found:
    """A comparison, and how many answers of the file it holds (ratings of several responses are one comparison)."""

    comparison: Comparison
    answers: int = 1


@dataclass(frozen=True)
class Answer:
    """What one answer says.

    name: of its question or control        reason: why it is left out; then it says nothing
    decision: choice, ranking or no_choice  ratings: axis -> id of the candidate -> number        text: in words
    """

    name: str
    decision: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ratings: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    text: str = ""
    reason: str = ""


class WithoutResponses(InputError):
    """A record that has a prompt, but nothing that answers it."""


@dataclass(frozen=True)
class Task:
    """A prompt (a text, or messages) and its responses: field -> text.

    tags: other names of these fields      axes: of a control that rates one response (help1), the axis that it shares
    with those of the others (help)
    """

    row: Row
    prompt: Any
    responses: Mapping[str, str]
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    axes: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def context(self) -> Context:
        return Context(messages=tuple(self.prompt)) if isinstance(self.prompt, list) else Context(prompt=self.prompt)

    @property
    def ids(self) -> dict[str, str]:
        """Field -> opaque id of its candidate."""
        parts = enumerate(self.responses.items())
        return {name: candidate_id(json.dumps(self.prompt), i, text) for i, (name, text) in parts}

    def compare(self, criterion: str | None, **verdict: Any) -> Comparison:
        names = self.ids
        candidates = tuple(Candidate(id=names[name], text=text) for name, text in self.responses.items())
        return Comparison(
            context=self.context, candidates=candidates, verdict=Verdict(**verdict), criterion=criterion or None
        )

    def find_field(self, value: Any) -> str | None:
        """The id of the response whose field (or tag) this is, however it is written."""
        told, names = plain(value), self.ids
        fields = {plain(tag): names[name] for tag, name in self.tags.items() if name in names}
        return {**fields, **{plain(name): own for name, own in names.items()}}.get(told)

    def find(self, value: Any) -> str | None:
        """The id of the response that a value names: by its field, side, number or letter; None where it names none."""
        exact = self.find_field(value)
        if exact is not None or not plain(value):
            return exact
        told, names = plain(value), list(self.ids.values())
        short = NAMED_KIND.sub("", told)
        suffixes = [split_name(name)[1] for name in self.responses]
        by_suffix = dict(zip(suffixes, names)) if all(suffixes) and len(set(suffixes)) == len(suffixes) else {}
        by_place = {str(i): name for i, name in enumerate(names, start=1)}
        by_letter = dict(zip(LETTERS, names, strict=False))
        sides = {"left": names[0], "right": names[1]} if len(names) == 2 else {}
        for known in (sides, by_suffix, by_letter, by_place):
            if short in known:
                return known[short]
        return None

    def resembles(self, value: Any) -> bool:
        """Whether a value looks like the name of a response (response-7), also of one that there is not."""
        return re.fullmatch(NAMED_KIND.pattern + r"s?(\d+|[a-z])", plain(value)) is not None

    def named(self, value: Any) -> str:
        """`find`; InputError where it names none."""
        found = self.find(value)
        if found is None:
            fields_told = ", ".join(self.responses)
            raise InputError(f"{self.row.place}: {value!r:.60} names none of the responses ({fields_told}).")
        return found

    def decide(self, name: str, value: Any, sure: bool = True) -> Answer | None:
        """The answer of a choice by name; None where the value is about something else.

        sure: whether the question is known to ask for a response, so that "none" means none of them
        """
        told = plain(value)
        if len(self.responses) < 2:
            return None
        brief = plain("".join(each for each in re.split(r"[\W_]+", str(value).casefold()) if each not in SMALL))
        if brief in TIES and (sure or brief not in WEAK):
            return Answer(name, decision={"ranking": (tuple(sorted(self.ids.values())),), "strength": 0.0})
        if brief in NEITHER and (sure or brief not in WEAK):
            return Answer(name, decision={"no_choice": "all bad"})
        found = self.find(value) if sure or not told.isdecimal() else self.find_field(value)
        if found is not None:
            return Answer(name, decision={"choice": found})
        words = [each for each in re.split(r"[\s,.:;!()]+", str(value).casefold()) if each and each not in FILLER]
        short = " ".join(words)
        if sure and short and plain(short) != told:
            found = self.find(short)
            if found is not None:
                return Answer(name, decision={"choice": found}, text=str(value))
        if self.resembles(value):
            self.named(value)
        return None

    def rank(self, name: str, places: Sequence[Sequence[Any]]) -> Answer:
        ranking = tuple(tuple(self.named(each) for each in place) for place in places)
        if sorted(own for place in ranking for own in place) != sorted(self.ids.values()):
            raise InputError(f"{self.row.place}: the ranking {places!r:.80} does not hold every response once.")
        return Answer(name, decision={"ranking": ranking})

    def select(self, name: str, values: Iterable[Any]) -> Answer:
        """Several responses that were marked: 1 on the axis of this name, the others 0."""
        marked = {self.named(each) for each in values}
        return Answer(name, ratings={name: {own: float(own in marked) for own in self.ids.values()}})

    def rate(self, name: str, value: Any, target: str | None, siblings: Sequence[str] = ()) -> Answer:
        """A rating of the response of id `target`, else of the one that the question's name tells, else of the only
        one.

        siblings: names of the other questions, which tell whether a number in the name is that of a response
        """
        names = self.ids
        said = plain(name)
        if target is not None and name in self.axes:
            return Answer(name, ratings={self.axes[name]: {target: float(value)}})
        about = sorted(
            (each for each in names if plain(each) and plain(each) in said), key=lambda each: len(plain(each))
        )
        axis = name
        if about and (target is None or target == names[about[-1]]):
            target = names[about[-1]]
            axis = said.replace(plain(about[-1]), "") or "rating"
        elif target is None and len(names) == 1:
            target = next(iter(names.values()))
        elif target is None:
            stem, suffix = split_name(name)
            by_suffix = {split_name(each)[1]: own for each, own in names.items()}
            alike = {split_name(each)[1] for each in (*siblings, name) if split_name(each)[0] == stem}
            if suffix in by_suffix and len(alike & by_suffix.keys()) > 1:
                target, axis = by_suffix[suffix], stem
        if target is None:
            return Answer(name, reason="a rating of no response: neither its target nor its name tells which")
        return Answer(name, ratings={axis: {target: float(value)}})


def plain(value: Any) -> str:
    """A name without case, blanks and signs: response-1, response_1 and Response 1 are the same."""
    return re.sub(r"[^a-z0-9]", "", str(value).casefold())


SUFFIX = re.compile(r"^(.*?)(?:[\W_]*(\d+)|[\W_]+([A-Za-z])|(?<=[a-z])([A-Z]))$")


def split_name(name: str) -> tuple[str, str]:
    """response_1 -> (response, 1), answerB -> (answer, b), source -> (source, "")."""
    found = SUFFIX.match(name)
    if found is None or not plain(found[1]):
        return plain(name), ""
    return plain(found[1]), next(each for each in found.groups()[1:] if each).casefold()


def task_of(
    row: Row, fields: Mapping[str, Any], naming: Naming, named: Sequence[str] = (), exact: bool = False
) -> Task:
    """The prompt and the responses among the fields. InputError where that cannot be told, WithoutResponses where there
    is a prompt alone.

    named: what answers name as responses; exact: whether two or more of these are all that there are, and a prompt
    need not be there
    """
    texts = {name: value for name, value in fields.items() if isinstance(value, str) and plain(name) not in ABOUT}
    talks = {name: value for name, value in fields.items() if is_talk(value)}
    there = {**talks, **texts}
    prompt = naming.prompt or guess_prompt(there) or (next(iter(talks)) if len(talks) == 1 else "")
    found = [name for name in texts if name != prompt]
    empty = [name for name in naming.responses if fields.get(name, "") is None]  # an optional field
    chosen = [name for name in naming.responses if name not in empty]
    wanted = chosen if naming.responses else choose_responses(found, {plain(each) for each in named}, exact)
    missing = [name for name in (prompt, *wanted) if name not in there]
    if exact and not prompt and not naming.prompt and len(wanted) > 1:
        return Task(row, "", {name: texts[name] for name in wanted})
    if prompt in there and not wanted and not missing:
        raise WithoutResponses(f"{row.place}: there is no response to {prompt!r:.40}.")
    if not prompt or missing:
        told = ", ".join(f"{name:.40}" for name in list(there)[:20]) or "none"
        raise InputError(
            f"{row.place}: which fields are the prompt and the responses? There are {told}. "
            "Say it: --prompt NAME --responses NAME NAME."
        )
    return Task(row, there[prompt], {name: texts[name] for name in wanted})


def guess_prompt(there: Iterable[str]) -> str:
    """The field that is called as prompts are; "" where none is."""
    exact = next((name for each in PROMPTS for name in there if plain(name) == each), "")
    return exact or next((name for each in PROMPTS[:3] for name in there if each in plain(name)), "")


def choose_responses(fields: Sequence[str], named: set[str], exact: bool = False) -> list[str]:
    """Those that are named, and those numbered as they are; else the numbered texts; else all but metadata."""
    found = [name for name in fields if plain(name) in named]
    if found and not (exact and len(found) > 1):
        stems = {split_name(name)[0] for name in found if split_name(name)[1]}
        found = [name for name in fields if name in found or (split_name(name)[1] and split_name(name)[0] in stems)]
    if found:
        return found
    groups: dict[str, list[str]] = {}
    for name in fields:
        stem, suffix = split_name(name)
        if suffix and stem.removesuffix("s") in REPLIES:
            groups.setdefault(stem, []).append(name)
    several = [group for group in groups.values() if len(group) > 1]
    if len(several) == 1:
        return several[0]
    rest = [name for name in fields if plain(name) not in METADATA and split_name(name)[0] not in METADATA]
    return rest or list(fields)


def is_talk(value: Any) -> bool:
    whole = isinstance(value, list) and value and all(isinstance(each, dict) for each in value)
    return bool(whole) and all({"role", "content"} <= each.keys() for each in value)


def hints_choice(name: str) -> bool:
    """Whether a question's name says that it asks which response is better."""
    return any(each in plain(name) for each in HINTS)


def judge_alone(given: Task, name: str, value: Any, target: str | None, siblings: Sequence[str] = ()) -> Answer | None:
    """A rating in words (good, yes, bad, no): 1 or 0; None for other words, and where it is of no response."""
    told = plain(value)
    if told not in GOOD | BAD:
        return None
    found = given.rate(name, told in GOOD, target, siblings)
    return None if found.reason else found


def drop_all(row: Row, count: int, report: ReadReport) -> None:
    """Counts the answers to a record without responses."""
    for _ in range(count):
        report.drop(row, "of a record without responses (--responses says which fields they are)")


def combine(given: Task, answers: Sequence[Answer], report: ReadReport, **about: Any) -> Iterator[Found]:
    """The comparisons of what one person said at once: one with all ratings and words, and one for each further
    decision. What is left out is counted."""
    for each in answers:
        if each.reason:
            report.drop(given.row, each.reason)
    said = [each for each in answers if not each.reason]
    judged = [each for each in said if each.decision or each.ratings]
    words = [each for each in said if not (each.decision or each.ratings)]
    if not judged:
        for _ in words:
            report.drop(given.row, "words that name no response, without a judgment beside them")
        return
    decisions = [each for each in judged if each.decision]
    first = decisions[0] if decisions else None
    verdict: dict[str, Any] = {**(first.decision if first else {}), **_merge_ratings(judged), **_notes(said, words)}
    yield Found(given.compare(first.name if first else None, **verdict, **about), len(said) - len(decisions[1:]))
    for each in decisions[1:]:
        yield Found(given.compare(each.name, **each.decision, **about))


def _merge_ratings(judged: Sequence[Answer]) -> dict[str, Any]:
    """All of them; a second rating of one response on one axis gets an axis of its own, so that neither is lost."""
    found: dict[str, dict[str, float]] = {}
    for axis, own, value in ((a, own, v) for each in judged for a, by in each.ratings.items() for own, v in by.items()):
        name, count = axis, 1
        while own in found.get(name, {}):
            count += 1
            name = f"{axis} ({count})"
        found.setdefault(name, {})[own] = value
    return {"ratings": found} if found else {}


def _notes(said: Sequence[Answer], words: Sequence[Answer]) -> dict[str, Any]:
    told = [each for each in said if each.text]
    if len(told) == 1 and told == list(words):
        return {"notes": told[0].text}
    return {"notes": "\n".join(f"{each.name}: {each.text}" for each in told)} if told else {}
