"""Scores of episodes: where they stand, how they are normalised, and that an error never becomes one."""

from __future__ import annotations

import math

import pytest
import torch
from tests.conftest import letters_tokenizer

from tutelage.algorithms.ppo import PPOConfig, improve, penalised
from tutelage.algorithms.reward_losses import agreement, best_agreement, choice, pairs
from tutelage.data.errors import InputError
from tutelage.data.judgements import judged
from tutelage.data.questions import Pair, Question, chosen
from tutelage.data.tokens import Codec, written
from tutelage.execution.learner import LocalLearner
from tutelage.policies.language import Frozen, SharedCritic
from tutelage.rewards.language import ModelScore, RewardModel, TextScore, start_head
from tutelage.trajectory import Batch

CODEC = Codec(letters_tokenizer(pad_token="<eos>"))


def replies(*texts, ended=True):
    return Batch.of([written(*CODEC.pair("ab ", text, ended=ended), ended=ended) for text in texts])


def test_the_score_stands_on_the_end_of_sequence(tiny_classifier):
    batch = replies("a", "abc", "abcdef")
    score_BT = ModelScore(RewardModel(tiny_classifier))(batch)
    for row in range(3):
        last = int(batch.lengths_B[row]) - 1
        assert int(batch.actions[row, last]) == CODEC.stop_tokens[0]
        assert score_BT[row].nonzero().flatten().tolist() == [last]


def test_a_zero_score_of_the_model_is_still_a_score_of_the_episode():
    batch = replies("a", "abc")
    assert batch.at_last_action(torch.zeros(2)).sum() == 0
    assert batch.last_action_B.tolist() == [3, 5]


@pytest.mark.parametrize("deviation", [1.0, 2.5])
def test_normalised_to_mean_and_deviation_exactly(tiny_classifier, deviation):
    """Fact 22: gain = s_t / s, bias = μ_t − gain μ; the order of replies does not change."""
    start_head(tiny_classifier, seed=3)
    model, batch = RewardModel(tiny_classifier), replies("a", "abc", "bca", "kkkk", "dd!")
    with torch.no_grad():
        before = model(batch)
        model.normalise(before, mean=0.5, deviation=deviation)
        after = model(batch)
    assert float(after.mean()) == pytest.approx(0.5, abs=1e-5)
    assert float(after.std(unbiased=False)) == pytest.approx(deviation, abs=1e-5)
    assert (before.argsort() == after.argsort()).all()
    gain = deviation / float(before.std(unbiased=False))
    assert torch.allclose(after, gain * before + 0.5 - gain * before.mean(), atol=1e-5)


def test_recentring_changes_neither_loss_nor_accuracy(tiny_classifier):
    """Fact 17: a loss of comparisons does not see a shift."""
    start_head(tiny_classifier, seed=3)
    model = RewardModel(tiny_classifier)
    asked = [Question("ab ", texts, (Pair(0, 1, t),)) for texts, t in ((("a", "abc"), 1.0), (("bca", "kkkk"), 0.0))]
    rows = judged(replies("a", "abc", "bca", "kkkk"), asked)
    with torch.no_grad():
        scores = rows.spread(model(rows.candidates))
        before = [float(pairs(scores, rows).sum()), agreement(scores, rows).tolist()]
        model.normalise(scores.flatten(), mean=7.0)
        shifted = rows.spread(model(rows.candidates))
    assert float(pairs(shifted, rows).sum()) == pytest.approx(before[0], abs=1e-4)
    assert agreement(shifted, rows).tolist() == before[1]
    assert not torch.allclose(shifted, scores)


def test_scores_that_are_all_equal_cannot_be_scaled(tiny_classifier):
    with pytest.raises(ValueError, match="all 4 scores are equal"):
        RewardModel(tiny_classifier).normalise(torch.ones(4), deviation=1.0)


def test_a_tie_of_the_model_counts_half_and_a_choice_of_four_is_shared():
    rows = judged(replies("a", "abc"), [Question("ab ", ("a", "abc"), (Pair(0, 1, 1.0),))])
    assert agreement(torch.tensor([[0.3, 0.3]]), rows).tolist() == [0.5]
    four = judged(replies("a", "b", "c", "d"), [Question("ab ", ("a", "b", "c", "d"), chosen(2, 4), 2)])
    assert best_agreement(torch.tensor([[0.0, 1.0, 1.0, 1.0]]), four).tolist() == pytest.approx([1 / 3])
    assert float(choice(torch.zeros(1, 4), four)) == pytest.approx(math.log(4))


def test_a_cut_off_episode_gets_the_penalty_instead_of_its_score(tiny_policy):
    """Fact 27: replaced, not added to; the KL is charged as before; a reply that ended keeps its score."""
    batch = Batch.of([written(*CODEC.pair("ab ", "abc")), written(*CODEC.pair("ab ", "abc", ended=False), ended=False)])
    score_BT = batch.at_last_action(torch.tensor([0.7, 0.7]))
    found_BT, terminated_B = penalised(PPOConfig(truncation_score=-1.0), batch, score_BT)
    assert found_BT.sum(dim=1).tolist() == pytest.approx([0.7, -1.0])
    assert terminated_B.tolist() == [True, True]
    untouched, as_before = penalised(PPOConfig(), batch, score_BT)
    assert untouched is score_BT and as_before.tolist() == [True, False]


def test_all_rewards_of_an_episode_are_score_minus_the_price_of_its_kl(tiny_policy, tiny_classifier):
    """Fact 14: Σ_t r_t = score − coefficient · (log π(y|x) − log π_ref(y|x)), and 0 KL where nothing moved."""
    batch = replies("a", "abc", "kkkk!")
    with torch.no_grad():
        log_probs_BT = tiny_policy.log_probs(batch)
    batch = Batch(**{**vars(batch), "behaviour_log_probs_BT": log_probs_BT.masked_fill(~batch.mask_BT, 0.0)})
    critic = SharedCritic(tiny_policy)
    learner = LocalLearner({"all": (critic.parameters(), 0.0)}, max_grad_norm=1.0)
    score_BT = batch.at_last_action(torch.tensor([1.0, 2.0, 3.0]))
    stats = improve(PPOConfig(epochs=1), batch, score_BT, 0.1, critic, Frozen(tiny_policy), learner)
    assert stats["score"] == pytest.approx(2.0)
    assert stats["kl_nats_per_sequence"] == pytest.approx(0.0, abs=1e-6)
    assert stats["clip_fraction"] == 0.0 and stats["approximate_kl_nats"] == pytest.approx(0.0, abs=1e-10)
    assert stats["policy_loss"] == pytest.approx(0.0, abs=1e-5)  # whitened advantages at ratio 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda prompts, responses: [float("nan")] * len(responses), "nan"),
        (lambda prompts, responses: [1.0], "1 numbers for 2"),
        (lambda prompts, responses: 1 / 0, "ZeroDivisionError"),
        (lambda prompts, responses: ["high"] * 2, "returned .'high', 'high'. .list.; expected a list with one number"),
    ],
)
def test_what_is_no_number_never_becomes_a_score(function, said):
    with pytest.raises(InputError, match=said):
        TextScore(function, CODEC)(replies("a", "abc"))


def test_a_function_reads_the_texts_that_were_written():
    seen = []

    def count(prompts, responses):
        seen.extend(zip(prompts, responses, strict=True))
        return [len(response) for response in responses]

    score_BT = TextScore(count, CODEC)(replies("a", "abc!"))
    assert seen == [("ab ", "a"), ("ab ", "abc!")]
    assert score_BT.sum(dim=1).tolist() == [1.0, 4.0]
