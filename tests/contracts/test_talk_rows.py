"""Rows of messages as people publish them: roles, parts, nulls, tool calls, empty replies. None is lost in silence."""

from __future__ import annotations

import json

import pytest
from tests.tiny_tokenizers import byte_level

from tutelage.data import preferences, sources
from tutelage.data.columns import columns_of
from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport
from tutelage.data.pairs import pairs
from tutelage.data.replies import replies
from tutelage.data.tokens import Codec
from tutelage.feedback.exports import write_csv, write_parquet

USER, OTHER = {"role": "user", "content": "hi"}, {"role": "user", "content": "and now?"}
SAID, SAID_TOO = {"role": "assistant", "content": "hello"}, {"role": "assistant", "content": "no"}
EMPTY, BLANK, NULL = ({"role": "assistant", "content": each} for each in ("", " \n\t", None))
GOOD = {
    sources.demonstrations: {"messages": [USER, SAID]},
    preferences.comparisons: {"prompt": [USER], "chosen": [SAID], "rejected": [SAID_TOO]},
    sources.prompts: {"prompt": [USER]},
}
OTHERS_TURN, LAST = "whose reply is not the assistant's turn", "whose last turn is not the assistant's"
EMPTY_REPLY, UNASKED = "with an empty reply", "without a turn that is answered"
PROMPT = "<|im_start|>user hi<|im_end|> <|im_start|>assistant "


@pytest.fixture(scope="module")
def codec():
    return Codec(byte_level())


def put(folder, *rows):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "rows.jsonl")


def dropped(folder, codec, read, row):
    """Why it was dropped; it stands behind a good row, which is read."""
    found, report = read(put(folder, GOOD[read], row), codec)
    assert len(found) + sum(report.dropped.values()) == report.rows_read == 2
    [reason] = report.dropped
    assert report.first_place[reason].endswith("rows.jsonl, line 2")
    return reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [USER, SAID, OTHER]}, LAST),
        ({"messages": [USER]}, LAST),
        ({"messages": [SAID]}, UNASKED),
        ({"messages": [USER, SAID, {"role": "tool", "content": "x"}]}, LAST),
        ({"prompt": [USER], "completion": [OTHER]}, OTHERS_TURN),
        ({"prompt": [USER], "completion": [SAID, OTHER]}, OTHERS_TURN),
        ({"prompt": [USER], "completion": [SAID, OTHER, SAID]}, OTHERS_TURN),
        ({"prompt": [USER], "completion": [{"role": "system", "content": "x"}]}, OTHERS_TURN),
        *(({"messages": [USER, each]}, EMPTY_REPLY) for each in (EMPTY, BLANK, NULL)),
        *(({"prompt": [USER], "completion": [each]}, EMPTY_REPLY) for each in (EMPTY, BLANK, NULL)),
        ({"prompt": "hi", "completion": " \n"}, EMPTY_REPLY),
        ({"prompt": "", "completion": "a"}, "with an empty prompt"),
        ({"messages": [USER, {**SAID, "tool_calls": [{"id": "1"}]}]}, "with a tool call (tool_calls)"),
        ({"messages": [{**SAID, "function_call": {"name": "f"}}, USER, SAID]}, "with a tool call (function_call)"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}, SAID]}, "with a part that is no text (image)"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}, SAID]},
            "with a part that is no text (text)",
        ),
        ({"prompt": "hi", "completion": None}, "whose completion is null"),
        ({"prompt": None, "completion": None, "messages": None}, "whose prompt is null"),
    ],
)
def test_a_demonstration_that_teaches_nothing_is_dropped_with_line_and_reason(tmp_path, codec, row, reason):
    assert dropped(tmp_path, codec, sources.demonstrations, row) == reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": [USER], "chosen": [SAID], "rejected": [OTHER]}, OTHERS_TURN),
        ({"prompt": [USER], "chosen": [OTHER], "rejected": [SAID]}, OTHERS_TURN),
        ({"chosen": [USER, SAID], "rejected": [USER, OTHER]}, LAST),
        ({"chosen": [USER, SAID], "rejected": [OTHER, SAID_TOO]}, "whose two sides answer different prompts"),
        *(({"prompt": [USER], "chosen": [SAID], "rejected": [each]}, EMPTY_REPLY) for each in (EMPTY, BLANK, NULL)),
        *(({"chosen": [USER, each], "rejected": [USER, SAID]}, EMPTY_REPLY) for each in (EMPTY, BLANK, NULL)),
        *(({"prompt": [USER], "completion": [each], "label": True}, EMPTY_REPLY) for each in (EMPTY, BLANK, NULL)),
        ({"prompt": [USER], "completion": [OTHER], "label": True}, OTHERS_TURN),
        ({"prompt": "hi", "responses": ["a", " "], "choice": 0}, EMPTY_REPLY),
        ({"prompt": [USER], "chosen": [SAID], "rejected": None}, "whose rejected is null"),
        (
            {"prompt": [USER], "chosen": [{**SAID, "tool_calls": [1]}], "rejected": [SAID]},
            "with a tool call (tool_calls)",
        ),
        (
            {"prompt": [USER, SAID], "responses": ["a", "b"], "choice": 0},
            "whose prompt ends in the assistant's own turn",
        ),
    ],
)
def test_a_comparison_that_teaches_nothing_is_dropped_with_line_and_reason(tmp_path, codec, row, reason):
    assert dropped(tmp_path, codec, preferences.comparisons, row) == reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [SAID]}, UNASKED),
        ({"messages": [{"role": "user", "content": " "}, SAID]}, UNASKED),
        ({"prompt": [USER, SAID]}, "whose prompt ends in the assistant's own turn"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "with a part that is no text (input_audio)",
        ),
    ],
)
def test_a_prompt_that_asks_nothing_is_dropped_with_line_and_reason(tmp_path, codec, row, reason):
    assert dropped(tmp_path, codec, sources.prompts, row) == reason


PARTS = [{"type": "text", "text": "h"}, "i"]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": PARTS}, SAID]},
        {"messages": [{**USER, "name": None}, {**SAID, "tool_calls": None, "function_call": {}}]},
        {"messages": [{"role": "human", "content": "hi"}, {"role": "gpt", "content": "hello"}]},
        {"prompt": [{"role": "user", "content": PARTS}], "completion": [SAID]},
        {"prompt": "hi", "completion": [SAID]},
        {"prompt": [USER], "completion": "hello"},
        {"prompt": "hi", "completion": [USER, SAID]},
        {"prompt": [USER], "completion": [USER, SAID]},
        {"prompt": None, "completion": None, "messages": [USER, SAID], "text": None, "chosen": None},
        {
            "prompt": [USER],
            "completion": [{"role": "assistant", "content": [{"type": "output_text", "text": "hello"}]}],
        },
    ],
)
def test_what_says_the_same_is_read_as_the_same(tmp_path, codec, row):
    assert sources.demonstrations(put(tmp_path, row), codec)[0] == [(PROMPT, "hello<|im_end|>")]
    prompts = sources.prompts(put(tmp_path, row), codec)[0]
    assert prompts == [PROMPT] or (prompts == ["hi"] and isinstance(row["prompt"], str))


def test_absent_columns_of_concatenated_data_are_null(tmp_path, codec):
    """As `datasets.concatenate_datasets` and Parquet write them; in CSV they are empty."""
    names = ("prompt", "completion", "messages")
    rows = [
        dict.fromkeys(names) | {"prompt": "a?", "completion": " yes"},
        dict.fromkeys(names) | {"messages": [USER, SAID]},
    ]
    expected = [("a?", " yes"), (PROMPT, "hello<|im_end|>")]
    write_parquet(tmp_path / "a.parquet", rows)
    write_csv(tmp_path / "a.csv", rows)
    for path in (put(tmp_path, *rows), str(tmp_path / "a.parquet"), str(tmp_path / "a.csv")):
        assert sources.demonstrations(path, codec)[0] == expected
        assert sources.prompts(path, codec)[0] == ["a?", PROMPT]
    names = ("prompt", "chosen", "rejected", "completion", "label", "responses", "choice")
    four = [
        {"prompt": "a", "chosen": "b", "rejected": "c"},
        {"chosen": [USER, SAID], "rejected": [USER, SAID_TOO]},
        {"prompt": "a", "completion": "b", "label": True},
        {"prompt": "a", "responses": ["b", "c"], "choice": 1},
    ]
    found, report = preferences.comparisons(put(tmp_path, *(dict.fromkeys(names) | row for row in four)), codec)
    assert [each.best for each in found] == [0, 0, None, 1] and not report.dropped
    shown = ReadReport()
    assert len(list(pairs(put(tmp_path, *(dict.fromkeys(names) | row for row in (*four[:2], four[3]))), shown))) == 3


def test_nulls_within_records(tmp_path, codec):
    record = {
        "context": {"prompt": "a", "messages": None, "media": None},
        "candidates": [{"id": "x", "text": "b", "score": None, "sampler": None}, {"id": "y", "text": "c"}],
        "verdict": {
            "choice": "x",
            "strength": None,
            "ranking": None,
            "ratings": {"help": {"x": 1.0, "y": None}, "so": None},
        },
        "asked_with": None,
    }
    [question] = preferences.comparisons(put(tmp_path, record), codec)[0]
    assert (question.best, question.ratings) == (0, {"help": (1.0, None)})


def test_a_template_that_leaves_out_a_turn(tmp_path):
    """As Mistral's first ones left out the system's: what it says would be lost without a word."""
    tokenizer = byte_level()
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] != 'system' %}[{{ m['content'] }}]{% endif %}{% endfor %}"
    )
    row = {"messages": [{"role": "system", "content": "Be brief."}, USER, SAID]}
    found, report = sources.demonstrations(put(tmp_path, {"messages": [USER, SAID]}, row), Codec(tokenizer))
    assert len(found) == 1
    assert report.dropped == {"with a turn of the role 'system', which the chat template leaves out": 1}


def test_parts_in_trees_and_talks_that_columns_describe(tmp_path, codec):
    """Before: the parts' JSON was the prompt. A tree with an image is dropped, the other one read."""
    image = {"type": "image_url", "image_url": "u"}
    answers = [{"role": "assistant", "content": each, "rank": i, "replies": []} for i, each in enumerate("bc")]
    trees = [{"tree": {"role": "user", "content": each, "replies": answers}} for each in (PARTS, [image])]
    columns = columns_of({"tree": "tree", "responses": "replies", "text": "content", "ranking": "rank"})
    [question], report = preferences.comparisons(put(tmp_path, *trees), codec, columns)
    assert question.prompt == "\n\nHuman: hi\n\nAssistant:" and question.responses == (" b", " c")
    assert report.dropped == {"with a part that is no text (image_url)": 1} and report.rows_read == 2
    talks = [{"talk": [{"role": "user", "content": each}], "a": "b", "b": "c"} for each in (PARTS, [image])]
    columns = columns_of({"prompt": "talk", "responses": ["a", "b"], "choice": 0})
    [question], report = preferences.comparisons(put(tmp_path, *talks), codec, columns)
    assert question.prompt == "\n\nHuman: hi\n\nAssistant:"
    assert report.dropped == {"with a part that is no text (image_url)": 1}


def test_the_readers_for_people(tmp_path):
    """`tutelage label` shows parts as their text, and does not ask about a reply that is somebody else's."""
    report = ReadReport()
    rows = [
        {"prompt": [{"role": "user", "content": PARTS}], "chosen": [SAID], "rejected": [SAID_TOO]},
        {"prompt": [USER], "chosen": [SAID], "rejected": [OTHER]},
        {"chosen": [USER, SAID], "rejected": [USER, OTHER]},
        {"prompt": "hi", "chosen": [USER, SAID], "rejected": [USER, SAID_TOO]},
        {"prompt": [USER], "chosen": [SAID], "rejected": [{**SAID, "tool_calls": [1]}]},
    ]
    asked = list(pairs(put(tmp_path, *rows), report))
    assert [[each["content"] for each in one.context.messages] for one in asked] == [["hi"], ["hi"]]
    assert [[each.text for each in one.candidates] for one in asked] == [["hello", "no"]] * 2
    assert report.dropped == {OTHERS_TURN: 1, LAST: 1, "with a tool call (tool_calls)": 1}
    report = ReadReport()
    assert len(list(replies(put(tmp_path, *rows), report))) == 2 and sum(report.dropped.values()) == 3


def test_where_nothing_is_left_the_reasons_are_said(tmp_path, codec):
    with pytest.raises(InputError, match=r"none of its 2 rows .* 2 with an empty reply \(first: .*line 1\)"):
        sources.demonstrations(put(tmp_path, *[{"messages": [USER, BLANK]}] * 2), codec)
