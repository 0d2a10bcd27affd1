"""P(s'|s, a) of a game or a body: the first reading is s_0, an action is a button or a torque, and after each comes
the next reading and what the step paid.

Any Gymnasium environment, one episode a key: alone (`Control`), or many that advance together (`Bodies`), also with a
fixed length and with a reward that the learner does not see. Read it beside `language.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.data.errors import InputError
from tutelage.trajectory import Finish, Key, Step

if TYPE_CHECKING:
    import gymnasium

Make = Callable[[], "gymnasium.Env[Any, Any]"]
DOMAIN = 0xE7  # keeps the starts of episodes apart from the sampler's noise, should both have the same seed


@dataclass
class Play:
    """One running episode: a game that waits for an action."""

    first: np.ndarray
    game: gymnasium.Env[Any, Any]
    idle: list[gymnasium.Env[Any, Any]]
    over: bool = False

    def step(self, action: Any) -> Step:
        if self.over:
            raise ValueError("this episode is over: it takes no further action")
        observation, reward, terminated, truncated, _ = self.game.step(within(self.game.action_space, action))
        finish = Finish.TERMINATED if terminated else Finish.TRUNCATED if truncated else None
        if finish is not None:
            self.over = True
            self.idle.append(self.game)
        return Step(reading(observation), float(reward), finish)


@dataclass(frozen=True)
class Control:
    """Episodes of a Gymnasium environment; every key starts from its own draw of the initial state.

    make: a fresh environment, its time limit included (`named` for those with an id)
    seed: with the key, decides the initial state and the environment's own chance
    """

    make: Make
    seed: int = 0
    idle: list[gymnasium.Env[Any, Any]] = field(default_factory=list, repr=False, compare=False)

    def episode(self, key: Key) -> Play:
        game = self.idle.pop() if self.idle else self.make()  # a body can take a tenth of a second to build
        first, _ = game.reset(seed=start_of(self.seed, key))
        return Play(reading(first), game, self.idle)


@dataclass(frozen=True)
class Moved:
    """What one step brought to N episodes.

    observations_ND: [N, D] float32      rewards_N: [N] what the learner is paid
    true_rewards_N: [N] what the environment is worth to whoever judges; the learner never reads it
    terminated_N: [N] bool, True where the episode is over for good
    """

    observations_ND: np.ndarray
    rewards_N: np.ndarray
    true_rewards_N: np.ndarray
    terminated_N: np.ndarray


@dataclass(frozen=True)
class Bodies:
    """Episodes of a Gymnasium environment that advance together, each from its own key.

    make, seed: as of `Control`; the same key starts in the same state
    horizon: steps after which an episode is truncated
    ends: whether the environment's terminations end an episode. Without them every episode has the same length, which
        then tells nothing of the reward (Christiano et al. 2017, §3.1.1)
    hides: the environment's reward goes to the side, and the learner is paid 0
    pays: what a step from this observation by this action is worth, instead of the environment's own reward
    """

    make: Make
    horizon: int
    seed: int = 0
    ends: bool = True
    hides: bool = False
    pays: Callable[[np.ndarray, np.ndarray], float] | None = None
    idle: list[gymnasium.Env[Any, Any]] = field(default_factory=list, repr=False, compare=False)

    def episodes(self, keys: Sequence[Key]) -> Troupe:
        while len(self.idle) < len(keys):
            self.idle.append(self.make().unwrapped)  # its wrappers count and check once more, in every step
        games = self.idle[: len(keys)]
        first = [game.reset(seed=start_of(self.seed, key))[0] for game, key in zip(games, keys)]
        return Troupe(self, games, np.stack([reading(each) for each in first]))


@dataclass
class Troupe:
    """Running episodes of `Bodies`. observations_ND: where each of them is."""

    about: Bodies
    games: list[gymnasium.Env[Any, Any]]
    observations_ND: np.ndarray

    def step(self, actions_N: np.ndarray, running: Sequence[int]) -> Moved:
        """One action for each of the running episodes, by their places."""
        paid, over = [], []
        for place, action in zip(running, actions_N, strict=True):
            game, before = self.games[place], self.observations_ND[place].copy()
            taken = within(game.action_space, action)
            observation, reward, terminated, _, _ = game.step(taken)
            self.observations_ND[place] = reading(observation)
            paid.append(float(reward) if self.about.pays is None else self.about.pays(before, np.asarray(taken)))
            over.append(bool(terminated) and self.about.ends)
        true = np.array(paid, dtype=np.float32)
        shown = np.zeros_like(true) if self.about.hides else true
        return Moved(self.observations_ND[running], shown, true, np.array(over))

    def scenes(self) -> np.ndarray:
        """[N, S] float32: what somebody who draws them must know; a body's joints, else what is observed."""
        data = [getattr(game, "data", None) for game in self.games]
        if all(hasattr(each, "qpos") for each in data):
            return np.stack([np.asarray(each.qpos, dtype=np.float32) for each in data])  # pyright: ignore
        return self.observations_ND.copy()


def start_of(seed: int, key: Key) -> int:
    """What an episode's environment is seeded with."""
    chance = np.random.SeedSequence([DOMAIN, seed, key.step, key.prompt, key.sample])
    return int(chance.generate_state(1, np.uint64)[0] >> 1)


def reading(observation: Any) -> np.ndarray:
    """[D] float32, whatever shape the environment's array has."""
    return np.asarray(observation, dtype=np.float32).ravel()


def within(space: Any, action: Any) -> Any:
    """The action as the environment takes it: an index from its first one, or torques brought to the edge of their box.

    The trajectory keeps the action that the policy drew: that one has the log-prob.
    """
    if hasattr(space, "low"):
        return np.clip(np.asarray(action, dtype=space.dtype).reshape(space.shape), space.low, space.high)
    return int(space.start) + int(action)


def named(name: str, **options: Any) -> Make:
    """The maker of a registered environment: `Control(named("CartPole-v1"))`."""
    try:
        import gymnasium
    except ImportError as error:
        raise InputError(
            f"{name} needs gymnasium, which is not installed. Install it with: pip install 'tutelage[control]'"
        ) from error
    try:
        entry = str(gymnasium.spec(name).entry_point)
    except gymnasium.error.Error as error:
        raise InputError(f"{name} is no environment that gymnasium knows ({error}). Give a registered id.") from error

    def make() -> gymnasium.Env[Any, Any]:
        if "mujoco" in entry:
            heed_mujoco()
        return gymnasium.make(name, **options)

    return make


@cache
def heed_mujoco() -> None:
    """From now on MuJoCo's warnings come once each, on stderr; by itself it repeats them for every body that it builds,
    and writes MUJOCO_LOG.TXT wherever it is run. That a body's file uses words that will go is no matter of a run's.
    """
    try:
        import mujoco
    except ImportError:  # making the body will say what to install
        return
    said: set[str] = set()

    def hear(text: str) -> None:  # must not raise: MuJoCo would end the process
        if "deprecated" not in text and text not in said:
            said.add(text)
            print(f"MuJoCo: {text.strip()}", file=sys.stderr)

    mujoco.set_mju_user_warning(hear)  # pyright: ignore  # a compiled module
