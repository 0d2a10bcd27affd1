"""Whatever an export writes is read back the same, by `feedback import` and by training, from every kind of file."""

from __future__ import annotations

import json

import pytest
from tests.fuzz.readers import codec

from tutelage.cli import run_command
from tutelage.data import preferences
from tutelage.data.files import read_rows
from tutelage.data.records import Candidate, Comparison, Context, Verdict
from tutelage.feedback.imports import Read
from tutelage.feedback.store import Store

NASTY = [
    "=1+1", "'=x", "''-y", " =z", "\t=1", "-5", "@a", "+1", " first", "last ", "\nnl\n", "cr\r\nlf", "\rq", "a\x00b",
    'q"uo"te', "a,b;c", "'tis", "é😀\u2028\u202e", "\ufeffmark", '[{"a": 1}]', '[{"role": "user", "content": "x"}]',
    '{"a": 1}', "[1, 2]", "true", "1", "None", "null", "NaN", "\\n", "<s>", "x" * 300,
]  # fmt: skip
EMPTY = ["", " ", "\n"]
TALK = Context(messages=({"role": "system", "content": ""}, {"role": "user", "content": "=1 'x'\r\n"}))


def compared(context, *texts, **verdict):
    candidates = tuple(Candidate(id=f"c{i}", text=text) for i, text in enumerate(texts))
    context = Context(prompt=context) if isinstance(context, str) else context
    return Comparison(context=context, candidates=candidates, verdict=Verdict(**verdict))


def every_field(text):
    """A comparison in which every field has a value, and the text stands wherever a text may."""
    candidates = (
        Candidate(id="a", text=text, policy=text or None, sampler={text: text}, score=0.25, evidence=(text, "")),
        Candidate(id="b", text="", media="clip", sampler={"seed": 3, "temperature": 0.5}),
    )
    verdict = Verdict(
        choice="a",
        strength=0.125,
        ranking=(("a",), ("b",)),
        ratings={text: {"a": -1.5, "b": 1e-9}},
        rules={text: {"a": None, "b": True}},
        edits={"a": text, "b": ""},
        signals={"a": ({"seconds": 0.5, "value": -1.0},)},
        notes=text,
        rater="ann",
        shown=("b", "a"),
        shown_at=1.25,
        answered_at=1700000000.123456,
        guideline="2",
    )
    context = Context(prompt=text, media="start")
    return Comparison(context=context, candidates=candidates, verdict=verdict, asked_with=0.3, criterion="helpful")


@pytest.fixture
def filled(tmp_path):
    """A store with these texts as prompts, replies, edits and notes, and with every field of a record."""
    found = []
    for i, text in enumerate([*NASTY, *EMPTY]):
        found += [
            compared(f"p{i}", text, "other", choice="c0", strength=0.5, rater="ann", notes=text),
            compared(text, "good", f"bad {i}", choice="c1", rater="ann"),
            compared(TALK, text, f"no {i}", choice="c0", rater="=bob"),
            compared(f"e{i}", "before", edits={"c0": text}, rater="ann"),
            compared(f"g{i}", text, ratings={"label": {"c0": 1.0}}, rater="ann"),
            compared(f"t{i}", text, "x", "y", ranking=(("c1",), ("c0", "c2")), rater="ann"),
            every_field(text),
        ]
    with Store.open(tmp_path / "f.db") as store:
        assert store.take_in([Read("here", each) for each in found]) == (len(found), 0)
        assert store.verify() == []
    return tmp_path


def tutelage(*arguments):
    assert run_command(["feedback", *map(str, arguments)]) == 0


def rows_of(path):
    with Store.open(path) as store:
        assert store.verify() == []
        names = store.names()
        rows = [each.comparison.row() for each in store.labels()]
    for row in rows:
        row["verdict"]["rater"] = names[row["verdict"]["rater"]]
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def questions_of(path):
    found, _ = preferences.comparisons(str(path), codec())
    return [(each.prompt, each.responses, each.pairs, each.choice, each.ratings) for each in found]


@pytest.mark.parametrize("name", ["records.jsonl", "table.jsonl", "table.csv", "table.parquet"])
def test_every_field_of_a_record_comes_back(filled, name):
    form = name.split(".")[0]
    tutelage("export", filled / "f.db", "--out", filled / name, "--format", form, "--names", "--notes")
    tutelage("import", filled / "new.db", filled / name)
    assert rows_of(filled / "new.db") == rows_of(filled / "f.db")
    if form == "table":
        tutelage("export", filled / "f.db", "--out", filled / "r.jsonl", "--names", "--notes")
        assert questions_of(filled / name) == questions_of(filled / "r.jsonl")


def is_blank(value):
    text = value[-1]["content"] if isinstance(value, list) else value
    return isinstance(text, str) and not text.strip()


@pytest.mark.parametrize("form", ["preference", "dpo", "kto"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_columns_of_trl_come_back(filled, form, suffix, capsys):
    """Rows with an empty reply or prompt teach nothing: they are dropped, and counted."""
    if suffix == ".parquet":  # talks and texts cannot share a column of it
        with Store.open(filled / "f.db") as store:
            talks = [each.id for each in store.labels() if each.comparison.context.messages]
            store.exclude(talks, "talks")
    one, two = filled / f"one{suffix}", filled / f"two{suffix}"
    tutelage("export", filled / "f.db", "--out", one, "--format", form)
    tutelage("import", filled / "new.db", one)
    tutelage("export", filled / "new.db", "--out", two, "--format", form)
    first, second = (
        sorted(json.dumps(row.fields, sort_keys=True) for row in read_rows(str(path))) for path in (one, two)
    )
    gone = list(first)
    for each in second:
        gone.remove(each)
    assert f"{len(gone)} dropped" in capsys.readouterr().out
    assert all(any(is_blank(value) for value in json.loads(row).values()) for row in gone)
    assert not (gone and form == "kto")
    if suffix != ".jsonl":
        again = filled / "same.jsonl"
        tutelage("export", filled / "f.db", "--out", again, "--format", form)
        assert questions_of(one) == questions_of(again)
