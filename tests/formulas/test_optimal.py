"""The best policy under a KL penalty, in closed form and from samples."""

from __future__ import annotations

import pytest
import torch

from tutelage.formulas import kl, optimal

REFERENCE, REWARDS = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("coefficient", "policy", "objective"),
    [
        (1.0, [0.179, 0.291944, 0.529056], 1.027222),
        (0.5, [0.036667, 0.162559, 0.800774], 1.306369),
        (2.0, [0.32504, 0.32154, 0.35342], 0.861320),
    ],
)
def test_closed_form_by_hand(coefficient, policy, objective):
    best = optimal.optimal_policy(REFERENCE, REWARDS, coefficient)
    assert best.tolist() == pytest.approx(policy, abs=1e-5)
    reached = float((best * REWARDS).sum() - coefficient * kl.exact(best.log(), REFERENCE.log()))
    assert reached == pytest.approx(objective, abs=1e-5)
    normaliser = float((REFERENCE * (REWARDS / coefficient).exp()).sum().log())
    assert reached == pytest.approx(coefficient * normaliser, abs=1e-5)


def test_reward_and_kl_of_the_unit_coefficient():
    best = optimal.optimal_policy(REFERENCE, REWARDS, 1.0)
    assert float((best * REWARDS).sum()) == pytest.approx(1.350056, abs=1e-5)
    assert float(kl.exact(best.log(), REFERENCE.log())) == pytest.approx(0.322834, abs=1e-5)


def test_a_dearer_kl_is_a_smaller_one():
    found = [
        float(kl.exact(optimal.optimal_policy(REFERENCE, REWARDS, beta).log(), REFERENCE.log()))
        for beta in (0.1, 0.3, 1.0, 3.0, 10.0)
    ]
    assert found == sorted(found, reverse=True)


def test_no_other_policy_has_a_better_objective():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        other = torch.rand(3, generator=generator)
        other = other / other.sum()
        objective = float((other * REWARDS).sum() - 1.0 * kl.exact(other.log(), REFERENCE.log()))
        assert objective <= 1.027222 + 1e-5


def test_samples_find_it_too():
    drawn = torch.multinomial(REFERENCE, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))
    found = optimal.tilted(REWARDS[drawn], 1.0)
    assert found.mean_score == pytest.approx(1.350056, abs=0.02)
    assert found.kl_nats == pytest.approx(0.322834, abs=0.02)
    assert optimal.tilted(REWARDS[drawn[:1000]], 1e9).effective_sample_size == pytest.approx(1000)
