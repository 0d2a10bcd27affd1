"""What can be learned from preferences over clips: bodies with episodes of one length, and settings that suit them.

One length for all episodes, and no terminations: else how long an episode lasts would tell the learner how good it was
(Christiano et al. 2017, §3.1.1). Where a fall ended the episode, the body lies there and earns nothing for standing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.data.errors import InputError
from tutelage.environments import classic
from tutelage.environments.classic import Classic, Physics
from tutelage.environments.control import Bodies, Make, named
from tutelage.policies.control import Categorical, Gaussian
from tutelage.rewards.control import Buttons, Inputs, Torques
from tutelage.training.control import ControlModels, unmoved
from tutelage.training.engine import LOCAL, Engine
from tutelage.training.train import prepare
from tutelage.trajectory import Key, Learner, Sampler, group_keys

SETTINGS = PPOConfig(
    kl_coefficient=0.0,
    value_clip_range=1e9,
    max_grad_norm=0.5,
    epochs=10,
    gae_lambda=0.95,
    learning_rate=1e-3,
    value_learning_rate=1e-3,
    tokens_at_once=10**9,
)


@dataclass(frozen=True)
class ControlTask:
    """A body and how it is learned.

    environment: seed -> episodes that hide their reward; horizon: steps of each
    piece: steps of a trajectory that PPO learns from; clip_steps: of a clip that people see
    draws, seconds_per_step, goal: how a clip is drawn, how fast it plays, what people are asked to prefer
    floor: the least that a step earns (feedback.teachers); scaled: whether observations are brought to one scale
    width: of the hidden layers of policy and value; deviation: of a torque, at first
    """

    name: str
    environment: Callable[[int], Any]
    horizon: int
    observation_size: int
    actions: Buttons | Torques
    ppo: PPOConfig
    piece: int
    clip_steps: int
    draws: str
    seconds_per_step: float
    goal: str
    floor: float = 0.0
    width: int = 64
    deviation: float = 1.0
    scaled: bool = False

    def policy(self, seed: int) -> Categorical | Gaussian:
        alike: dict[str, Any] = {"width": self.width, "seed": seed, "scaled": self.scaled}
        if isinstance(self.actions, Buttons):
            return Categorical(self.observation_size, self.actions.count, **alike)
        return Gaussian(self.observation_size, self.actions.size, deviation=self.deviation, **alike)

    @property
    def inputs(self) -> Inputs:
        return Inputs(self.observation_size, self.actions)

    def steps_of(self, ppo: PPOConfig) -> int:
        """Steps of the environment that a whole run takes."""
        return ppo.steps * ppo.trajectories * self.horizon


@dataclass(frozen=True)
class Learning:
    """Who learns: a policy that is its own critic, with its sampler and its optimizer."""

    task: ControlTask
    config: PPOConfig
    models: ControlModels
    sampler: Sampler
    learner: Learner

    @staticmethod
    def of(task: ControlTask, config: PPOConfig, engine: Engine = LOCAL) -> Learning:
        parts = prepare(PPO, config, None, control_models(task, config), engine)
        return Learning(task, config, parts.models, parts.sampler, parts.learner)

    @property
    def policy(self) -> Any:
        return self.models.policy

    def keys(self, step: int) -> list[Key]:
        return episodes_of(self.config, step)


def episodes_of(config: PPOConfig, step: int) -> list[Key]:
    """Of a step: a body has one start, and each sample is another episode from it."""
    return group_keys(step, [0], config.trajectories)


def control_models(task: ControlTask, config: PPOConfig) -> ControlModels:
    policy = task.policy(config.seed)
    return ControlModels(policy, critic=policy, reference=unmoved, piece=task.piece)


def with_steps(task: ControlTask, steps: int) -> PPOConfig:
    """The task's settings for about so many steps of the environment; 0: its own number."""
    if steps <= 0:
        return task.ppo
    return replace(task.ppo, steps=max(1, round(steps / (task.ppo.trajectories * task.horizon))))


def _classic(physics: Physics, horizon: int) -> Callable[[int], Any]:
    return lambda seed: Classic(physics, horizon, seed, hides=True)


def _body(make: Make, horizon: int, pays: Callable[..., float] | None = None) -> Callable[[int], Any]:
    return lambda seed: Bodies(make, horizon, seed, ends=False, hides=True, pays=pays)


def pendulum() -> ControlTask:
    return ControlTask(
        name="Pendulum-v1",
        environment=_classic(classic.PENDULUM, 200),
        horizon=200,
        observation_size=3,
        actions=Torques((-classic.TORQUE_LIMIT,), (classic.TORQUE_LIMIT,)),
        ppo=replace(
            SETTINGS, steps=32, trajectories=16, minibatches=8, gamma=0.97, learning_rate=2e-3, value_learning_rate=2e-3
        ),
        piece=50,
        clip_steps=25,
        draws="pendulum",
        seconds_per_step=classic.PENDULUM_STEP_S,
        goal="Prefer the clip in which the rod is nearer to standing straight up, and moves less once it is there.",
        floor=-16.2736044,
        deviation=1.5,  # the rod is swung up by chance first
    )


def cart_pole() -> ControlTask:
    return ControlTask(
        name="CartPole-v1",
        environment=_classic(classic.CART_POLE, 200),
        horizon=200,
        observation_size=4,
        actions=Buttons(2),
        ppo=replace(
            SETTINGS,
            steps=32,
            trajectories=16,
            minibatches=8,
            gamma=0.98,
            gae_lambda=0.9,
            learning_rate=3e-3,
            value_learning_rate=3e-3,
        ),
        piece=50,
        clip_steps=25,
        draws="cart-pole",
        seconds_per_step=classic.CART_STEP_S,
        goal="Prefer the clip in which the pole stands longer, with the cart on its track.",
    )


# Little data and many updates, as rl-baselines3-zoo has it for these bodies; a wide network carries most of it.
BODY_PPO = replace(SETTINGS, steps=300, trajectories=1, minibatches=10, value_learning_rate=3e-4)
# Of one episode a batch learns faster, and loses its gait on answers in the end: after a fall it has little else to
# learn from than a body on its back.
HALF_CHEETAH_PPO = replace(
    BODY_PPO,
    steps=75,
    trajectories=4,
    minibatches=40,
    epochs=20,
    gamma=0.98,
    gae_lambda=0.92,
    clip_range=0.1,
    learning_rate=2e-4,
)
HOPPER_PPO = replace(BODY_PPO, epochs=10, gamma=0.999, gae_lambda=0.99, learning_rate=2e-4)
FORWARD = "Prefer the clip in which the body gets farther to the right."


def mujoco(
    name: str, ppo: PPOConfig, *, piece: int, clip_steps: int, seconds_per_step: float, **options: Any
) -> ControlTask:
    """A body of MuJoCo that never ends its episode, under its own reward."""
    make = named(name, disable_env_checker=True, **options)
    game = make()
    observed, box = game.observation_space, game.action_space
    assert observed.shape is not None  # a body's observation is a box
    game.close()
    return ControlTask(
        name=name,
        environment=_body(make, 1000),
        horizon=1000,
        observation_size=int(np.prod(observed.shape)),
        actions=Torques(tuple(map(float, box.low)), tuple(map(float, box.high))),  # pyright: ignore
        ppo=ppo,
        piece=piece,
        clip_steps=clip_steps,
        draws=name,
        seconds_per_step=seconds_per_step,
        goal=FORWARD,
        width=256,
        deviation=0.135,
        scaled=True,
    )


def half_cheetah() -> ControlTask:
    return mujoco("HalfCheetah-v5", HALF_CHEETAH_PPO, piece=50, clip_steps=30, seconds_per_step=0.05)


def hopper() -> ControlTask:
    return mujoco(
        "Hopper-v5", HOPPER_PPO, piece=200, clip_steps=60, seconds_per_step=0.008, terminate_when_unhealthy=False
    )


def hopper_backflip() -> ControlTask:
    task = hopper()
    make = named("Hopper-v5", disable_env_checker=True, terminate_when_unhealthy=False)
    return replace(
        task,
        name="HopperBackflip",
        environment=_body(make, 1000, backflip),
        clip_steps=100,
        goal="Prefer the clip in which the hopper comes closer to a backflip, landing upright.",
    )


def backflip(observation: np.ndarray, action: np.ndarray) -> float:
    """The reward by hand that people's answers are set beside (Christiano et al. 2017's backflip, as published).

    Observed are height, angle and joints 0-4, then their speeds 5-10.
    """
    backroll, height, backslide = -float(observation[7]), float(observation[0]), -float(observation[5])
    pushing = float(action[0] * observation[8] + action[1] * observation[9] + action[2] * observation[10])
    return backroll * (1.0 + 0.3 * height + 0.1 * pushing + 0.05 * backslide)


TASKS: dict[str, Callable[[], ControlTask]] = {
    "Pendulum-v1": pendulum,
    "CartPole-v1": cart_pole,
    "HalfCheetah-v5": half_cheetah,
    "Hopper-v5": hopper,
    "HopperBackflip": hopper_backflip,
}


def task_of(name: str) -> ControlTask:
    """InputError for a name that is none of them, or where MuJoCo is not installed."""
    if name not in TASKS:
        raise InputError(f"--env {name}: there is no such task here. There are: {', '.join(TASKS)}.")
    try:
        return TASKS[name]()
    except ImportError as error:
        raise InputError(
            f"--env {name} needs MuJoCo, which is not installed. Install it with: pip install 'tutelage[control]'"
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("gymnasium"):
            raise InputError(
                f"--env {name} cannot be built ({error}). Install what it needs: pip install 'tutelage[control]'"
            ) from error
        raise
