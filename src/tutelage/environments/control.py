"""P(s'|s, a) of a game or a body: the first reading is s_0, an action is a button or a torque, and after each comes
the next reading and what the step paid.

Any Gymnasium environment, one episode a key. Read it beside `language.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
        chance = np.random.SeedSequence([DOMAIN, self.seed, key.step, key.prompt, key.sample])
        first, _ = game.reset(seed=int(chance.generate_state(1, np.uint64)[0] >> 1))
        return Play(reading(first), game, self.idle)


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
        gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise InputError(f"{name} is no environment that gymnasium knows ({error}). Give a registered id.") from error
    return lambda: gymnasium.make(name, **options)
