"""Labels of every kind, by what their columns mean: small rows written by hand, and what contradicts itself."""

from __future__ import annotations

import json

import pytest
from tests.conftest import letters_tokenizer

from tutelage.data import preferences, records
from tutelage.data.columns import columns_of
from tutelage.data.errors import InputError
from tutelage.data.questions import Pair, Question
from tutelage.data.tokens import Codec

TWO = {"prompt": "q", "responses": ["a", "b"]}
CODES = {"column": "vote", "first": 1, "second": 2, "tie": 0}
RANKED = {"prompt": "q", "responses": "replies", "ranking": "ranks"}
RATED = {"prompt": "q", "responses": "a", "ratings": {"good": {"column": "stars", "scale": [1, 5]}}}


@pytest.fixture
def codec():
    return Codec(letters_tokenizer(pad_token="<eos>"))


@pytest.fixture
def read(tmp_path, codec):
    """(mapping, rows) -> (questions, report)."""

    def reader(mapping, *rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return preferences.comparisons(str(path), codec, columns_of(mapping))

    return reader


def test_a_pair_with_its_prompt_from_two_columns_and_the_rest_to_group_by(read):
    rows = [
        {"q": "hi", "more": "you", "a": "x", "b": "y", "vote": "2", "app": "mail", "size": 7.5, "list": [1]},
        {"q": "hi", "more": " ", "a": "x", "b": "y", "vote": 1.0},
    ]
    found, _ = read({**TWO, "prompt": ["q", "more"], "preference": CODES}, *rows)
    assert found[0] == Question(
        "\n\nHuman: hi\n\nyou\n\nAssistant:",
        (" x", " y"),
        (Pair(0, 1, 0.0, 0.0),),
        1,
        columns={"app": "mail", "size": 7.5},
    )
    assert (found[1].prompt, found[1].choice, found[1].best) == ("\n\nHuman: hi\n\nAssistant:", 0, 0)


def test_several_people_and_the_mean_of_their_votes(read):
    people = {**CODES, "column": ["p1", "p2", "p3"], "neither": "skip"}
    row = {"q": "hi", "a": "x", "b": "y"}
    found, report = read(
        {**TWO, "preference": people},
        {**row, "p1": 1, "p2": 0, "p3": 1},
        {**row, "p1": 1, "p2": 2, "p3": 0},
        {**row, "p1": 2, "p2": None, "p3": "skip"},
        {**row, "p1": "", "p2": None, "p3": "skip"},
    )
    assert [each.pairs[0].target for each in found] == [pytest.approx(5 / 6), 0.5, 0.0]
    assert found[0].votes == {"p1": 1.0, "p2": 0.5, "p3": 1.0} and found[2].votes == {"p1": 0.0}
    assert found[0].choice is None and found[0].places == ((0,), (1,))
    assert found[1].places == ((0, 1),) and found[1].best is None
    assert report.counts()["dropped_why"] == {"without a judgement": 1}


@pytest.mark.parametrize(
    ("scale", "value", "target", "margin"),
    [
        ([-3, 3], -3, 1.0, 1.0),
        ([-3, 3], 2, 0.0, 2 / 3),
        ([-3, 3], 0, 0.5, 0.0),
        ([1, -1], 0.25, 1.0, 0.25),
        ([1, 9], 4, 1.0, 0.25),
    ],
)
def test_a_graded_preference(read, scale, value, target, margin):
    mapping = {**TWO, "preference": {"column": "s", "scale": scale}}
    found, _ = read(mapping, {"q": "hi", "a": "x", "b": "y", "s": value})
    assert found[0].pairs == ((0, 1, target, pytest.approx(margin)),)


def test_a_margin_of_its_own(read):
    row = {"q": "hi", "a": "x", "b": "y"}
    rows = [
        {**row, "vote": 2, "grade": "much"},
        {**row, "vote": 0, "grade": "slightly"},
        {**row, "vote": 1, "grade": None},
    ]
    words = {**TWO, "preference": CODES, "margin": {"column": "grade", "values": {"slightly": 0.25, "Much": 1}}}
    assert [each.pairs[0][2:] for each in read(words, *rows)[0]] == [(0.0, 1.0), (0.5, 0.0), (1.0, 0.0)]
    scaled = {**TWO, "choice": 0, "margin": {"column": "grade", "scale": [0, 4]}}
    assert read(scaled, {**row, "grade": 1})[0][0].pairs == ((0, 1, 1.0, 0.25),)


def test_the_best_of_four_by_index_by_code_and_always_the_first(read):
    row = {"q": "hi", "replies": ["w", "x", "y", "z"], "best": 2, "who": "C"}
    lists = {"prompt": "q", "responses": "replies"}
    for choice in ("best", {"column": "who", "codes": ["a", "b", "c", "d"]}):
        found, _ = read({**lists, "choice": choice}, row)
        assert (found[0].choice, found[0].best, found[0].places) == (2, 2, None)
        assert found[0].pairs == ((0, 2, 0.0, 0.0), (1, 2, 0.0, 0.0), (2, 3, 1.0, 0.0))
    assert read({**lists, "choice": 0}, row)[0][0].pairs == tuple(Pair(0, i, 1.0) for i in (1, 2, 3))


def test_six_codes_are_the_six_pairs_of_four_in_their_order(read):
    """QA-Feedback: 1 vs 2, 1 vs 3, 1 vs 4, 2 vs 3, 2 vs 4, 3 vs 4."""
    four = {"prompt": "q", "responses": ["a", "b", "c", "d"], "preference": CODES}
    row = {"q": "hi", "a": "w", "b": "x", "c": "y", "d": "z"}
    found, _ = read(four, {**row, "vote": [0, 1, 2, 1, 2, 2]}, {**row, "vote": [1, 2, 0, 1, 0, 0]})
    assert found[0].pairs == tuple(
        Pair(*each) for each in [(0, 1, 0.5), (0, 2, 1.0), (0, 3, 0.0), (1, 2, 1.0), (1, 3, 0.0), (2, 3, 0.0)]
    )
    assert (found[0].places, found[0].best) == (((3,), (0, 1), (2,)), 3)
    assert (found[1].places, found[1].best) == (None, None)  # 1 over 2 over 3 over 1


@pytest.mark.parametrize(
    ("ranks", "places"),
    [
        ([0, 1, 2], ((0,), (1,), (2,))),
        ([3, 1, 2], ((1,), (2,), (0,))),
        ([1, 2, 1], ((0, 2), (1,))),
        (["1", "3", "1"], ((0, 2), (1,))),  # as in sports: two first places, then the third
        ([1, 1, 1], ((0, 1, 2),)),
    ],
)
def test_a_ranking_gives_every_pair_and_its_ties(read, ranks, places):
    found, _ = read(RANKED, {"q": "hi", "replies": ["x", "y", "z"], "ranks": ranks})
    assert found[0].places == places and len(found[0].pairs) == 3 and found[0].choice is None
    for first, second, target, margin in found[0].pairs:
        by_rank = {True: 0.5, False: float(int(ranks[first]) < int(ranks[second]))}[ranks[first] == ranks[second]]
        assert (target, margin) == (by_rank, 0.0)


def test_any_number_of_replies_can_be_ranked_and_a_row_may_have_its_own(read):
    rows = [{"q": "hi", "replies": list("abcdefghij")[:k], "ranks": list(range(k))[::-1]} for k in (2, 10)]
    found, _ = read(RANKED, *rows)
    assert [len(each.pairs) for each in found] == [1, 45]
    assert found[1].places == tuple((i,) for i in range(9, -1, -1))


def test_what_a_ranking_cannot_be_learned_from_is_dropped_with_its_reason(read):
    row = {"q": "hi", "replies": ["x", "y", "z"]}
    bad = [[0, 2, 3], [2, 3, 4], [0, 0, 3], [1, None, 2]]
    rows = [{**row, "ranks": [0, 1, 2]}, *({**row, "ranks": each} for each in bad)]
    single = {"q": "hi", "replies": ["x"], "ranks": [0]}
    same, empty = ({"q": "hi", "replies": each, "ranks": [0, 1]} for each in (["x", "x "], ["x", " "]))
    scalar = {"q": "hi", "replies": ["x", True], "ranks": [0, 1]}
    nobody = {"q": "", "replies": ["x", "y"], "ranks": [0, 1]}
    found, report = read(RANKED, *rows, single, same, empty, scalar, nobody, {"q": "hi", "replies": [], "ranks": []})
    assert len(found) == 1 and report.counts()["dropped_why"] == {
        "whose ranks leave a gap": 3,
        "where not every reply has its ranks": 1,
        "with a single reply": 1,
        "with equal replies": 1,
        "with an empty reply": 1,
        "with a reply that is no text": 1,
        "without a prompt": 1,
        "without replies": 1,
    }


def test_ratings_of_one_of_several_and_of_words(read):
    one, _ = read(RATED, {"q": "hi", "a": "x", "stars": 4})
    assert one[0] == Question("\n\nHuman: hi\n\nAssistant:", (" x",), ratings={"good": (0.75,)})
    axes = {"good": {"column": ["ga", "gb"], "scale": [5, 1]}, "size": {"column": "sizes"}, "true": {"column": "said"}}
    axes["true"]["values"] = {"yes": 1, "no": 0}
    row = {"q": "hi", "a": "x", "b": "y", "ga": 5, "gb": 1, "sizes": [3, None], "said": ["no", "Yes"], "vote": 0}
    both, _ = read({**TWO, "preference": CODES, "ratings": axes}, row, {**row, "vote": None, "sizes": [None, None]})
    assert both[0].ratings == {"good": (0.0, 1.0), "size": (3.0, None), "true": (0.0, 1.0)}
    assert both[0].pairs == ((0, 1, 0.5, 0.0),)
    assert both[1].pairs == () and both[1].ratings.keys() == {"good", "true"}
    truth, _ = read({**RATED, "ratings": "stars"}, {"q": "hi", "a": "x", "stars": True})
    assert truth[0].ratings == {"stars": (1.0,)}


def test_responses_that_are_objects_hold_their_words_ranks_and_ratings(read):
    answers = [{"answer": "x", "rank": 2, "score": 8}, {"answer": "y", "rank": 1, "score": None}]
    mapping = {"prompt": "q", "responses": "answers", "text": "answer", "ranking": "rank", "ratings": ["score"]}
    found, _ = read(mapping, {"q": "hi", "answers": answers, "from": "there"})
    assert (found[0].responses, found[0].places) == ((" x", " y"), ((1,), (0,)))
    assert found[0].ratings == {"score": (8.0, None)} and found[0].columns == {"from": "there"}
    with pytest.raises(InputError, match=r"line 1: a response is .*text: answer"):
        read({**mapping, "text": ""}, {"q": "hi", "answers": answers})


def test_talks_in_every_dialect_and_the_calls_of_an_api(read):
    talk = [
        {"role": "system", "content": "be kind"},
        {"from": "human", "value": " hi "},
        {"role": "agent", "api": {"find": {"city": "Köln"}}},
        {"role": "api", "response": [1]},
        {"role": "narrator", "text": "rain"},
    ]
    mapping = {**RATED, "json": ["q", "a"], "roles": {"narrator": "tool"}}
    row = {"q": json.dumps(talk), "a": json.dumps({"role": "agent", "text": "ok "}), "stars": 1}
    found, _ = read(mapping, row)
    assert found[0].prompt == (
        '\n\nSystem: be kind\n\nHuman: hi\n\nAssistant: {"api": {"find": {"city": "Köln"}}}'
        '\n\nTool: {"response": [1]}\n\nTool: rain\n\nAssistant:'
    )
    assert found[0].responses == (" ok",)
    joined, _ = read({**RATED, "prompt": ["talk", "q"]}, {"talk": talk[:1], "q": [["a"], "b"], "a": "x", "stars": 1})
    assert joined[0].prompt == "\n\nSystem: be kind\n\nHuman: a\n\nb\n\nAssistant:"


def test_a_prompt_as_it_stands_and_by_the_models_template(tmp_path, read, codec):
    row = {"q": "hi ", "a": "x ", "stars": 1}
    found, _ = read({**RATED, "form": "text"}, row)
    assert (found[0].prompt, found[0].responses) == ("hi ", ("x ",))
    with pytest.raises(InputError, match=r"line 1: the prompt is a talk"):
        read(
            {**RATED, "form": "text"}, {**row, "q": [{"role": "user", "content": "hi"}, {"role": "agent", "text": "a"}]}
        )
    with pytest.raises(InputError, match="no chat template"):
        read({**RATED, "form": "template"}, row)
    codec.tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}"
        "{{ m['role'][0] }} {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}a {% endif %}"
    )
    found, _ = read({**RATED, "form": "template"}, row)
    assert (found[0].prompt, found[0].responses) == ("u hi  a ", ("x",))
    with pytest.raises(InputError, match=r"line 1: the model's chat template refuses .*no tools"):
        read({**RATED, "form": "template"}, {**row, "q": [{"role": "api", "text": "1"}]})


TREE = {"tree": "prompt", "responses": "replies", "ranking": "rank"}


def said(role, text, *replies, **more):
    return {"role": role, "text": text, "replies": list(replies), **more}


def test_every_answered_message_of_a_tree_is_a_question(read):
    deep = said("prompter", "why", said("assistant", "d", rank=1), said("assistant", "e", rank=0), lang="de", rank=9)
    last = said("prompter", "end", said("assistant", "i", rank=0), said("assistant", "j", rank=1), lang="fr")
    more = [said("assistant", "k", rank=0), said("assistant", "l", rank=1)]  # nobody asked for these
    root = said("prompter", "hi", said("assistant", "b", deep, last, rank=0), said("assistant", "c", *more, rank=1))
    lone = said("prompter", "yes", said("assistant", "f"))
    unranked = said("prompter", "no", said("assistant", "g", lone, rank=0), said("assistant", "h"))
    found, report = read(
        TREE, {"prompt": root, "id": "t1"}, {"prompt": unranked}, {"prompt": said("prompter", "alone")}
    )
    assert [(each.prompt, each.responses, each.best) for each in found] == [
        ("\n\nHuman: hi\n\nAssistant:", (" b", " c"), 0),
        ("\n\nHuman: hi\n\nAssistant: b\n\nHuman: why\n\nAssistant:", (" d", " e"), 1),
        ("\n\nHuman: hi\n\nAssistant: b\n\nHuman: end\n\nAssistant:", (" i", " j"), 0),
    ]
    assert [each.columns for each in found] == [{"id": "t1"}, {"id": "t1", "lang": "de"}, {"id": "t1", "lang": "fr"}]
    assert report.rows_read == 6 and report.counts()["dropped_why"] == {
        "where not every reply has its rank": 1,
        "with a single reply": 1,
        "without replies": 1,
    }


@pytest.mark.parametrize(
    ("mapping", "change", "expected"),
    [
        ({**TWO, "preference": CODES}, {"vote": 3}, "vote is 3, expected 1 for first; 2 for second; 0 for tie"),
        ({**TWO, "preference": CODES}, {"vote": float("nan")}, "vote is nan"),
        ({**TWO, "responses": ["a", "c"], "preference": CODES}, {}, "no column 'c' .*q, a, b"),
        ({**TWO, "responses": "a", "preference": CODES}, {}, "one response.*at least two"),
        ({**TWO, "responses": ["a", "b", "q"], "preference": CODES}, {}, "expected 3 values, one for each pair of 3"),
        ({**TWO, "preference": {"column": "vote", "scale": [-3, 3]}}, {"vote": 4}, "outside its scale of -3 to 3"),
        ({**TWO, "choice": "vote"}, {"vote": 2}, "vote is 2 of 2 responses, expected one of 0, 1"),
        ({**TWO, "choice": 0, "margin": "vote"}, {"vote": -1}, "at least 0"),
        ({**TWO, "ranking": ["vote", "b"]}, {"b": "7th"}, "vote, b is '7th', expected a number"),
        ({**TWO, "ranking": "vote"}, {"vote": [0, 0.5]}, "whole numbers"),
        ({**TWO, "ranking": "vote"}, {"vote": [0, 1, 2]}, "say .* of 2 responses"),
        ({**RATED, "ratings": {"vote": {}}}, {"vote": float("nan")}, "vote is nan, expected a number"),
        ({**RATED, "ratings": {"vote": {"scale": [1, 5]}}}, {"vote": 0}, "outside its scale of 1 to 5"),
        ({**RATED, "ratings": {"vote": {"values": {"good": 1}}}}, {"vote": "meh"}, "expected one of good"),
        ({**RATED, "ratings": "vote", "json": "q"}, {"q": "{"}, "q is not JSON"),
        ({**RATED, "ratings": "vote"}, {"q": 3}, "q is 3, expected text"),
        ({**RATED, "ratings": "vote"}, {"q": [{"role": "ghost", "text": "boo"}]}, "a turn is .*roles"),
        ({**TREE, "tree": "q"}, {"q": {"role": "user", "text": "hi", "replies": "none"}}, "expected a list of replies"),
        ({**TREE, "tree": "q"}, {}, "a turn is 'hi'"),
    ],
)
def test_rows_that_contradict_their_mapping_stop_the_reading_by_line(read, mapping, change, expected):
    with pytest.raises(InputError, match=rf"rows\.jsonl, line 1: .*({expected})"):
        read(mapping, {"q": "hi", "a": "x", "b": "y", "vote": 1, **change})


def test_our_own_records_keep_strength_ranking_and_ratings(tmp_path, codec):
    three = records.compared("hi", ["x", "y", "z"], 1, strength=0.6, rater="r1", ratings={})
    ids = [each.id for each in three.candidates]
    verdicts = [
        three.verdict,
        records.Verdict(choice=ids[1], ranking=((ids[1],), (ids[0], ids[2]))),
        records.Verdict(choice=ids[1], ranking=((ids[1], ids[0]), (ids[2],))),
        records.Verdict(choice=ids[0], strength=0.0),
        records.Verdict(ranking=((ids[2],), (ids[0],))),
        records.Verdict(ranking=((ids[2],), (ids[0],), (ids[1],)), strength=0.6),  # of which pair?
        records.Verdict(no_choice="all bad", ratings={"warm": {ids[2]: 3.0}}),
    ]
    path = tmp_path / "records.jsonl"
    rows = [three.model_copy(update={"verdict": verdict}).row() for verdict in verdicts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, _ = preferences.comparisons(str(path), codec)
    best = ((0, 1, 0.0, 0.0), (1, 2, 1.0, 0.0))
    assert found[0].pairs == tuple((*each[:3], 0.6) for each in best) and found[0].choice == 1
    assert found[0].columns == {"rater": "r1", "rater_kind": "human"}
    assert (set(found[1].pairs), found[1].choice) == ({*best, (0, 2, 0.5, 0.0)}, 1)
    assert (found[2].choice, found[2].places) == (None, ((0, 1), (2,)))
    assert ({each.target for each in found[3].pairs}, found[3].choice) == ({0.5}, None)
    assert (found[4].pairs, found[4].places) == (((0, 2, 0.0, 0.0),), None)
    assert found[5].places == ((2,), (0,), (1,)) and {each.margin for each in found[5].pairs} == {0.0}
    assert (found[6].pairs, found[6].ratings) == ((), {"warm": (None, None, 3.0)})


def test_a_reply_that_was_good_or_bad(tmp_path, codec):
    path = tmp_path / "labels.jsonl"
    row = {"prompt": "ab ", "completion": "c"}
    path.write_text("".join(json.dumps({**row, "label": each}) + "\n" for each in (True, 0, "False")))
    found, _ = preferences.comparisons(str(path), codec)
    assert [(each.responses, each.ratings) for each in found] == [
        (("c",), {"label": (rating,)}) for rating in (1.0, 0.0, 0.0)
    ]
    path.write_text(json.dumps({**row, "label": "fine"}))
    with pytest.raises(InputError, match="line 1: label is 'fine'"):
        preferences.comparisons(str(path), codec)
