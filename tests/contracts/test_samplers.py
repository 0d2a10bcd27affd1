"""What every sampler owes, whatever it samples: its keys in their order, equal episodes whatever runs beside them."""

from __future__ import annotations

import pytest
import torch

from tutelage.environments.control import Control, named
from tutelage.environments.dialogue import Dialogue
from tutelage.environments.language import Language
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.execution.stepwise import StepwiseSampler
from tutelage.policies.control import Categorical
from tutelage.trajectory import Key

KEYS = [Key(3, prompt, sample) for prompt in range(3) for sample in range(2)]


@pytest.fixture(params=["language", "dialogue", "control"])
def pair(request, tiny_policy):
    """A sampler and an environment that fit."""
    openings = [[0, 5], [0, 6, 7, 8], [0, 9, 3]]
    if request.param == "control":
        return StepwiseSampler(Categorical(4, 2, seed=0), 5, steps_at_most=20), Control(named("CartPole-v1"), seed=0)
    sampler = NativeSampler(tiny_policy, [1], 5, SamplingSettings(6))
    if request.param == "dialogue":
        return sampler, Dialogue(openings, lambda turns: [11, 12], turns=2)
    return sampler, Language(openings)


def test_episodes_come_in_the_order_of_their_keys_and_do_not_depend_on_company(pair):
    sampler, environment = pair
    batch = sampler.sample(environment, KEYS)
    assert batch.keys == tuple(KEYS)
    for row, key in enumerate(KEYS):
        single = sampler.sample(environment, [key])
        steps = int(single.lengths_B[0])
        assert int(batch.lengths_B[row]) == steps
        assert torch.allclose(batch.observations[row, : steps + 1].float(), single.observations[0].float(), atol=1e-5)
        assert torch.equal(batch.mask_BT[row, :steps], single.mask_BT[0])
        assert torch.allclose(batch.behaviour_log_probs_BT[row, :steps], single.behaviour_log_probs_BT[0], atol=1e-5)


def test_what_is_not_an_action_has_no_log_prob_and_padding_counts_nowhere(pair):
    sampler, environment = pair
    batch = sampler.sample(environment, KEYS)
    steps = torch.arange(batch.mask_BT.shape[1])
    assert not batch.mask_BT[steps >= batch.lengths_B[:, None]].any()
    assert (batch.behaviour_log_probs_BT[~batch.mask_BT] == 0).all()
    assert (batch.behaviour_log_probs_BT[batch.mask_BT] < 0).all()
    assert (batch.mask_BT.sum(dim=1) > 0).all()
