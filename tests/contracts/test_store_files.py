"""Labels out of the store and into it: every format there and back, and what is wrong with a file said by its line."""

from __future__ import annotations

import csv
import io
import json
import random
import re

import pyarrow.parquet
import pytest
from tests.contracts.test_store import Clock, question, says, shown_as

from tutelage.cli import run_command
from tutelage.data.csv_cells import unprotect
from tutelage.data.files import ReadReport
from tutelage.data.records import Candidate, Comparison, Context
from tutelage.feedback.asking import Asking
from tutelage.feedback.exports import cell
from tutelage.feedback.foreign import Naming
from tutelage.feedback.imports import read
from tutelage.feedback.store import Store

TALK = Context(messages=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is it?"}))
THREE = tuple(Candidate(id=name, text=name * 3, policy=f"v{name}") for name in "xyz")


@pytest.fixture
def folder(tmp_path):
    """A store in tmp_path with an answer of every kind, by two people and a synthetic one."""
    clock = Clock()
    with Store.open(tmp_path / "feedback.db", clock, random.Random(0)) as store:
        store.guideline("Be kind.")
        store.ask(
            [question("q1", wanted=3, asked_with=0.5), question("talk", context=TALK), question("tie"), question("bad")]
        )
        store.ask(
            [Asking(Context(prompt=f"of {kind}"), THREE, kind=kind) for kind in ("ranking", "rating", "edit", "clip")]
        )
        ann, bob, gold = store.labeller("ann"), store.labeller("=bob"), store.labeller("gold", "synthetic")
        for who, text in ((ann, "first"), (bob, "second"), (gold, "first")):
            says(store, who, "k", text, strength=0.5, notes="because of 555")
        answers = {
            "Where is it?": lambda given: {"choice": shown_as(given, "second")},
            "prompt of tie": lambda given: {"tie": True},
            "prompt of bad": lambda given: {"no_choice": "all bad"},
            "of ranking": lambda given: {
                "ranking": [[shown_as(given, "yyy")], [shown_as(given, t) for t in ("xxx", "zzz")]]
            },
            "of rating": lambda given: {
                "ratings": {"label": {shown_as(given, "xxx"): 1.0, shown_as(given, "yyy"): 0.0}}
            },
            "of edit": lambda given: {"edits": {shown_as(given, "xxx"): "better"}},
            "of clip": lambda given: {"choice": shown_as(given, "zzz"), "signals": {}},
        }
        for given in store.claim(ann, 10):
            asked = given.context.prompt or given.context.messages[-1]["content"]
            store.answer(
                ann, given.id, given.lease, given.id, answers[asked](given), {"shown_at": 1.0, "answered_at": 3.5}
            )
    return tmp_path


def tutelage(*arguments):
    return run_command(["feedback", *map(str, arguments)])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def comparisons(path):
    with Store.open(path) as store:
        assert store.verify() == []
        names = store.names()
        rows = [each.comparison.row() for each in store.labels()]
    return [{**row, "verdict": {**row["verdict"], "rater": names[row["verdict"]["rater"]]}} for row in rows]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_records_and_tables_lose_nothing(folder, name):
    flags = ["--names", "--notes", "--states", "counted"]
    assert tutelage("export", folder, "--out", folder / name, *flags) == 0
    assert tutelage("import", folder / "new.db", folder / name) == 0
    assert comparisons(folder / "new.db") == comparisons(folder / "feedback.db")


def test_importing_twice_adds_nothing(folder, capsys):
    tutelage("export", folder, "--out", folder / "out.jsonl")
    for added in ("10 labels added, 0 were", "0 labels added, 10 were"):
        assert tutelage("import", folder / "new.db", folder / "out.jsonl") == 0
        assert added in capsys.readouterr().out
    assert len(comparisons(folder / "new.db")) == 10


def test_names_and_notes_stay_behind_unless_asked_for(folder):
    for form, name in (("records", "a.jsonl"), ("table", "b.csv"), ("table", "c.parquet"), ("preference", "d.jsonl")):
        assert tutelage("export", folder, "--out", folder / name, "--format", form) == 0
        content = (folder / name).read_bytes()
        assert not [word for word in (b"ann", b"bob", b"because of 555") if word in content], name
    assert tutelage("export", folder, "--out", folder / "e.jsonl", "--names", "--notes") == 0
    content = (folder / "e.jsonl").read_text()
    assert all(word in content for word in ("ann", "=bob", "because of 555"))


def test_preferences_are_what_trl_reads(folder, capsys):
    assert tutelage("export", folder, "--out", folder / "p.jsonl", "--format", "preference") == 0
    assert "3 left out: nobody won" in capsys.readouterr().out
    rows = lines(folder / "p.jsonl")
    first = {"prompt": "prompt of q1", "chosen": "first", "rejected": "second", "margin": 0.5}
    assert rows[0] == first and rows[1] == {**first, "chosen": "second", "rejected": "first"}
    talk = next(row for row in rows if isinstance(row["prompt"], list))
    assert talk["prompt"] == [dict(each) for each in TALK.messages]
    assert talk["chosen"] == [{"role": "assistant", "content": "second"}]
    ranked = [(row["chosen"], row["rejected"]) for row in rows if row["prompt"] == "of ranking"]
    assert sorted(ranked) == [("yyy", "xxx"), ("yyy", "zzz")]
    clip = [(row["chosen"], row["rejected"]) for row in rows if row["prompt"] == "of clip"]
    assert clip == [("zzz", "xxx"), ("zzz", "yyy")]
    edited = [(row["chosen"], row["rejected"]) for row in rows if row["prompt"] == "of edit"]
    assert edited == [("better", "xxx")]
    assert tutelage("export", folder, "--out", folder / "d.jsonl", "--format", "dpo") == 0
    assert lines(folder / "d.jsonl") == [{name: row[name] for name in ("prompt", "chosen", "rejected")} for row in rows]


@pytest.mark.parametrize("form", ["preference", "dpo", "kto"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_trl_formats_come_back(folder, form, suffix):
    """Out, in, out: the second file is the first."""
    one, two = folder / f"one{suffix}", folder / f"two{suffix}"
    assert tutelage("export", folder, "--out", one, "--format", form) == 0
    assert tutelage("import", folder / "new.db", one) == 0
    assert tutelage("export", folder / "new.db", "--out", two, "--format", form) == 0
    assert sorted(two.read_text().splitlines()) == sorted(one.read_text().splitlines())


def test_kto_says_what_is_desirable(folder):
    assert tutelage("export", folder, "--out", folder / "k.jsonl", "--format", "kto") == 0
    said = {(row["completion"], row["label"]) for row in lines(folder / "k.jsonl") if row["prompt"] == "prompt of bad"}
    assert said == {("first", False), ("second", False)}
    said = {(row["completion"], row["label"]) for row in lines(folder / "k.jsonl") if row["prompt"] == "of rating"}
    assert said == {("xxx", True), ("yyy", False)}


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "'=1", "''-x", "\n=1", "'plain", "plain", "", "-"]
)
def test_what_a_spreadsheet_would_run_is_escaped_and_comes_back(text):
    assert unprotect(cell(text)) == text
    assert not cell(text).lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\n"))


def test_formulas_in_tables(tmp_path):
    with Store.open(tmp_path / "feedback.db", chance=random.Random(0)) as store:
        store.ask([question(context=Context(prompt="=HYPERLINK(1)"))])
        says(store, store.labeller("ann"), "k")
    assert tutelage("export", tmp_path, "--out", tmp_path / "t.csv") == 0
    [row] = csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text(), newline=""))
    assert row["prompt"] == "'=HYPERLINK(1)" and row["choice"] == "1"
    assert tutelage("export", tmp_path, "--out", tmp_path / "t.parquet") == 0
    assert pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pylist()[0]["prompt"] == "=HYPERLINK(1)"


def test_a_snapshot_states_and_sources_choose_labels(folder):
    with Store.open(folder / "feedback.db") as store:
        first = store.snapshot([store.labels()[0].id])
    assert tutelage("export", folder, "--out", folder / "s.jsonl", "--snapshot", first.id) == 0
    assert tutelage("export", folder, "--out", folder / "g.jsonl", "--sources", "synthetic") == 0
    assert tutelage("export", folder, "--out", folder / "l.jsonl", "--states", "late") == 0
    assert [len(lines(folder / f"{name}.jsonl")) for name in "sgl"] == [1, 1, 0]


# --- exports of others

REPLIES = {"prompt": "Where?", "response_1": "here", "response_2": "there"}
NESTED = {
    "id": "1",
    "status": "completed",
    "fields": REPLIES,
    "metadata": {},
    "suggestions": {"best": {"value": "response_1"}},
    "responses": {
        "best": [{"value": "response-2", "user_id": "u1"}, {"value": "tie", "user_id": "u2", "status": "submitted"}],
    },
}
FLAT = {
    "id": "1",
    "_server_id": "5",
    **REPLIES,
    "order.responses": [["response_2", "response_1"]],
    "order.responses.users": ["u1"],
    "order.responses.status": ["submitted"],
    "order.suggestion": None,
}
OLD = {
    **REPLIES,
    "order": [
        {
            "user_id": "u1",
            "value": [{"value": "response_1", "rank": 1}, {"value": "response_2", "rank": 1}],
            "status": "submitted",
        },
        {
            "user_id": "u2",
            "value": [{"value": "response_2", "rank": 1}, {"value": "response_1", "rank": 2}],
            "status": "draft",
        },
    ],
    "order-suggestion": None,
    "external_id": "entry-1",
    "metadata": "{}",
}
HUB = {**REPLIES, "best": {"user_id": ["u1"], "value": ["A"], "status": ["submitted"]}}
RATED = {
    "fields": {"instruction": "Where?", "generations-0": "here", "generations-1": "there"},
    "responses": {"generations-1-rating": [{"value": 4, "user_id": "u1"}]},
}
TASK = {
    "id": 7,
    "data": {"question": "Where?", "answer1": "here", "answer2": "there", "id": "x1"},
    "annotations": [
        {
            "completed_by": {"id": 3, "email": "x@example.org"},
            "was_cancelled": False,
            "created_at": "2021-03-09T22:16:08.728353Z",
            "lead_time": 4.0,
            "result": [
                {"from_name": "pw", "to_name": "t1,t2", "type": "pairwise", "value": {"selected": "right"}},
                {"from_name": "why", "to_name": "t1", "type": "textarea", "value": {"text": ["clearer"]}},
            ],
        },
        {"completed_by": 4, "was_cancelled": True, "result": []},
        *(
            {"completed_by": who, "result": [{"from_name": "good", "to_name": to, "type": kind, "value": value}]}
            for who, to, kind, value in (
                (5, "x", "ranker", {"ranker": {"_": ["answer2", "answer1"]}}),
                (6, "x", "choices", {"choices": ["Both bad"]}),
                (7, "answer1", "rating", {"rating": 4}),
            )
        ),
    ],
}


def imported(tmp_path, name, *rows):
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows))
    report = ReadReport()
    return [each.comparison for each in read(str(path), Naming(), report)], report


def winner(comparison):
    return None if comparison.best is None else comparison.texts[comparison.best]


@pytest.mark.parametrize(
    ("row", "said", "dropped"),
    [
        (NESTED, [("argilla u1", "there"), ("argilla u2", None)], 0),
        (FLAT, [("argilla u1", "there")], 0),
        (OLD, [("argilla u1", None)], 1),
        (HUB, [("argilla u1", "here")], 0),
    ],
    ids=["nested", "flat", "argilla 1", "argilla 1 on the hub"],
)
def test_argilla(tmp_path, row, said, dropped):
    found, report = imported(tmp_path, "a.jsonl", row)
    assert [(each.verdict.rater, winner(each)) for each in found] == said
    assert all(each.context.prompt == "Where?" and each.texts == ("here", "there") for each in found)
    assert report.counts()["rows_dropped"] == dropped


def test_argilla_ratings_by_the_name_of_their_response(tmp_path):
    [found], _ = imported(tmp_path, "a.jsonl", RATED)
    assert found.verdict.ratings == {"rating": {found.candidates[1].id: 4.0}}


def test_label_studio(tmp_path):
    found, report = imported(tmp_path, "l.json", TASK)
    pair, ranked, neither, rated = found
    assert (winner(pair), pair.verdict.rater, pair.verdict.notes) == ("there", "label-studio 3", "clearer")
    assert pair.verdict.answered_at == 1615328168.728353 and pair.verdict.shown_at == 1615328164.728353
    assert winner(ranked) == "there" and neither.verdict.no_choice == "all bad"
    assert rated.verdict.ratings == {"good": {rated.candidates[0].id: 4.0}}
    assert report.dropped == {"cancelled": 1}


@pytest.mark.parametrize(("name", "row"), [("a.jsonl", NESTED), ("f.jsonl", FLAT), ("l.json", TASK)])
def test_exports_of_others_come_back_from_the_store(tmp_path, name, row):
    """File -> store -> records -> another store: the same labels, twice."""
    expected = [each.row() for each in imported(tmp_path, name, row)[0]]
    assert tutelage("import", tmp_path / "one.db", tmp_path / name) == 0
    assert comparisons(tmp_path / "one.db") == expected
    assert tutelage("export", tmp_path / "one.db", "--out", tmp_path / "o.jsonl", "--names", "--notes") == 0
    assert tutelage("import", tmp_path / "two.db", tmp_path / "o.jsonl") == 0
    assert comparisons(tmp_path / "two.db") == expected


def test_fields_can_be_named(tmp_path):
    row = {
        "data": {"a": "Where?", "b": "here", "c": "there", "d": "note"},
        "annotations": [{"result": [{"type": "pairwise", "value": {"selected": "left"}}]}],
    }
    path = tmp_path / "l.jsonl"
    path.write_text(json.dumps(row))
    assert tutelage("import", tmp_path / "x.db", path) == 2
    assert tutelage("import", tmp_path / "x.db", path, "--prompt", "a", "--responses", "c", "b") == 0
    [found] = comparisons(tmp_path / "x.db")
    assert found["context"]["prompt"] == "Where?" and Comparison.model_validate(found).texts == ("there", "here")


GOOD = {"prompt": "p", "chosen": "a", "rejected": "b"}


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ("no json", "line 2 is not JSON"),
        ({"colour": 1}, "line 2: its columns are colour"),
        ({"prompt": 5, "chosen": "a", "rejected": "b"}, "line 2: 5 is no reply"),
        ({**GOOD, "chosen": ["a", "b"]}, "line 2"),
        ({**GOOD, "margin": 7}, "line 2: strength"),
        ({**GOOD, "margin": "much"}, "line 2"),
        ({"context": {}, "candidates": [], "verdict": {}}, "line 2: candidates"),
        (
            {"context": {}, "candidates": [{"id": "a"}, {"id": "b"}], "verdict": {"choice": "c"}},
            "line 2: .*no candidate",
        ),
        (
            {**NESTED, "responses": {"best": [{"value": "response-7", "user_id": "u"}]}},
            "line 2: 'response-7' names none",
        ),
        ({**FLAT, "order.responses": [["response_2", "response_2"]]}, "line 2: the ranking"),
        ({"data": {"x": "y"}, "annotations": []}, "line 2: which fields are the prompt"),
        ({**TASK, "annotations": [{**TASK["annotations"][0], "created_at": "soon"}]}, "line 2: created_at is 'soon'"),
    ],
    ids=str,
)
def test_bad_rows_are_named_and_nothing_is_written(tmp_path, row, part, capsys):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + (row if isinstance(row, str) else json.dumps(row)) + "\n")
    assert tutelage("import", tmp_path / "x.db", path) == 2
    said = capsys.readouterr().err
    assert re.search(part, said) and "bad.jsonl" in said and "Traceback" not in said, said
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([{**GOOD, "rejected": "a"}], "chosen equal to rejected"),
        ([{**GOOD, "rejected": " "}], "an empty reply"),
        ([{"chosen": "a", "rejected": "b"}], "without a common prompt"),
        ([{**NESTED, "responses": {}}], "without an answer"),
        ([{**TASK, "annotations": [{"result": [{"type": "brush", "value": {}}]}]}], "results of the kind 'brush'"),
    ],
    ids=str,
)
def test_rows_that_teach_nothing_are_counted(tmp_path, rows, reason):
    found, report = imported(tmp_path, "x.jsonl", *rows)
    assert not found and any(reason in each for each in report.dropped)


def test_one_completion_that_is_good_or_bad_is_a_label(tmp_path):
    [found], report = imported(tmp_path, "x.jsonl", {"prompt": "p", "completion": "a", "label": False})
    assert found.verdict.ratings == {"label": {found.candidates[0].id: 0.0}} and not report.dropped


def test_implicit_prompts_are_split_off(tmp_path):
    talk = [{"role": "user", "content": "Where?"}]
    told = [[*talk, {"role": "assistant", "content": word}] for word in ("here", "there")]
    rows = [{"chosen": told[0], "rejected": told[1]}, {"chosen": "It is here", "rejected": "It is there"}]
    found, _ = imported(tmp_path, "x.jsonl", *rows)
    assert found[0].context.messages == tuple(talk) and winner(found[0]) == "here"
    assert found[1].context.prompt == "It is " and set(found[1].texts) == {"here", "there"}


# --- the other verbs


def test_verify_says_the_end_of_the_log_and_finds_a_rewritten_one(folder, capsys):
    assert tutelage("verify", folder) == 0
    said = capsys.readouterr().out
    end = said.split("the log ends with ")[1].splitlines()[0]
    assert "nothing lost, doubled" in said
    assert tutelage("verify", folder, "--expect", end) == 0
    number = end.split(":")[0]
    capsys.readouterr()
    assert tutelage("verify", folder, "--expect", f"{number}:{'0' * 64}") == 1
    assert "the log was rewritten" in capsys.readouterr().out
    assert tutelage("verify", folder, "--expect", "x") == 2


def test_stats_count(folder, capsys):
    assert tutelage("stats", folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["labels"] == {"counted": 10} and told["by_source"] == {"human": 9, "synthetic": 1}
    assert told["questions"] == {"asked": 8, "withdrawn": 0, "open": 0, "wanted": 10, "counted": 10}
    assert (told["agreement"], told["agreement_pairs"]) == (pytest.approx(1 / 3), 3)
    assert told["seconds_per_answer"] == 2.5 and told["labellers"] == 3
    assert tutelage("stats", folder) == 0
    assert "agreement            0.333" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["verify", "nowhere"], "nowhere does not exist"),
        (["nothing"], "There are: verify, export, import, stats"),
        (["export", "{0}", "--out", "{0}/x.xls"], "files ending in .xls"),
        (["export", "{0}", "--out", "{0}/x.jsonl", "--format", "xml"], "expected records, preference"),
        (["export", "{0}", "--out", "{0}/x.csv", "--format", "records"], "--format table"),
        (["export", "{0}", "--out", "{0}/feedback.db"], "there already"),
        (["export", "{0}", "--out", "{0}/x.jsonl", "--states", "gone"], "there is no 'gone'"),
        (["export", "{0}", "--out", "{0}/x.jsonl", "--snapshot", "gone"], "there is no snapshot 'gone'"),
        (["import", "{0}"], "nothing to import"),
        (["import", "{0}", "{0}/none.jsonl"], "does not exist"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence_and_code_2(folder, arguments, part, capsys):
    assert tutelage(*(each.format(folder) for each in arguments)) == 2
    said = capsys.readouterr().err
    assert part in said and said.startswith("tutelage: ") and said.count("\n") == 1
