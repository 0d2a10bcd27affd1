"""What several reward models say together."""

from __future__ import annotations

import pytest
import torch

from tutelage.formulas import uncertainty

SCORES = torch.tensor([[1.0, 0.0, -2.0], [3.0, 0.0, 2.0]])


def test_by_hand():
    assert uncertainty.mean(SCORES).tolist() == [2.0, 0.0, 0.0]
    assert uncertainty.worst_case(SCORES).tolist() == [1.0, 0.0, -2.0]
    assert uncertainty.variance(SCORES).tolist() == [1.0, 0.0, 4.0]
    assert uncertainty.uncertainty_weighted(SCORES, 0.5).tolist() == [1.5, 0.0, -2.0]


@pytest.mark.parametrize("members", [1, 2, 5])
def test_identical_members_are_one(members):
    one = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    several = one.expand(members, 3, 4)
    for found in (
        uncertainty.mean(several),
        uncertainty.worst_case(several),
        uncertainty.uncertainty_weighted(several, 10.0),
    ):
        assert torch.allclose(found, one, atol=1e-6)


def test_the_order_of_members_does_not_matter_and_caution_only_lowers():
    scores = torch.randn(5, 100, generator=torch.Generator().manual_seed(1))
    shuffled = scores[torch.tensor([3, 1, 4, 0, 2])]
    for combine in (uncertainty.mean, uncertainty.worst_case, lambda s: uncertainty.uncertainty_weighted(s, 0.5)):
        assert torch.allclose(combine(scores), combine(shuffled), atol=1e-6)
        assert bool((combine(scores) <= uncertainty.mean(scores) + 1e-6).all())
    assert torch.equal(uncertainty.uncertainty_weighted(scores, 0.0), uncertainty.mean(scores))


def test_the_coefficient_is_per_score():
    """Twice the scale and half the λ: the same choice, at twice the score."""
    assert torch.allclose(
        uncertainty.uncertainty_weighted(2 * SCORES, 0.25), 2 * uncertainty.uncertainty_weighted(SCORES, 0.5)
    )


def test_a_failed_member_is_seen():
    broken = SCORES.clone()
    broken[0, 1] = float("nan")
    for found in (
        uncertainty.mean(broken),
        uncertainty.worst_case(broken),
        uncertainty.uncertainty_weighted(broken, 0.1),
    ):
        assert found.isnan().tolist() == [False, True, False]
