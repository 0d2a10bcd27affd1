"""PPO of stable-baselines3 at the settings of its zoo (rl-baselines3-zoo, hyperparams/ppo.yml), for control_ppo.py.

Runs in an environment of its own. Reads {"env", "steps", "seed", "episodes"}, answers with the mean return of fresh
episodes, sampled, the steps a second of learning, the same by the processor's clock, and the steps.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

BODY = {
    "log_std_init": -2,
    "ortho_init": False,
    "activation_fn": torch.nn.ReLU,
    "net_arch": {"pi": [256, 256], "vf": [256, 256]},
}
ZOO = {
    "CartPole-v1": (
        8,
        False,
        {
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "learning_rate": lambda left: 0.001 * left,
            "clip_range": lambda left: 0.2 * left,
        },
    ),
    "Pendulum-v1": (
        4,
        False,
        {
            "n_steps": 1024,
            "gae_lambda": 0.95,
            "gamma": 0.9,
            "n_epochs": 10,
            "learning_rate": 1e-3,
            "use_sde": True,
            "sde_sample_freq": 4,
        },
    ),
    "HalfCheetah-v5": (
        1,
        True,
        {
            "batch_size": 64,
            "n_steps": 512,
            "gamma": 0.98,
            "learning_rate": 2.0633e-05,
            "ent_coef": 0.000401762,
            "clip_range": 0.1,
            "n_epochs": 20,
            "gae_lambda": 0.92,
            "max_grad_norm": 0.8,
            "vf_coef": 0.58096,
            "policy_kwargs": BODY,
        },
    ),
    "Hopper-v5": (
        1,
        True,
        {
            "batch_size": 32,
            "n_steps": 512,
            "gamma": 0.999,
            "learning_rate": 9.80828e-05,
            "ent_coef": 0.00229519,
            "n_epochs": 5,
            "gae_lambda": 0.99,
            "max_grad_norm": 0.7,
            "vf_coef": 0.835671,
            "policy_kwargs": BODY,
        },
    ),
}


def main() -> None:
    asked = json.loads(sys.stdin.read())
    torch.set_num_threads(1)
    count, normalised, settings = ZOO[asked["env"]]
    games = make_vec_env(asked["env"], n_envs=count, seed=asked["seed"])
    if normalised:
        games = VecNormalize(games, gamma=settings["gamma"])
    model = PPO("MlpPolicy", games, seed=asked["seed"], device="cpu", **settings)
    began, worked = time.perf_counter(), time.process_time()
    model.learn(asked["steps"])
    seconds, processor, done = time.perf_counter() - began, time.process_time() - worked, model.num_timesteps
    fresh = make_vec_env(asked["env"], n_envs=1, seed=asked["seed"] + 10_000)
    if normalised:
        fresh = VecNormalize(fresh, training=False, norm_reward=False)
        fresh.obs_rms = games.obs_rms
    mean, _ = evaluate_policy(model, fresh, n_eval_episodes=asked["episodes"], deterministic=False)
    told = {"return": float(mean), "steps_per_second": done / seconds, "steps_per_processor_second": done / processor}
    print(json.dumps({**told, "steps": done}))


if __name__ == "__main__":
    main()
