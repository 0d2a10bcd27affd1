"""Ragged questions as tensors: every label where it belongs, nothing where there is none, any cut of them the same."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from tests.conftest import letters_tokenizer

from tutelage.algorithms import reward_losses as losses
from tutelage.algorithms.reward_losses import CHOICE, PAIRS, Objective, Ordinal
from tutelage.algorithms.reward_model import judged_loss, scores_of
from tutelage.data.judgements import Judgements, judged, tokenised
from tutelage.data.questions import Pair, Question, chosen, ranked
from tutelage.data.tokens import Codec, written
from tutelage.execution.learner import LocalLearner
from tutelage.formulas import preference
from tutelage.rewards.language import RewardModel, start_head
from tutelage.trajectory import Batch, parts_by_length

CODEC = Codec(letters_tokenizer(pad_token="<eos>"))
QUESTIONS = [
    Question("ab ", ("a", "bcd"), (Pair(0, 1, 0.0, 0.5),), 1),
    Question("c ", ("a", "bb", "ccc", "d"), ranked({0: 2, 1: 0, 2: 0, 3: 1})),
    Question("def ", ("a", "b", "hhhhhh"), chosen(2, 3), 2, ratings={"help": (1.0, None, 0.25)}),
    Question("g ", ("kkk",), ratings={"help": (0.0,), "harm": (1.0,)}),
    Question("hh ", ("a", "c"), (Pair(0, 1, 2 / 3),), votes={"x": 1.0, "y": 1.0, "z": 0.0}),
]


@pytest.fixture
def rows() -> Judgements:
    return judged(tokenised(CODEC, QUESTIONS)[0], QUESTIONS, ("help",))


@pytest.fixture
def model(tiny_classifier):
    start_head(tiny_classifier, seed=3)
    return RewardModel(tiny_classifier)


def test_every_label_stands_where_it_belongs(rows):
    nan = math.nan
    assert rows.counts_N.tolist() == [2, 4, 3, 1, 2] and len(rows) == 5 and len(rows.candidates) == 12
    assert rows.preferred_NKK[0, 0, 1] == 0.0 and rows.preferred_NKK[0].isnan().sum() == 15
    assert rows.preferred_NKK[1][torch.triu_indices(4, 4, 1).unbind()].tolist() == [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
    assert rows.margins_NKK[0, 0, 1] == -0.5  # the second is the better one
    assert rows.margins_NKK[1:].abs().sum() == 0
    assert rows.places_NK.tolist() == [[1, 0, -1, -1], [2, 0, 0, 1], [-1] * 4, [-1] * 4, [0, 1, -1, -1]]
    expected = torch.tensor([[0.0, 1.0, nan, nan], [nan] * 4, [0.0, 0.0, 1.0, nan], [nan] * 4, [nan] * 4])
    assert torch.equal(rows.picked_NK.nan_to_num(-1), expected.nan_to_num(-1))
    assert rows.ratings_NKA[2, :, 0].nan_to_num(-1).tolist() == [1.0, -1.0, 0.25, -1.0]
    assert rows.ratings_NKA.shape == (5, 4, 1) and rows.weights_N.tolist() == [1.0] * 5


def test_scores_find_their_question(rows):
    spread = rows.spread(torch.arange(12.0))
    assert spread[1].tolist() == [2.0, 3.0, 4.0, 5.0] and spread[3, 0] == 9.0
    assert torch.equal(~spread.isnan(), rows.present_NK)
    heads = rows.spread(torch.stack([torch.arange(12.0), -torch.arange(12.0)], dim=1))
    assert heads.shape == (5, 4, 2) and heads[1, :, 1].tolist() == [-2.0, -3.0, -4.0, -5.0]


def test_selected_questions_bring_their_own_candidates_and_labels(rows):
    part = rows.select([4, 2, 2])
    assert part.counts_N.tolist() == [2, 3, 3] and part.places_NK.shape == (3, 3)
    assert part.preferred_NKK.shape == (3, 3, 3) and part.ratings_NKA.shape == (3, 3, 1)
    texts = CODEC.prompts_and_responses(part.candidates)[1]
    assert texts == ["a", "c", "a", "b", "hhhhhh", "a", "b", "hhhhhh"]
    assert float(part.preferred_NKK[0, 0, 1]) == pytest.approx(2 / 3)
    assert part.picked_NK[1].tolist() == [0.0, 0.0, 1.0]
    assert rows.select(torch.tensor([3])).candidates.lengths_B.tolist() == [5]


def test_a_question_costs_its_candidates_times_the_longest(rows):
    assert rows.lengths_B.tolist() == [2 * 6, 4 * 5, 3 * 10, 5, 2 * 4]
    assert sorted(torch.cat(list(parts_by_length(rows.lengths_B, 30))).tolist()) == [0, 1, 2, 3, 4]


def test_candidates_and_questions_must_be_as_many():
    with pytest.raises(ValueError, match="12 candidates"):
        judged(tokenised(CODEC, QUESTIONS)[0], QUESTIONS[:4])
    with pytest.raises(ValueError, match="at least one question"):
        judged(tokenised(CODEC, QUESTIONS)[0], [])


@pytest.mark.parametrize("candidates", [2, 3, 5, 9])
def test_one_forward_a_response_is_all_pairs_forwarded_apart(model, candidates):
    """Fact 19: the loss of one K-batch and its gradient are those of C(K, 2) separate pair forwards, 1/C(K, 2) each."""
    texts = tuple("abcdefghi"[place] * (1 + place % 4) for place in range(candidates))
    question = Question("ab ", texts, ranked({place: place * 7 % candidates // 2 for place in range(candidates)}))
    parameters = [each for each in model.parameters() if each.requires_grad]
    together = judged(tokenised(CODEC, [question])[0], [question])
    loss = judged_loss(model, PAIRS, together)["loss"]
    gradient = torch.autograd.grad(loss, parameters, allow_unused=True)
    terms = []
    for i, j, target, _ in question.pairs:
        first, second = (model(Batch.of([written(*CODEC.pair("ab ", texts[place]))]))[0] for place in (i, j))
        terms.append(preference.pair(first, second, target))
    assert len(terms) == math.comb(candidates, 2)
    apart = torch.stack(terms).mean()
    assert loss.item() == pytest.approx(apart.item(), abs=1e-5)
    for one, other in zip(gradient, torch.autograd.grad(apart, parameters, allow_unused=True), strict=True):
        assert (one is None) == (other is None) and (one is None or torch.allclose(one, other, atol=1e-5))


def test_every_candidate_is_read_once(model):
    read = []

    def counting(batch):
        read.append(len(batch))
        return model(batch)

    question = Question("ab ", ("a", "b", "c", "d"), ranked({0: 0, 1: 1, 2: 2, 3: 3}))
    judged_loss(counting, PAIRS, judged(tokenised(CODEC, [question])[0], [question]))
    assert read == [4]


@pytest.mark.parametrize("tokens_at_once", [1, 40, 10_000])
def test_micro_batches_neighbours_and_padding_change_nothing(model, rows, tokens_at_once):
    """Fact 17, and design §4.8 for questions of any width side by side."""
    with torch.no_grad():
        together = scores_of(model, rows)
        for place, question in enumerate(QUESTIONS):
            alone = model(judged(tokenised(CODEC, [question])[0], [question]).candidates)
            assert torch.allclose(together[place, : len(alone)], alone, atol=1e-5)
    compared = rows.select([0, 1, 4])
    losses_, gradients = [], []
    for budget in (tokens_at_once, 100_000):
        learner = LocalLearner({"all": (model.parameters(), 0.0)}, tokens_at_once=budget, max_grad_norm=1e9)
        losses_.append(learner.update(compared, partial(judged_loss, model, PAIRS)))
        gradients.append([each.grad.clone() for each in model.parameters() if each.grad is not None])
    assert losses_[0]["loss"] == pytest.approx(losses_[1]["loss"], abs=1e-6)
    assert losses_[0]["accuracy"] == pytest.approx(losses_[1]["accuracy"])
    for first, second in zip(*gradients, strict=True):
        assert torch.allclose(first, second, atol=1e-6)


def test_labels_that_are_not_there_cost_nothing_and_leak_nothing(model, rows):
    """Every loss on questions of every kind: a term where it has a label, exactly 0 and no gradient elsewhere."""
    labelled = {
        "pairs": (losses.pairs, [0, 1, 2, 4]),
        "floored": (losses.floored, [0, 1, 2, 4]),
        "choice": (losses.choice, [0, 2]),
        "plackett_luce": (losses.plackett_luce, [0, 1, 4]),
        "squared": (losses.squared, [2, 3]),
        "binary": (losses.binary, [2, 3]),
        "ordinal": (Ordinal(rows.ratings_NKA[..., 0]), [2, 3]),
    }
    for name, (loss, expected) in labelled.items():
        scores_M = torch.linspace(-1, 1.4, 12, requires_grad=True)
        terms_N = loss(rows.spread(scores_M), rows)
        assert terms_N.isfinite().all(), name
        assert terms_N.nonzero().flatten().tolist() == expected, name
        (gradient_M,) = torch.autograd.grad(terms_N.sum(), scores_M)
        question_M = torch.arange(5).repeat_interleave(rows.counts_N)
        assert gradient_M.isfinite().all(), name
        assert sorted(set(question_M[gradient_M != 0].tolist())) == expected, name


def test_golden_numbers_of_the_losses():
    """Facts 16, 18, 19 and 20."""
    four = Question("ab ", ("a", "b", "c", "d"), ranked({3: 0, 0: 1, 1: 2, 2: 3}))
    rows, scores = judged(tokenised(CODEC, [four])[0], [four]), torch.tensor([[1.0, 0.0, -1.0, 2.0]])
    assert float(losses.pairs(scores, rows)) == pytest.approx(0.207038, abs=1e-6)
    assert float(losses.plackett_luce(scores, rows)) == pytest.approx(1.161057, abs=1e-6)
    for best, expected in ((3, 0.440190), (0, 1.440190)):
        picked = Question("ab ", ("a", "b", "c", "d"), chosen(best, 4), best)
        rows = judged(tokenised(CODEC, [picked])[0], [picked])
        assert float(losses.choice(scores, rows)) == pytest.approx(expected, abs=1e-6)
        assert float(losses.choice(torch.zeros(1, 4), rows)) == pytest.approx(1.386294, abs=1e-6)
    for difference, target, expected in ((0, 1, 0.693147), (1, 1, 0.313262), (-1, 1, 1.313262), (1, 0.5, 0.813262)):
        two = Question("ab ", ("a", "b"), (Pair(0, 1, target),))
        rows = judged(tokenised(CODEC, [two])[0], [two])
        assert float(losses.pairs(torch.tensor([[float(difference), 0.0]]), rows)) == pytest.approx(expected, abs=1e-6)
    assert float(losses.pairs(torch.tensor([[-1000.0, 0.0]]), pair_of(1.0))) == 1000.0


def pair_of(target, margin=0.0) -> Judgements:
    question = Question("ab ", ("a", "b"), (Pair(0, 1, target, margin),), {1.0: 0, 0.0: 1}.get(target))
    return judged(tokenised(CODEC, [question])[0], [question])


def test_two_candidates_are_one_pair_by_every_loss():
    scores = torch.tensor([[0.3, -0.9]])
    for target in (0.0, 1.0):
        rows = pair_of(target)
        expected = float(preference.pair(scores[0, 0], scores[0, 1], target))
        for loss in (losses.pairs, losses.choice, losses.plackett_luce):
            assert float(loss(scores, rows)) == pytest.approx(expected, abs=1e-6)
        for loss in (losses.pairs, losses.choice):
            smooth = float(preference.pair(scores[0, 0], scores[0, 1], 0.9 * target + 0.1 * (1 - target)))
            assert float(loss(scores, rows, smoothing=0.1)) == pytest.approx(smooth, abs=1e-6)


def test_smoothing_shares_what_the_best_of_four_gives_up():
    picked = Question("ab ", ("a", "b", "c", "d"), chosen(1, 4), 1)
    rows, scores = judged(tokenised(CODEC, [picked])[0], [picked]), torch.tensor([[1.0, 0.0, -1.0, 2.0]])
    shares = torch.tensor([0.1, 0.7, 0.1, 0.1])
    expected = -float((shares * torch.log_softmax(scores[0], 0)).sum())
    assert float(losses.choice(scores, rows, smoothing=0.3)) == pytest.approx(expected, abs=1e-6)


def test_a_margin_moves_the_pair_to_where_the_better_one_leads_by_it():
    """With margin m the loss at Δ is the plain one at Δ − m, for whichever side is the better one."""
    for target, scores in ((1.0, [[2.0, 0.5]]), (0.0, [[0.5, 2.0]])):
        found = losses.pairs(torch.tensor(scores), pair_of(target, margin=0.5), margin_scale=3.0)
        assert float(found) == pytest.approx(math.log(2), abs=1e-6)
        assert float(losses.pairs(torch.tensor(scores), pair_of(target, margin=0.5))) == pytest.approx(
            0.201413, abs=1e-6
        )


@pytest.mark.parametrize("difference", [-500.0, -3.0, 0.0, 3.0, 500.0])
def test_with_the_error_floor_no_answer_is_surer_than_95_percent(difference):
    """Christiano et al. 2017: P = 0.9 σ(Δ) + 0.05, so a term lies between −log 0.95 and −log 0.05."""
    scores = torch.tensor([[difference, 0.0]])
    for target in (0.0, 1.0):
        probability = math.exp(-float(losses.floored(scores, pair_of(target))))
        assert 0.05 - 1e-6 <= probability <= 0.95 + 1e-6
    agreed = math.exp(-float(losses.floored(scores, pair_of(1.0))))
    assert agreed == pytest.approx(0.9 / (1 + math.exp(-difference)) + 0.05, abs=1e-6)
    assert math.exp(-float(losses.floored(scores, pair_of(1.0), error_fraction=0.4))) <= 0.8 + 1e-6


def test_ratings_count_a_question_once_and_average_over_what_was_rated(rows):
    scores = rows.spread(torch.arange(12.0) / 10)
    by_hand = ((0.6 - 1.0) ** 2 + (0.8 - 0.25) ** 2) / 2
    assert float(losses.squared(scores, rows)[2]) == pytest.approx(by_hand, abs=1e-6)
    cross = [-math.log(1 / (1 + math.exp(-0.6))), -0.25 * math.log(1 / (1 + math.exp(-0.8)))]
    cross[1] -= 0.75 * math.log(1 / (1 + math.exp(0.8)))
    assert float(losses.binary(scores, rows)[2]) == pytest.approx(sum(cross) / 2, abs=1e-6)
    assert float(losses.binary(scores, rows, smoothing=0.5)[3]) == pytest.approx(
        0.5 * (math.log(1 + math.exp(0.9)) + math.log(1 + math.exp(-0.9))), abs=1e-6
    )


def test_ordinal_thresholds_begin_at_the_shares_and_learn(rows):
    ratings = torch.tensor([[1.0, 2.0], [2.0, 5.0], [2.0, math.nan]])
    loss = Ordinal(ratings)
    assert loss.grades.tolist() == [1.0, 2.0, 5.0]
    assert loss.thresholds.tolist() == pytest.approx([math.log(0.2 / 0.8), math.log(0.8 / 0.2)], abs=1e-5)
    graded = [
        Question("ab ", ("a", "b"), ratings={"help": (1.0, 2.0)}),
        Question("c ", ("a",), ratings={"help": (5.0,)}),
    ]
    part = judged(tokenised(CODEC, graded)[0], graded, ("help",))
    terms = loss(part.spread(torch.zeros(3)), part)
    assert terms.tolist() == pytest.approx([(-math.log(0.2) - math.log(0.6)) / 2, -math.log(0.2)], abs=1e-5)
    terms.sum().backward()
    assert (loss.free.grad != 0).all()
    with pytest.raises(ValueError, match="two grades"):
        Ordinal(torch.tensor([3.0, math.nan]))


def test_what_is_right_is_counted_by_kind(rows):
    scores = rows.spread(torch.tensor([0.0, 1.0, 0.0, 3.0, 2.0, 1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0]))
    # a ranking: five pairs are right, the tied answer is a half; a pair of equal scores is a half
    assert losses.agreement(scores, rows).tolist() == pytest.approx([1.0, 5.5 / 6, 0.5, 0.0, 0.5])
    assert losses.best_agreement(scores, rows).tolist() == pytest.approx([1.0, 0.0, 1 / 3, 0.0, 0.0])
    assert losses.side_agreement(scores, rows)[2:4].tolist() == [0.5, 0.0]
    bests = rows.select([0, 2])
    assert judged_loss(lambda batch: torch.arange(5.0), CHOICE, bests)["accuracy"] == 2.0


def test_a_weight_counts_a_question_so_often():
    """L = L_a + λ L_b: three questions of weight 1 and one of λ = 3 are six."""
    questions = [Question("ab ", ("a", "b"), (Pair(0, 1, float(n < 3)),)) for n in range(4)]
    weighted = judged(tokenised(CODEC, questions)[0], questions, weights=[1.0, 1.0, 1.0, 3.0])
    repeated = [*questions, questions[3], questions[3]]
    plain = judged(tokenised(CODEC, repeated)[0], repeated)

    def score(batch):
        return batch.observations[:, 3].float()

    found, expected = judged_loss(score, PAIRS, weighted), judged_loss(score, PAIRS, plain)
    assert weighted.weight == plain.weight == 6.0
    assert float(found["loss"]) == pytest.approx(float(expected["loss"]), abs=1e-6)
    assert float(found["accuracy"]) == float(expected["accuracy"]) == 3.0


def test_two_heads_share_a_loss_by_halves(rows):
    """Menick et al. 2022: ½ (preference + supported), each from its own head."""
    scores = rows.spread(torch.stack([torch.linspace(-1, 1, 12), torch.linspace(2, -1, 12)], dim=1))
    found = losses.with_second_head(losses.pairs, losses.binary, scores, rows)
    expected = 0.5 * (losses.pairs(scores[..., 0], rows) + losses.binary(scores[..., 1], rows))
    assert torch.equal(found, expected) and bool((expected[:4] > 0).all())
    right = losses.first_head(losses.agreement, scores, rows)
    assert torch.equal(right, losses.agreement(scores[..., 0], rows))
    both = losses.mean_head(losses.agreement, scores, rows)
    assert torch.equal(both, losses.agreement(scores[..., 0] + scores[..., 1], rows)) and not torch.equal(both, right)


def test_heads_of_an_ensemble_learn_from_what_each_drew(rows):
    """A draw of (2, 0, …) is the question twice for that head and not at all for the other."""
    pairs = rows.select([0, 1])
    scores = pairs.spread(torch.stack([torch.linspace(-1, 1, 6), torch.linspace(1, 0, 6)], dim=1))
    each = torch.stack([losses.pairs(scores[..., head], pairs) for head in range(2)], dim=1)
    assert torch.allclose(losses.of_heads(losses.pairs, scores, pairs), each.mean(dim=1))
    drawn = Judgements(**{**vars(pairs), "draws_NH": torch.tensor([[2.0, 0.0], [0.0, 1.0]])})
    found = losses.of_heads(losses.pairs, scores, drawn)
    assert found.tolist() == pytest.approx([float(each[0, 0]), float(each[1, 1]) / 2], abs=1e-6)
    assert drawn.select([1]).draws_NH.tolist() == [[0.0, 1.0]]


def test_an_objective_that_cannot_be_counted_records_its_loss_alone(rows):
    rated = rows.select([2, 3])
    sums = judged_loss(lambda batch: batch.lengths_B.float(), Objective(losses.squared), rated)
    assert sums.keys() == {"loss"}
