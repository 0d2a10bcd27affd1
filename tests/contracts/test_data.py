"""Every shape of data that is read, what is dropped and why, and what is cut where it is too long."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma

import pytest
from pydantic import ValidationError
from tests.conftest import letters_tokenizer

from tutelage.algorithms.minibatches import minibatch, split_minibatches
from tutelage.data import preferences, records, sources
from tutelage.data.control_tokens import TemplateText
from tutelage.data.errors import InputError
from tutelage.data.split import by_prompt
from tutelage.data.tokens import Codec
from tutelage.data.truncate import fit

CHAT = (
    "{% for m in messages %}{{ m['role'][0] }} {{ m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}"
    "{% else %} {% endif %}{% endfor %}{% if add_generation_prompt %}a {% endif %}"
)
ROWS = [{"prompt": "ab ", "completion": "cd"}, {"prompt": "ef ", "completion": "gh"}]


@pytest.fixture
def codec():
    return Codec(letters_tokenizer(pad_token="<eos>"))


@pytest.fixture
def chat_codec():
    tokenizer = letters_tokenizer(pad_token="<eos>")
    tokenizer.chat_template = CHAT
    return Codec(tokenizer)


def put(folder, name, rows):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path, codec):
    return sources.demonstrations(str(path), codec)[0]


def test_the_same_rows_in_every_kind_of_file(tmp_path, codec):
    import pyarrow
    import pyarrow.parquet

    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    table = "prompt,completion\n" + "".join(f'"{row["prompt"]}",{row["completion"]}\n' for row in ROWS)
    texts = {
        "a.jsonl": lines,
        "b.json": json.dumps(ROWS),
        "c.json": json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}),
        "d.csv": table,
        "e.tsv": table.replace(",", "\t"),
        "bom.jsonl": "\ufeff" + lines,
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "f.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "g.jsonl.bz2").write_bytes(bz2.compress(lines.encode()))
    (tmp_path / "h.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "i.parquet")
    expected = [("ab ", "cd"), ("ef ", "gh")]
    names = [path.name for path in sorted(tmp_path.iterdir())]
    assert len(names) == 10
    for name in names:
        assert read(tmp_path / name, codec) == expected, name
    assert read(tmp_path, codec) == expected * len(names)  # a folder is all its files


def test_plain_text_opens_with_its_first_tokens(tmp_path, codec):
    long = "abcdefgh" * 5
    (tmp_path / "stories.txt").write_text(f"{long}\nab\n{long[::-1]}<|endoftext|>{long}c\n")
    found, report = sources.prompts(str(tmp_path / "stories.txt"), codec)
    assert found == [long[:32], long[::-1][:32], long[:32]]
    assert report.rows_read == 4 and report.counts()["dropped_why"] == {"shorter than 32 tokens": 1}
    assert read(tmp_path / "stories.txt", codec)[0] == (long[:32], long[32:])


def test_messages_go_through_the_models_own_template(tmp_path, chat_codec):
    talk = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "jk"}]
    assert read(put(tmp_path, "a.jsonl", [{"messages": talk}]), chat_codec) == [("u hi a ", "jk")]
    split = {"prompt": talk[:1], "completion": talk[1:]}
    assert read(put(tmp_path, "b.jsonl", [split]), chat_codec) == [("u hi a ", "jk")]
    pair = {"chosen": talk, "rejected": [talk[0], {"role": "assistant", "content": "no"}]}
    found, _ = preferences.comparisons(put(tmp_path, "c.jsonl", [pair]), chat_codec)
    assert found[0].prompt == "u hi a " and found[0].responses == ("jk", "no")
    assert sources.prompts(put(tmp_path, "d.jsonl", [{"messages": talk}]), chat_codec)[0] == ["u hi a "]


def test_messages_without_a_template_say_what_is_missing(tmp_path, codec):
    with pytest.raises(InputError, match=r"line 1 .*no chat template"):
        read(put(tmp_path, "a.jsonl", [{"messages": [{"role": "user", "content": "a"}] * 2}]), codec)


def test_an_implicit_prompt_is_what_both_begin_with(tmp_path, codec):
    pairs = [{"chosen": "tell me ab", "rejected": "tell me ac"}]
    found, _ = preferences.comparisons(put(tmp_path, "a.jsonl", pairs), codec)
    assert (found[0].prompt, found[0].responses) == ("tell me ", ("ab", "ac"))


def test_hh_text_is_split_at_the_last_turn(tmp_path, codec):
    """other-labs.md §3.6: replies may hold earlier turns, and the word of a turn may stand inside a sentence."""
    talk = "\n\nHuman: hi\n\nAssistant: no\n\nHuman: why\n\nAssistant:"
    pairs = [
        {"chosen": talk + " a", "rejected": talk + " b"},
        {"chosen": talk + " same", "rejected": talk + " same"},
        {"chosen": talk + " a", "rejected": "\n\nHuman: other\n\nAssistant: b"},
        {"chosen": talk + " a", "rejected": talk},
    ]
    found, report = preferences.comparisons(put(tmp_path, "hh.jsonl", pairs), codec)
    assert [(each.prompt, each.responses, each.pairs) for each in found] == [(talk, (" a", " b"), ((0, 1, 1.0, 0.0),))]
    assert report.counts()["rows_dropped"] == 3
    assert report.first_place["with chosen equal to rejected"].endswith("line 2")
    assert report.first_place["whose two sides answer different prompts"].endswith("line 3")
    assert report.first_place["with an empty reply"].endswith("line 4")


def test_a_choice_among_four_and_of_two(tmp_path, codec):
    four = {"prompt": "ab ", "responses": ["a", "b", "c", "d"], "choice": 2}
    found, _ = preferences.comparisons(put(tmp_path, "a.jsonl", [four]), codec)
    assert (found[0].choice, found[0].best) == (2, 2)
    assert found[0].pairs == ((0, 2, 0.0, 0.0), (1, 2, 0.0, 0.0), (2, 3, 1.0, 0.0))
    two = {"prompt": "ab ", "responses": ["a", "b"], "choice": 1}
    found, _ = preferences.comparisons(put(tmp_path, "b.jsonl", [two]), codec)
    assert (found[0].pairs, found[0].best) == (((0, 1, 0.0, 0.0),), 1)
    both, _ = preferences.comparisons(put(tmp_path, "c.jsonl", [four, two]), codec)
    assert [len(each.responses) for each in both] == [4, 2]
    with pytest.raises(InputError, match=r"line 1: choice is 7"):
        preferences.comparisons(put(tmp_path, "d.jsonl", [{**four, "choice": 7}]), codec)


def test_a_record_survives_its_file(tmp_path, codec):
    record = records.compared("ab ", ["c", "d"], 1, [1, 0], rater="r1", notes="shorter")
    again = records.Comparison.model_validate(json.loads(json.dumps(record.row())))
    assert again == record and again.best == 1
    shown = [records.candidate_id("ab ", 1, "d"), records.candidate_id("ab ", 0, "c")]
    assert list(again.verdict.shown) == shown
    found, _ = preferences.comparisons(put(tmp_path, "a.jsonl", [record.row()]), codec)
    assert (found[0].responses, found[0].pairs) == (("c", "d"), ((0, 1, 0.0, 0.0),))


def test_ties_teach_and_refusals_do_not(tmp_path, codec):
    pair = records.compared("ab ", ["c", "d"], 0)
    ids = tuple(each.id for each in pair.candidates)
    tie = pair.model_copy(update={"verdict": records.Verdict(ranking=(ids,))})
    bad = pair.model_copy(update={"verdict": records.Verdict(no_choice="all bad")})
    found, report = preferences.comparisons(put(tmp_path, "a.jsonl", [tie.row(), bad.row()]), codec)
    assert [each.pairs for each in found] == [((0, 1, 0.5, 0.0),)]
    assert report.counts()["dropped_why"] == {"without a winner": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"choice": "x"}, "no candidate"),
        ({"choise": "x"}, "Extra inputs"),
        ({"strength": 1.5}, "less than or equal to 1"),
        ({"ranking": [["a"], ["a"]]}, "twice"),
        ({"choice": "a", "no_choice": "all bad"}, "both chooses"),
        ({"choice": "a", "ranking": [["b"], ["a"]]}, "does not lead"),
        ({"ratings": {"warmth": {"z": 1.0}}}, "no candidate"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change, said):
    row = {
        "context": {"prompt": "p"},
        "candidates": [{"id": "a", "text": "x"}, {"id": "b", "text": "y"}],
        "verdict": change,
    }
    with pytest.raises(ValidationError) as caught:
        records.Comparison.model_validate(row)
    assert said in records.explained(caught.value)


def test_a_bad_record_is_named_by_file_and_line(tmp_path, codec):
    good = records.compared("ab ", ["c", "d"], 0).row()
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: candidates"):
        preferences.comparisons(put(tmp_path, "a.jsonl", [good, {**good, "candidates": []}]), codec)


def test_what_is_cut_is_the_oldest_turns_then_the_front_and_never_the_replys_end(codec):
    talk = "\n\nHuman: ab\n\nAssistant: cd\n\nHuman: ef\n\nAssistant:"
    assert fit(codec, talk, " gh", 100) == (*codec.pair(talk, " gh"), False)
    before, after, cut = fit(codec, talk, " gh", 30)
    assert cut and len(before) + len(after) <= 30
    assert before == codec.prompt("\n\nHuman: ef\n\nAssistant:")  # one turn less, whole
    assert after == codec.pair(talk, " gh")[1]
    before, after, cut = fit(codec, talk, " ghij", 4)
    assert cut and (len(before), len(after)) == (1, 3)
    assert codec.text(after) == "ij" and after[-1] == codec.stop_tokens[0]


def test_tokens_of_a_reply_are_those_it_has_behind_its_prompt(codec):
    before, after = codec.pair("ab ", "cd")
    assert [*before, *after] == [*codec.prompt("ab cd"), codec.stop_tokens[0]]
    assert codec.pair("ab ", "cd", ended=False)[1] == after[:-1]
    with pytest.raises(InputError, match="empty prompt"):
        codec.prompt("")


class BeginsEveryText:
    """A tokenizer that puts a beginning of sequence before every text, as Llama's does."""

    def __init__(self, tokenizer):
        self.inner = tokenizer

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def __call__(self, text, **options):
        return {"input_ids": [self.inner.bos_token_id, *self.inner(text, **options)["input_ids"]]}


def test_one_beginning_of_sequence_even_where_a_template_wrote_another():
    tokenizer = letters_tokenizer(bos_token="<bos>", pad_token="<eos>")
    codec = Codec(tokenizer)
    once = Codec(BeginsEveryText(tokenizer)).prompt("ab")
    assert once == [tokenizer.bos_token_id, *codec.prompt("ab")]
    assert Codec(BeginsEveryText(tokenizer)).prompt(TemplateText("<bos>ab", [(0, 5)])) == once


def test_held_out_rows_share_no_prompt_and_do_not_depend_on_the_order():
    rows = [(f"p{i % 20}", i) for i in range(100)]
    learned, held = by_prompt(rows, lambda row: row[0], 0.2, seed=0)
    assert {row[0] for row in learned} & {row[0] for row in held} == set()
    assert len(learned) + len(held) == 100 and len(held) == 20
    again = by_prompt(rows[::-1], lambda row: row[0], 0.2, seed=0)
    assert sorted(again[1]) == sorted(held)
    assert by_prompt(rows, lambda row: row[0], 0.2, seed=1)[1] != held
    with pytest.raises(InputError, match="at least 2"):
        by_prompt([("p", 1)], lambda row: row[0], 0.2, seed=0)


def test_every_row_is_seen_once_an_epoch():
    seen = [int(row) for step in range(5) for row in minibatch(10, 4, 0, step)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    parts = split_minibatches(10, 3, (0, 1))
    assert sorted(int(row) for part in parts for row in part) == list(range(10))
