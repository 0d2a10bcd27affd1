"""A reply that reaches its token limit is paid once: its score closes the episode, nothing follows it.

Every reply scores 1, so there is nothing to learn and no state is worth more than 1. A critic bootstrapped after
the score expects the score again and again, and the policy learns to be cut off.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.conftest import TOKENS, letters_tokenizer
from tests.stories.quiet_run import QuietRun
from transformers import PhiConfig, PhiForCausalLM

from tutelage.algorithms.ppo import PPOConfig, ppo, remembered
from tutelage.environments.language import Language
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.formulas import schedule
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.training.stepwise import StepwisePPO
from tutelage.trajectory import Batch, Key, Task

STOP, LIMIT = 1, 14
WORTH, FALL, NATS = 1.05, 0.05, 5.0  # V at most; how far the share of ended replies may fall; KL of a reply at most
PROMPTS = [[2, 3 + row % 7, 9 + row % 5] for row in range(35)]
CONFIG = PPOConfig(
    steps=100, trajectories=64, epochs=2, learning_rate=1e-3, value_learning_rate=5e-3, kl_coefficient=0.02
)


def model(seed: int) -> PhiForCausalLM:
    """Random, but for how often a reply ends: about 85 % end within the limit."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    made = PhiForCausalLM(PhiConfig(**sizes, **TOKENS, max_position_embeddings=64, resid_pdrop=0.0)).eval()
    with torch.no_grad():
        made.lm_head.bias.zero_()
        made.lm_head.bias[STOP] = 1.1
    return made


def ones(batch: Batch) -> torch.Tensor:
    return batch.at_last_action(torch.ones(len(batch)))


def learned(seed: int, config: PPOConfig) -> tuple[list[dict[str, float]], float, float]:
    """(what each step recorded, what 99 % of the values of the last batch stay below, how many of 1,280 replies of the
    untrained policy end: the first batch alone is off by 0.05)."""
    policy = LanguagePolicy(model(seed))
    critic = SharedCritic(policy)
    world, run = Language(PROMPTS), QuietRun()
    sampler = NativeSampler(policy, [STOP], seed, SamplingSettings(LIMIT))

    def keys(step: int) -> list[Key]:
        return [Key(step, index % len(PROMPTS), index) for index in range(config.trajectories)]

    learner = LocalLearner(
        {
            "policy": (policy.parameters(), config.learning_rate),
            "value": (critic.head.parameters(), config.value_learning_rate),
        },
        schedule=partial(schedule.linear, total=config.steps * config.epochs),
    )
    reference = Frozen(policy)
    untrained = sampler.sample(world, [key for step in range(1000, 1020) for key in keys(step)]).terminated_B
    ppo(replace(config, seed=seed), Task(world, ones, keys), critic, reference, sampler, learner, run)
    batch = sampler.sample(world, keys(config.steps))
    values_BT = remembered(critic, reference, batch, 4096)[0].values_BS[:, :-1]
    return run.events, float(values_BT[batch.mask_BT].quantile(0.99)), float(untrained.float().mean())


def refuse_double_pay(events: list[dict[str, float]], worth: float, start: float) -> None:
    last = events[-10:]
    ended = sum(event["terminated_fraction"] for event in last) / len(last)
    assert worth <= WORTH
    assert ended >= start - FALL
    assert max(event["kl_nats_per_sequence"] for event in events) <= NATS


@pytest.mark.slow
def test_a_cut_off_reply_is_not_worth_more_than_its_score():
    events, worth, start = learned(0, replace(CONFIG, steps=40))
    assert 0.7 < start < 0.95  # so that some replies are cut off
    refuse_double_pay(events, worth, start)


@pytest.mark.prove
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_cut_off_reply_is_not_worth_more_than_its_score_over_seeds(seed):
    refuse_double_pay(*learned(seed, CONFIG))


def test_step_by_step_a_cut_off_reply_is_not_bootstrapped():
    """The same through the interface for those who sample elsewhere: returns of a constant score stay at the score."""
    tokenizer = letters_tokenizer(pad_token="<eos>")
    config = PPOConfig(epochs=4, learning_rate=0.0, value_learning_rate=0.1, kl_coefficient=0.0, gae_lambda=1.0)
    trainer = StepwisePPO(config, model(0), tokenizer)
    prompts, responses = [[2, 3, 4]] * 8, [[5, 6, 7, 8]] * 8  # no end: cut off
    for _ in range(20):
        trainer.step(prompts, responses, [1.0] * 8)
    batch = Batch.of([trainer._trajectory(0, (prompts[0], responses[0]))])
    values_BT = remembered(trainer.critic, trainer.reference, batch, 4096)[0].values_BS[:, :-1]
    assert float(values_BT[batch.mask_BT].max()) <= WORTH
