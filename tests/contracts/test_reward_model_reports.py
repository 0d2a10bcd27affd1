"""Reports on reward models: planted truths found, ties, votes, clusters, baselines, and what cannot be evaluated."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit

from tutelage.data.errors import InputError
from tutelage.data.questions import Pair, Question, chosen, ranked
from tutelage.evaluation.judged import judged_pairs, share
from tutelage.evaluation.people import votes_table, with_others
from tutelage.evaluation.rated import graded_pairs
from tutelage.evaluation.reward_models import report
from tutelage.formulas import agreement, calibration, intervals


def asked(number, target=1.0, responses=("aa", "b"), prompt=None, **said):
    return Question(prompt or f"q{number}", responses, (Pair(0, 1, target),), **said)


def world(count, sharpness, seed=0, prompts=None):
    """Pairs answered by σ(true difference), and scores that are `sharpness` times the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=(count, 2))
    first = generator.random(count) < expit(truth[:, 0] - truth[:, 1])
    questions = [asked(i, float(one), prompt=prompts and f"q{i % prompts}") for i, one in enumerate(first)]
    return questions, list(sharpness * truth)


def test_accuracy_on_a_hand_counted_case():
    questions = [
        asked(0, 1.0),  # right; the longer is preferred
        asked(1, 0.0),  # wrong; the shorter is preferred
        asked(2, 0.5),  # a tie
        asked(3, 2 / 3),  # right: the majority of three
        asked(4, 1.0, ("a", "b")),  # equal scores, equal lengths: half each
    ]
    scores = [np.array(each) for each in ([2.0, 1.0], [1.0, 0.0], [3.0, 0.0], [0.5, 0.0], [1.0, 1.0])]
    found = report(questions, scores)["accuracy"]
    assert (found["pairs"], found["ties"], found["prompts"]) == (5, 1, 5)
    assert found["accuracy"] == 2.5 / 4 and found["interval"] == "clustered"  # a half is neither right nor wrong
    low, high = intervals.share([1.0, 0.0, 1.0, 0.5])[1:]
    assert (found["accuracy_low"], found["accuracy_high"], found["accuracy_n"]) == (low, high, 4)
    sure = report(questions[:4], scores[:4])["accuracy"]
    assert (sure["accuracy_low"], sure["accuracy_high"]) == pytest.approx(intervals.clopper_pearson(2, 3))
    assert sure["interval"] == "clopper-pearson"
    assert found["accuracy_ties_half"] == 3 / 5
    assert found["length_rule_accuracy"] == 2.5 / 4 and found["random_accuracy"] == 0.5
    assert found["accuracy_beyond_length"] == 0.0


def test_pairs_of_a_prompt_are_one_cluster():
    one = [Question(f"q{i}", ("aa", "b", "c"), chosen(0, 3), 0) for i in range(10)]
    scores = [np.array([2.0, 0.0, 1.0]) if i < 7 else np.array([0.0, 2.0, 1.0]) for i in range(10)]
    found = report(one, scores)["accuracy"]
    assert found["interval"] == "clustered" and found["accuracy"] == 0.7
    values, clusters = np.repeat([1.0] * 7 + [0.0] * 3, 2), np.repeat(np.arange(10), 2)
    assert found["accuracy_low"] == pytest.approx(intervals.share(values, clusters).low)
    assert found["accuracy_low"] == pytest.approx(intervals.clopper_pearson(7, 10)[0])  # nor are they twenty prompts


def test_intervals_stay_honest_where_nothing_scatters():
    assert share(np.ones(4), np.array([0, 0, 1, 1])).low == intervals.clopper_pearson(2, 2)[0]
    assert share(np.full(4, 0.5), np.arange(4)).high - share(np.full(4, 0.5), np.arange(4)).low > 0.7
    assert share(np.array([1.0, 0.0, 1.0, 0.0]), np.array([0, 0, 1, 1])).high > 0.9
    alone = share(np.array([1.0, 1.0, 0.0]), np.zeros(3))
    assert alone.n == 1 and alone.low < 0.06 and alone.high > 0.98


def test_order_of_replies_and_of_questions_changes_nothing():
    questions, scores = world(80, 1.5, seed=3, prompts=40)
    mirrored = [
        Question(each.prompt, each.responses[::-1], (Pair(0, 1, 1 - each.pairs[0].target),)) for each in questions
    ]
    other = report(mirrored[::-1], [each[::-1] for each in scores[::-1]])
    here = report(questions, scores)
    assert other["accuracy"] == pytest.approx(here["accuracy"])
    assert other["calibration"]["calibration_error"] == pytest.approx(here["calibration"]["calibration_error"])


def test_the_length_rule_and_what_lies_beyond_it():
    """A model that is length, and one that knows more."""
    generator = np.random.default_rng(0)
    truth = generator.random(200) < 0.6
    questions = [asked(i, float(long), ("long reply", "short")) for i, long in enumerate(truth)]
    by_length = report(questions, [np.array([10.0, 5.0])] * 200)["accuracy"]
    assert by_length["accuracy"] == by_length["length_rule_accuracy"] == truth.mean()
    assert by_length["accuracy_beyond_length"] == 0 and by_length["accuracy_beyond_length_low"] is None
    knows = report(questions, [np.array([float(long), 0.5]) for long in truth])["accuracy"]
    assert knows["accuracy"] == 1.0 and knows["accuracy_beyond_length_low"] > 0.3


def test_a_model_of_something_else_falls_below_chance_and_is_marked():
    questions, scores = world(300, 1.0)
    assert not report(questions, scores)["accuracy"]["below_chance"]
    assert report(questions, [-each for each in scores])["accuracy"]["below_chance"]


@pytest.mark.parametrize("prompts", [None, 1500])
def test_planted_miscalibration_is_found_and_repaired(prompts):
    questions, scores = world(3000, 3.0, prompts=prompts)  # three times too sure
    found = report(questions, scores)["calibration"]
    assert found["temperature_low"] < 3.0 < found["temperature_high"] < 3.6
    assert found["calibration_error"] > 0.1 and found["calibration_error_repaired"] < 0.03
    assert 0.005 < found["calibration_error_by_chance"] < 0.03
    right = report(*world(3000, 1.0, prompts=prompts))["calibration"]
    assert right["temperature_low"] < 1.0 < right["temperature_high"]
    assert right["calibration_error"] < 2 * right["calibration_error_by_chance"]


def test_the_repair_is_measured_on_other_prompts():
    """With noise for scores and four pairs, a temperature fitted to itself would look repaired."""
    questions = [asked(i, float(i in (0, 3))) for i in range(4)]
    scores = [np.array([4.0, 0.0])] * 4
    found = report(questions, scores)["calibration"]
    # prompts 0, 2: one of two right, so no sharpness; then every probability of 1, 3 is ½, and one of two is right
    assert found["temperature"] is None and found["calibration_error_repaired"] == 0
    lopsided = report([asked(i, 1.0 if i % 2 == 0 or i == 1 else 0.0) for i in range(8)], [np.array([4.0, 0.0])] * 8)
    assert "calibration_error_repaired" not in lopsided["calibration"]  # one half knows of no mistake
    json.dumps(lopsided, allow_nan=False)


def test_a_temperature_of_one_half_is_tried_on_the_other():
    """Every second prompt's scores are four times too sure: what repairs the one half harms the other."""
    questions, scores = world(3000, 1.0, seed=4)
    found = report(questions, [each * (4 if place % 2 else 1) for place, each in enumerate(scores)])["calibration"]
    assert found["calibration_error_repaired"] > 0.1


def test_the_interval_of_a_temperature_is_the_formula_s_where_prompts_do_not_repeat():
    questions, scores = world(200, 2.0)
    found, pairs = report(questions, scores)["calibration"], judged_pairs(questions, scores)
    expected = calibration.temperature(pairs.differences_P, pairs.targets_P)
    assert (found["temperature"], found["temperature_low"]) == (expected.value, expected.low)
    assert found["temperature_high"] == expected.high


def test_accuracy_by_gap_stands_beside_what_is_claimed():
    found = report(*world(4000, 1.0, seed=1))["calibration"]["by_gap"]
    assert len(found) == 5 and sum(row["count"] for row in found) == 4000
    for row in found:
        assert row["rate_low"] - 0.02 < row["claimed"] < row["rate_high"] + 0.02
    assert [row["rate"] for row in found] == sorted(row["rate"] for row in found)


def test_equal_scores_have_no_temperature():
    found = report([asked(0), asked(1)], [np.zeros(2), np.zeros(2)])
    assert "temperature" not in found["calibration"] and found["accuracy"]["accuracy"] == 0.5


def test_best_of_k_beside_one_in_k():
    questions = [Question(f"q{i}", ("a", "bb", "c", "d"), chosen(i % 2, 4), i % 2) for i in range(8)]
    found = report(questions, [np.array([3.0, 1.0, 1.0, 0.0])] * 8)["best_of"]
    assert found["questions"] == 8 and found["accuracy"] == 0.5 and found["random_accuracy"] == 0.25
    assert found["length_rule_accuracy"] == 0.5
    shared = report(questions, [np.array([3.0, 3.0, 1.0, 0.0])] * 8)["best_of"]
    assert shared["accuracy"] == 0.5  # two lead, and one of them is the best


def test_ties_of_a_ranking_are_left_out():
    question = Question("q", ("a", "b", "c"), ranked({0: 0, 1: 0, 2: 1}))
    found = report([question, asked(1)], [np.array([1.0, 2.0, 0.0]), np.array([1.0, 0.0])])
    assert (found["accuracy"]["pairs"], found["accuracy"]["ties"]) == (4, 1)
    assert found["accuracy"]["accuracy"] == 1.0 and "best_of" not in found  # nobody alone is the best


def voted(number, *votes):
    named = {f"person {place}": vote for place, vote in enumerate(votes) if vote is not None}
    return asked(number, sum(named.values()) / len(named), votes=named)


def test_the_ceiling_and_the_model_are_measured_by_the_same_majorities():
    questions = [voted(0, 1, 1, 1), voted(1, 1, 1, 0), voted(2, 0.5, 0, 0), voted(3, 1, 0, None), voted(4, 1)]
    table = votes_table(questions)
    assert np.isnan(table[3, 2]) and table.shape == (5, 3)
    # a model that says 1, 1, 0, 1, and 1: each with one person left out
    worth, units = with_others(table, np.ones(5))
    assert worth.tolist() == [1, 1, 1, 0.5, 0.5, 1, 0, 0, 0, 0, 1]
    assert units.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 2
    found = report(questions, [np.array([1.0, 0.0])] * 5)["people"]
    assert (found["pairs"], found["people"], found["unanimous"]) == (4, 3, 1)
    assert found["model_with_people"] == pytest.approx(worth.mean())
    assert found["human_ceiling"] == pytest.approx(agreement.human_ceiling(table)[0])
    assert found["alpha"] == pytest.approx(agreement.krippendorff_alpha(table))
    assert found["alpha_ordinal"] == pytest.approx(agreement.krippendorff_alpha(table, agreement.ordinal))
    assert found["accuracy_unanimous"] == 1.0


def test_one_more_person_reaches_the_ceiling():
    """Somebody with the same taste and the same slips as the people agrees with them as often as they do."""
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 2, 3000)
    votes = np.where(generator.random((3000, 4)) < 0.8, truth[:, None], 1 - truth[:, None]).astype(float)
    questions = [voted(i, *row[:3]) for i, row in enumerate(votes)]
    found = report(questions, [np.array([row[3], 0.5]) for row in votes])["people"]
    assert found["model_with_people"] == pytest.approx(found["human_ceiling"], abs=0.03)
    # two of the others agree with each other and with the truth: 0.64 right, 0.04 wrong, else one of two
    assert found["human_ceiling"] == pytest.approx(0.8 * 0.64 + 0.2 * 0.04 + 0.5 * 0.32, abs=0.02)
    assert found["alpha_low"] < 0.36 < found["alpha_high"]  # (0.8 - 0.2)²
    assert found["alpha"] == pytest.approx(found["alpha_ordinal"], abs=0.01)  # of two answers


def test_subsets_and_their_two_means():
    questions = [asked(i, 1.0, columns={"subset": "chat" if i < 6 else "code"}) for i in range(8)]
    questions.append(asked(9, 0.5, columns={"subset": "empty"}))
    scores = [np.array([1.0, 0.0]) if i not in (0, 1, 2, 6) else np.array([0.0, 1.0]) for i in range(9)]
    found = report(questions, scores, by="subset")["by"]
    assert [(row["subset"], row["pairs"], row.get("accuracy")) for row in found["subsets"]] == [
        ("chat", 6, 0.5),
        ("code", 2, 0.5),
        ("empty", 1, None),
    ]
    scores[6] = np.array([1.0, 0.0])
    found = report(questions, scores, by="subset")["by"]
    assert found["weighted"]["accuracy"] == 5 / 8 and found["unweighted"]["accuracy"] == 0.75
    assert found["unweighted"]["accuracy_low"] < 0.75 < found["unweighted"]["accuracy_high"]


def test_a_prompt_in_every_subset_counts_once():
    """Ten subsets of the same twenty prompts, each prompt always right or always wrong: still twenty prompts."""
    questions = [
        asked(i, prompt=f"q{i}", responses=("aa", "b" * (kind + 1)), columns={"kind": kind})
        for kind in range(10)
        for i in range(20)
    ]
    found = report(questions, [np.array([1.0, i % 20 % 2]) - 0.5 * (i % 2) for i in range(200)], by="kind")["by"]
    assert found["unweighted"]["accuracy"] == found["weighted"]["accuracy"] == 0.75
    width = found["unweighted"]["accuracy_high"] - found["unweighted"]["accuracy_low"]
    expected = found["weighted"]["accuracy_high"] - found["weighted"]["accuracy_low"]
    assert width == pytest.approx(expected, rel=0.2)


def test_votes_of_one_prompt_are_one_cluster():
    """Ten copies of a prompt tell no more of people than one."""
    generator = np.random.default_rng(7)
    once = [voted(i, *generator.integers(0, 2, 3).astype(float)) for i in range(60)]
    scores = [generator.normal(size=2) for _ in once]
    one, ten = (report(once * copies, scores * copies)["people"] for copies in (1, 10))
    for name in ("alpha", "human_ceiling", "model_with_people"):
        assert ten[f"{name}_high"] - ten[f"{name}_low"] == pytest.approx(
            one[f"{name}_high"] - one[f"{name}_low"], rel=0.25
        )


def test_a_row_without_the_column_is_a_subset_of_its_own():
    questions = [asked(0, columns={"kind": "x"}), asked(1)]
    found = report(questions, [np.array([1.0, 0.0])] * 2, by="kind")["by"]
    assert [row["subset"] for row in found["subsets"]] == ["(none)", "x"]


def rated(number, *values, responses=None):
    responses = responses or tuple("a" * (i + 1) for i in range(len(values)))
    return Question(f"q{number}", responses, ratings={"good": tuple(values)})


def test_good_and_bad_replies_give_an_area():
    generator = np.random.default_rng(5)
    good = generator.random(400) < 0.4
    questions = [rated(i, float(one)) for i, one in enumerate(good)]
    found = report(questions, [np.array([one + generator.normal()]) for one in good])["ratings"]["good"]
    assert found["ratings"] == 400 and found["mean"] == pytest.approx(good.mean())
    assert found["area_under_curve_low"] < 0.760 < found["area_under_curve_high"]  # Φ(1/√2)
    assert found["length_area_under_curve"] == 0.5 == found["random_area_under_curve"]


def test_grades_give_a_correlation_of_ranks_and_pairs_within_prompts():
    questions = [rated(i, 1.0, 3.0, None, 3.0) for i in range(6)]
    scores = [np.array([0.0, 5.0, 9.0, -1.0])] * 6
    assert graded_pairs(questions[0], "good") == [Pair(0, 1, 0.0), Pair(0, 3, 0.0)]
    within = report(questions, scores)["ratings"]["good"]["within_prompts"]
    assert (within["pairs"], within["accuracy"]) == (12, 0.5)
    three = [*questions, rated(9, 2.0)]
    found = report(three, [*scores, np.array([0.5])])["ratings"]["good"]
    assert -1 <= found["rank_correlation_low"] <= found["rank_correlation"] <= found["rank_correlation_high"] <= 1
    assert "area_under_curve" not in found and found["random_rank_correlation"] == 0.0


def test_every_report_is_plain_json():
    questions, scores = world(50, 1.0)
    told = [*questions, voted(60, 1, 0, 1), voted(61, 1, 1, 0), rated(62, 1.0), rated(63, 1.0)]
    text = json.dumps(report(told, [*scores, np.ones(2), np.ones(2), np.ones(1), np.zeros(1)]), allow_nan=False)
    assert json.loads(text)["ratings"]["good"]["rank_correlation"] is None  # all grades are equal


def test_what_cannot_be_evaluated_says_so():
    questions = [asked(0, columns={"id": "a", "lang": "en"}), asked(1, columns={"id": "b", "lang": "de"})]
    scores = [np.array([1.0, 0.0])] * 2
    with pytest.raises(InputError, match=r"no such column.*id, lang"):
        report(questions, scores, by="language")
    many = [asked(i, columns={"id": i, "lang": "en"}) for i in range(101)]
    with pytest.raises(InputError, match=r"101 different values.*lang"):
        report(many, [np.array([1.0, 0.0])] * 101, by="id")
    with pytest.raises(InputError, match="no comparisons"):
        report([rated(0, 1.0), rated(1, 0.0)], [np.zeros(1)] * 2, by="lang")
    with pytest.raises(InputError, match="nothing to evaluate"):
        report([rated(0, 1.0)], [np.zeros(1)])
    with pytest.raises(InputError, match="nothing to evaluate"):
        report([], [])


@pytest.mark.parametrize("scores", [[np.zeros(2)], [np.zeros(2), np.zeros(3)], [np.zeros(2), np.array([1.0, np.nan])]])
def test_scores_that_do_not_fit_are_refused(scores):
    with pytest.raises(ValueError, match=r"expected one finite number each|each question needs its scores"):
        judged_pairs([asked(0), asked(1)], scores)


def test_only_ties_have_no_accuracy():
    found = report([asked(0, 0.5), asked(1, 0.5)], [np.array([1.0, 0.0])] * 2)
    assert found["accuracy"] == {"pairs": 2, "ties": 2, "prompts": 2} and found["calibration"]["calibration_error"] > 0
