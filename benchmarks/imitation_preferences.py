"""PreferenceComparisons of imitation 1.0.1 on our tasks, for preferences.py. Runs in an environment of its own.

Reads {"env", "steps", "labels", "seed", "episodes", "fragment", "horizon"}; answers with the mean true return of fresh
episodes, sampled, the seconds of learning, the processor's seconds, and the steps that the environments made. The
settings are those of its tutorial (an ensemble of three with bagging and queries by the variance of its members, which
the tutorial leaves out), the agent's those of stable-baselines3's zoo. An iteration is a rollout of the policy, since
one that ended within a rollout would be rounded up to it; one more is trained than `num_iterations` says. So the
policy learns from as many steps as ours. The episodes that it explores for questions come on top.
"""

from __future__ import annotations

import json
import sys
import time

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from imitation.algorithms import preference_comparisons as pc
from imitation.data.wrappers import RolloutInfoWrapper
from imitation.rewards.reward_nets import AddSTDRewardWrapper, BasicRewardNet, NormalizedRewardNet, RewardEnsemble
from imitation.util.networks import RunningNorm
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

LIMIT = np.array([4.8, np.inf, 24 * 2 * np.pi / 360, np.inf], dtype=np.float32)


class UprightForLong(CartPoleEnv):
    """CartPole of one length: 1 while the pole stands and the cart is within its bounds, 0 afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = gym.spaces.Box(-LIMIT, LIMIT, dtype=np.float32)

    def step(self, action):
        self.steps_beyond_terminated = None
        observed, _, fallen, _, info = super().step(action)
        return np.clip(observed, -LIMIT, LIMIT), float(not fallen), False, False, info


class Counted(gym.Wrapper):
    """Counts what all of them do."""

    steps = 0

    def step(self, action):
        Counted.steps += 1
        return super().step(action)


SETTINGS = {
    "CartPole-v1": (
        8,
        {
            "n_steps": 512,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "learning_rate": 1e-3,
        },
    ),
    "Pendulum-v1": (
        4,
        {
            "n_steps": 1024,
            "batch_size": 64,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "n_epochs": 10,
            "learning_rate": 1e-3,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
    ),
}


def games(env: str, seed: int, count: int, horizon: int) -> DummyVecEnv:
    def make() -> gym.Env:
        game = UprightForLong() if env == "CartPole-v1" else gym.make(env).unwrapped
        return Counted(RolloutInfoWrapper(gym.wrappers.TimeLimit(game, horizon)))

    found = DummyVecEnv([make] * count)
    found.seed(seed)
    return found


def main() -> None:
    asked = json.loads(sys.stdin.read())
    torch.set_num_threads(1)
    rng = np.random.default_rng(asked["seed"])
    torch.manual_seed(asked["seed"])
    count, settings = SETTINGS[asked["env"]]
    venv = games(asked["env"], asked["seed"], count, asked["horizon"])
    rollout = count * settings["n_steps"]
    iterations = max(1, round(asked["steps"] / rollout) - 1)
    began, worked = time.perf_counter(), time.process_time()
    spaces = (venv.observation_space, venv.action_space)
    members = [
        NormalizedRewardNet(BasicRewardNet(*spaces, normalize_input_layer=RunningNorm), RunningNorm) for _ in range(3)
    ]
    ensemble = RewardEnsemble(*spaces, members)
    reward, model = AddSTDRewardWrapper(ensemble, default_alpha=0.0), pc.PreferenceModel(ensemble)
    loss = pc.CrossEntropyRewardLoss()
    fragmenter = pc.ActiveSelectionFragmenter(
        preference_model=model,
        base_fragmenter=pc.RandomFragmenter(warning_threshold=0, rng=rng),
        fragment_sample_factor=10,
        uncertainty_on="probability",
    )
    trainer = pc.EnsembleTrainer(model, loss, epochs=3, rng=rng)
    agent = PPO("MlpPolicy", venv, seed=asked["seed"], device="cpu", **settings)
    generator = pc.AgentTrainer(agent, reward, venv, exploration_frac=0.05, rng=rng)
    comparisons = pc.PreferenceComparisons(
        generator,
        reward,
        num_iterations=iterations,
        fragmenter=fragmenter,
        preference_gatherer=pc.SyntheticGatherer(temperature=0, rng=rng),
        reward_trainer=trainer,
        fragment_length=asked["fragment"],
        transition_oversampling=1,
        initial_comparison_frac=0.25,
        initial_epoch_multiplier=4,
        allow_variable_horizon=False,
        query_schedule="hyperbolic",
    )
    comparisons.train(total_timesteps=iterations * rollout, total_comparisons=asked["labels"])
    seconds, processor, steps = time.perf_counter() - began, time.process_time() - worked, Counted.steps
    fresh = games(asked["env"], asked["seed"] + 10_000, 1, asked["horizon"])
    mean, _ = evaluate_policy(agent, fresh, n_eval_episodes=asked["episodes"], deterministic=False, warn=False)
    print(json.dumps({"return": float(mean), "seconds": seconds, "processor_seconds": processor, "steps": steps}))


if __name__ == "__main__":
    main()
