"""Generalised advantages against hand-computed numbers and against the double sum they abbreviate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.formulas import advantage, masked


def one(rewards, values, gamma, gae_lambda, mask=None, terminated=True):
    """Advantages and returns of a single episode given as lists; values are one longer than rewards."""
    rewards_BT = torch.tensor([rewards])
    mask_BT = torch.ones_like(rewards_BT, dtype=torch.bool) if mask is None else torch.tensor([mask])
    lengths_B, terminated_B = torch.tensor([len(rewards)]), torch.tensor([terminated])
    found = advantage.generalised(
        rewards_BT, torch.tensor([values]), mask_BT, lengths_B, terminated_B, gamma, gae_lambda
    )
    return [each[0] for each in found]


def brute_force(rewards, values, mask, terminated, gamma, gae_lambda):
    """Σ_k (γλ)^k δ_{t+k} over decisions, as a slow double loop over plain numbers."""
    decisions = [t for t, acted in enumerate(mask) if acted]
    ends = [*decisions[1:], len(rewards)]
    last = 0.0 if terminated else values[len(rewards)]
    following = [*(values[t] for t in decisions[1:]), last]
    deltas = [
        sum(rewards[t:end]) + gamma * following[i] - values[t]
        for i, (t, end) in enumerate(zip(decisions, ends, strict=True))
    ]
    found = [0.0] * len(rewards)
    for i, t in enumerate(decisions):
        found[t] = sum((gamma * gae_lambda) ** (j - i) * deltas[j] for j in range(i, len(decisions)))
    return found


@pytest.mark.parametrize(
    ("gamma", "gae_lambda", "advantages", "returns"),
    [
        (1.0, 0.95, [0.82675, 0.765, 0.7], [0.92675, 0.965, 1.0]),
        (1.0, 1.0, [0.9, 0.8, 0.7], [1.0, 1.0, 1.0]),
        (1.0, 0.0, [0.1, 0.1, 0.7], [0.2, 0.3, 1.0]),
        (0.9, 0.5, [0.25325, 0.385, 0.7], [0.35325, 0.585, 1.0]),
    ],
)
def test_three_steps_by_hand(gamma, gae_lambda, advantages, returns):
    found, targets = one([0.0, 0.0, 1.0], [0.1, 0.2, 0.3, 9.0], gamma, gae_lambda)
    assert found.tolist() == pytest.approx(advantages)
    assert targets.tolist() == pytest.approx(returns)


def test_four_steps_with_a_kl_penalty_by_hand():
    found, targets = one([-0.01, 0.02, -0.005, 0.7], [0.3, 0.1, -0.2, 0.4, 0.0], 1.0, 0.95)
    assert found.tolist() == pytest.approx([0.3182, 0.556, 0.88, 0.3], abs=1e-6)
    assert targets.tolist() == pytest.approx([0.6182, 0.656, 0.68, 0.7], abs=1e-6)


def test_the_score_stands_on_the_end_of_sequence_and_padding_does_not_enter():
    """Fact 9, conventional variant: EOS at index 2 of 5, score 1, KL coefficient 0.05."""
    log_probs, reference = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.2, -1.5, -0.7])
    rewards_T = -0.05 * (log_probs - reference) + torch.tensor([0.0, 0.0, 1.0])
    padding = [float("nan")] * 2
    rewards_BT = torch.tensor([[*rewards_T.tolist(), *padding]])
    values_BS = torch.tensor([[0.1, 0.2, 0.3, *padding, float("nan")]])
    mask_BT = torch.tensor([[True] * 3 + [False] * 2])
    found, targets = advantage.generalised(
        rewards_BT, values_BS, mask_BT, torch.tensor([3]), torch.tensor([True]), 1.0, 0.95
    )
    assert found[0].tolist() == pytest.approx([0.831475, 0.7805, 0.69, 0, 0], abs=1e-6)
    assert targets[0].tolist() == pytest.approx([0.931475, 0.9805, 0.99, 0, 0], abs=1e-6)


def test_lambda_does_not_decay_across_the_other_sides_words():
    """peers.md §4a.7: three actions, four words of the other side, three actions; λ = 0.95 counts six decisions."""
    mask = [True] * 3 + [False] * 4 + [True] * 3
    values = [0.1 * t for t in range(10)] + [0.0]
    rewards = [0.0] * 9 + [1.0]
    found, _ = one(rewards, values, 1.0, 0.95, mask)
    packed, _ = one([0.0] * 5 + [1.0], [values[t] for t in (0, 1, 2, 7, 8, 9)] + [0.0], 1.0, 0.95)
    assert found[torch.tensor(mask)].tolist() == pytest.approx(packed.tolist())


def test_what_is_paid_during_the_other_sides_words_belongs_to_the_action_before():
    found, _ = one([0.0, 2.0, 0.0], [0.0] * 4, 1.0, 0.5, [True, False, True])
    assert found.tolist() == [2.0, 0.0, 0.0]


def test_a_truncated_episode_keeps_its_future():
    ended, _ = one([0.0, 0.0], [0.5, 0.5, 0.8], 0.9, 0.95, terminated=True)
    cut, _ = one([0.0, 0.0], [0.5, 0.5, 0.8], 0.9, 0.95, terminated=False)
    assert (cut - ended).tolist() == pytest.approx([0.9 * 0.95 * 0.9 * 0.8, 0.9 * 0.8])


numbers = st.floats(-3, 3, width=32)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_equals_the_double_sum(data):
    steps = data.draw(st.integers(1, 8))
    rewards = data.draw(st.lists(numbers, min_size=steps, max_size=steps))
    values = data.draw(st.lists(numbers, min_size=steps + 1, max_size=steps + 1))
    mask = data.draw(st.lists(st.booleans(), min_size=steps, max_size=steps).filter(any))
    terminated = data.draw(st.booleans())
    gamma, gae_lambda = data.draw(st.sampled_from([(1.0, 0.95), (1.0, 1.0), (0.9, 0.5), (0.99, 0.0)]))
    found, _ = one(rewards, values, gamma, gae_lambda, mask, terminated)
    # What is paid before the first action belongs to nobody.
    expected = brute_force(rewards, values, mask, terminated, gamma, gae_lambda)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_returns_come_from_advantages_before_whitening():
    rewards, values = [0.0, 0.0, 1.0], [0.1, 0.2, 0.3, 0.0]
    found, targets = one(rewards, values, 1.0, 0.95)
    whitened = masked.centre_and_scale(found, torch.ones(3, dtype=torch.bool))
    assert torch.allclose(targets, found + torch.tensor(values[:-1]))
    assert not torch.allclose(targets, whitened + torch.tensor(values[:-1]))


def test_a_potential_shifts_returns_and_leaves_the_best_action():
    """Fact 33: r + γΦ(s') − Φ(s) ranks actions as r does, and with Φ = V the reward is the one-step advantage."""
    generator = torch.Generator().manual_seed(0)
    reward_SA, potential_S = torch.randn(4, 3, generator=generator), torch.randn(4, generator=generator)
    following_SA, gamma = torch.randint(4, (4, 3), generator=generator), 0.9
    shaped_SA = reward_SA + gamma * potential_S[following_SA] - potential_S[:, None]
    q_plain, q_shaped = (iterated(r, following_SA, gamma) for r in (reward_SA, shaped_SA))
    assert (q_plain.argmax(dim=1) == q_shaped.argmax(dim=1)).all()
    assert torch.allclose(q_plain - q_shaped, potential_S[:, None].expand(4, 3), atol=1e-4)
    best_S = q_plain.max(dim=1).values
    as_advantage = reward_SA + gamma * best_S[following_SA] - best_S[:, None]
    assert torch.allclose(as_advantage, q_plain - best_S[:, None], atol=1e-4)


def iterated(reward_SA, following_SA, gamma):
    value_SA = torch.zeros_like(reward_SA)
    for _ in range(300):
        value_SA = reward_SA + gamma * value_SA.max(dim=1).values[following_SA]
    return value_SA
