"""What is said of labellers: by hand for three people, planted for many, and never without its interval."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tutelage.data.records import Candidate, Comparison, Context, Verdict
from tutelage.evaluation import advice, labellers
from tutelage.feedback.asking import Label
from tutelage.feedback.checks import Checked


def label(seq: int, question: str, who: str, verdict: dict, texts=("one", "the second"), policies=(None,) * 3) -> Label:
    """A verdict on candidates a, b, …, shown in that order."""
    ids = "abcdefgh"[: len(texts)]
    candidates = tuple(Candidate(id=i, text=text, policy=p) for i, text, p in zip(ids, texts, policies, strict=False))
    said = Verdict(**{"rater": who, "shown": tuple(ids), "shown_at": 0.0, "answered_at": 2.0 + seq, **verdict})
    comparison = Comparison(context=Context(prompt=question), candidates=candidates, verdict=said)
    return Label(f"event-{seq}", seq, question, comparison, "counted", float(seq))


A, B, TIE = {"choice": "a"}, {"choice": "b"}, {"ranking": (("a", "b"),), "strength": 0.0}
THREE = [
    label(1, "q1", "ann", A), label(2, "q1", "bob", A), label(3, "q1", "cid", B),
    label(4, "q2", "ann", B), label(5, "q2", "bob", B),
    label(6, "q3", "ann", TIE), label(7, "q3", "cid", A),
]  # fmt: skip


def test_agreement_of_three_people_by_hand():
    """q1: one of three pairs agrees; q2: the one pair does; q3: it does not. Percent: 2 of 5."""
    found = labellers.agreements(THREE, [])
    assert found["units"] == 3 and found["percent"] == pytest.approx(2 / 5)
    kappas = {(each["first"], each["second"]): each["units"] for each in found["kappas"]}
    assert kappas == {("ann", "bob"): 2, ("ann", "cid"): 2, ("bob", "cid"): 1}
    assert {each["kappa"] for each in found["kappas"] if each["first"] == "ann" and each["second"] == "bob"} == {1.0}


def test_a_row_for_each_labeller_with_what_each_share_is_of():
    checks = [Checked("repeat", "ann", "q1", "pair", True), Checked("swap", "ann", "q2", "pair", False)]
    rows = {row["labeller"]: row for row in labellers.people(THREE, checks, Counter({"bob": 4}))}
    ann = rows["ann"]
    assert ann["answers"] == 3 and ann["repeat"] | {"low": 0, "high": 0} == {
        "share": 1.0, "low": 0, "high": 0, "of": 1, "n": 1,
    }  # fmt: skip
    assert ann["repeat"]["low"] == pytest.approx(0.025) and ann["swap"]["share"] == 0.0
    assert ann["with_others"]["of"] == 4 and ann["with_others"]["share"] == pytest.approx(2 / 4)
    assert ann["first_place"]["of"] == 2 and ann["first_place"]["share"] == 0.5  # a tie is no decision
    assert ann["seconds"] == 6.0 and rows["bob"]["skips"] == 4 and rows["cid"]["gold"]["of"] == 0


def test_a_ranking_counts_as_its_pairs_and_ratings_and_rules_as_themselves():
    ranked = label(1, "q", "ann", {"ranking": (("c",), ("a", "b"))}, texts=("x", "y", "z"))
    assert list(labellers.outcomes(ranked.comparison)) == [("a", "b", 0.5), ("a", "c", 0.0), ("b", "c", 0.0)]
    rated = label(2, "q", "ann", {"ratings": {"overall": {"a": 6}}, "rules": {"no insult": {"a": None, "b": True}}})
    assert {each.unit: each.value for each in labellers.said([rated])} == {
        "q overall a": 6.0, "q no insult a": 0.5, "q no insult b": 1.0,
    }  # fmt: skip


def test_grades_are_compared_as_grades():
    """A six and a seven are nearer than a one and a seven; a nominal alpha would not see that."""
    near = [(6, 7), (1, 2), (7, 6), (2, 1), (6, 6), (1, 1)]
    far = [(6, 1), (1, 6), (7, 2), (2, 7), (6, 6), (1, 1)]

    def alpha(pairs):
        rows = [
            label(2 * i + k, f"q{i}", who, {"ratings": {"overall": {"a": grades[k]}}})
            for i, grades in enumerate(pairs)
            for k, who in enumerate(("ann", "bob"))
        ]
        return labellers.agreements(rows, [])

    assert alpha(near)["scale"] == "ordinal" and alpha(near)["units"] == 6
    assert alpha(near)["alpha"] > 0.7 > 0.1 > alpha(far)["alpha"]


def random_answers(questions: int = 300) -> list[Label]:
    """Two people who answer everything at random: a choice, two ratings of 1 to 7 and a rule to each question."""
    rng, rows = np.random.default_rng(5), []
    for i in range(questions):
        for who in ("ann", "bob"):
            said = {
                **(A if rng.random() < 0.5 else B),
                "ratings": {axis: {"a": int(rng.integers(1, 8)), "b": int(rng.integers(1, 8))} for axis in AXES},
                "rules": {"no insult": {"a": bool(rng.random() < 0.2)}},
            }
            rows.append(label(len(rows), f"q{i}", who, said))
    return rows


AXES = ("helpful", "harmless")


def test_answers_at_random_agree_on_no_scale():
    """In one table of choices (0, 1), grades (1 to 7) and rules two people at random had an alpha of 0.69."""
    found = labellers.agreements(random_answers(), [])
    scales = {(each["kind"], each["axis"]): each for each in found["scales"]}
    assert set(scales) == {("choice", ""), ("rating", "helpful"), ("rating", "harmless"), ("rule", "no insult")}
    assert {each["scale"] for each in found["scales"] if each["kind"] == "rating"} == {"ordinal"}
    assert scales["choice", ""]["scale"] == scales["rule", "no insult"]["scale"] == "nominal"
    assert [scales["choice", ""]["units"], scales["rating", "helpful"]["units"]] == [300, 600]
    for each in found["scales"]:
        assert abs(each["alpha"]) < 0.12 and each["alpha_low"] < 0 < each["alpha_high"] and each["alpha_n"] == 300
        assert all(abs(kappa["kappa"]) < 0.12 for kappa in each["kappas"])
    assert (found["units"], found["alpha"]) == (found["scales"][0]["units"], found["scales"][0]["alpha"])


def test_every_scale_keeps_its_own_agreement():
    """They always agree on the choice and never on the rating: no mean of both stands anywhere."""
    rows = []
    for i in range(40):
        for k, who in enumerate(("ann", "bob")):
            grade = {"overall": {"a": (i + 3 * k) % 7 + 1}}
            rows.append(label(2 * i + k, f"q{i}", who, {**(A if i % 2 else B), "ratings": grade}))
    choice, rating = sorted(labellers.agreements(rows, [])["scales"], key=lambda each: each["kind"])
    assert choice["alpha"] == choice["percent"] == 1.0 and 0.6 < choice["alpha_low"] < 1.0
    assert rating["alpha"] < 0.2 and rating["percent"] == 0.0 and rating["units"] == 40


def test_nothing_in_common_is_said_and_so_is_that_everybody_always_said_the_same():
    assert "wanted" in labellers.agreements(THREE[:1], [])["why"]
    same = [label(i, f"q{i // 2}", "ab"[i % 2], A) for i in range(8)]
    found = labellers.agreements(same, [])
    assert found["alpha"] is None and "same" in found["why"] and found["percent"] == 1.0


def test_planted_pulls_are_found_and_where_there_are_none_the_interval_holds_a_half():
    rng = np.random.default_rng(0)

    def crowd(left: float) -> list[Label]:
        rows = []
        for i in range(600):
            first = rng.random() < left
            texts = ("short", "quite a long one") if i % 2 else ("quite a long one", "short")
            rows.append(label(i, f"q{i}", f"person {i % 12}", A if first else B, texts=texts))
        return rows

    position, length, _ = labellers.biases(crowd(0.65))
    assert position["low"] > 0.58 and position["high"] < 0.72
    assert length["low"] < 0.5 < length["high"]
    position, _, _ = labellers.biases(crowd(0.5))
    assert position["low"] < 0.5 < position["high"]


def test_what_was_met_before_is_counted_for_each_person_apart():
    rows = [
        label(1, "q1", "ann", A, texts=("old", "x")),
        label(2, "q2", "ann", A, texts=("old", "new")),
        label(3, "q3", "ann", B, texts=("newer", "old")),
        label(4, "q2", "bob", A, texts=("old", "new")),
    ]
    assert labellers.seen_before(rows[:3]) == [True, True]
    assert labellers.biases(rows)[2] | {"low": 0, "high": 0} == {
        "name": "first seen", "pairs": 2, "share": 1.0, "low": 0, "high": 0, "of": 2, "n": 1,
    }  # fmt: skip


def policies(people: int, count: int = 400, better: float = 0.75) -> list[Label]:
    rng = np.random.default_rng(1)
    return [
        label(i, f"q{i}", f"person {i % people}", A if rng.random() < better else B, policies=("new", "old"))
        for i in range(count)
    ]


def test_ratings_of_policies_have_intervals_only_where_there_are_people_enough():
    found = labellers.ratings(policies(12))
    rows = {row["policy"]: row for row in found["policies"]}
    assert rows["new"]["elo"] == 0 and rows["old"]["elo"] == pytest.approx(-400 * np.log10(3), abs=40)
    assert rows["old"]["low"] < rows["old"]["elo"] < rows["old"]["high"] < 0 and found["why"] == ""
    few = labellers.ratings(policies(3))
    assert few["policies"][1]["low"] is None and "3 people" in few["why"]
    assert "One person" in labellers.ratings(policies(1))["why"]
    assert labellers.ratings(THREE)["policies"] == []


def test_policies_that_nothing_joins_are_not_compared():
    rows = [*policies(12, 60), *(label(900 + i, f"r{i}", "ann", A, policies=("x", "y")) for i in range(9))]
    found = labellers.ratings(rows)
    assert [row["elo"] is None for row in found["policies"]] == [False, False, True, True]
    assert "Nothing joins x, y" in found["why"]


def decided(count: int, taught: float) -> list[Label]:
    """People prefer what is kind; taught: the share of answers in which they do."""
    rng = np.random.default_rng(2)
    kind, rude = ["thank", "you", "very", "much", "my", "friend"], ["go", "away", "you", "awful", "silly", "person"]
    rows = []
    for i in range(count):
        texts = (" ".join(rng.choice(kind, 5)), " ".join(rng.choice(rude, 5)))
        rows.append(label(i, f"q{i}", f"person {i % 5}", A if rng.random() < taught else B, texts=texts))
    return rows


def test_advice_is_to_stop_where_nothing_is_left_to_learn_and_to_go_on_where_too_little_is_there():
    found = advice.advice(decided(600, 0.9))
    assert found["advice"] in ("stop", "nobody knows") and found["expected_gain"] < 0.02
    assert found["means"][-1]["accuracy"] > 0.8
    assert "80 questions" in advice.advice(decided(40, 0.9))["says"]
    nothing = advice.advice(decided(200, 0.5))
    assert nothing["advice"] != "stop"
