"""Which column means what: any file of judgements as a few lines of mapping (docs/data.md).

Given as a YAML file (`--columns mapping.yaml`) or as `--columns prompt=question responses=[a,b] preference.first=1`.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from tutelage.data.errors import InputError
from tutelage.data.talks import SPEAKERS
from tutelage.data.yaml_file import is_there, read_yaml_file, yaml_value

FORMS = ("talk", "text", "template")
LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Coding:
    """How a preference between two responses is written, one column for each person who was asked.

    first, second, tie: the values that say so       neither: values of a row nobody could or would judge
    scale: instead of these, the numbers for (surely the first, surely the second); their middle is a tie
    """

    column: tuple[str, ...]
    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    tie: tuple[str, ...] = ()
    neither: tuple[str, ...] = ()
    scale: tuple[float, float] | None = None


@dataclass(frozen=True)
class Picking:
    """How the best of K is written: its index from 0, or by codes, one for each response in their order.

    always: the column is none, this response (from 0) is the best in every row
    """

    column: str = ""
    codes: tuple[str, ...] = ()
    always: int | None = None


@dataclass(frozen=True)
class Number:
    """A number for each response: columns (one a response), or one that holds K, or a field of each response.

    scale: the numbers for (the worst, the best), which become 0 and 1; without it the numbers stay as they are
    values: what words mean ({good: 1, bad: 0})
    """

    column: tuple[str, ...]
    scale: tuple[float, float] | None = None
    values: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Columns:
    """A file's columns by what they mean. One of preference, choice and ranking, or ratings, or both.

    prompt: columns that are put together with `join`: texts, lists of texts, or one talk (a list of turns)
    responses: a column for each, or one that holds a text or a list; `text` is the field of it that holds the words
    margin: how much better the preferred one is          ranking: ranks, the lowest is the best
    tree: the column of a message whose field named by `responses` holds the replies to it, each with more of them
    json: columns that hold JSON as text                  roles: role of a turn -> user, assistant, system or tool
    form: talk ("Human: … Assistant:", as HH-RLHF), text (as it stands) or template (the tokenizer's own)
    """

    prompt: tuple[str, ...] = ()
    responses: tuple[str, ...] = ()
    text: str = ""
    preference: Coding | None = None
    choice: Picking | None = None
    ranking: tuple[str, ...] = ()
    margin: Number | None = None
    ratings: Mapping[str, Number] = field(default_factory=dict[str, Number])
    tree: str = ""
    json: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict[str, str])
    form: str = "talk"
    join: str = "\n\n"

    @property
    def used(self) -> set[str]:
        """Every column that is named here."""
        graded = [self.preference, self.choice, self.margin, *self.ratings.values()]
        named = [name for each in graded if each for name in _tuple(each.column)]
        return {*self.prompt, *self.responses, *self.ranking, *self.json, self.tree, *named} - {""}


def code(value: Any) -> str:
    """A value as it is compared with those of the mapping: 1, 1.0, "1" and " 1 " are the same, so are A and a."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value.strip().casefold()
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).casefold()


def parse_columns(given: Sequence[str]) -> Columns | None:
    """None where nothing is given; InputError where it is no mapping, names what there is not, or lacks a part."""
    if not given:
        return None
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if equals and not is_there(each):
            _put(found, name.split("."), yaml_value(value, f"--columns {each}"), each)
        else:
            found |= _yaml_file(each)
    return columns_of(found)


def columns_of(mapping: Mapping[str, Any]) -> Columns:
    """The mapping as it was written, checked."""
    _known(mapping, [each.name for each in fields(Columns)], "")
    built = Columns(**{name: READERS[name](value, name) for name, value in mapping.items()})
    _refuse_lacking(built)
    return built


def _refuse_lacking(columns: Columns) -> None:
    judged = [each for each in ("preference", "choice", "ranking") if getattr(columns, each)]
    width = len(columns.responses) if len(columns.responses) > 1 else None
    always = columns.choice.always if columns.choice else None
    faults = {
        "prompt is missing: name the columns of the prompt, or the tree": not columns.prompt and not columns.tree,
        "prompt and tree are both given; a tree's talks are its prompts": bool(columns.prompt and columns.tree),
        "responses is missing: name the columns of the responses, or the one of their list": not columns.responses,
        "tree needs one name in responses, the field that holds the replies": bool(columns.tree)
        and len(columns.responses) > 1,
        "nothing says what people answered: give preference, choice, ranking or ratings": not judged
        and not columns.ratings,
        f"{' and '.join(judged)} are given, and only one of them can be right": len(judged) > 1,
        "margin is given without the preference or choice whose strength it is": bool(columns.margin)
        and not (columns.preference or columns.choice),
        f"form is {columns.form!r}, expected one of {', '.join(FORMS)}": columns.form not in FORMS,
        f"choice.always is {always}, which is none of the responses": always is not None
        and not 0 <= always < (width or math.inf),
        "ranking names several columns, but not one for each response": len(columns.ranking) not in (0, 1, width),
    }
    for fault, there in faults.items():
        if there:
            raise InputError(f"--columns: {fault} (docs/data.md).")


def _known(mapping: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for each in mapping:
        if each not in names:
            near = difflib.get_close_matches(str(each), names, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(f"--columns: there is no {where}{each}.{hint} There are: {', '.join(names)}.")


def _coding(value: Any, where: str) -> Coding:
    whole = _group(value, where, Coding, "a column and its codes (column: …, first: …, second: …, tie: …) or its scale")
    codes = {each: _codes(whole.get(each, ()), f"{where}.{each}") for each in ("first", "second", "tie", "neither")}
    scale = _scale(whole["scale"], f"{where}.scale") if whole.get("scale") is not None else None
    said = [each for group in codes.values() for each in group]
    if len(set(said)) < len(said):
        raise InputError(f"--columns: {where}: {', '.join(sorted(said))}: one code means two things.")
    if bool(scale) == bool(codes["first"] and codes["second"]):
        raise InputError(f"--columns: {where} needs the codes first and second, or a scale instead of them.")
    return Coding(_names(whole.get("column"), f"{where}.column"), **codes, scale=scale)


def _picking(value: Any, where: str) -> Picking:
    if isinstance(value, int) and not isinstance(value, bool):
        return Picking(always=value)
    whole = _group({"column": value} if isinstance(value, str) else value, where, Picking, "a column, or an index")
    if whole.get("always") is not None:
        always = _number(whole["always"], f"{where}.always")
        if not always.is_integer():
            raise InputError(f"--columns: {where}.always is {always}, expected an index from 0.")
        return Picking(always=int(always))
    return Picking(_name(whole.get("column"), f"{where}.column"), _codes(whole.get("codes", ()), f"{where}.codes"))


def _rating(value: Any, where: str) -> Number:
    whole = _group({"column": value} if isinstance(value, (str, list)) else value, where, Number, "a column")
    scale = _scale(whole["scale"], f"{where}.scale") if whole.get("scale") is not None else None
    values = whole.get("values") or {}
    if not isinstance(values, Mapping):
        raise InputError(f"--columns: {where}.values is {values!r:.60}, expected word: number.")
    numbers = {code(each): _number(number, f"{where}.values.{each}") for each, number in values.items()}
    return Number(_names(whole.get("column"), f"{where}.column"), scale, numbers)


def _ratings(value: Any, where: str) -> dict[str, Number]:
    """axis: column; or axis: {column, scale, values}, whose column is called as the axis; or a list of such columns."""
    if isinstance(value, (str, list)):
        return {each: Number((each,)) for each in _names(value, where)}
    if not isinstance(value, Mapping) or not value:
        raise InputError(f"--columns: {where} is {value!r:.60}, expected axis: column, or axis: {{scale: [1, 7]}}.")
    grouped = {axis: {"column": axis, **each} if isinstance(each, Mapping) else each for axis, each in value.items()}
    return {str(axis): _rating(each, f"{where}.{axis}") for axis, each in grouped.items()}


def _roles(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(each in tuple(SPEAKERS) for each in value.values()):
        raise InputError(f"--columns: {where} is {value!r:.80}, expected role: one of {', '.join(SPEAKERS)}.")
    return {str(role): str(speaker) for role, speaker in value.items()}


def _group(value: Any, where: str, made: type, expected: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"--columns: {where} is {value!r:.60}, expected {expected}.")
    _known(value, [each.name for each in fields(made)], f"{where}.")
    return value


def _names(value: Any, where: str) -> tuple[str, ...]:
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(each, str) and each for each in names):
        raise InputError(f"--columns: {where} is {value!r:.60}, expected the name of a column, or a list of names.")
    return tuple(names)


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"--columns: {where} is {value!r:.60}, expected one name.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"--columns: {where} is {value!r:.60}, expected text.")
    return value


def _codes(value: Any, where: str) -> tuple[str, ...]:
    values = _tuple(value)
    codes = tuple(code(each) for each in values)
    if any(isinstance(each, (list, Mapping)) for each in values) or len(set(codes)) < len(codes):
        raise InputError(f"--columns: {where} is {value!r:.60}, expected a value or a list of different ones.")
    return codes


def _scale(value: Any, where: str) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2 or value[0] == value[1]:
        raise InputError(f"--columns: {where} is {value!r:.60}, expected its two ends, as in [1, 7].")
    return _number(value[0], where), _number(value[1], where)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise InputError(f"--columns: {where} is {value!r:.60}, expected a number.")
    return float(value)


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _put(found: dict[str, Any], path: Sequence[str], value: Any, given: str) -> None:
    """Sets found[path[0]][path[1]]…"""
    for name in path[:-1]:
        found = found.setdefault(name, {})
        if not isinstance(found, dict):
            raise InputError(f"--columns {given}: {name} has a value already, and now a part as well.")
    found[path[-1]] = value


def _yaml_file(name: str) -> dict[str, Any]:
    content = read_yaml_file(name, "--columns")
    if not isinstance(content, dict):
        raise InputError(
            f"--columns {name}: expected `name: column` lines, got {type(content).__name__}. Give a YAML file, or "
            "name=value."
        )
    return content


READERS: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(("prompt", "responses", "ranking", "json"), _names),
    **dict.fromkeys(("tree", "form"), _name),
    **dict.fromkeys(("text", "join"), _text),
    "preference": _coding,
    "choice": _picking,
    "margin": _rating,
    "ratings": _ratings,
    "roles": _roles,
}
