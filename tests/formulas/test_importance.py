"""Truncated importance weights against enumeration of every episode of a small decision process."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tutelage.formulas import importance

FIRST = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)  # learner: first action, then the second after each first
SECOND = torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]], dtype=torch.float64)
OTHER_FIRST = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)  # sampler
OTHER_SECOND = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64)
WORTH = torch.tensor([[3.0, -1.0], [0.5, 2.0], [-2.0, 1.0]], dtype=torch.float64)
PATHS = list(itertools.product(range(3), range(2)))


def log_probs(first, second):
    """[6, 2] of the two actions of every episode there is."""
    return torch.stack([torch.stack([first[a], second[a, b]]) for a, b in PATHS]).log()


LEARNER, SAMPLER = log_probs(FIRST, SECOND), log_probs(OTHER_FIRST, OTHER_SECOND)
DRAWN = SAMPLER.sum(dim=1).exp()  # how often the sampler draws each
VALUES = torch.stack([WORTH[path] for path in PATHS])
EVERY = torch.ones(6, 2, dtype=torch.bool)


def test_sequence_weights_correct_what_episodes_are_worth():
    weights = importance.sequence_weights(LEARNER, SAMPLER, EVERY, largest=100.0)
    assert torch.equal(weights[:, 0], weights[:, 1])
    expected = (LEARNER.sum(dim=1).exp() * VALUES).sum()
    assert torch.allclose((DRAWN * weights[:, 0] * VALUES).sum(), expected)
    assert not torch.allclose((DRAWN * VALUES).sum(), expected)


@pytest.mark.parametrize("largest", [0.5, 1.0, 2.0, 4.0])
def test_truncated_sequence_weights_count_what_the_cap_leaves(largest):
    """E_μ[min(w, c) f] = Σ min(π, c μ) f, over every episode."""
    weights = importance.sequence_weights(LEARNER, SAMPLER, EVERY, largest)
    expected = (torch.minimum(LEARNER.sum(dim=1).exp(), largest * DRAWN) * VALUES).sum()
    assert torch.allclose((DRAWN * weights[:, 0] * VALUES).sum(), expected)
    assert float(weights.max()) <= largest


def test_token_weights_correct_one_action_in_its_state():
    """In a state that the sampler reached, the learner's mean over actions; states stay the sampler's."""
    weights = importance.token_weights(LEARNER, SAMPLER, EVERY, largest=100.0)
    first = (DRAWN * weights[:, 0] * torch.tensor([float(a) for a, _ in PATHS])).sum()
    assert torch.allclose(first, (FIRST * torch.arange(3)).sum())
    found = (DRAWN * weights[:, 1] * VALUES).sum()
    assert torch.allclose(found, (OTHER_FIRST[:, None] * SECOND * WORTH).sum())
    assert not torch.allclose(found, (FIRST[:, None] * SECOND * WORTH).sum())


@pytest.mark.parametrize("largest", [0.5, 1.0, 2.0])
def test_truncated_token_weights(largest):
    weights = importance.token_weights(LEARNER, SAMPLER, EVERY, largest)
    expected = (OTHER_FIRST[:, None] * torch.minimum(SECOND, largest * OTHER_SECOND) * WORTH).sum()
    assert torch.allclose((DRAWN * weights[:, 1] * VALUES).sum(), expected)


@pytest.mark.parametrize("weigh", [importance.token_weights, importance.sequence_weights])
def test_what_is_not_masked_neither_weighs_nor_leaks(weigh):
    learner = torch.tensor([[-1.0, math.nan, -2.0]], requires_grad=True)
    sampler, mask = torch.tensor([[-2.0, 0.0, -2.0]]), torch.tensor([[True, False, True]])
    weights = weigh(learner, sampler, mask, 100.0)
    assert not weights.requires_grad and weights[0, 1] == 0
    expected = [math.e, 1.0] if weigh is importance.token_weights else [math.e, math.e]
    assert weights[0, [0, 2]].tolist() == pytest.approx(expected)


def test_a_long_reply_does_not_overflow():
    learner, sampler = torch.zeros(1, 2000), torch.full((1, 2000), -1.0)
    mask = torch.ones(1, 2000, dtype=torch.bool)
    assert float(importance.sequence_weights(learner, sampler, mask, 3.0)[0, 0]) == 3.0
    assert float(importance.sequence_weights(sampler, learner, mask, 3.0)[0, 0]) == pytest.approx(math.exp(-20))
    with pytest.raises(ValueError, match="largest weight is 0"):
        importance.token_weights(learner, sampler, mask, 0)


def test_the_mean_of_a_sequence_is_over_its_actions_and_has_a_gradient():
    ratio = torch.tensor([[math.log(0.5), 7.0, math.log(1.1)]], requires_grad=True)
    mean = importance.sequence_mean(ratio, torch.tensor([[True, False, True]]))
    assert mean[0].tolist() == pytest.approx([0.5 * math.log(0.55)] * 3)
    mean[0, 0].backward()
    assert ratio.grad[0].tolist() == [0.5, 0.0, 0.5]
