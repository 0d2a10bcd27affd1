"""Two small bodies as arithmetic on whole arrays: many episodes cost hardly more than one.

The same physics, starts and rewards as Gymnasium's Pendulum-v1 and CartPole-v1, number by number, with one difference:
every episode has the same length. A pole that fell goes on falling and earns nothing, so that the length of an episode
does not tell its reward. What the learner observes of a cart beyond twice its bounds is the edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.environments.control import Moved, start_of
from tutelage.trajectory import Key


@dataclass(frozen=True)
class Physics:
    """start: generator -> [S] state; move: (states [N, S], actions) -> (states, rewards [N]); observe: -> [N, D]

    scene: states -> [N, ·] what is drawn of them. All in float64 until they are observed.
    """

    start: Callable[[np.random.Generator], np.ndarray]
    move: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
    observe: Callable[[np.ndarray], np.ndarray]
    scene: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Classic:
    """Episodes of one physics, all of `horizon` steps. hides: the reward goes to the side, as of `Bodies`."""

    physics: Physics
    horizon: int
    seed: int = 0
    hides: bool = False

    def episodes(self, keys: Sequence[Key]) -> Crowd:
        starts = [self.physics.start(np.random.default_rng(start_of(self.seed, key))) for key in keys]
        return Crowd(self, np.stack(starts))


@dataclass
class Crowd:
    """Running episodes. states_NS: where each of them is."""

    about: Classic
    states_NS: np.ndarray

    @property
    def observations_ND(self) -> np.ndarray:
        return self.about.physics.observe(self.states_NS)

    def step(self, actions_N: np.ndarray, running: Sequence[int]) -> Moved:
        """One action for each of the running episodes, which here are always all."""
        if len(running) != len(self.states_NS):
            raise ValueError(f"episodes of fixed length end together, got {len(running)} of {len(self.states_NS)}")
        self.states_NS, paid_N = self.about.physics.move(self.states_NS, actions_N)
        true_N = paid_N.astype(np.float32)
        shown_N = np.zeros_like(true_N) if self.about.hides else true_N
        return Moved(self.observations_ND, shown_N, true_N, np.zeros(len(true_N), dtype=bool))

    def scenes(self) -> np.ndarray:
        return self.about.physics.scene(self.states_NS).astype(np.float32)


# --- Pendulum-v1: state (angle from upright, angular velocity), torque in [-2, 2]

SPEED_LIMIT, TORQUE_LIMIT, GRAVITY, PENDULUM_STEP_S = 8.0, 2.0, 10.0, 0.05


def pendulum_start(chance: np.random.Generator) -> np.ndarray:
    high = np.array([math.pi, 1.0])
    return chance.uniform(low=-high, high=high)


def pendulum_move(states_N2: np.ndarray, torques_N1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reward −(angle² + 0.1 velocity² + 0.001 torque²), of the state that the torque met."""
    angle_N, speed_N = states_N2.T
    torque_N = np.clip(torques_N1[:, 0], -TORQUE_LIMIT, TORQUE_LIMIT)
    wrapped_N = (angle_N + math.pi) % (2 * math.pi) - math.pi
    cost_N = wrapped_N**2 + 0.1 * speed_N**2 + 0.001 * torque_N**2
    after_N = speed_N + (1.5 * GRAVITY * np.sin(angle_N) + 3.0 * torque_N) * PENDULUM_STEP_S
    after_N = np.clip(after_N, -SPEED_LIMIT, SPEED_LIMIT)
    return np.stack([angle_N + after_N * PENDULUM_STEP_S, after_N], axis=1), -cost_N


def pendulum_observed(states_N2: np.ndarray) -> np.ndarray:
    angle_N, speed_N = states_N2.T
    return np.stack([np.cos(angle_N), np.sin(angle_N), speed_N], axis=1).astype(np.float32)


PENDULUM = Physics(pendulum_start, pendulum_move, pendulum_observed, lambda states_NS: states_NS[:, :1])

# --- CartPole-v1: state (position, velocity, angle, angular velocity), button 0 pushes left, 1 right

FORCE, CART_GRAVITY, CART_STEP_S = 10.0, 9.8, 0.02
POLE_MASS, TOTAL_MASS, HALF_POLE = 0.1, 1.1, 0.5
POSITION_LIMIT, ANGLE_LIMIT = 2.4, 12 * 2 * math.pi / 360
EDGE = np.array([2 * POSITION_LIMIT, np.inf, 2 * ANGLE_LIMIT, np.inf])


def cart_pole_start(chance: np.random.Generator) -> np.ndarray:
    return chance.uniform(low=-0.05, high=0.05, size=(4,))


def cart_pole_move(states_N4: np.ndarray, buttons_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reward 1 while the pole stands within 12° and the cart within its bounds, else 0."""
    _, velocity_N, angle_N, turning_N = states_N4.T
    force_N = np.where(buttons_N == 1, FORCE, -FORCE)
    cosine_N, sine_N = np.cos(angle_N), np.sin(angle_N)
    pushed_N = (force_N + POLE_MASS * HALF_POLE * turning_N**2 * sine_N) / TOTAL_MASS
    inertia_N = HALF_POLE * (4.0 / 3.0 - POLE_MASS * cosine_N**2 / TOTAL_MASS)
    turned_N = (CART_GRAVITY * sine_N - cosine_N * pushed_N) / inertia_N
    moved_N = pushed_N - POLE_MASS * HALF_POLE * turned_N * cosine_N / TOTAL_MASS
    change_N4 = np.stack([velocity_N, moved_N, turning_N, turned_N], axis=1)
    after_N4 = states_N4 + CART_STEP_S * change_N4
    stands_N = (np.abs(after_N4[:, 0]) <= POSITION_LIMIT) & (np.abs(after_N4[:, 2]) <= ANGLE_LIMIT)
    return after_N4, stands_N.astype(np.float64)


def cart_pole_observed(states_N4: np.ndarray) -> np.ndarray:
    return np.clip(states_N4, -EDGE, EDGE).astype(np.float32)


CART_POLE = Physics(cart_pole_start, cart_pole_move, cart_pole_observed, lambda states_NS: states_NS[:, [0, 2]])
