"""Two turns with the other side's words between them: sampled, credited and learned as one episode.

The other side names a number; the reply that scores repeats it. What it names no policy can foresee in an opening that
it was not trained on, so the second turn has to be chosen by what was heard after the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tests.conftest import llama_config
from tests.stories.quiet_run import QuietRun
from torch import Tensor
from transformers import LlamaForCausalLM

from tutelage.algorithms.ppo import PPOConfig, improve, ppo
from tutelage.environments.dialogue import Dialogue, each_alone
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.formulas import schedule
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.trajectory import Batch, Key, Task

BEGIN, STOP, SAYS = 0, 1, 2
NUMBERS = (10, 11)
TURN_TOKENS = 3
START_RANGE = 0.1  # of the weights: narrow, so that the policy starts near uniform and tries both numbers
CONFIG = PPOConfig(
    steps=50,
    trajectories=128,
    minibatches=4,
    learning_rate=2e-3,
    value_learning_rate=1e-2,
    value_weight=0.1,
    kl_coefficient=0.05,  # a price on settling for one number before the policy listens
)


def openings(seed: int, count: int = 3000) -> list[list[int]]:
    """Random words, four to six of them."""
    rng = np.random.default_rng(seed)
    return [[BEGIN, *rng.integers(5, 10, size=rng.integers(4, 7)).tolist()] for _ in range(count)]


def other(said: list[list[int]]) -> Sequence[int]:
    """Names one of two numbers, drawn from the opening as from a hat; its last word."""
    number = int(np.random.default_rng(said[0]).choice(NUMBERS))
    return [SAYS, number]


TRAINING = openings(0)
UNSEEN = [opening for opening in openings(1) if opening not in TRAINING]


def world(openings: list[list[int]] = TRAINING) -> Dialogue:
    return Dialogue(openings, each_alone(other), turns=2)


def second_turns(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """(what the other side said, the policy's second turn) of each episode, read from tokens and mask alone."""
    found = []
    for row in range(len(batch)):
        length = int(batch.lengths_B[row])
        tokens = batch.actions[row, :length].tolist()
        mask = batch.mask_BT[row, :length].tolist()
        end = length
        start = end - mask[::-1].index(False)
        heard = tokens[start - 2 : start]
        found.append((heard, tokens[start:end]))
    return found


def score(batch: Batch) -> Tensor:
    """[B, T] 1 at the last action where the second turn opens with the number that was named."""
    right = [float(turn[0] == heard[1]) for heard, turn in second_turns(batch)]
    return batch.at_last_action(torch.tensor(right))


def policy_and_critic(seed: int) -> tuple[LanguagePolicy, SharedCritic]:
    torch.manual_seed(seed)
    policy = LanguagePolicy(LlamaForCausalLM(llama_config(initializer_range=START_RANGE)).eval())
    return policy, SharedCritic(policy)


def sampler_of(policy: LanguagePolicy, seed: int) -> NativeSampler:
    return NativeSampler(policy, [STOP], seed, SamplingSettings(max_new_tokens=TURN_TOKENS))


def keys(step: int, episodes: int, openings: int = 3000) -> list[Key]:
    return [Key(step, (step * episodes + index) % openings, index) for index in range(episodes)]


def learner_of(critic: SharedCritic, config: PPOConfig) -> LocalLearner:
    return LocalLearner(
        {
            "policy": (critic.policy.parameters(), config.learning_rate),
            "value": (critic.head.parameters(), config.value_learning_rate),
        },
        schedule=partial(schedule.linear, total=config.steps * config.epochs * config.minibatches),
    )


def learned(seed: int) -> tuple[float, float]:
    """Mean score over openings that training never saw, before and after PPO."""
    policy, critic = policy_and_critic(seed)
    config = replace(CONFIG, seed=seed)
    task = Task(world(), score, lambda step: keys(step, config.trajectories))
    sampler = sampler_of(policy, seed)

    def mean_score() -> float:
        return float(score(sampler.sample(world(UNSEEN), keys(0, 300, len(UNSEEN)))).sum(dim=1).mean())

    before = mean_score()
    ppo(config, task, critic, Frozen(policy), sampler, learner_of(critic, config), QuietRun())
    return before, mean_score()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_policy_learns_to_answer_what_it_heard(seed):
    """Without listening no more than 0.5 can be had. Of the seeds 0-7 the lowest reached 0.87, the median 0.94."""
    before, after = learned(seed)
    assert before < 0.2
    assert after > 0.8


def test_the_other_sides_tokens_stand_in_the_state_and_are_no_actions():
    policy, _ = policy_and_critic(1)
    batch = sampler_of(policy, 1).sample(world(), keys(0, 12))
    for row, (heard, turn) in enumerate(second_turns(batch)):
        length = int(batch.lengths_B[row])
        tokens, mask = batch.observations[row, : length + 1].tolist(), batch.mask_BT[row, :length].tolist()
        opening = TRAINING[batch.keys[row].prompt]
        acted = [index for index, acts in enumerate(mask) if acts]
        first = tokens[len(opening) : len(opening) + len(acted) - len(turn)]
        assert heard == list(other([opening, first]))
        assert tokens == [*opening, *first, *heard, *turn]
        assert 1 <= len(first) <= TURN_TOKENS and 1 <= len(turn) <= TURN_TOKENS
        assert bool(batch.terminated_B[row]) == (turn[-1] == STOP)
        unacted = torch.tensor(mask).logical_not()
        assert not batch.behaviour_log_probs_BT[row, :length][unacted].any()


class Attentive:
    """A learner that keeps what it was given and learns nothing."""

    def __init__(self) -> None:
        self.rows: Batch | None = None

    def update(self, rows, loss):
        self.rows = rows
        return {"loss": 0.0}


def plain_log_probs(model: LlamaForCausalLM, tokens: Tensor) -> Tensor:
    """[T] log-probs of the tokens after the first, one sequence alone, no padding."""
    with torch.no_grad():
        return torch.log_softmax(model(tokens[None]).logits[0, :-1], -1).gather(1, tokens[1:, None])[:, 0]


def test_advantages_of_a_sampled_batch_are_the_brute_force_sum():
    """A_k = Σ_j (γλ)^{j−k} δ_j over the policy's own actions, by double loop from models and tokens alone."""
    gamma, lam, coefficient = 0.9, 0.8, 0.3
    policy, critic = policy_and_critic(2)
    torch.nn.init.normal_(critic.head.weight, std=0.5)
    ancestor = policy_and_critic(3)[0]
    batch = sampler_of(policy, 2).sample(world(), keys(0, 16))
    score_BT = torch.randn(16, generator=torch.Generator().manual_seed(0))
    score_BT = batch.at_last_action(score_BT)
    config = PPOConfig(gamma=gamma, gae_lambda=lam, kl_coefficient=coefficient, epochs=1)
    learner = Attentive()
    with torch.no_grad():
        improve(config, batch, score_BT, coefficient, critic, Frozen(ancestor), learner)
    assert learner.rows is not None
    ours = {key: row for row, key in enumerate(learner.rows.keys)}

    advantages, returns = {}, {}
    for row, key in enumerate(batch.keys):
        length = int(batch.lengths_B[row])
        tokens = batch.observations[row, : length + 1]
        kl = plain_log_probs(policy.model, tokens) - plain_log_probs(ancestor.model, tokens)
        with torch.no_grad():
            hidden = policy.model.model(tokens[None]).last_hidden_state[0]
            values = (hidden @ critic.head.weight[0] + critic.head.bias).tolist()
        acted = [t for t in range(length) if batch.mask_BT[row, t]]
        rewards = [float(score_BT[row, t]) - coefficient * float(kl[t]) for t in acted]
        successors = [values[t] for t in acted[1:]] + [0.0]  # also where the token limit cut the last turn off
        for k, t in enumerate(acted):
            total = 0.0
            for j in range(k, len(acted)):
                delta = rewards[j] + gamma * successors[j] - values[acted[j]]
                total += (gamma * lam) ** (j - k) * delta
            advantages[key, t], returns[key, t] = total, total + values[t]
    every = np.array(list(advantages.values()))
    assert {bool(end) for end in batch.terminated_B} == {True, False}  # both ends are in this batch
    for (key, t), raw in advantages.items():
        white = (raw - every.mean()) / every.std()
        assert float(learner.rows.extras["advantages"][ours[key], t]) == pytest.approx(white, abs=2e-4)
        assert float(learner.rows.extras["returns"][ours[key], t]) == pytest.approx(returns[key, t], abs=1e-4)
    unacted = ~learner.rows.mask_BT
    assert not learner.rows.extras["advantages"][unacted].any()
    assert int(learner.rows.mask_BT.sum()) == len(every)
