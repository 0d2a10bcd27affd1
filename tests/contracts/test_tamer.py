"""TAMER's learner and its scripted trainers: small cases by hand, the limits, and what a trainer may know."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.algorithms.sarsa import SarsaConfig, sarsa
from tutelage.algorithms.tamer import (
    AGGREGATE,
    EXTRAPOLATED,
    INDIVIDUAL,
    SILENCE_COUNTS,
    Expected,
    Lesson,
    Trainee,
)
from tutelage.environments import mountain_car, tetris
from tutelage.feedback import trainers
from tutelage.formulas.credit import by_uniform, present_step, previous_step
from tutelage.trajectory import Finish, Key, Step


def trainee(features: int = 2, learning_rate: float = 0.1, **changes) -> Trainee:
    return Trainee(Expected.nothing(features, learning_rate), np.random.default_rng(0), **changes)


def test_one_signal_by_hand():
    """w += α·c·(h − w·φ)·φ for each step that the signal may be about."""
    agent = trainee(credit=by_uniform)
    agent.expected.weights_F = np.array([0.5, 0.0])
    agent.began(np.array([1.0, 0.0]), 0.0)
    agent.began(np.array([1.0, 2.0]), 0.5)  # a signal at 1.0 is a quarter about the first, three about this one
    about = agent.hear(1.0, 1.0)
    assert [credit for _, credit in about] == pytest.approx([0.25, 0.75])
    first = 0.5 + 0.1 * 0.25 * (1 - 0.5)
    assert agent.expected.weights_F == pytest.approx([first + 0.075 * (1 - first), 2 * 0.075 * (1 - first)])


def test_without_delay_it_is_regression_step_by_step():
    """Signals at once, all credit to the present step: the LMS rule on (φ, h), whatever the scheme of labels."""
    chance = np.random.default_rng(1)
    features_TF, labels_T = chance.normal(size=(50, 3)), chance.normal(size=50)
    weights = np.zeros(3)
    for features, label in zip(features_TF, labels_T):
        weights += 0.02 * (label - weights @ features) * features
    for scheme in (INDIVIDUAL, AGGREGATE, EXTRAPOLATED, SILENCE_COUNTS):
        agent = trainee(3, 0.02, credit=present_step, labels=scheme)
        for number, (features, label) in enumerate(zip(features_TF, labels_T)):
            agent.began(features, 100.0 * number)
            agent.hear(label, 100.0 * number)
        agent.train(False)
        assert agent.expected.weights_F == pytest.approx(weights, abs=1e-12)


def test_a_noiseless_oracle_is_learned():
    chance, truth = np.random.default_rng(2), np.array([1.0, -2.0, 0.5])
    agent = trainee(3, 0.05, credit=present_step)
    for number in range(2000):
        features = chance.normal(size=3)
        agent.began(features, float(number))
        agent.hear(float(truth @ features), float(number))
    assert agent.expected.weights_F == pytest.approx(truth, abs=1e-6)


def test_a_step_never_goes_past_its_label():
    expected = Expected.nothing(2, 1.0)
    features = np.array([30.0, 40.0])
    for label in (1.0, -1.0, 10.0):
        expected.learn(features, label, 1.0)
        assert expected.of(features) == pytest.approx(label)


def test_labels_by_scheme_by_hand():
    """A step that gets 0.75 of +1 and, later, 0.75 of −3: sum −1.5, extrapolated −1."""
    labels = {}
    for scheme in (AGGREGATE, EXTRAPOLATED):
        agent = trainee(1, 1.0, credit=by_uniform, labels=scheme)
        agent.began(np.array([0.0]), 0.0)
        agent.began(np.array([1.0]), 0.5)
        agent.hear(1.0, 1.0)
        agent.hear(-3.0, 1.0)
        assert agent.expected.weights_F == pytest.approx([0.0])  # nothing before the window has closed
        agent.began(np.array([0.0]), 1.0)
        agent.began(np.array([0.0]), 9.0)
        labels[scheme] = float(agent.expected.weights_F[0])
    assert labels[AGGREGATE] == pytest.approx(0.75 - 2.25)
    assert labels[EXTRAPOLATED] == pytest.approx((0.75 - 2.25) / 1.5)


def test_silence_is_a_label_of_nought_only_where_that_is_chosen():
    for scheme, learned in ((INDIVIDUAL, 1.0), (AGGREGATE, 1.0), (SILENCE_COUNTS, 0.5)):
        agent = trainee(1, 0.5, labels=scheme)
        agent.expected.weights_F = np.array([1.0])
        agent.began(np.array([1.0]), 0.0)
        agent.train(False)
        assert agent.expected.weights_F == pytest.approx([learned])


def test_nothing_is_learned_while_training_is_off_nor_about_what_was_done_then():
    agent = trainee(1, 0.5, credit=previous_step)
    agent.train(False)
    agent.began(np.array([1.0]), 0.0)
    assert agent.hear(1.0, 0.5) == []
    agent.train(True)
    agent.began(np.array([1.0]), 1.0)
    assert agent.hear(1.0, 1.5) == [] and agent.expected.weights_F == 0.0
    agent.began(np.array([1.0]), 2.0)
    agent.hear(1.0, 2.5)
    assert agent.expected.weights_F > 0.0


def test_among_equals_it_draws_and_among_others_it_takes_the_best():
    agent = trainee(2)
    features_AF = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert {agent.choose(features_AF) for _ in range(100)} == {0, 1, 2}
    agent.expected.weights_F = np.array([-1.0, 1.0])
    assert {agent.choose(features_AF) for _ in range(10)} == {1}


class Line:
    """Ten steps; action 1 is right."""

    def __init__(self) -> None:
        self.features_AF, self.done, self.finish, self.last = np.eye(2), 0, None, 0

    def step(self, action: int) -> Step:
        self.last, self.done = action, self.done + 1
        self.finish = Finish.TERMINATED if self.done == 10 else None
        return Step(None, float(action), self.finish)


def test_a_lesson_delivers_signals_in_order_of_their_times_and_across_games():
    heard: list[tuple[float, float]] = []

    class Recorder(Trainee):
        def hear(self, value: float, at: float):
            heard.append((value, at))
            return super().hear(value, at)

    agent = Recorder(Expected.nothing(2, 0.1), np.random.default_rng(0))
    late = iter([5.2, 0.4, 30.0] + [0.0] * 100)
    lesson = Lesson(agent, lambda game, began, until: [(1.0, began + next(late))], lambda: 1.0)
    lesson.play(Line())
    lesson.play(Line())
    times = [at for _, at in heard]
    assert times == sorted(times) and 5.2 in times and 1.4 in times and not any(at > 20 for at in times)
    assert [at for _, at in lesson.waiting] == [32.0]


def test_scripted_trainers_speak_of_a_half_are_late_and_err_as_they_should():
    trainer = trainers.Trainer(lambda game: 1.0, np.random.default_rng(0))
    said = [(began, each) for began in range(20_000) for each in trainer.say(None, float(began), began + 1.0)]
    assert 0.49 < len(said) / 20_000 < 0.51 and trainer.signals == len(said)
    assert np.mean([value < 0 for _, (value, _) in said]) == pytest.approx(0.15, abs=0.01)
    late = np.array([at - began for began, (_, at) in said])
    assert late.min() > 0 and late.mean() == pytest.approx(0.5 + 0.56, abs=0.02)


def test_a_trainer_of_tetris_knows_the_last_placement_and_nothing_else():
    """What it says depends on the boards before and after: not on the next piece, the score, or other placements."""

    class Glimpse:
        def __init__(self, last) -> None:
            self.last = last

    game = tetris.Tetris(1).episode(Key(0, 0))
    for _ in range(12):
        game.step(len(game.options) // 2)
        assert trainers.tidier(Glimpse(game.last)) == trainers.tidier(game)


def test_el_tetris_by_hand():
    """Transitions, holes and wells of an empty floor, of an I lying on it, and of a pit two deep."""
    found = tetris.options(tetris.Board.empty(), "I")
    [flat] = [a for a in range(len(found)) if tetris.placed(found, a).cells == tuple((0, c) for c in range(4))]
    before = trainers.roughness(tetris.Board.empty())
    after = trainers.roughness(found.after(flat))
    assert before == (2 * 20, 10, 0, 0)
    assert after == (2 * 20, 10, 0, 0)  # wall-filled-empty-wall is two again; floor-filled none, filled-empty one
    pit = tetris.Board.drawn_as("#.########\n#.########")
    assert trainers.roughness(pit) == (2 * 18 + 4, 9 + 1, 0, 1 + 2)
    roof = tetris.Board.drawn_as("####......\n..........")
    assert trainers.roughness(roof) == (2 * 20, 6 + 3 * 4, 4, 0)  # empty columns 1 each, roofed ones floor, under, over


def test_usual_praises_what_is_better_than_the_median_of_what_it_saw():
    usual = trainers.Usual(lambda game: game)
    assert [usual(each) > 0 for each in (1.0, 3.0, 2.0, 2.5)] == [True, True, False, True]


def test_the_car_is_praised_for_pushing_as_it_rolls():
    class Seen:
        def __init__(self, velocity: float, action: int) -> None:
            self.last = mountain_car.Push(-0.5, velocity, action)

    for velocity, good in ((0.02, {2}), (-0.02, {0}), (0.0, {0, 2}), (0.001, {0, 2})):
        assert {action for action in range(3) if trainers.pumps(Seen(velocity, action)) > 0} == good
    drive = mountain_car.MountainCar(0).episode(Key(0, 0))
    drive.step(2)
    assert drive.last.velocity == 0.0 and drive.velocity > 0.0  # what is judged is the state in which it was done


def test_features_of_the_car():
    at_centre = mountain_car.features(-1.2, -0.07)
    assert at_centre.shape == (3, 195)
    assert at_centre[0, 0] == pytest.approx(1.0) and at_centre[0, 64] == 0.1
    assert at_centre[1, :65].sum() == 0.0 and at_centre[1, 65] == pytest.approx(1.0)
    near = np.exp(-((1 / 7) ** 2) / (2 * 0.08**2))
    assert at_centre[0, 1] == pytest.approx(near) and at_centre[0, 8] == pytest.approx(near)


def test_sarsa_by_hand_and_what_it_finds():
    """Two steps of one action: δ = r + γQ' − Q with traces; and in ten steps it learns which action pays."""

    class Two(Line):
        def step(self, action: int) -> Step:
            self.done += 1
            self.finish = Finish.TERMINATED if self.done == 2 else None
            self.features_AF = np.array([[0.0, 1.0]])
            return Step(None, float(self.done), self.finish)

    game = Two()
    game.features_AF = np.array([[1.0, 0.0]])
    found = sarsa(SarsaConfig(0.1, 0.9, 0.5, 0.0), game, np.zeros(2), np.random.default_rng(0))
    # first: δ = 1, w = (0.1, 0); then e = (0.45, 1), δ = 2, w = (0.1 + 0.1·2·0.45, 0.2)
    assert found == pytest.approx([0.19, 0.2])
    weights, chance = np.zeros(2), np.random.default_rng(0)
    for _ in range(50):
        weights = sarsa(SarsaConfig(0.1, 0.0, 0.0, 0.2), Line(), weights, chance)
    assert weights == pytest.approx([0.0, 1.0], abs=0.05)


def test_sarsa_does_not_run_away():
    """On a steep feature the step is held back (Dabney & Barto 2012)."""
    weights, chance = np.zeros(tetris.FEATURES), np.random.default_rng(0)
    for number in range(5):
        weights = sarsa(SarsaConfig(1e-3), tetris.Tetris(0, 300).episode(Key(0, number)), weights, chance)
    assert np.abs(weights).max() < 1e3
