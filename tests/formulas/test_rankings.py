"""Losses on several candidates at once: against pairs, slow loops and all orders; what is absent leaks nowhere."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.formulas import preference

GOLDEN = torch.tensor([[1.0, 0.0, -1.0, 2.0]])
PLACES = torch.tensor([[1, 2, 3, 0]])  # 3 > 0 > 1 > 2
JUNK = [0.0, 1e30, -1e30, math.nan, math.inf, -math.inf]


def random_question(seed: int, candidates: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(1, candidates, generator=generator)
    return scores, torch.randint(0, candidates, (1, candidates), generator=generator)


def nll_of_order(scores: torch.Tensor, order: tuple[int, ...]) -> float:
    return sum(float(scores[list(order[i:])].double().logsumexp(0) - scores[order[i]]) for i in range(len(order)))


def orders(places: list[int]) -> list[tuple[int, ...]]:
    """All orders of the candidates that are there which agree with their places."""
    there = [i for i, place in enumerate(places) if place >= 0]
    return [each for each in permutations(there) if [places[i] for i in each] == sorted(places[i] for i in there)]


def test_rankings_by_hand():
    """Fact 19."""
    assert float(preference.pairs(GOLDEN, preference.preferred(PLACES))) == pytest.approx(0.207038, abs=1e-6)
    assert float(preference.plackett_luce(GOLDEN, PLACES)) == pytest.approx(1.161057, abs=1e-6)


@pytest.mark.parametrize("target", [0.0, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("difference", [-2.0, 0.0, 0.3, 40.0])
def test_two_candidates_are_a_pair(target, difference):
    scores = torch.tensor([[difference, 0.0]])
    pair = float(preference.pair(scores[0, 0], scores[0, 1], target))
    preferred = torch.full((1, 2, 2), math.nan)
    preferred[0, 0, 1] = target
    assert float(preference.pairs(scores, preferred)) == pytest.approx(pair, abs=1e-5)
    assert float(preference.soft_choice(scores, torch.tensor([[target, 1 - target]]))) == pytest.approx(pair, abs=1e-5)
    places = {0.0: [1, 0], 0.5: [0, 0], 1.0: [0, 1]}
    if target in places:
        found = preference.plackett_luce(scores, torch.tensor([places[target]]))
        assert float(found) == pytest.approx(pair, abs=1e-5)


@pytest.mark.parametrize("candidates", [2, 3, 5, 9])
def test_pairs_are_the_mean_over_separate_pairs(candidates):
    scores, places = random_question(candidates, candidates)
    scores.requires_grad_()
    terms = []
    for i in range(candidates):
        for j in range(i + 1, candidates):
            first, second = int(places[0, i]), int(places[0, j])
            target = 0.5 if first == second else float(first < second)
            terms.append(preference.pair(scores[0, i], scores[0, j], target))
    assert len(terms) == math.comb(candidates, 2)
    slow = torch.stack(terms).mean()
    fast = preference.pairs(scores, preference.preferred(places))
    assert fast.item() == pytest.approx(slow.item(), abs=1e-6)
    (by_pairs,) = torch.autograd.grad(slow, scores)
    (together,) = torch.autograd.grad(fast.sum(), scores)
    assert torch.allclose(by_pairs, together, atol=1e-6)


def test_the_lower_triangle_is_not_read():
    preferred = preference.preferred(PLACES)
    upper = preferred.masked_fill(torch.ones(4, 4, dtype=torch.bool).tril(), math.nan)
    assert torch.equal(preference.pairs(GOLDEN, upper), preference.pairs(GOLDEN, preferred))


def test_tied_pairs_are_half_or_left_out():
    places = torch.tensor([[0, 0, 1]])
    halves, dropped = preference.preferred(places), preference.preferred(places, tie=math.nan)
    assert halves[0].tolist() == [[0.5, 0.5, 1.0], [0.5, 0.5, 1.0], [0.0, 0.0, 0.5]]
    scores = torch.tensor([[2.0, 0.0, 0.0]])
    tie, first, second = (float(preference.pair(torch.tensor(d), torch.tensor(0.0), t))
                          for d, t in ((2.0, 0.5), (2.0, 1.0), (0.0, 1.0)))  # fmt: skip
    assert float(preference.pairs(scores, halves)) == pytest.approx((tie + first + second) / 3, abs=1e-6)
    assert float(preference.pairs(scores, dropped)) == pytest.approx((first + second) / 2, abs=1e-6)


def test_a_question_weighs_the_same_however_many_candidates_it_has():
    """At equal scores every pair costs ln 2, and so does every question."""
    for candidates in (2, 4, 9):
        places = torch.arange(candidates)[None]
        found = preference.pairs(torch.zeros(1, candidates), preference.preferred(places))
        assert float(found) == pytest.approx(math.log(2))


def test_margins_ask_for_more_where_the_answer_points():
    scores, answers = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.full((2, 2, 2), math.nan)
    answers[:, 0, 1] = torch.tensor([1.0, 0.0])
    margins = preference.graded_margin(answers, torch.tensor(0.5), largest=2.0)
    assert margins[:, 0, 1].tolist() == [1.0, -1.0]
    assert preference.pairs(scores, answers, margins).tolist() == pytest.approx([math.log(2)] * 2)
    assert bool((preference.pairs(scores, answers) < math.log(2)).all())


def test_grades_as_targets():
    answers = torch.tensor([1.0, 0.0, 1.0, 0.5])
    strengths = torch.tensor([1.0, 1.0, 0.0, 0.7])
    assert preference.graded_target(answers, strengths).tolist() == pytest.approx([1.0, 0.0, 0.5, 0.5])
    assert float(preference.graded_target(torch.tensor(0.0), torch.tensor(0.5))) == 0.25


def test_soft_choice_by_hand():
    scores = torch.tensor([[1.0, 0.0, -1.0, 2.0]])
    target = torch.tensor([[0.25, 0.0, 0.0, 0.75]])
    assert float(preference.soft_choice(scores, target)) == pytest.approx(0.75 * 0.440190 + 0.25 * 1.440190, abs=1e-6)


def test_a_candidate_that_cannot_win_costs_nothing_where_it_did_not():
    scores = torch.tensor([[1.0, 0.0, -math.inf]], requires_grad=True)
    for found in (
        preference.choice(scores, torch.tensor([0])),
        preference.soft_choice(scores, torch.tensor([[1.0, 0.0, 0.0]])),
    ):
        assert found.item() == pytest.approx(0.313262, abs=1e-6)
        (gradient,) = torch.autograd.grad(found.sum(), scores)
        assert gradient[0].tolist() == pytest.approx([-0.268941, 0.268941, 0.0], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_plackett_luce_is_the_mean_over_all_orders(seed, candidates):
    scores, places = random_question(seed, candidates)
    places[0, 0] = -1 if seed % 3 == 0 else places[0, 0]
    slow = [nll_of_order(scores[0], order) for order in orders(places[0].tolist())]
    found = float(preference.plackett_luce(scores, places))
    assert found == pytest.approx(sum(slow) / len(slow), abs=1e-5)


def test_plackett_luce_is_a_probability_over_orders():
    scores = torch.tensor([[0.3, -1.0, 2.0, 0.1]])
    probabilities = [
        math.exp(-float(preference.plackett_luce(scores, torch.tensor([p])))) for p in permutations(range(4))
    ]
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-5)


def test_all_tied_wants_equal_scores():
    places = torch.zeros(1, 4, dtype=torch.long)
    equal = torch.zeros(1, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(preference.plackett_luce(equal, places).sum(), equal)
    assert gradient.abs().max() < 1e-6
    assert float(preference.plackett_luce(GOLDEN, places)) > float(preference.plackett_luce(equal.detach(), places))


def test_too_many_to_rank_at_once_is_refused():
    with pytest.raises(ValueError, match="at most 12 candidates, got 13"):
        preference.plackett_luce(torch.zeros(1, 13), torch.arange(13)[None])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.floats(-30, 30))
def test_a_shift_of_all_scores_changes_nothing(seed, candidates, shift):
    """Fact 17."""
    scores, places = random_question(seed, candidates)
    target = torch.softmax(places.float(), dim=-1)
    for loss in (
        lambda s: preference.pairs(s, preference.preferred(places)),
        lambda s: preference.plackett_luce(s, places),
        lambda s: preference.soft_choice(s, target),
    ):
        assert float(loss(scores + shift)) == pytest.approx(float(loss(scores)), abs=1e-3)


def losses_with_one_absent() -> dict:
    """Loss of [1, 4] scores whose last candidate is not there, and of the first three alone."""
    places, absent = torch.tensor([[1, 0, 1, -1]]), torch.tensor([[0.2, 0.8, 0.0, math.nan]])
    return {
        "pairs": (
            lambda s: preference.pairs(s, preference.preferred(places)),
            lambda s: preference.pairs(s, preference.preferred(places[:, :3])),
        ),
        "pairs with margins": (
            lambda s: preference.pairs(s, preference.preferred(places), 0.3 * preference.preferred(places)),
            lambda s: preference.pairs(
                s, preference.preferred(places[:, :3]), 0.3 * preference.preferred(places[:, :3])
            ),
        ),
        "soft_choice": (
            lambda s: preference.soft_choice(s, absent),
            lambda s: preference.soft_choice(s, absent[:, :3]),
        ),
        "plackett_luce": (
            lambda s: preference.plackett_luce(s, places),
            lambda s: preference.plackett_luce(s, places[:, :3]),
        ),
    }


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("name", losses_with_one_absent())
def test_what_is_absent_may_hold_anything(name, junk):
    padded_loss, alone_loss = losses_with_one_absent()[name]
    alone = torch.tensor([[0.5, -1.0, 2.0]], requires_grad=True)
    padded = torch.tensor([[0.5, -1.0, 2.0, junk]], requires_grad=True)
    expected, found = alone_loss(alone), padded_loss(padded)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    (wanted,) = torch.autograd.grad(expected.sum(), alone)
    (gradient,) = torch.autograd.grad(found.sum(), padded)
    assert wanted.abs().max() > 0.01
    assert torch.allclose(gradient[:, :3], wanted, atol=1e-6)
    assert float(gradient[0, 3]) == 0.0


@pytest.mark.parametrize("junk", JUNK)
def test_a_question_without_any_judgement_costs_nothing(junk):
    scores = torch.full((1, 3), junk, requires_grad=True)
    unknown = torch.full((1, 3), math.nan)
    for found in (
        preference.pairs(scores, unknown[:, :, None].expand(1, 3, 3)),
        preference.soft_choice(scores, unknown),
        preference.plackett_luce(scores, torch.full((1, 3), -1)),
    ):
        assert found.item() == 0.0
        (gradient,) = torch.autograd.grad(found.sum(), scores)
        assert gradient.tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_gradient_lifts_the_best_and_lowers_the_worst(place):
    places = torch.roll(torch.arange(3), place)[None]
    best, worst = int(places.argmin()), int(places.argmax())
    scores = torch.zeros(1, 3, requires_grad=True)
    target = (places == 0).float()
    for found in (
        preference.pairs(scores, preference.preferred(places)),
        preference.soft_choice(scores, target),
        preference.plackett_luce(scores, places),
    ):
        (gradient,) = torch.autograd.grad(found.sum(), scores)
        assert gradient[0, best] < 0 < gradient[0, worst]


def test_pairs_take_any_term_of_two_scores_and_a_target():
    """With the error floor: the mean of separate floored pairs, and no gradient where nothing was judged."""
    scores, preferred = torch.tensor([[1.0, 0.0, -40.0]], requires_grad=True), torch.full((1, 3, 3), math.nan)
    preferred[0, 0, 1], preferred[0, 0, 2] = 1.0, 0.0
    found = preference.pairs(scores, preferred, term=preference.floored)
    expected = [
        preference.floored(torch.tensor(a), torch.tensor(b), t) for a, b, t in ((1.0, 0.0, 1.0), (1.0, -40.0, 0.0))
    ]
    assert found.item() == pytest.approx(float(sum(expected)) / 2, abs=1e-6)
    assert float(expected[1]) == pytest.approx(-math.log(0.05), abs=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), scores)
    assert gradient.isfinite().all() and gradient[0, 2].abs() < 1e-6
