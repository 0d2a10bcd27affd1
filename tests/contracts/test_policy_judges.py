"""Judges of two policies: places swapped, lengths controlled, people's records, who agrees with whom."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tutelage.commands.evaluate_policies import by_function
from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, Comparison, Context, Verdict
from tutelage.evaluation.verdicts import among_people, asked_of_people, outcome, read_answers
from tutelage.evaluation.win_rates import Judgements, Replies, agreements, by_scores, row
from tutelage.formulas import intervals, win_rate

POLICIES = ("candidate", "other")
NOTHING = np.full(4, np.nan)


def replies(count=4, longer=0):
    texts = [f"reply {i}" for i in range(count)]
    return Replies([f"q{i}" for i in range(count)], [text + "x" * (1 + longer) for text in texts], texts)


def test_scores_decide_pair_by_pair():
    judged = by_scores("gold", np.array([1.0, 2.0, 2.0, 0.0]), np.array([0.0, 2.0, 1.0, 5.0]))
    found = row(judged, replies())
    assert found["win_rate"] == 0.625 and (found["pairs"], found["ties"]) == (4, 1)
    low, high = intervals.share([1.0, 0.5, 1.0, 0.0])[1:]
    assert (found["win_rate_low"], found["win_rate_high"], found["win_rate_n"]) == (low, high, 4)
    assert (found["score_candidate"], found["score_other"]) == (1.25, 2.0)
    assert "first_advantage" not in found  # scores see no place
    mirrored = row(by_scores("gold", np.array([0.0, 2.0, 1.0, 5.0]), np.array([1.0, 2.0, 2.0, 0.0])), replies())
    assert mirrored["win_rate"] == 0.375


def test_a_preference_for_the_first_place_is_measured_and_cancels():
    def first_place(prompts, firsts, seconds):
        return [0.9] * len(prompts)

    found = row(by_function("habit", first_place, replies()), replies())
    assert found["win_rate"] == pytest.approx(0.5) and found["swapped_win_rate"] == pytest.approx(0.5)
    assert found["first_advantage"] == pytest.approx(0.8) and found["consistent_fraction"] == 0
    assert found["swapped_pairs"] == 4


def test_one_place_only_is_said_and_not_called_swapped():
    judged = Judgements("people", np.array([1.0, 1.0, np.nan, np.nan]), NOTHING, np.array([0.0, 0.0, 0.5, np.nan]))
    assert judged.outcomes_N[:3].tolist() == [1.0, 1.0, 0.5]  # a known place is believed before an unknown one
    found = row(judged, replies())
    assert (found["pairs"], found["swapped_pairs"]) == (3, 0) and "swapped_win_rate" not in found
    with pytest.raises(ValueError, match="judged none"):
        row(Judgements("people", NOTHING, NOTHING, NOTHING), replies())


def test_a_judge_who_likes_length_is_found_out():
    generator = np.random.default_rng(0)
    longer = generator.integers(-30, 60, 400)
    one = Replies([f"q{i}" for i in range(400)], ["a" * (50 + each) for each in longer], ["a" * 50] * 400)
    outcomes = np.array([len(text) for text in one.candidate], dtype=float)
    found = row(by_scores("length", outcomes, np.full(400, 50.0)), one)
    assert found["win_rate"] > 0.6 and found["length_controlled_low"] < 0.5 < found["length_controlled_high"]
    expected = win_rate.length_controlled((np.sign(outcomes - 50) + 1) / 2, win_rate.length_term(outcomes, 50.0))
    assert found["length_controlled"] == expected[0]


def test_always_longer_by_the_same_cannot_be_controlled_and_says_why():
    found = row(by_scores("gold", np.array([1.0, 2.0, 2.0, 0.0]), np.zeros(4)), replies())
    assert "length_controlled" not in found and "lengths differ" in found["not_length_controlled"]


def test_several_replies_to_a_prompt_are_one_cluster():
    one = Replies(["q", "q", "r", "r"], ["a"] * 4, ["b"] * 4)
    found = row(by_scores("gold", np.array([1.0, 1.0, 0.0, 1.0]), np.full(4, 0.5)), one)
    assert found["win_rate_low"] == intervals.share([1.0, 1.0, 0.0, 1.0], [0, 0, 1, 1]).low < 0.1
    assert (found["pairs"], found["win_rate_n"]) == (4, 2)


def test_judges_side_by_side():
    gold = by_scores("gold", np.array([1.0, 2.0, 3.0, 0.0]), np.array([0.0, 0.0, 3.0, 1.0]))  # won won tie lost
    some = Judgements("people", np.array([1.0, 0.0, 0.5, np.nan]), NOTHING, NOTHING)
    (found,) = agreements([gold, some])
    assert found["judges"] == ["gold", "people"] and found["pairs"] == 3
    assert found["agreement"] == pytest.approx(2 / 3)
    # habits: 2/3 · 1/3 won + 1/3 · 1/3 tied = 1/3 by chance
    assert found["kappa"] == pytest.approx((2 / 3 - 1 / 3) / (1 - 1 / 3))
    same = by_scores("x", np.ones(4), np.zeros(4))
    assert agreements([same, same])[0]["kappa"] is None


def answered(records, choose):
    """Records as people send them back: choose(prompt, shown texts) -> index in the order shown, None for a tie."""
    for number, each in enumerate(records):
        texts = {one.id: one.text for one in each.candidates}
        picked = choose(each.context.prompt, [texts[name] for name in each.verdict.shown])
        said = {"strength": 0.0} if picked is None else {"choice": each.verdict.shown[picked]}
        yield each.model_copy(
            update={"verdict": each.verdict.model_copy(update={**said, "rater": f"person {number % 3}"})}
        )


def written(path, records):
    path.write_text("".join(json.dumps(each.row()) + "\n" for each in records))
    return str(path)


def test_what_people_are_asked_and_what_they_answer(tmp_path):
    asked = asked_of_people(replies(), POLICIES)
    assert len(asked) == 8  # each pair in both orders
    for one, other in zip(asked[::2], asked[1::2], strict=True):
        assert one.verdict.shown == other.verdict.shown[::-1] and one.candidates == other.candidates
        assert not any(policy in each.id for policy in POLICIES for each in one.candidates)
    first = {each.candidates[0].policy for each in asked_of_people(replies(40), POLICIES)}
    assert first == set(POLICIES)  # neither does the order tell who wrote it

    longest = written(tmp_path / "a.jsonl", answered(asked, lambda prompt, texts: int(len(texts[1]) > len(texts[0]))))
    found = read_answers(longest, POLICIES)
    assert found.replies == replies() and row(found.people, found.replies)["swapped_win_rate"] == 1.0
    backwards = read_answers(longest, POLICIES[::-1])
    assert row(backwards.people, backwards.replies)["win_rate"] == 0.0
    first_shown = written(tmp_path / "b.jsonl", answered(asked, lambda prompt, texts: 0))
    people = row(read_answers(first_shown, POLICIES).people, replies())
    assert people["win_rate"] == 0.5 and people["first_advantage"] == 1.0


def test_equal_replies_are_no_question():
    same = Replies(["q", "r"], ["a", "b"], ["a ", "c"])
    assert {each.context.prompt for each in asked_of_people(same, POLICIES)} == {"r"}


def test_open_questions_and_ties(tmp_path):
    asked = asked_of_people(replies(), POLICIES)
    said = list(answered(asked[:4], lambda prompt, texts: None if prompt == "q0" else 0))
    found = read_answers(written(tmp_path / "half.jsonl", [*said, *asked[4:]]), POLICIES)
    assert found.unanswered == 4 and len(found.replies) == 4  # other judges may judge the open ones
    outcomes = found.people.outcomes_N
    assert outcomes[:2].tolist() == [0.5, 0.5] and np.isnan(outcomes[2:]).all()


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        ({}, None),
        ({"choice": "a"}, 1.0),
        ({"choice": "b"}, 0.0),
        ({"choice": "a", "strength": 0.0}, 0.5),
        ({"ranking": [["a", "b"]]}, 0.5),
        ({"ranking": [["b"], ["a"]]}, 0.0),
        ({"no_choice": "all bad"}, 0.5),
    ],
)
def test_every_kind_of_answer(verdict, expected):
    candidates = (Candidate(id="a", text="x"), Candidate(id="b", text="y"))
    said = Verdict.model_validate(verdict)
    assert outcome(Comparison(context=Context(prompt="q"), candidates=candidates, verdict=said), "a") == expected


def test_several_people_and_how_far_they_agree(tmp_path):
    asked = asked_of_people(replies(), POLICIES)
    one = [each for each in asked[::2] for _ in range(3)]
    said = list(answered(one, lambda prompt, texts: 1 if prompt == "q0" else 0))
    found = among_people(read_answers(written(tmp_path / "a.jsonl", said), POLICIES))
    assert found["people"] == 3 and found["agreement_among_people"] == 1.0 and found["human_ceiling"] == 1.0
    assert found["alpha_among_people"] == pytest.approx(1.0)
    alone = read_answers(written(tmp_path / "b.jsonl", answered(asked[::2], lambda prompt, texts: 0)), POLICIES)
    assert among_people(alone) == {"people": 3, "unanswered": 0}


def test_a_file_about_others_is_refused(tmp_path):
    asked = asked_of_people(replies(), ("sft", "ppo"))
    path = written(tmp_path / "a.jsonl", answered(asked, lambda prompt, texts: 0))
    with pytest.raises(InputError, match=r"no pair of candidate and other.*ppo, sft"):
        read_answers(path, POLICIES)
    with pytest.raises(InputError, match=r"none of its 8 questions is answered"):
        read_answers(written(tmp_path / "open.jsonl", asked), ("sft", "ppo"))
    (tmp_path / "other.jsonl").write_text('{"prompt": "a"}\n')
    with pytest.raises(InputError, match=r"other.jsonl, line 1: .*comparison record"):
        read_answers(str(tmp_path / "other.jsonl"), POLICIES)


def raises(prompts, responses):
    raise RuntimeError("no network")


@pytest.mark.parametrize(
    ("judge", "says"),
    [
        (raises, "RuntimeError: no network"),
        (lambda prompts, responses: [1.0], "expected 4 finite numbers"),
        (lambda prompts, responses: [float("nan")] * 4, "expected 4 finite numbers"),
        (lambda prompts, firsts, seconds: [1.5] * 4, "expected 0 to 1"),
        (lambda prompts: [1.0] * 4, "takes 1 arguments"),
    ],
)
def test_a_judge_that_cannot_judge_stops_it(judge, says):
    with pytest.raises(InputError, match=says):
        by_function("judge", judge, replies())
