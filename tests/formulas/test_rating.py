"""Losses on one candidate: squared error, good or bad, ordered grades."""

from __future__ import annotations

import math

import pytest
import torch

from tutelage.formulas import preference, rating

THRESHOLDS = torch.tensor([-1.0, 0.5, 2.0])


def test_squared_error_by_hand():
    found = rating.squared_error(torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, 1.0, math.nan]))
    assert found.tolist() == [0.25, 9.0, 0.0]


def test_good_or_bad_is_the_binary_cross_entropy():
    logits, good = torch.tensor([-3.0, 0.0, 0.4, 50.0]), torch.tensor([1.0, 0.0, 0.3, 1.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, good, reduction="none")
    assert torch.allclose(rating.binary(logits, good), expected, atol=1e-6)
    assert float(rating.binary(torch.tensor(-1000.0), torch.tensor(1.0))) == 1000.0


def test_grades_by_hand():
    score = 0.3
    cumulative = [0.0, *(1 / (1 + math.exp(score - edge)) for edge in THRESHOLDS.tolist()), 1.0]
    for grade in range(4):
        found = rating.ordinal(torch.tensor([score]), THRESHOLDS, torch.tensor([grade]))
        assert float(found) == pytest.approx(-math.log(cumulative[grade + 1] - cumulative[grade]), abs=1e-6)


def test_two_grades_are_good_or_bad():
    scores, grades = torch.tensor([-1.3, 0.2, 4.0]), torch.tensor([1, 0, 1])
    found = rating.ordinal(scores, torch.zeros(1), grades)
    assert torch.allclose(found, rating.binary(scores, grades.float()), atol=1e-6)


@pytest.mark.parametrize("score", [-300.0, -5.0, 0.0, 1.2, 5.0, 300.0])
def test_grades_are_a_distribution_and_stay_finite(score):
    grades = torch.arange(4)
    scores, thresholds = torch.full((4,), score, requires_grad=True), THRESHOLDS.clone().requires_grad_()
    found = rating.ordinal(scores, thresholds, grades)
    assert (-found).exp().sum().item() == pytest.approx(1.0, abs=1e-5)
    found.sum().backward()
    assert scores.grad.isfinite().all()
    assert thresholds.grad.isfinite().all()


def test_only_the_distance_to_the_thresholds_counts():
    scores, grades = torch.tensor([0.3, -2.0, 1.0]), torch.tensor([2, 0, 3])
    found = rating.ordinal(scores, THRESHOLDS, grades)
    assert torch.allclose(rating.ordinal(scores + 7, THRESHOLDS + 7, grades), found, atol=1e-5)


def test_the_gradient_lifts_the_best_grade_and_lowers_the_worst():
    scores = torch.zeros(2, requires_grad=True)
    rating.ordinal(scores, THRESHOLDS, torch.tensor([3, 0])).sum().backward()
    assert scores.grad[0] < 0 < scores.grad[1]


def test_free_numbers_become_ascending_thresholds():
    free = torch.tensor([0.5, -3.0, 0.0, 2.0])
    found = rating.ascending(free)
    assert float(found[0]) == 0.5
    assert float(found[2] - found[1]) == pytest.approx(math.log(2))
    assert bool((found.diff() > 0).all())


def test_planted_thresholds_are_found_again():
    """Grades drawn from σ(θ_g − score) with known scores: the maximum of the likelihood lies at the thresholds."""
    generator = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(20_000, generator=generator)
    logistic = torch.logit(torch.rand(20_000, generator=generator))
    grades = (scores + logistic > THRESHOLDS[:, None]).sum(dim=0)
    free = torch.zeros(3, requires_grad=True)
    optimiser = torch.optim.LBFGS([free], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = rating.ordinal(scores, rating.ascending(free), grades).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    assert rating.ascending(free).tolist() == pytest.approx(THRESHOLDS.tolist(), abs=0.08)


@pytest.mark.parametrize("junk", [0.0, 1e30, math.nan, math.inf])
def test_what_was_not_rated_costs_nothing(junk):
    for loss, unrated in (
        (rating.squared_error, math.nan),
        (rating.binary, math.nan),
        (lambda scores, grades: rating.ordinal(scores, THRESHOLDS, grades), -1),
    ):
        scores = torch.tensor([0.7, junk], requires_grad=True)
        found = loss(scores, torch.tensor([1, unrated]))
        assert found[0] > 0
        assert found[1].item() == 0.0
        (gradient,) = torch.autograd.grad(found.sum(), scores)
        assert float(gradient[0]) != 0.0
        assert float(gradient[1]) == 0.0


def test_a_pair_of_judgements_can_share_a_loss():
    """Menick et al. 2022: ½ (preference + support), each as before."""
    scores, supported = torch.tensor([0.4, -0.2]), torch.tensor([1.0, 0.0])
    both = 0.5 * (preference.pair(scores[0], scores[1]) + rating.binary(scores, supported).mean())
    assert float(both) == pytest.approx(0.5 * (0.437488 + (0.513015 + 0.598139) / 2), abs=1e-5)


def test_concordance_by_hand():
    ratings = torch.tensor([1.0, 2.0, 2.0, 3.0])
    assert rating.concordance(torch.tensor([0.1, 0.2, 0.9, 0.5]), ratings) == 4 / 5  # (0.9, 0.5) is the wrong way
    assert rating.concordance(torch.tensor([0.1, 0.1, 0.9, 0.5]), ratings) == 3.5 / 5
    assert rating.concordance(-ratings, ratings) == 0.0
    assert rating.concordance(torch.zeros(4), ratings) == 0.5
    assert rating.concordance(torch.randn(4), torch.ones(4)) is None


def test_concordance_of_good_and_bad_is_the_area_under_the_curve():
    from sklearn.metrics import roc_auc_score

    generator = torch.Generator().manual_seed(0)
    good = (torch.rand(200, generator=generator) < 0.3).float()
    scores = good + torch.randn(200, generator=generator)
    found = rating.concordance(scores, good)
    assert found == pytest.approx(roc_auc_score(good.numpy(), scores.numpy()), abs=1e-6)
