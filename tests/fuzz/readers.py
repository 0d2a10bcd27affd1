"""Every reader of files of others, with a small valid file for each shape that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tutelage.data import pairs, preferences, sources
from tutelage.data.columns import columns_of
from tutelage.data.files import ReadReport
from tutelage.data.records import Comparison, compared
from tutelage.data.tokens import Codec
from tutelage.feedback import imports
from tutelage.feedback.exports import cell
from tutelage.feedback.foreign import Naming
from tutelage.rewards.rules import read_rules

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@cache
def codec() -> Codec:
    """Tokens are bytes; talks have a template."""
    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate(["<eos>", *pieces])}
    built = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=built, eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    return Codec(tokenizer)


@dataclass(frozen=True)
class Reader:
    """rows: of a valid file, each of which is used; read: file -> (what was understood, what was counted)

    each: rows are understood one by one, so that a touched row leaves what is read of the others alone
    counted: every row is either one thing understood or dropped and counted
    ordered: the order of a row's columns means something (Argilla: the responses stand in it)
    """

    name: str
    rows: Sequence[dict[str, Any]]
    read: Callable[[Path], tuple[list[Any], ReadReport]]
    each: bool = True
    counted: bool = True
    ordered: bool = False


def sourced(function: Callable[..., Any], **options: Any) -> Callable[[Path], tuple[list[Any], ReadReport]]:
    return lambda path: function(str(path), codec(), **options)


def imported(path: Path, naming: Naming = Naming()) -> tuple[list[Any], ReadReport]:
    report = ReadReport()
    return [each.comparison for each in imports.read(str(path), naming, report)], report


def paired(path: Path) -> tuple[list[Any], ReadReport]:
    report = ReadReport()
    return list(pairs.pairs(str(path), report)), report


def ruled(path: Path) -> tuple[list[Any], ReadReport]:
    found = list(read_rules(str(path)))
    return found, ReadReport(len(found))


def talk(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def record(number: int, **verdict: Any) -> dict[str, Any]:
    found = compared(f"Where is order {number}?", ["On its way.", f"Nobody knows {number}."], 0, [1, 0], rater="ann")
    row = found.row()
    names = [each["id"] for each in row["candidates"]]
    told = {key: value(names) for key, value in verdict.items()}
    row["verdict"] |= told
    return Comparison.model_validate(row).row()


RECORDS = [
    record(1),
    record(2, strength=lambda names: 0.5),
    record(3, ranking=lambda names: [[names[0]], [names[1]]]),
    record(4, ratings=lambda names: {"helpful": {names[0]: 1.0, names[1]: 0.0}}, notes=lambda names: "short"),
]
BROKEN = [record(i, rules=lambda names: {"no promises": {names[0]: False}}) for i in range(3)]
COMPARED = [{"prompt": f"p{i}", "chosen": f"better {i}", "rejected": f"worse {i}"} for i in range(4)]
IMPLICIT = [{"chosen": f"Who are {i} you", "rejected": f"Who are {i} they"} for i in range(3)]
HH = [
    {
        "chosen": f"\n\nHuman: hello {i}\n\nAssistant: good day",
        "rejected": f"\n\nHuman: hello {i}\n\nAssistant: go away {i}",
    }
    for i in range(3)
]
TALKS = [{"chosen": talk(f"hi {i}", "good"), "rejected": talk(f"hi {i}", "bad")} for i in range(3)]
PARTS = [{"prompt": talk(f"hi {i}"), "chosen": talk("", "good")[1:], "rejected": talk("", "bad")[1:]} for i in range(3)]
BEST = [{"prompt": f"p{i}", "responses": ["a", "b", "c"], "choice": i} for i in range(3)]
KTO = [{"prompt": f"p{i // 2}", "completion": f"c{i}", "label": i % 2 == 0} for i in range(6)]
DEMOS = [{"prompt": f"p{i}", "completion": f"done {i}"} for i in range(4)]
VOTES = [{"q": f"q{i}", "a": "x", "b": f"y{i}", "v1": 1, "v2": 2, "v3": i % 3, "kind": "t"} for i in range(4)]
STARS = [
    {"q": f"q{i}", "a": ["x", "y", "z"], "stars": [1, 3, 5], "rank": [1, 2, 3], "by": '{"k": 1}'} for i in range(3)
]
SCALED = [{"q": talk("hi", "hm", f"and {i}"), "a": "x", "b": f"y{i}", "how": i - 1.5, "m": 0.5} for i in range(4)]
TREES = [
    {
        "prompt": {
            "role": "prompter",
            "text": f"why {i}",
            "replies": [
                {"role": "assistant", "text": "so", "rank": 0, "replies": []},
                {"role": "assistant", "text": "thus", "rank": 1, "replies": []},
            ],
        }
    }
    for i in range(2)
]
PICKED = [{"q": f"q{i}", "options": [{"answer": "x"}, {"answer": f"y{i}"}], "best": "A"} for i in range(3)]
IN_PARTS = [{"prompt": talk(f"a{i}"), "completion": talk("", "b")[1:]} for i in range(3)]
JUDGED = [{"prompt": "p", "completion": f"c{i}", "rule": "no", "broken": i % 2 == 0} for i in range(4)]
LINES = [{"text": "a text that is certainly longer than thirty-two letters, so it has a rest"} for _ in range(3)]
TABLE = [
    {"label": "l", "seq": str(i), "prompt": "p", "record": cell(Comparison.model_validate(row).model_dump_json())}
    for i, row in enumerate(RECORDS)
]
ARGILLA = [
    {
        "id": f"r{i}",
        "status": "completed",
        "fields": {"prompt": f"p{i}", "response-1": "a", "response-2": f"b{i}"},
        "responses": {"preference": [{"value": "response-1", "user_id": "u1", "status": "submitted"}]},
    }
    for i in range(3)
]
FLAT = [
    {
        "prompt": f"p{i}",
        "response1": "a",
        "response2": f"b{i}",
        "which.responses": ["response2"],
        "which.responses.users": ["u"],
        "which.responses.status": ["submitted"],
    }
    for i in range(3)
]
RANKED = [
    {
        "question": f"p{i}",
        "first": "a",
        "second": f"b{i}",
        "order": [{"user_id": "u", "value": {"rank": [1, 2], "value": ["first", "second"]}, "status": "submitted"}],
    }
    for i in range(3)
]
STUDIO = [
    {
        "id": i,
        "data": {"prompt": f"p{i}", "answer1": "a", "answer2": f"b{i}"},
        "annotations": [
            {
                "completed_by": {"id": 3},
                "created_at": "2026-01-02T03:04:05Z",
                "lead_time": 4.5,
                "result": [{"type": "pairwise", "from_name": "x", "value": {"selected": "left"}}],
            }
        ],
    }
    for i in range(3)
]

STUDIO_MIN = [
    {
        "prompt": f"p{i}",
        "answer1": "a",
        "answer2": f"b{i}",
        "id": i,
        "which": [{"selected": "left"}],
        "why": "so",
        "annotator": 3,
        "annotation_id": i,
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
        "lead_time": 4.5,
    }
    for i in range(3)
]
WEBGPT = [
    {
        "question": {"dataset": "d", "id": str(i), "full_text": f"p{i}"},
        "answer_0": "a",
        "answer_1": f"b{i}",
        "score_0": 0.5,
        "score_1": -0.5,
        "quotes_0": {"title": ["t"], "extract": ["e"]},
    }
    for i in range(3)
]
TLDR = [
    {
        "info": {"id": str(i), "post": f"p{i}", "title": "t", "subreddit": "s"},
        "summaries": [{"text": "a", "policy": "x", "note": None}, {"text": f"b{i}", "policy": "y", "note": "n"}],
        "choice": 1,
        "worker": "w",
        "extra": {"confidence": 7},
    }
    for i in range(3)
]
ULTRA = [
    {
        "instruction": f"p{i}",
        "completions": [
            {"response": text, "model": "m", "annotations": {"honesty": {"Rating": "4", "Rationale": "r"}}}
            for text in ("a", f"b{i}")
        ],
    }
    for i in range(3)
]


def mapping(**columns: Any) -> dict[str, Any]:
    return {"columns": columns_of(columns)}


VOTED = {"column": ["v1", "v2", "v3"], "first": 1, "second": 2, "tie": 0}
SCALE = {"column": "how", "scale": [3, -3]}
CODED = {"column": "best", "codes": ["A", "B"]}
DEMONSTRATIONS, PROMPTS = sourced(sources.demonstrations), sourced(sources.prompts)
COMPARISONS, RULES = sourced(preferences.comparisons), sourced(preferences.rule_verdicts)


def by(**columns: Any) -> Callable[[Path], tuple[list[Any], ReadReport]]:
    return sourced(preferences.comparisons, **mapping(**columns))


READERS: tuple[Reader, ...] = (
    Reader("demonstrations", DEMOS, DEMONSTRATIONS),
    Reader("talks as demonstrations", [{"messages": talk(f"a{i}", "b")} for i in range(3)], DEMONSTRATIONS),
    Reader("demonstrations in parts", IN_PARTS, DEMONSTRATIONS),
    Reader("texts", LINES, DEMONSTRATIONS),
    Reader("prompts", [{"prompt": f"p{i}", "id": i} for i in range(4)], PROMPTS),
    Reader("prompts of talks", [{"messages": talk(f"a{i}", "b")} for i in range(3)], PROMPTS),
    Reader("prompts of comparisons", COMPARED, PROMPTS),
    Reader("comparisons", COMPARED, COMPARISONS),
    Reader("an implicit prompt", IMPLICIT, COMPARISONS),
    Reader("HH-RLHF", HH, COMPARISONS),
    Reader("compared talks", TALKS, COMPARISONS),
    Reader("compared parts", PARTS, COMPARISONS),
    Reader("best of K", BEST, COMPARISONS),
    Reader("good or bad", KTO, COMPARISONS),
    Reader("records", RECORDS, COMPARISONS),
    Reader("rules broken", JUDGED, RULES),
    Reader("rules of records", BROKEN, RULES, counted=False),
    Reader("votes", VOTES, by(prompt="q", responses=["a", "b"], preference=VOTED)),
    Reader("ratings", STARS, by(prompt="q", responses="a", ratings={"stars": {"scale": [1, 5]}}, json="by")),
    Reader("rankings", STARS, by(prompt="q", responses="a", ranking="rank")),
    Reader("a scale", SCALED, by(prompt="q", responses=["a", "b"], preference=SCALE, margin="m", form="template")),
    Reader("trees", TREES, by(tree="prompt", responses="replies", ranking="rank"), counted=False),
    Reader("picked", PICKED, by(prompt="q", responses="options", text="answer", choice=CODED)),
    Reader("pairs to label", COMPARED, paired),
    Reader("rules in words", [{"rule": f"Do not {i}."} for i in range(3)], ruled, each=False, counted=False),
    Reader("imported records", RECORDS, imported),
    Reader("imported table", TABLE, imported),
    Reader("imported preferences", COMPARED, imported),
    Reader("imported talks", TALKS, imported),
    Reader("imported good or bad", KTO, imported, each=False, counted=False),
    Reader("Argilla", ARGILLA, imported, counted=False, ordered=True),
    Reader("Argilla, flat", FLAT, imported, counted=False, ordered=True),
    Reader("Argilla 1", RANKED, partial(imported, naming=Naming("question", ("first", "second"))), counted=False),
    Reader("Label Studio", STUDIO, imported, counted=False),
    Reader("Label Studio, JSON_MIN", STUDIO_MIN, imported, counted=False, ordered=True),
    Reader("WebGPT", WEBGPT, imported, counted=False),
    Reader("TL;DR", TLDR, imported, counted=False),
    Reader("UltraFeedback", ULTRA, imported, counted=False),
)
