"""Every kind of question over HTTP: what is taken, what is refused, and that a reward model learns from it as it is."""

from __future__ import annotations

import json

import pytest
from tests.desk import Clock, Desk
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport
from tutelage.data.preferences import comparisons, rule_verdicts
from tutelage.data.records import Candidate, Comparison, Context, Verdict
from tutelage.data.sources import demonstrations
from tutelage.data.tokens import Codec
from tutelage.feedback.asking import Asking, Refused
from tutelage.feedback.forms import INSTRUCTGPT, Axis, Form
from tutelage.studio.asking import forms, known, questions
from tutelage.studio.project import Settings


def one(kind: str, count: int = 1, **changes) -> Asking:
    candidates = tuple(Candidate(id=f"c{i}", text=f"reply {i}") for i in range(count))
    return Asking(Context(prompt="Why?"), candidates, kind, name=kind, **changes)


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path, Clock())
    yield found
    assert found.store.verify() == []
    found.store.close()


@pytest.fixture
def codec():
    plain = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return Codec(PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", eos_token="</s>"))


def answered(desk, asking, verdict):
    """The label of what a page would send: names in `verdict` are places on the screen."""
    desk.store.ask([asking])
    ann = desk.browser()
    given = ann.claim()[0]
    ids = [each["id"] for each in given["shown"]]
    said = json.loads(json.dumps(verdict), object_hook=lambda found: {placed(k, ids): v for k, v in found.items()})
    if "ranking" in said:
        said["ranking"] = [[ids[place] for place in places] for places in said["ranking"]]
    answer = ann.answer(given, verdict=said)
    if answer.status_code != 200:
        return answer.json()["says"]
    [label] = desk.store.labels()
    return label.comparison


def placed(name: str, ids: list[str]) -> str:
    return ids[int(name)] if name.isdecimal() else name


def written(tmp_path, *found: Comparison):
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(each.row()) + "\n" for each in found))
    return str(path)


def test_a_ranking_with_ties_is_every_pair_of_it(desk, tmp_path, codec):
    comparison = answered(desk, one("ranking", 4), {"ranking": [[2], [0, 3], [1]]})
    shown = comparison.verdict.shown
    assert comparison.verdict.ranking == ((shown[2],), (shown[0], shown[3]), (shown[1],))
    [question], _ = comparisons(written(tmp_path, comparison), codec)
    by_name = {
        (comparison.candidates[p.first].id, comparison.candidates[p.second].id): p.target for p in question.pairs
    }
    assert len(by_name) == 6 and sorted(by_name.values()).count(0.5) == 1
    for (first, second), target in by_name.items():
        place = {name: i for i, names in enumerate(comparison.verdict.ranking) for name in names}
        assert target == 0.5 + 0.5 * ((place[second] > place[first]) - (place[second] < place[first]))


def test_good_or_bad_is_a_binary_label(desk, tmp_path, codec):
    comparison = answered(desk, one("good"), {"ratings": {"label": {"0": 1}}})
    [question], _ = comparisons(written(tmp_path, comparison), codec)
    assert question.ratings == {"label": (1.0,)} and question.responses == ("reply 0",)


def test_ratings_with_flags_are_axes(desk, tmp_path, codec):
    said = {"ratings": {"overall": {"0": 6}, "hallucination": {"0": 1}, "violent content": {"0": 0}}}
    comparison = answered(desk, one("rating", form=INSTRUCTGPT.row()), said)
    [question], _ = comparisons(written(tmp_path, comparison), codec)
    assert question.ratings == {"overall": (6.0,), "hallucination": (1.0,), "violent content": (0.0,)}


def test_an_edit_is_a_comparison_and_a_demonstration(desk, tmp_path, codec):
    comparison = answered(desk, one("edit"), {"edits": {"0": "a better reply"}})
    path = written(tmp_path, comparison)
    [question], _ = comparisons(path, codec)
    assert question.responses == ("a better reply", "reply 0") and question.best == 0
    assert demonstrations(path, codec)[0] == [("Why?", "a better reply")]


def test_a_demonstration_alone_teaches_a_policy_and_no_reward_model(tmp_path, codec):
    empty = Comparison(
        context=Context(prompt="Why?"), candidates=(Candidate(id="unwritten", text=""),),
        verdict=Verdict(edits={"unwritten": "Because."}),
    )  # fmt: skip
    path = written(tmp_path, empty)
    assert demonstrations(path, codec)[0] == [("Why?", "Because.")]
    with pytest.raises(InputError, match="demonstration"):
        comparisons(path, codec)


@pytest.mark.parametrize(("said", "rows"), [(True, [1.0]), (False, [0.0]), (None, None)])
def test_a_rule_verdict_is_read_by_rule_and_unsure_teaches_nothing(desk, tmp_path, codec, said, rows):
    rule = "Do not <b>insult</b> anybody."
    comparison = answered(desk, one("rules", form=Form(rule=rule).row()), {"rules": {rule: {"0": said}}})
    path = written(tmp_path, comparison)
    if rows is None:
        with pytest.raises(InputError, match="none of its 0 rows"):
            rule_verdicts(path, codec)
        return
    [question], _ = rule_verdicts(path, codec)
    assert question.ratings == {"broken": tuple(rows)} and question.columns == {"rule": rule}


@pytest.mark.parametrize(
    ("asking", "verdict", "says"),
    [
        (one("ranking", 3), {"ranking": [[0], [1]]}, "rank all"),
        (one("ranking", 3), {"ranking": [[0, 0], [1], [2]]}, "twice"),
        (one("ranking", 3), {"choice": "x"}, "cannot hold choice"),
        (one("good"), {"ratings": {"label": {"0": 0.5}}}, "1 .good. or 0"),
        (one("good"), {"ratings": {"label": {"0": 1}, "other": {"0": 1}}}, "1 .good. or 0"),
        (one("good"), {"ratings": {"label": {"0": "<script>"}}}, "ratings"),
        (one("rating", form=INSTRUCTGPT.row()), {"ratings": {"overall": {"0": 8}}}, "from 1 to 7"),
        (one("rating", form=INSTRUCTGPT.row()), {"ratings": {"overall": {"0": 2.5}}}, "whole number"),
        (one("rating", form=INSTRUCTGPT.row()), {"ratings": {"hallucination": {"0": 1}}}, "overall is not rated"),
        (one("rating", form=INSTRUCTGPT.row()), {"ratings": {"overall": {"0": 1}, "x": {"0": 1}}}, "neither an axis"),
        (one("rating", form=INSTRUCTGPT.row()), {"ratings": {"overall": {}}}, "overall is not rated"),
        (one("rules", form=Form(rule="a").row()), {"rules": {"b": {"0": True}}}, "another rule"),
        (one("edit"), {"edits": {"c0": "by another name"}}, "no candidate"),
        (one("edit"), {"choice": "c0"}, "cannot hold choice"),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_on_the_form_is_refused(desk, asking, verdict, says):
    import re

    assert re.search(says, str(answered(desk, asking, verdict)))
    assert desk.store.labels() == []


def test_a_form_that_is_none_is_refused():
    for fault in ({"axes": (Axis(name="a"), Axis(name="a"))}, {"axes": (Axis(name="a"),), "flags": ("a",)}):
        with pytest.raises(ValueError, match="same name"):
            Form(**fault)
    with pytest.raises(ValueError, match="grades"):
        Axis(name="a", low=3, high=3)
    for kind, count in (("good", 2), ("ranking", 1), ("edit", 0)):
        with pytest.raises(Refused, match="candidates, expected"):
            one(kind, count)


def rows(tmp_path, *found: dict) -> str:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in found))
    return str(path)


@pytest.mark.parametrize(
    ("settings", "row", "shapes"),
    [
        (Settings(kind="ranking"), {"prompt": "p", "responses": ["a", "b", "c"]}, [("ranking", 3)]),
        (Settings(kind="good"), {"prompt": "p", "responses": ["a", "b"]}, [("good", 1)] * 2),
        (Settings(kind="rules", rules=("r", "s")), {"prompt": "p", "completion": "a"}, [("rules", 1)] * 2),
        (Settings(kind="edit"), {"prompt": "p"}, [("edit", 1)]),
        (Settings(kind="rating"), {"prompt": "p", "chosen": "a", "rejected": "b"}, [("rating", 1)] * 2),
        (Settings(kind="ranking"), {"prompt": "p", "responses": ["a", "a "]}, []),
    ],
)
def test_rows_become_questions_of_the_projects_kind(tmp_path, settings, row, shapes):
    found = list(questions(rows(tmp_path, row), settings, ReadReport()))
    assert [(each.kind, len(each.candidates)) for each in found] == shapes
    assert len({each.called for each in found}) == len(found)


def test_what_is_right_is_read_beside_the_question(tmp_path):
    path = rows(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b", "why": "It answers."})
    [found] = known(tmp_path / "rows.jsonl", "gold", Settings())
    assert path and found.check and found.check.says == "It answers."
    assert found.check.right == {"choice": found.candidates[0].id} and found.candidates[0].text == "a"
    rows(tmp_path, {"prompt": "p", "responses": ["a", "b"]})
    with pytest.raises(InputError, match="nothing says what is right"):
        list(known(tmp_path / "rows.jsonl", "gold", Settings()))
    with pytest.raises(InputError, match="no rules"):
        forms(Settings(kind="rules"))
