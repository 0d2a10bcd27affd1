"""PreferenceComparisons of imitation 1.0.1 on our tasks, for preferences.py. Runs in an environment of its own.

Reads {"env", "steps", "labels", "seed", "episodes", "fragment"}; answers with the mean true return of fresh episodes,
sampled, and the seconds of learning. The settings are those of its tutorial (an ensemble of three with bagging and
queries by the variance of its members, which the tutorial leaves out), the agent's those of stable-baselines3's zoo.
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

    def reset(self, **given):
        observed, info = super().reset(**given)
        return observed, info


SETTINGS = {
    "CartPole-v1": (
        8,
        500,
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
        200,
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
        return RolloutInfoWrapper(gym.wrappers.TimeLimit(game, horizon))

    found = DummyVecEnv([make] * count)
    found.seed(seed)
    return found


def main() -> None:
    asked = json.loads(sys.stdin.read())
    torch.set_num_threads(1)
    rng = np.random.default_rng(asked["seed"])
    torch.manual_seed(asked["seed"])
    count, horizon, settings = SETTINGS[asked["env"]]
    venv = games(asked["env"], asked["seed"], count, horizon)
    began = time.perf_counter()
    spaces = (venv.observation_space, venv.action_space)
    members = [
        NormalizedRewardNet(BasicRewardNet(*spaces, normalize_input_layer=RunningNorm), RunningNorm) for _ in range(3)
    ]
    reward = AddSTDRewardWrapper(RewardEnsemble(*spaces, members), default_alpha=0.0)
    model = pc.PreferenceModel(reward.base if hasattr(reward, "base") else reward)
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
        num_iterations=20,
        fragmenter=fragmenter,
        preference_gatherer=pc.SyntheticGatherer(temperature=0, rng=rng),
        reward_trainer=trainer,
        fragment_length=asked["fragment"],
        transition_oversampling=1,
        initial_comparison_frac=0.25,
        initial_epoch_multiplier=4,
        allow_variable_horizon=False,
        query_schedule="hyperbolic",
        rng=rng,
    )
    comparisons.train(total_timesteps=asked["steps"], total_comparisons=asked["labels"])
    seconds = time.perf_counter() - began
    fresh = games(asked["env"], asked["seed"] + 10_000, 1, horizon)
    mean, _ = evaluate_policy(agent, fresh, n_eval_episodes=asked["episodes"], deterministic=False, warn=False)
    print(json.dumps({"return": float(mean), "seconds": seconds}))


if __name__ == "__main__":
    main()
