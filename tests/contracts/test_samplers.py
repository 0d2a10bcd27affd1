"""What every sampler owes, whatever it samples: its keys in their order, equal bits in equal batches, and episodes that
are equal up to rounding whatever runs beside them."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.conftest import FAMILIES
from transformers import AutoModelForCausalLM

from tutelage.environments.control import Control, named
from tutelage.environments.dialogue import Dialogue, each_alone
from tutelage.environments.language import Language
from tutelage.execution import native
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.execution.stepwise import StepwiseSampler
from tutelage.policies.control import Categorical
from tutelage.policies.language import LanguagePolicy
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
        return sampler, Dialogue(openings, each_alone(lambda turns: [11, 12]), turns=2)
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


def test_equal_batches_give_equal_bits(pair):
    sampler, environment = pair
    first, again = (sampler.sample(environment, KEYS) for _ in range(2))
    for name, value in vars(first).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, getattr(again, name)), name


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_batches_of_another_size_give_episodes_equal_up_to_rounding(family):
    """Tokens part only where the draw was that close to a boundary between two of them, log-probs by less than 3e-5."""
    torch.manual_seed(0)
    policy = LanguagePolicy(AutoModelForCausalLM.from_config(copy.deepcopy(FAMILIES[family])).eval())
    keys, openings = (
        [Key(0, prompt, sample) for prompt in range(3) for sample in range(12)],
        [[0, 5], [0, 6, 7], [0, 9]],
    )
    batches = [
        NativeSampler(policy, [1], 2, SamplingSettings(24, episodes_at_once=rows)).sample(Language(openings), keys)
        for rows in (1, 16)
    ]
    for one, other in zip(*([batch.row(row) for row in range(len(keys))] for batch in batches), strict=True):
        steps = min(len(one.actions), len(other.actions))
        parted = (one.actions[:steps] != other.actions[:steps]).nonzero()[:, 0].tolist()
        equal = parted[0] if parted else steps
        gaps = one.behaviour_log_probs_T[:equal] - other.behaviour_log_probs_T[:equal]
        assert not equal or float(gaps.abs().max()) < 3e-5
        if parted:
            assert distance_to_boundary(policy, one, equal) < 3e-5
        else:
            assert len(one.actions) == len(other.actions)


def distance_to_boundary(policy, episode, place):
    """Of the random number that drew this action from the nearest end of its token's share of [0, 1)."""
    stream = native.stream(2, episode.key)
    uniform = [stream.random() for _ in range(int(episode.mask_T[: place + 1].sum()))][-1]
    with torch.no_grad():
        logits = policy.model(input_ids=episode.observations[None, : place + 1]).logits[0, -1]
    ends = (logits / policy.temperature).double().softmax(-1).cumsum(-1)
    return float((ends - uniform).abs().min())


def test_what_is_not_an_action_has_no_log_prob_and_padding_counts_nowhere(pair):
    sampler, environment = pair
    batch = sampler.sample(environment, KEYS)
    steps = torch.arange(batch.mask_BT.shape[1])
    assert not batch.mask_BT[steps >= batch.lengths_B[:, None]].any()
    assert (batch.behaviour_log_probs_BT[~batch.mask_BT] == 0).all()
    assert (batch.behaviour_log_probs_BT[batch.mask_BT] < 0).all()
    assert (batch.mask_BT.sum(dim=1) > 0).all()
