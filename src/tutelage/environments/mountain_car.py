"""Mountain Car as TAMER plays it: Gymnasium's, with Gaussian features of where the car is, apart for each action.

A car too weak for the hill has to swing itself up; three actions: push left, roll, push right. In the papers a step
lasts about 150 ms, so that a person can follow.

Legend: A = 3 actions, F = 195 features: 8 × 8 Gaussians and a constant, for each action.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tutelage.environments.control import Control, Play, named
from tutelage.trajectory import Finish, Key, Step

GRID, WIDTH, BIAS, ACTIONS = 8, 0.08, 0.1, 3  # Knox's code: 8 to 40 a dimension, relative width 0.08, constant 0.1
FEATURES = ACTIONS * (GRID * GRID + 1)
LOW, HIGH = np.array([-1.2, -0.07]), np.array([0.6, 0.07])  # position and velocity
STEP_SECONDS = 0.15
_centres = np.linspace(0.0, 1.0, GRID)


@dataclass(frozen=True)
class Push:
    """What a person sees of one action. action: 0 left, 1 none, 2 right; position, velocity: before it."""

    position: float
    velocity: float
    action: int


def features(position: float, velocity: float) -> np.ndarray:
    """[A, F]: exp(−d²/2w²) to 8 × 8 centres of the state brought to [0, 1]², and 0.1; a block for each action."""
    place, speed = (np.array([position, velocity]) - LOW) / (HIGH - LOW)
    near = [np.exp(-((each - _centres) ** 2) / (2 * WIDTH**2)) for each in (place, speed)]
    block = np.append(np.outer(*near).ravel(), BIAS)
    found = np.zeros((ACTIONS, FEATURES))
    for action in range(ACTIONS):
        found[action, action * len(block) : (action + 1) * len(block)] = block
    return found


class Drive:
    """One attempt, until the car is on the hill or the steps are used up."""

    def __init__(self, play: Play) -> None:
        self.play, self.first = play, play.first
        self.position, self.velocity = (float(each) for each in play.first)
        self.steps = 0
        self.last: Push | None = None
        self.finish: Finish | None = None

    @property
    def features_AF(self) -> np.ndarray:
        return features(self.position, self.velocity)

    def step(self, action: int) -> Step:
        self.last = Push(self.position, self.velocity, int(action))
        found = self.play.step(action)
        self.position, self.velocity = (float(each) for each in found.observation)
        self.steps, self.finish = self.steps + 1, found.finish
        return found


@dataclass(frozen=True)
class MountainCar:
    """Attempts; a key starts at the same place each time. most: steps of one."""

    seed: int = 0
    most: int = 1000
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        make = named("MountainCar-v0", max_episode_steps=self.most)
        object.__setattr__(self, "control", Control(make, self.seed))

    def episode(self, key: Key) -> Drive:
        return Drive(self.control.episode(key))
