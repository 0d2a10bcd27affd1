"""A CSV file is read as it was written: protected cells, apostrophes of the text's own, messages as JSON."""

from __future__ import annotations

import json
from itertools import product

import pytest
from tests.conftest import letters_tokenizer

from tutelage.data import preferences, sources
from tutelage.data.csv_cells import protect, read_cell, unprotect
from tutelage.data.files import ReadReport, read_rows
from tutelage.data.pairs import pairs
from tutelage.data.replies import replies
from tutelage.data.tokens import Codec
from tutelage.feedback.exports import write_csv, write_lines, write_parquet

BEGINNINGS = [
    "",
    "=",
    "+",
    "-",
    "@",
    "'",
    "''",
    "'=",
    "''=",
    " =",
    "' =",
    "\t",
    "'\t=",
    "\r",
    "\n=",
    "=''",
    "tis",
    '"',
    ",",
    '[{"role": "user", "content": "a"}]',
    '\'[{"role": "user", "content": "a"}]',
]
TEXTS = [f"{start}{rest}" for start, rest in product(BEGINNINGS, ["", "1+1", '\'tis, said "he"\r\n-so'])]


@pytest.fixture
def codec():
    tokenizer = letters_tokenizer(pad_token="<eos>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    return Codec(tokenizer)


@pytest.mark.parametrize("text", TEXTS)
def test_a_cell_is_no_formula_and_its_text_comes_back(text):
    assert unprotect(protect(text)) == text
    assert not protect(text).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_text_is_read_back_from_every_kind_of_file(tmp_path, suffix):
    rows = [{"prompt": f"{text}?", "chosen": text, "rejected": f"{text}-"} for text in TEXTS]
    path = tmp_path / f"pairs{suffix}"
    {".csv": write_csv, ".jsonl": write_lines, ".parquet": write_parquet}[suffix](path, rows)
    assert [dict(row.fields) for row in read_rows(str(path))] == rows


def test_the_readers_of_training_data_see_what_was_exported(tmp_path, codec):
    """Before: the protecting apostrophe was learned as part of the text."""
    texts = [text for text in TEXTS if text.strip()]
    path = str(tmp_path / "pairs.csv")
    write_csv(tmp_path / "pairs.csv", [{"prompt": "=a", "chosen": text, "rejected": "- no"} for text in texts])
    questions, _ = preferences.comparisons(path, codec)
    assert [each.responses for each in questions] == [(text, "- no") for text in texts]
    assert {each.prompt for each in questions} == {"=a"}
    assert [each.candidates[0].text for each in pairs(path, ReadReport())] == texts
    write_csv(tmp_path / "demos.csv", [{"prompt": "@a", "completion": text} for text in texts])
    assert sources.demonstrations(str(tmp_path / "demos.csv"), codec)[0] == [("@a", text) for text in texts]
    assert sources.prompts(str(tmp_path / "demos.csv"), codec)[0] == ["@a"] * len(texts)
    assert [each.candidates[0].text for each in replies(str(tmp_path / "demos.csv"), ReadReport())] == texts


def test_a_talk_in_a_cell_is_a_talk_again(tmp_path, codec):
    """Before: the text of its JSON was the reply."""
    talk = [{"role": "user", "content": '=a, "b"'}]
    rows = [
        {
            "prompt": talk,
            "chosen": [{"role": "assistant", "content": "-c"}],
            "rejected": [{"role": "assistant", "content": each}],
        }
        for each in ("d", "'e")
    ]
    write_csv(tmp_path / "talks.csv", rows)
    write_lines(tmp_path / "talks.jsonl", rows)
    assert [dict(row.fields) for row in read_rows(str(tmp_path / "talks.csv"))] == rows
    read = [preferences.comparisons(str(tmp_path / name), codec)[0] for name in ("talks.csv", "talks.jsonl")]
    assert read[0] == read[1]


@pytest.mark.parametrize("text", ['[{"a": 1}]', "[{", '[{"role": 1', "[1, 2]", '{"role": "user", "content": "a"}'])
def test_other_json_in_a_cell_stays_text(text):
    assert read_cell(text) == text


def test_our_own_table_is_read_as_its_records(tmp_path, codec):
    record = {
        "context": {"prompt": "=a"},
        "candidates": [{"id": "x", "text": "-b"}, {"id": "y", "text": "'=c"}],
        "verdict": {"choice": "y"},
    }
    row = {"label": "l", "seq": 1, "question": "q", "prompt": "=a", "response_1": "-b", "record": json.dumps(record)}
    for name, write in {"t.csv": write_csv, "t.jsonl": write_lines, "t.parquet": write_parquet}.items():
        write(tmp_path / name, [row])
        path = str(tmp_path / name)
        [question] = preferences.comparisons(path, codec)[0]
        assert (question.prompt, question.responses, question.choice) == ("=a", ("-b", "'=c"), 1)
        assert [each.text for each in next(pairs(path, ReadReport())).candidates] == ["-b", "'=c"]
        assert [each.text for each in next(replies(path, ReadReport())).candidates] == ["-b", "'=c"]
