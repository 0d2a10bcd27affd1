"""Our PPO on the true reward of environments with their own terminations, for control_ppo.py.

Reads {"env", "steps", "seed", "episodes"}, answers with the mean return of fresh episodes, sampled, the steps a second
of learning (sampling and updates), the same by the processor's clock, and the steps. It stops after as many steps of
the environment as were asked for, up to one batch more. Settings are those of our tasks, whose episodes never end;
where a fall ends them, a batch has as many episodes, and an epoch as many minibatches, as make about as many steps.
HalfCheetah has batches of one episode here: that is faster over 100,000 steps, while its task looks after 300,000
that are learned from answers.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import torch

from tutelage.algorithms.ppo import improve
from tutelage.environments.control import Bodies, named
from tutelage.recipes.control_tasks import Learning, task_of
from tutelage.rewards.control import TrueScore
from tutelage.training.control import unmoved
from tutelage.trajectory import Key

ENDS = ("CartPole-v1", "Hopper-v5")  # where a fall ends an episode, what a step pays must keep its sign
HORIZON = {"CartPole-v1": 500, "HalfCheetah-v5": 1000, "Hopper-v5": 1000}  # Gymnasium's; Pendulum's is our task's
BATCH = {"HalfCheetah-v5": {"trajectories": 1, "minibatches": 10, "learning_rate": 1e-4}}
LEAST, MOST = 0.05, 64  # of the learning rates, at the end; episodes of a batch


def main() -> None:
    asked = json.loads(sys.stdin.read())
    torch.set_num_threads(1)
    env, seed, steps = asked["env"], asked["seed"], asked["steps"]
    task = task_of(env)
    task = replace(task, ppo=replace(task.ppo, seed=seed, **BATCH.get(env, {})))
    environment = Bodies(named(env), HORIZON[env], seed, hides=True) if env in HORIZON else task.environment(seed)
    learning, true = Learning.of(task, task.ppo), TrueScore(centred=env not in ENDS)
    steps_a_batch = task.ppo.trajectories * task.horizon
    done, step, episodes = 0, 0, task.ppo.trajectories
    learning.learner.schedule = lambda update: max(LEAST, 1 - done / steps)
    began, worked = time.perf_counter(), time.process_time()
    while done < steps:
        batch = learning.sampler.sample(environment, [Key(step, 0, each) for each in range(episodes)])
        count = int(batch.mask_BT.sum())
        minibatches = max(1, round(task.ppo.minibatches * count / steps_a_batch))
        config = replace(learning.config, minibatches=minibatches)
        improve(config, batch, true(batch), 0.0, learning.policy, unmoved, learning.learner)
        learning.sampler.publish()
        done, step = done + count, step + 1
        episodes = min(MOST, max(1, round(steps_a_batch * episodes / count)))
    seconds, processor = time.perf_counter() - began, time.process_time() - worked
    fresh = learning.sampler.sample(environment, [Key(2**31, 0, each) for each in range(asked["episodes"])])
    told = {"return": float(fresh.extras["true_rewards"].sum()) / asked["episodes"]}
    told |= {"steps_per_second": done / seconds, "steps_per_processor_second": done / processor, "steps": done}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
