"""Synthetic teachers: B-Pref's irrationalities, in its order, with thresholds that stay what they are."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking
from tutelage.feedback.store import Store
from tutelage.feedback.teachers import ClipTeacher, Teacher


def says(teacher: Teacher, first, second, typical: float = 1.0, seed: int = 0) -> str:
    chance = np.random.default_rng(seed)
    return teacher.says(np.array(first, float), np.array(second, float), typical, chance)


def shares(teacher: Teacher, first, second, typical: float = 1.0, times: int = 4000) -> dict[str, float]:
    found = [says(teacher, first, second, typical, seed) for seed in range(times)]
    return {each: found.count(each) / times for each in ("first", "second", "equal", "incomparable")}


def test_one_without_faults_prefers_the_larger_sum_and_calls_equal_ones_equal():
    assert says(Teacher(), [1, 2], [3, 1]) == "second" and says(Teacher(), [3, 1], [1, 2]) == "first"
    assert says(Teacher(), [1, 2], [2, 1]) == "equal"


def test_a_mistake_turns_the_answer_round_as_often_as_it_says():
    found = shares(Teacher(mistake=0.1), [2], [1])
    assert found["second"] == pytest.approx(0.1, abs=0.015) and found["first"] == pytest.approx(0.9, abs=0.015)


def test_noise_is_the_sigmoid_of_the_sharpness_times_the_difference():
    found = shares(Teacher(sharpness=0.5), [3, 0], [0, 1])
    assert found["first"] == pytest.approx(1 / (1 + np.exp(-1)), abs=0.025)


def test_a_myopic_teacher_weighs_what_came_last():
    early, late = [5, 0, 0], [0, 0, 3]
    assert says(Teacher(), early, late) == "first"
    assert says(Teacher(myopic=0.5), early, late) == "second"  # 5 · 0.25 < 3
    assert says(Teacher(myopic=0.9), early, late) == "first"  # 5 · 0.81 > 3


def test_thresholds_are_epsilon_times_a_typical_return_once():
    """With ε = 0.1 and a typical return of 100 they are 10; ε counted twice, as it was published, they would be 1."""
    assert says(Teacher(equal=0.1), [100], [95], typical=100.0) == "equal"
    assert says(Teacher(equal=0.1), [100], [89], typical=100.0) == "first"
    assert says(Teacher(skip=0.1), [9.5], [2], typical=100.0) == "incomparable"
    assert says(Teacher(skip=0.1), [10.5], [2], typical=100.0) == "first"


def test_a_teacher_that_is_asked_again_and_again_keeps_its_thresholds(tmp_path):
    """Twice in the course of a run, as when the published code lost a factor of ten in between."""
    teacher = ClipTeacher(
        Teacher(equal=0.1), {"a": np.array([100.0]), "b": np.array([95.0])}.__getitem__, typical=100.0
    )
    with Store.open(tmp_path / "f.db") as store:
        for number in range(3):
            names = store.ask([question(f"q{number}", "a", "b")])
            assert teacher.answer(store, names) == 1
        assert [each.comparison.best for each in store.labels()] == [None] * 3


def test_skip_comes_before_equal_and_equal_before_a_choice():
    both = Teacher(skip=0.5, equal=0.5, mistake=1.0)
    assert says(both, [4], [4.1], typical=10.0) == "incomparable"
    assert says(both, [6], [6.1], typical=10.0) == "equal"
    assert says(both, [60], [6], typical=10.0) == "second"  # the mistake


def test_equal_is_decided_by_the_whole_sums_also_of_a_myopic_teacher():
    assert says(Teacher(equal=0.2, myopic=0.1), [5, 0], [0, 5.5], typical=10.0) == "equal"


def test_negative_rewards_count_from_their_floor():
    """Two steps of −1 and −2, where the least is −10: 17 above the floor, of a typical 18."""
    assert says(Teacher(skip=0.5, floor=-10.0), [-1, -2], [-9, -9], typical=18.0) == "first"
    assert says(Teacher(skip=0.5, floor=-10.0), [-9, -8], [-9, -9], typical=18.0) == "incomparable"


def question(name: str, first: str, second: str) -> Asking:
    candidates = (Candidate(id=f"{name}-1", media=first), Candidate(id=f"{name}-2", media=second))
    return Asking(Context(), candidates, "clip", name)


def test_what_is_said_depends_on_the_clips_and_not_on_order_or_time(tmp_path):
    rewards = {f"c{i}": np.array([float(i)]) for i in range(40)}.__getitem__
    teacher = ClipTeacher(Teacher(mistake=0.3), rewards, seed=1)
    said = []
    for turn, order in enumerate((range(20), reversed(range(20)))):
        with Store.open(tmp_path / f"{turn}.db") as store:
            asked = [question(f"q{i}", *((f"c{i}", f"c{39 - i}")[:: 1 if turn else -1])) for i in order]
            names = store.ask(asked)
            assert teacher.answer(store, names) == 20
            found = {each.question: each.comparison for each in store.labels()}
            assert not store.verify()
        said.append({name: each.candidates[each.chosen()].media for name, each in found.items()})
    assert said[0] == said[1]
    right = sum(int(said[0][f"q{i}"] == f"c{max(i, 39 - i)}") for i in range(20))
    assert 8 <= right <= 18  # three in ten are mistakes


def test_what_cannot_be_compared_is_an_answer_and_no_preference(tmp_path):
    teacher = ClipTeacher(Teacher(skip=1.0), lambda name: np.zeros(3), typical=5.0)
    with Store.open(tmp_path / "f.db") as store:
        names = store.ask([question("q", "a", "b")])
        assert teacher.answer(store, names) == 1
        (label,) = store.labels()
    assert label.comparison.verdict.no_choice == "incomparable"
    assert label.comparison.verdict.rater_kind == "synthetic"
