"""Exports of other tools: every answer in the file is part of a label, or is counted with the reason why it is not."""

from __future__ import annotations

import json
import random

import pytest
import sqlalchemy

from tutelage.cli import run_command
from tutelage.feedback import imports
from tutelage.feedback.counts import agreement_of
from tutelage.feedback.foreign import ImportReport, Naming
from tutelage.feedback.imports import read
from tutelage.feedback.store import Store
from tutelage.feedback.verify import Replay, chained

TEXTS = {"prompt": "Which way?", "response_1": "Left.", "response_2": "Right.", "response_3": "Back."}


def tutelage(*arguments):
    return run_command(["feedback", *map(str, arguments)])


def written(path, rows):
    text = json.dumps(rows) if path.suffix == ".json" else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text)
    return path


def found_in(tmp_path, *rows, name="a.json", naming=Naming()):
    report = ImportReport()
    return list(read(str(written(tmp_path / name, list(rows))), naming, report)), report


def by_text(comparison):
    """axis -> text of the response -> rating"""
    texts = {each.id: each.text for each in comparison.candidates}
    return {axis: {texts[own]: value for own, value in by.items()} for axis, by in comparison.verdict.ratings.items()}


def winner(comparison):
    return None if comparison.best is None else comparison.texts[comparison.best]


# --- Label Studio


def result(kind, name, to, **value):
    return {"from_name": name, "to_name": to, "type": kind, "id": "r", "value": value}


def task(*annotations, **data):
    return {"id": 3, "data": data, "annotations": list(annotations), "predictions": []}


def annotated(*results, by=1, **about):
    return {"id": 9, "completed_by": by, "was_cancelled": False, "result": list(results), **about}


TWO = {"prompt": "How far?", "answer1": "Near.", "answer2": "Far."}


def test_every_rating_of_an_annotation_is_kept_by_axis_and_response(tmp_path):
    said = [("clear", "answer1", 5), ("clear", "answer2", 3), ("kind", "answer1", 1), ("kind", "answer2", 2)]
    row = task(annotated(*(result("rating", axis, to, rating=stars) for axis, to, stars in said)), **TWO)
    [label], report = found_in(tmp_path, row)
    assert by_text(label.comparison) == {"clear": {"Near.": 5, "Far.": 3}, "kind": {"Near.": 1, "Far.": 2}}
    assert label.answers == 4 and not report.dropped


def test_two_ratings_of_one_response_on_one_axis_are_both_kept(tmp_path):
    said = [result("rating", "clear", "answer1", rating=stars) for stars in (5, 2)]
    [label], _ = found_in(tmp_path, task(annotated(*said), **TWO))
    assert by_text(label.comparison) == {"clear": {"Near.": 5}, "clear (2)": {"Near.": 2}}


@pytest.mark.parametrize(
    "beside",
    [
        {"model_a": "x-7b", "model_b": "y-7b", "source": "blog"},
        {"model1": "x-7b", "model2": "y-7b", "notes": "checked twice", "lang": "en"},
        {"answer1_model": "x-7b", "answer2_model": "y-7b", "reference": "Ten miles."},
    ],
    ids=str,
)
@pytest.mark.parametrize("first", [True, False])
def test_candidates_are_what_to_name_names_and_other_keys_are_metadata(tmp_path, beside, first):
    data = {**beside, **TWO} if first else {**TWO, **beside}
    row = task(annotated(result("pairwise", "pw", "answer1,answer2", selected="right")), **data)
    [label], _ = found_in(tmp_path, row)
    assert label.comparison.texts == ("Near.", "Far.") and winner(label.comparison) == "Far."


@pytest.mark.parametrize(
    ("to", "selected", "won"),
    [
        ("answer1,answer2", "left", "Near."),
        ("answer2,answer1", "left", "Far."),
        ("answer2,answer1", "right", "Near."),
        ("t1,t2", "right", "Far."),
        ("t2,t1", "left", "Far."),
        (["answer2", "answer1"], "left", "Far."),
    ],
    ids=str,
)
def test_left_and_right_are_those_of_to_name(tmp_path, to, selected, won):
    row = task(annotated(result("pairwise", "pw", to, selected=selected)), **TWO, source="blog")
    [label], _ = found_in(tmp_path, row)
    assert winner(label.comparison) == won and len(label.comparison.candidates) == 2


ITEMS = [{"id": "m1", "title": "One", "body": "Near."}, {"id": "m2", "body": "Far."}, {"id": "m3", "html": "Nowhere."}]


def test_a_list_that_is_ranked(tmp_path):
    ranked = result("ranker", "rank", "answers", ranker={"rank": ["m3", "m1", "m2"]})
    [label], _ = found_in(tmp_path, task(annotated(ranked), prompt="How far?", answers=ITEMS, source="blog"))
    texts = {each.id: each.text for each in label.comparison.candidates}
    assert list(texts.values()) == ["One\n\nNear.", "Far.", "Nowhere."]
    assert [[texts[own] for own in place] for place in label.comparison.verdict.ranking] == [
        ["Nowhere."],
        ["One\n\nNear."],
        ["Far."],
    ]


def test_buckets_of_a_ranker_are_axes(tmp_path):
    put = result("ranker", "rank", "answers", ranker={"useful": ["m3"], "biased": ["m1", "m3"], "_": ["m2"]})
    [label], _ = found_in(tmp_path, task(annotated(put), prompt="How far?", answers=ITEMS))
    found = by_text(label.comparison)
    assert found["rank: useful"] == {"One\n\nNear.": 0, "Far.": 0, "Nowhere.": 1}
    assert found["rank: biased"] == {"One\n\nNear.": 1, "Far.": 0, "Nowhere.": 1}


def test_words_beside_a_ranking_are_notes_and_alone_they_are_counted(tmp_path):
    ranked = result("ranker", "rank", "prompt", ranker={"_": ["answer2", "answer1"]})
    why = result("textarea", "why", "prompt", text=["shorter", "and true"])
    [label], report = found_in(tmp_path, task(annotated(ranked, why), annotated(why, by=2), **TWO))
    assert label.comparison.verdict.notes == "shorter\nand true" and winner(label.comparison) == "Far."
    assert label.answers == 2 and report.dropped.total() == 1


def test_choices_single_multiple_and_of_one_response(tmp_path):
    row = task(
        annotated(result("choices", "better", "prompt", choices=["Answer 2"]), by=1),
        annotated(result("choices", "better", "prompt", choices=["Tie"]), by=2),
        annotated(result("choices", "acceptable", "prompt", choices=["answer1", "answer2"]), by=3),
        annotated(result("choices", "quality", "answer1", choices=["bad"]), by=4),
        annotated(result("choices", "stars", "answer2", choices=["4"]), by=5),
        annotated(result("choices", "topic", "prompt", choices=["travel"]), by=6),
        **TWO,
    )
    labels, report = found_in(tmp_path, row)
    second, tie, both, bad, stars = (each.comparison for each in labels)
    assert winner(second) == "Far." and len(tie.verdict.ranking) == 1
    assert by_text(both) == {"acceptable": {"Near.": 1, "Far.": 1}}
    assert by_text(bad) == {"quality": {"Near.": 0}} and by_text(stars) == {"stars": {"Far.": 4}}
    assert list(report.dropped.values()) == [1] and "words" in next(iter(report.dropped))


@pytest.mark.parametrize(
    ("axes", "found"),
    [
        (["help1", "help2"], {"help": {"Near.": 4, "Far.": 2}}),
        (["q1", "q2"], {"q1": {"Near.": 4, "Far.": 4}, "q2": {"Near.": 2, "Far.": 2}}),
    ],
    ids=["a control for each response", "axes that are numbered"],
)
def test_numbers_of_controls_are_those_of_responses_or_of_axes(tmp_path, axes, found):
    pairs = zip(axes, ["t1", "t2"]) if axes[0] == "help1" else ((axis, tag) for axis in axes for tag in ("t1", "t2"))
    said = [result("rating", axis, tag, rating=4 if axis == axes[0] else 2) for axis, tag in pairs]
    [label], _ = found_in(tmp_path, task(annotated(*said), **TWO, model_a="x-7b"))
    assert by_text(label.comparison) == found


@pytest.mark.parametrize(
    ("choice", "won", "notes"),
    [
        ("Both are good", None, None),
        ("Neither is good", "all bad", None),
        ("B", "Far.", None),
        ("Left", "Near.", None),
        ("Answer 2 is much better", "Far.", "best: Answer 2 is much better"),
    ],
)
def test_a_choice_in_words(tmp_path, choice, won, notes):
    [label], _ = found_in(tmp_path, task(annotated(result("choices", "best", "prompt", choices=[choice])), **TWO))
    assert winner(label.comparison) == (won if won != "all bad" else None)
    assert label.comparison.verdict.no_choice == (won if won == "all bad" else None)
    assert label.comparison.verdict.notes == notes


def test_prompts_that_are_talks_or_absent(tmp_path):
    talk = [{"author": "User", "text": "How far?"}, {"author": "Bot", "text": "To where?"}]
    pair = result("pairwise", "pw", "text1,text2", selected="right")
    rows = [task(annotated(pair), text1="Near.", text2="Far.", **more) for more in ({"dialogue": talk}, {})]
    talked, alone = (each.comparison for each in found_in(tmp_path, *rows)[0])
    assert [each["role"] for each in talked.context.messages] == ["user", "assistant"]
    assert winner(talked) == winner(alone) == "Far." and alone.context.prompt == ""


@pytest.mark.parametrize("tool", ["argilla", "label studio"])
def test_answers_to_a_record_without_responses_are_counted(tmp_path, tool):
    rows = {
        "argilla": {"fields": {"text": "How far?"}, "responses": {"label": [{"value": "travel", "user_id": "u1"}]}},
        "label studio": task(annotated(result("choices", "label", "text", choices=["travel"])), text="How far?"),
    }
    labels, report = found_in(tmp_path, rows[tool], name="a.jsonl")
    assert not labels and report.dropped.total() == 1 and "without responses" in next(iter(report.dropped))


def test_annotations_of_one_person_are_all_kept(tmp_path, capsys):
    rated = [annotated(result("rating", "clear", "answer1", rating=stars)) for stars in (5, 2, 2)]
    path = written(tmp_path / "a.json", [task(*rated, **TWO)])
    assert tutelage("import", tmp_path / "f.db", path) == 0
    assert "3 labels added, 0 were there" in capsys.readouterr().out
    with Store.open(tmp_path / "f.db") as store:
        labels = store.labels()
        assert store.verify() == []
    assert [list(by_text(each.comparison)["clear"].values()) for each in labels] == [[5], [2], [2]]
    assert len({each.comparison.verdict.rater for each in labels}) == 1
    assert tutelage("import", tmp_path / "f.db", path) == 0
    assert "0 labels added, 3 were there" in capsys.readouterr().out


def test_predictions_and_drafts_are_no_answers_and_said(tmp_path, capsys):
    row = task(annotated(result("rating", "clear", "answer1", rating=3)), **TWO)
    row |= {"predictions": [{"model_version": "m", "result": []}] * 2, "drafts": [{"result": []}]}
    assert tutelage("import", tmp_path / "f.db", written(tmp_path / "a.json", [row])) == 0
    said = capsys.readouterr().out
    assert "2 predictions of a model" in said and "1 draft, not submitted" in said and "1 answers make 1 labels" in said


@pytest.mark.parametrize("order", ["json", "csv"])
def test_json_min(tmp_path, order):
    """The same annotation as in the full JSON, without what each result was about."""
    row = {**TWO, "source": "blog", "id": 3, "pw": [{"selected": "right"}], "help_answer1": [{"rating": 4}]}
    row |= {"why": "shorter", "annotator": 7, "annotation_id": 1, "created_at": "2024-03-01T10:00:00Z"}
    row |= {"updated_at": "2024-03-01T10:00:00Z", "lead_time": 2.5}
    if order == "csv":  # its columns are sorted, and what is no text is JSON
        row = {name: json.dumps(row[name]) if isinstance(row[name], list) else row[name] for name in sorted(row)}
    [label], report = found_in(tmp_path, row)
    assert label.comparison.texts == ("Near.", "Far.") and winner(label.comparison) == "Far."
    assert by_text(label.comparison) == {"help": {"Near.": 4}} and "shorter" in label.comparison.verdict.notes
    assert label.comparison.verdict.rater == "label-studio 7" and label.answers == 3 and not report.dropped


def generated_task(rng, place):
    """(a task, how many answers stand in it)"""
    data = {**TWO, "prompt": f"How far is {place}?", "model_a": "x-7b", "source": "blog", "turn": place}
    answers, annotations = 0, []
    for _ in range(rng.randint(1, 4)):
        fields = ["answer1", "answer2"]
        may = [
            result("pairwise", "pw", "answer1,answer2", selected=rng.choice(["left", "right"])),
            *(result("rating", axis, to, rating=rng.randint(1, 5)) for axis in ("clear", "kind") for to in fields),
            result("choices", "best", "prompt", choices=[rng.choice(["answer1", "Answer 2", "Tie", "All bad"])]),
            result("choices", "fine", "prompt", choices=fields),
            result("choices", "topic", "prompt", choices=["travel"]),
            result("ranker", "rank", "prompt", ranker={"_": rng.sample(fields, 2)}),
            result("textarea", "why", "prompt", text=["so", "it is"]),
            result("textarea", "empty", "prompt", text=[]),
            result("number", "minutes", "prompt", number=3),
            result("labels", "span", "prompt", start=0, end=3, text="How", labels=["x"]),
            result("taxonomy", "kind of", "prompt", taxonomy=[["a", "b"]]),
            {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
        ]
        said = rng.sample(may, rng.randint(0, len(may)))
        cancelled = rng.random() < 0.2
        answers += len(said) or 1
        annotations.append(annotated(*said, by=rng.randint(1, 2)) | {"was_cancelled": cancelled})
    return task(*annotations, **data), answers


def test_label_studio_answers_are_labels_or_counted(tmp_path):
    rng = random.Random(0)
    tasks, answers = zip(*(generated_task(rng, place) for place in range(120)))
    labels, report = found_in(tmp_path, *tasks)
    assert sum(each.answers for each in labels) + report.dropped.total() == sum(answers) > 1000
    assert all(len(each.comparison.candidates) == 2 for each in labels)
    with Store.open(tmp_path / "f.db") as store:
        assert store.take_in(labels) == (len(labels), 0)
        assert len(store.labels()) == len(labels) and store.verify() == []
        assert store.take_in(labels) == (0, len(labels))


# --- Argilla


def record(answers, metadata=(), suggestions=(), shape="nested"):
    """answers: (question, user, value, status)"""
    names = list(dict.fromkeys(name for name, *_ in answers))
    listed = {name: [each for each in answers if each[0] == name] for name in names}
    about = dict(metadata)
    if shape == "flat":
        row = {"id": "r1", "_server_id": "s1", **TEXTS, **about}
        for name, said in listed.items():
            row |= {f"{name}.responses": [value for _, _, value, _ in said]}
            row |= {f"{name}.responses.users": [user for _, user, _, _ in said]}
            row |= {f"{name}.responses.status": [status for *_, status in said]}
        return row | {f"{name}.suggestion": value for name, value in suggestions}
    if shape == "users":
        people = list(dict.fromkeys((user, status) for _, user, _, status in answers))
        values = [
            {"user_id": user, "status": status, "values": {n: {"value": v} for n, u, v, s in answers if (u, s) == who}}
            for who in people
            for user, status in [who]
        ]
        return {"fields": TEXTS, "responses": values, "metadata": about, "suggestions": []}
    responses = {
        name: [{"value": value, "user_id": user, "status": status} for _, user, value, status in said]
        for name, said in listed.items()
    }
    told = {name: {"value": value, "score": None, "agent": "m"} for name, value in suggestions}
    return {"id": "r1", "fields": TEXTS, "metadata": about, "suggestions": told, "responses": responses, "vectors": {}}


SHAPES = ("nested", "flat", "users")
MIXED = [
    ("preference", "u1", "response_2", "submitted"),
    ("rating_response_1", "u1", 4, "submitted"),
    ("rating_response_2", "u1", 2, "submitted"),
    ("fine", "u1", ["response_1", "response_3"], "submitted"),
    ("ranking", "u1", ["response_3", "response_2", "response_1"], "submitted"),
    ("why", "u1", "because it is", "submitted"),
    ("topics", "u1", ["travel", "roads"], "submitted"),
    ("marked", "u1", [{"label": "x", "start": 0, "end": 2}], "submitted"),
    ("preference", "u2", "response_1", "submitted"),
    ("preference", "u3", "response_1", "draft"),
    ("why", "u3", "wrong", "draft"),
    ("preference", "u4", "response_1", "discarded"),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_all_kinds_of_questions_of_a_user(tmp_path, shape):
    row = record(MIXED, metadata={"source": "blog", "model": "x-7b"}, suggestions=[("why", "?")], shape=shape)
    labels, report = found_in(tmp_path, row, name="a.jsonl")
    first, ranked, other = labels
    assert all(each.comparison.texts == ("Left.", "Right.", "Back.") for each in labels)
    assert winner(first.comparison) == "Right." and first.comparison.criterion == "preference"
    assert by_text(first.comparison) == {
        "rating": {"Left.": 4, "Right.": 2},
        "fine": {"Left.": 1, "Right.": 0, "Back.": 1},
    }
    assert "because it is" in first.comparison.verdict.notes and "travel, roads" in first.comparison.verdict.notes
    assert winner(ranked.comparison) == "Back." and ranked.comparison.criterion == "ranking"
    assert winner(other.comparison) == "Left." and other.comparison.verdict.rater == "argilla u2"
    assert report.dropped == {
        "spans of a text that were marked": 1,
        "draft, not submitted": 2,
        "discarded, not submitted": 1,
    }
    assert sum(each.answers for each in labels) + report.dropped.total() == len(MIXED)
    assert report.beside == ({"suggestions of a model": 1} if shape != "users" else {})


def test_two_decisions_of_a_user_are_two_labels_that_know_their_question(tmp_path):
    row = record([("better", "u1", "response_1", "submitted"), ("safer", "u1", "response_1", "submitted")])
    path = written(tmp_path / "a.jsonl", [row])
    assert tutelage("import", tmp_path / "f.db", path) == 0
    with Store.open(tmp_path / "f.db") as store:
        assert [each.comparison.criterion for each in store.labels()] == ["better", "safer"]
        assert store.verify() == []


def test_a_record_with_one_response_is_rated(tmp_path):
    fields = {"prompt": "Which way?", "response": "Left.", "source": "blog"}
    said = {"quality": [{"value": 4, "user_id": "u1"}], "correct": [{"value": "no", "user_id": "u1"}]}
    [label], report = found_in(tmp_path, {"fields": fields, "responses": said}, name="a.jsonl")
    assert by_text(label.comparison) == {"quality": {"Left.": 4}, "correct": {"Left.": 0}} and not report.dropped


def generated_record(rng, place, shape):
    """(a record, how many answers stand in it)"""
    answers = []
    for user in rng.sample(["u1", "u2", "u3"], rng.randint(1, 3)):
        status = rng.choice(["submitted", "submitted", "draft", "discarded"])
        may = [
            ("preference", rng.choice(["response_1", "response-3", "Response 2", "tie", "all bad"])),
            ("safer", rng.choice(["response_1", "response_2"])),
            ("ranking", rng.sample(["response_1", "response_2", "response_3"], 3)),
            ("order", [{"value": f"response_{i}", "rank": rng.randint(1, 2)} for i in (1, 2, 3)]),
            *((f"quality_response_{i}", rng.randint(1, 5)) for i in (1, 2, 3)),
            ("overall", rng.randint(1, 5)),
            ("topics", ["roads"]),
            ("fine", rng.sample(["response_1", "response_2", "response_3"], 2)),
            ("topic", "roads"),
            ("why", "as it is"),
            ("marked", [{"label": "x", "start": 0, "end": 2}]),
            ("optional", []),
        ]
        answers += [(name, user, value, status) for name, value in rng.sample(may, rng.randint(1, len(may)))]
    rng.shuffle(answers)
    row = record(answers, metadata={"source": "blog", "turn": place}, shape=shape)
    (row if shape == "flat" else row["fields"])["prompt"] = f"Which way from {place}?"
    return row, len(answers)


@pytest.mark.parametrize("shape", SHAPES)
def test_argilla_answers_are_labels_or_counted(tmp_path, shape):
    rng = random.Random(0)
    rows, answers = [], 0
    for place in range(80):
        row, count = json.loads(json.dumps(generated_record(rng, place, shape)))
        rows.append(row)
        answers += count
    labels, report = found_in(tmp_path, *rows, name="a.jsonl")
    assert sum(each.answers for each in labels) + report.dropped.total() == answers > 800
    assert all(len(each.comparison.candidates) == 3 for each in labels)
    with Store.open(tmp_path / "f.db") as store:
        assert store.take_in(labels) == (len(labels), 0)
        assert len(store.labels()) == len(labels) and store.verify() == []
        assert store.take_in(labels) == (0, len(labels))


# --- published data sets


def webgpt(score):
    side = {"title": ["Roads (a.example)"], "extract": ["It is near."]}
    row = {"question": {"dataset": "eli5", "id": "q", "full_text": "How far?"}}
    for i, text in enumerate(("Near.", "Far.")):
        row |= {f"answer_{i}": text, f"quotes_{i}": side, f"tokens_{i}": {"prefix": [1], "completion": [2]}}
    return row | {"score_0": score, "score_1": None if score is None else -score}


def test_webgpt(tmp_path):
    labels, report = found_in(tmp_path, *(webgpt(score) for score in (1.0, -0.5, 0.0, None)), name="a.jsonl")
    first, second, tie = (each.comparison for each in labels)
    assert (winner(first), first.verdict.strength) == ("Near.", 1.0)
    assert (winner(second), second.verdict.strength) == ("Far.", 0.5)
    assert len(tie.verdict.ranking) == 1 and tie.verdict.strength == 0.0
    assert first.context.prompt == "How far?" and first.candidates[0].evidence == ("It is near.",)
    assert report.dropped == {"without an answer": 1}


POST = {"id": "t3", "post": "I went far.", "title": "Far", "subreddit": "travel", "site": None, "article": None}


def test_tldr_comparisons_and_axes(tmp_path):
    said = [{"text": "Went far.", "policy": "sup1", "note": "short"}, {"text": "Went.", "policy": "ref", "note": ""}]
    compared = {"info": POST, "summaries": said, "choice": 1, "worker": "w1", "batch": "b", "split": "train"}
    compared |= {"extra": {"confidence": 8}}
    axes = {"overall": 6, "accuracy": 7, "coverage": None, "coherence": 5}
    rated = {"info": POST, "summary": {**said[0], "axes": axes}, "worker": "w2", "batch": "b", "split": "test"}
    news = {**compared, "info": {**dict.fromkeys(POST), "title": "Roads", "article": "Long."}, "choice": None}
    labels, report = found_in(tmp_path, compared, rated, news, name="a.jsonl")
    pair, alone = (each.comparison for each in labels)
    assert winner(pair) == "Went." and pair.verdict.strength == 0.75
    assert pair.verdict.rater == "summarize-from-feedback w1" and pair.verdict.notes == "short"
    assert [each.policy for each in pair.candidates] == ["sup1", "ref"] and "I went far." in pair.context.prompt
    assert by_text(alone) == {axis: {"Went far.": value} for axis, value in axes.items() if value is not None}
    assert labels[1].answers == 3 and report.dropped == {"without an answer": 1}


def completion(text, rating, overall):
    aspects = {name: {"Rating": rating, "Rationale": f"{name} of {text}"} for name in ("helpfulness", "honesty")}
    aspects["truthfulness"] = {"Type": ["1"], "Rating": "N/A", "Rationale": "", "Rationale For Rating": ""}
    told = {"model": f"m-{text}", "principle": "helpful", "custom_system_prompt": "", "response": text}
    return {**told, "annotations": aspects, "critique": "fine", "overall_score": overall, "fine-grained_score": 4.25}


def test_ultrafeedback(tmp_path):
    said = [completion("Near.", "5", 8.5), completion("Far.", "2", 3.0)]
    row = {"source": "flan", "instruction": "How far?", "models": ["m"], "completions": said}
    row |= {"correct_answers": ["None"], "incorrect_answers": ["None"]}
    [label], report = found_in(tmp_path, row, name="a.jsonl")
    found = by_text(label.comparison)
    assert found["helpfulness"] == found["honesty"] == {"Near.": 5, "Far.": 2}
    assert found["overall_score"] == {"Near.": 8.5, "Far.": 3.0} and set(found["fine-grained_score"].values()) == {4.25}
    assert [each.policy for each in label.comparison.candidates] == ["m-Near.", "m-Far."]
    assert label.comparison.verdict.rater_kind == "model" and "helpfulness of 1" in label.comparison.verdict.notes
    assert label.answers == 8 and report.dropped == {"a rating that is no number": 2}


@pytest.mark.parametrize("listed", [True, False])
def test_ultrafeedback_pairs(tmp_path, listed):
    talk = [{"role": "user", "content": "How far?"}]
    said = {"chosen": "Near.", "rejected": "Far."}
    sides = {side: [*talk, {"role": "assistant", "content": text}] for side, text in said.items()}
    row = {"prompt": talk if listed else "How far?", "prompt_id": "p", **sides, "messages": sides["chosen"]}
    row |= {"score_chosen": 8.0, "score_rejected": 5.5}
    [label], _ = found_in(tmp_path, row, name="a.jsonl")
    assert label.comparison.context.messages == tuple(talk) and winner(label.comparison) == "Near."
    assert by_text(label.comparison) == {"score": {"Near.": 8.0, "Far.": 5.5}} and label.answers == 3


# --- importing again


def test_a_grown_file_adds_what_is_new(tmp_path, capsys):
    rated = [annotated(result("rating", "clear", "answer1", rating=stars), by=by) for stars, by in ((5, 1), (2, 2))]
    path = written(tmp_path / "a.json", [task(rated[0], **TWO)])
    assert tutelage("import", tmp_path / "f.db", path, path) == 0
    assert "1 labels added, 1 were there" in capsys.readouterr().out
    more = [annotated(result("rating", "clear", "answer1", rating=4), by=1), *rated]
    written(path, [task(*more, **TWO), task(rated[0], **{**TWO, "prompt": "How long?"})])
    assert tutelage("import", tmp_path / "f.db", path) == 0
    assert "3 labels added, 1 were there" in capsys.readouterr().out
    with Store.open(tmp_path / "f.db") as store:
        assert len(store.labels()) == 4 and store.verify() == []


def test_answers_of_nobody_are_counted_by_row(tmp_path, capsys):
    pair = {"prompt": "p", "chosen": "a", "rejected": "b"}
    turned = {"prompt": "p", "chosen": "b", "rejected": "a"}
    for rows, said in (([pair, pair], "2 labels added, 0"), ([pair, turned, pair], "1 labels added, 2")):
        assert tutelage("import", tmp_path / "f.db", written(tmp_path / "a.jsonl", rows)) == 0
        assert said in capsys.readouterr().out
    assert tutelage("import", tmp_path / "f.db", tmp_path / "a.jsonl") == 0
    assert "0 labels added, 3" in capsys.readouterr().out


@pytest.mark.parametrize("flags", [[], ["--names"], ["--names", "--notes"]], ids=str)
def test_a_store_knows_its_own_export(tmp_path, capsys, flags):
    row = record(MIXED)
    assert tutelage("import", tmp_path / "f.db", written(tmp_path / "a.jsonl", [row, row])) == 0
    with Store.open(tmp_path / "f.db") as store:
        before = store.last()
    assert tutelage("export", tmp_path / "f.db", "--out", tmp_path / "o.jsonl", *flags) == 0
    capsys.readouterr()
    assert tutelage("import", tmp_path / "f.db", tmp_path / "o.jsonl") == 0
    assert "0 labels added, 6 were there" in capsys.readouterr().out
    with Store.open(tmp_path / "f.db") as store:
        assert store.last() == before
        store.erase_question(store.labels()[0].question, "asked for")
    assert tutelage("import", tmp_path / "f.db", tmp_path / "o.jsonl") == 0
    assert "0 labels added" in capsys.readouterr().out


def test_erasing_a_question_erases_the_copies_of_it(tmp_path):
    rated = [annotated(result("rating", "clear", "answer1", rating=stars)) for stars in (5, 2)]
    with Store.open(tmp_path / "f.db") as store:
        store.take_in(found_in(tmp_path, task(*rated, **TWO))[0])
        store.erase_question(store.labels()[0].question, "asked for")
        assert store.labels() == [] and store.verify() == []
    assert b"How far" not in (tmp_path / "f.db").read_bytes()


# --- what it costs


def statements_of(store, act):
    """How many SQL statements run during act()."""
    seen = []
    listener = lambda conn, cursor, statement, parameters, context, executemany: seen.append(statement)  # noqa: E731
    sqlalchemy.event.listen(store._database.engine, "before_cursor_execute", listener)
    try:
        act()
    finally:
        sqlalchemy.event.remove(store._database.engine, "before_cursor_execute", listener)
    return len(seen)


def test_importing_more_takes_no_more_statements_than_chunks(tmp_path):
    def labels(count):
        rows = [
            task(annotated(result("rating", "clear", "answer1", rating=i % 5), by=i % 7), **{**TWO, "prompt": f"p{i}"})
            for i in range(count)
        ]
        return found_in(tmp_path, *rows)[0]

    counts = []
    for count in (20, 400):
        found = labels(count)
        with Store.open(tmp_path / f"{count}.db") as store:
            counts.append(
                [
                    statements_of(store, lambda found=found, store=store: store.take_in(found)),
                    statements_of(store, lambda found=found, store=store: store.take_in(found)),
                    statements_of(store, store.labels),
                    statements_of(store, store.stats),
                    statements_of(store, store.verify),
                ]
            )
    assert counts[0] == counts[1] and max(counts[0]) < 40


class Counted(dict):
    """A dict that counts how often it is walked through."""

    walks = 0

    def values(self):
        self.walks += 1
        return super().values()

    def items(self):
        self.walks += 1
        return super().items()


def test_verify_does_not_walk_through_all_labels_for_every_event(tmp_path):
    with Store.open(tmp_path / "f.db") as store:
        rows = [
            task(annotated(result("rating", "a", "answer1", rating=i)), **{**TWO, "prompt": f"p{i}"}) for i in range(9)
        ]
        store.take_in(found_in(tmp_path, *rows)[0])
        for each in store.labels():
            store.exclude([each.id], "no")
            store.snapshot()
        with store._database.reading() as connection:
            replay = Replay()
            replay.tables["label"] = labels = Counted()
            chained(connection, replay)
            assert replay.faults == [] and len(labels) == 9 and labels.walks == 0
            replay.compare(connection)
            assert replay.faults == []


def test_agreement_counts_answers_not_pairs_of_them():
    """Ten thousand people of one question are fifty million pairs."""
    said = [("q", {"choice": "a" if i % 4 else "b"}) for i in range(10_000)]
    agreement, pairs = agreement_of(said)
    assert pairs == 10_000 * 9_999 // 2
    assert agreement == pytest.approx((7_500 * 7_499 + 2_500 * 2_499) / (10_000 * 9_999))


def test_completions_of_one_prompt_are_compared_with_the_first_alone(tmp_path, monkeypatch):
    calls = []
    same = imports._is_same_question
    monkeypatch.setattr(imports, "_is_same_question", lambda first, row: calls.append(row) or same(first, row))
    rows = [{"prompt": "p", "completion": f"c{i}", "label": True} for i in range(50)]
    [label], _ = found_in(tmp_path, *rows, name="a.jsonl")
    assert len(label.comparison.candidates) == 50 and len(calls) == 49
