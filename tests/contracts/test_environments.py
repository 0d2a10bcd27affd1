"""What every environment owes: the same key is the same episode, and every answer says whether it was the last."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import gymnasium
import numpy as np
import pytest

from tutelage.data.errors import InputError
from tutelage.environments.control import Control, named
from tutelage.environments.dialogue import Dialogue, each_alone
from tutelage.environments.language import Language
from tutelage.environments.mountain_car import MountainCar
from tutelage.environments.tetris import Tetris
from tutelage.trajectory import Environment, Finish, Key, Step, Turn

OPENINGS = [[5, 6, 7], [8, 9]]
KEYS = [Key(0, 0, 0), Key(0, 0, 1), Key(0, 1, 0), Key(1, 0, 0)]


def answer(said: list[list[int]]) -> list[int]:
    return [100 + len(said), sum(map(sum, said)) % 50]


class Buoy(gymnasium.Env):
    """One torque moves a buoy; it terminates beyond 1 and pays where it floats. Its torque box is ±0.5."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 1), np.float64)
    action_space = gymnasium.spaces.Box(-0.5, 0.5, (1,), np.float32)
    made = 0

    def __init__(self) -> None:
        Buoy.made += 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.uniform(-0.2, 0.2)
        return self.seen(), {}

    def step(self, action):
        self.place += float(action[0]) + self.np_random.normal(0, 0.01)
        return self.seen(), self.place, abs(self.place) > 1, False, {}

    def seen(self) -> np.ndarray:
        return np.array([[self.place], [1.0]])


@dataclass(frozen=True)
class Case:
    """An environment from scratch, actions that fit it, and how many of them an episode takes at most."""

    make: Callable[[], Environment]
    actions: tuple[Any, ...]
    longest: int

    def script(self) -> Iterator[Any]:
        return cycle(self.actions)


TURNS = (Turn((11, 12, 1), stopped=True), Turn((13, 1), stopped=True))
CASES = {
    "language": Case(lambda: Language(OPENINGS), TURNS, 1),
    "dialogue": Case(lambda: Dialogue(OPENINGS, each_alone(answer), turns=3), TURNS, 3),
    "cart-pole": Case(lambda: Control(named("CartPole-v1"), seed=7), (0, 1, 1), 500),
    "pendulum": Case(lambda: Control(named("Pendulum-v1"), seed=7), (np.array([0.3], np.float32),), 200),
    "tetris": Case(lambda: Tetris(7, most=12), (0, 5, 2), 12),
    "mountain-car": Case(lambda: MountainCar(7, most=60), (2, 0, 1), 60),
    "buoy": Case(lambda: Control(Buoy, seed=7), (np.array([0.2], np.float32),), 100),
}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


def played(environment: Environment, key: Key, case: Case) -> tuple[Any, list[Step]]:
    episode = environment.episode(key)
    steps: list[Step] = []
    script = case.script()
    while not steps or steps[-1].finish is None:
        steps.append(episode.step(next(script)))
        assert len(steps) <= case.longest
    return episode.first, steps


def same(one: tuple[Any, list[Step]], other: tuple[Any, list[Step]]) -> bool:
    def flat(played: tuple[Any, list[Step]]) -> list[Any]:
        first, steps = played
        return [np.asarray(first).tolist()] + [(np.asarray(s.observation).tolist(), s.reward, s.finish) for s in steps]

    return flat(one) == flat(other)


def test_the_same_key_is_the_same_episode_in_any_order_and_from_any_copy(case):
    environment = case.make()
    forth = {key: played(environment, key, case) for key in KEYS}
    back = {key: played(environment, key, case) for key in reversed(KEYS)}
    fresh = {key: played(case.make(), key, case) for key in KEYS}
    for key in KEYS:
        assert same(forth[key], back[key])
        assert same(forth[key], fresh[key])


def test_episodes_side_by_side_do_not_touch(case):
    environment = case.make()
    alone = {key: played(environment, key, case) for key in KEYS[:2]}
    episodes = {key: environment.episode(key) for key in KEYS[:2]}
    steps: dict[Key, list[Step]] = {key: [] for key in episodes}
    for action, _ in zip(case.script(), range(case.longest), strict=False):
        for key, episode in episodes.items():
            if not steps[key] or steps[key][-1].finish is None:
                steps[key].append(episode.step(action))
    for key, episode in episodes.items():
        assert same((episode.first, steps[key]), alone[key])


def test_only_the_last_step_has_a_finish_and_rewards_are_finite_numbers(case):
    _, steps = played(case.make(), KEYS[0], case)
    assert [step.finish for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert isinstance(steps[-1].finish, Finish)
    assert all(isinstance(step.reward, float) and np.isfinite(step.reward) for step in steps)


def test_an_observation_is_tokens_or_a_vector_throughout(case):
    first, steps = played(case.make(), KEYS[0], case)
    if isinstance(first, np.ndarray):
        assert first.ndim == 1
        assert all(s.observation.dtype == np.float32 and s.observation.shape == first.shape for s in steps)
    else:
        assert len(first) > 0
        assert all(isinstance(token, int) for step in steps for token in step.observation)
        assert all(len(step.observation) > 0 for step in steps[:-1])  # while it goes on, the other side speaks


@pytest.mark.parametrize("name", ["dialogue", "cart-pole", "pendulum", "buoy"])
def test_an_episode_that_is_over_takes_no_action(name):
    case = CASES[name]
    episode, script = case.make().episode(KEYS[0]), case.script()
    while episode.step(next(script)).finish is None:
        pass
    with pytest.raises(ValueError, match="over"):
        episode.step(next(script))


@pytest.mark.parametrize("limit", list(Finish))
@pytest.mark.parametrize("stopped", [True, False])
def test_a_cut_off_reply_is_truncated_and_a_dialogue_of_one_turn_is_language(stopped, limit):
    turn = Turn((11, 12), stopped)
    language = Language(OPENINGS, at_limit=limit).episode(KEYS[2])
    dialogue = Dialogue(OPENINGS, each_alone(answer), turns=1, at_limit=limit).episode(KEYS[2])
    assert language.first == dialogue.first == (8, 9)
    step = language.step(turn)
    assert step == dialogue.step(turn)
    assert step.finish is (Finish.TERMINATED if stopped else limit)


def test_the_other_side_hears_everything_and_cannot_rewrite_it():
    heard = []

    def other(said: list[list[int]]) -> list[int]:
        heard.append([list(turn) for turn in said])
        said[0].append(999)
        return [20 + len(said)]

    _, steps = played(Dialogue(OPENINGS, each_alone(other), turns=3), KEYS[2], CASES["dialogue"])
    assert [step.observation for step in steps] == [(22,), (24,), ()]
    first, second = [list(turn.tokens) for turn in TURNS]
    assert heard == [[[8, 9], first], [[8, 9], first, [22], second]]


def test_a_silent_other_side_is_an_input_error():
    with pytest.raises(InputError, match="said nothing"):
        Dialogue(OPENINGS, each_alone(lambda said: []), turns=2).episode(KEYS[0]).step(TURNS[0])
    with pytest.raises(InputError, match="at least 1"):
        Dialogue(OPENINGS, each_alone(answer), turns=0)


def test_every_key_and_seed_starts_elsewhere():
    starts = [
        tuple(Control(named("CartPole-v1"), seed=seed).episode(key).first.tolist()) for seed in (0, 1) for key in KEYS
    ]
    assert len(set(starts)) == len(starts)


def test_a_fallen_pole_terminates_and_a_time_limit_truncates():
    _, fallen = played(CASES["cart-pole"].make(), KEYS[0], Case(Buoy, (1,), 500))
    assert fallen[-1].finish is Finish.TERMINATED
    _, timed = played(CASES["pendulum"].make(), KEYS[0], CASES["pendulum"])
    assert len(timed) == 200 and timed[-1].finish is Finish.TRUNCATED


def test_where_both_are_true_the_episode_terminated():
    """A limit of as many steps as the pole stood: Gymnasium then says both, and a fallen pole has no future."""
    steps = len(played(CASES["cart-pole"].make(), KEYS[0], Case(Buoy, (1,), 500))[1])
    at_limit = Control(named("CartPole-v1", max_episode_steps=steps), seed=7)
    assert played(at_limit, KEYS[0], Case(Buoy, (1,), 500))[1][-1].finish is Finish.TERMINATED


def test_a_torque_beyond_its_box_is_brought_to_the_edge_and_a_body_is_built_once():
    far, edge = (Case(Buoy, (np.array([torque], np.float32),), 100) for torque in (7.0, 0.5))
    Buoy.made = 0
    environment = Control(Buoy, seed=1)
    assert same(played(environment, KEYS[0], far), played(environment, KEYS[0], edge))
    assert Buoy.made == 1


def test_buttons_may_be_numbered_from_anywhere():
    class Shifted(Buoy):
        action_space = gymnasium.spaces.Discrete(2, start=5)

        def step(self, action):
            return self.seen(), float(action), True, False, {}

    episodes = [Control(Shifted).episode(Key(0, 0)) for _ in range(2)]
    assert [episode.step(button).reward for button, episode in enumerate(episodes)] == [5.0, 6.0]


def test_without_gymnasium_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(InputError, match=r"tutelage\[control\]"):
        named("CartPole-v1")


def test_an_unknown_name_is_an_input_error():
    with pytest.raises(InputError, match="CartPull-v1"):
        named("CartPull-v1")
