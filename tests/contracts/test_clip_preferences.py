"""Learning a reward from clips: what Christiano et al. 2017 say of each part (papers: §2.2), part by part."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from tutelage.algorithms.preferences import Answers, PreferenceConfig, RewardLearner, bootstrap, pairs_loss, terms
from tutelage.environments.classic import PENDULUM, Classic
from tutelage.execution.learner import LocalLearner
from tutelage.execution.together import TogetherSampler
from tutelage.feedback.questions import disputed_answers, drawn, inclusion, leading
from tutelage.formulas import regularisation, schedule
from tutelage.policies.control import Gaussian
from tutelage.recipes.clip_questions import Cuts
from tutelage.rewards.control import Buttons, EnsembleScore, Inputs, RewardEnsemble, Torques, TrueScore, correlation
from tutelage.trajectory import Key

INPUTS = Inputs(3, Torques((-2.0,), (2.0,)))
CONFIG = PreferenceConfig()


def sums(first: float, second: float) -> torch.Tensor:
    return torch.tensor([[[first, second]]])


def cost(first: float, second: float, target: float, config: PreferenceConfig = CONFIG) -> float:
    return float(terms(config, sums(first, second), torch.tensor([target]), torch.zeros(1, 2)))


def test_a_constant_in_the_reward_changes_no_probability_of_clips_of_one_length():
    ensemble = RewardEnsemble(INPUTS, seed=1)
    clips = torch.randn(5, 2, 10, INPUTS.size)
    before = ensemble(clips).sum(dim=-1)
    with torch.no_grad():
        ensemble.biases[-1].add_(3.7)
    after = ensemble(clips).sum(dim=-1)
    assert not torch.allclose(before, after)
    assert torch.allclose(before[..., 0] - before[..., 1], after[..., 0] - after[..., 1], atol=1e-4)


def test_a_tie_pulls_nowhere_where_both_are_equal_and_together_where_they_are_not():
    for first, pull in ((0.0, 0.0), (1.0, 1.0), (-1.0, -1.0)):
        score = torch.tensor([[[first, 0.0]]], requires_grad=True)
        terms(CONFIG, score, torch.tensor([0.5]), torch.zeros(1, 2)).sum().backward()
        assert np.sign(round(float(score.grad[0, 0, 0]), 9)) == np.sign(pull)


def test_a_tenth_of_the_answers_may_be_random_so_none_costs_more_than_three():
    assert cost(100.0, 0.0, 0.0) == pytest.approx(-math.log(0.05), abs=1e-5) == pytest.approx(3.0, abs=0.005)
    assert cost(100.0, 0.0, 1.0) == pytest.approx(-math.log(0.95), abs=1e-5)
    assert cost(0.0, 0.0, 1.0) == pytest.approx(math.log(2), abs=1e-6)
    assert cost(1.0, 0.0, 1.0) == pytest.approx(-math.log(0.9 / (1 + math.exp(-1)) + 0.05), abs=1e-6)


def test_every_member_draws_as_many_answers_as_there_are_and_a_third_is_held_out():
    drawn_MN = bootstrap(5, 700, np.random.default_rng(0))
    assert drawn_MN.shape == (5, 700) and (drawn_MN.sum(axis=1) == 700).all()
    held = (drawn_MN == 0).mean(axis=1)
    assert abs(held.mean() - 1 / math.e) < 0.01 and len({tuple(row) for row in drawn_MN}) == 5


def test_what_is_held_out_stays_held_out_when_more_answers_come():
    learner = made()
    learner.take(*planted(40, 0))
    before = learner.answers.drawn_MN.clone()
    learner.take(*planted(60, 1))
    assert torch.equal(learner.answers.drawn_MN[:, :40], before)
    assert learner.answers.drawn_MN.sum(dim=1).tolist() == [100] * 3


def test_l2_is_raised_above_one_and_a_half_lowered_below_one_point_one_and_left_between():
    assert regularisation.adapted(1e-3, 1.6, 1.0) == pytest.approx(1.25e-3)
    assert regularisation.adapted(1e-3, 1.0, 1.0) == pytest.approx(0.8e-3)
    assert regularisation.adapted(1e-3, 1.3, 1.0) == 1e-3
    assert regularisation.adapted(1.0, 9.0, 1.0) == 1.0 and regularisation.adapted(1e-8, 0.1, 1.0) == 1e-8


@pytest.mark.slow
def test_l2_moves_by_each_members_own_held_out_answers():
    """Answers that are noise: what is learned by heart does not help on the others."""
    learner = made(PreferenceConfig(first_updates=400, l2=1e-6))
    clips, target_N, returns = planted(60, 0)
    target_N = torch.from_numpy(np.random.default_rng(1).integers(0, 2, 60)).float()
    learner.take(clips, target_N, returns)
    for _ in range(4):
        learner.learn(150)
    assert min(learner.coefficients_M) > 1e-6
    free = made(PreferenceConfig(held_back=False, l2=1e-6))
    free.take(clips, target_N, returns)
    free.learn(50)
    assert free.coefficients_M == [1e-6] * 3


def test_the_pairs_that_members_dispute_are_asked_about():
    """Of 100 pairs, ten on which half of the members are sure of the one and half of the other."""
    scores_NKM = np.zeros((100, 2, 4))
    scores_NKM[:, 0] = 3.0 + np.random.default_rng(0).normal(size=(100, 4)) * 0.1
    disputed = np.arange(5, 95, 9)
    scores_NKM[disputed, 0] = [3.0, 3.0, -3.0, -3.0]
    interest_N = disputed_answers(scores_NKM)
    assert set(np.argsort(-interest_N)[:10]) == set(disputed)
    probs_N = inclusion(leading(interest_N, 10), 10)
    assert probs_N.sum() == pytest.approx(10) and (probs_N > 0).all()
    assert probs_N[disputed].min() > 0.9 > 0.02 > np.delete(probs_N, disputed).max()
    taken = [set(drawn(probs_N, np.random.default_rng(seed))) & set(disputed) for seed in range(20)]
    assert np.mean([len(each) for each in taken]) > 8.5


def test_members_who_are_all_sure_dispute_nothing_however_far_apart_they_are():
    sure = np.array([[[30.0, 60.0, 90.0], [0.0, 0.0, 0.0]]])
    unsure = np.array([[[0.5, -0.5, 0.0], [0.0, 0.0, 0.0]]])
    assert disputed_answers(sure)[0] < 1e-20 < disputed_answers(unsure)[0]
    with pytest.raises(ValueError, match="two of them"):
        disputed_answers(sure[..., :1])


def test_every_member_is_brought_to_mean_zero_and_deviation_one_by_itself():
    ensemble = RewardEnsemble(INPUTS, seed=3)
    with torch.no_grad():
        ensemble.weights[-1][1] *= 50  # one speaks much louder
    steps = torch.randn(2000, INPUTS.size)
    ensemble.normalise(ensemble(steps))
    each = (ensemble(steps) - ensemble.mean_M[:, None]) / ensemble.deviation_M[:, None]
    assert torch.allclose(each.mean(dim=1), torch.zeros(3), atol=1e-4)
    assert torch.allclose(each.std(dim=1, correction=0), torch.ones(3), atol=1e-4)
    assert torch.allclose(ensemble.reward(steps), each.mean(dim=0), atol=1e-5)


def test_the_rate_of_labels_is_halved_at_two_million_steps_and_all_of_them_are_asked_for():
    assert schedule.hyperbolic(2e6, 2e6) == 0.5 and schedule.hyperbolic(0, 2e6) == 1.0
    asked = [schedule.labels_due(step, 1e7, 700, 175, 2e6) for step in np.linspace(0, 1e7, 2001)]
    assert asked[0] == 175 and asked[-1] == 700 and (np.diff(asked) >= 0).all()
    # between two steps: the integral of the rate, 525 ln(1 + t/h) / ln(1 + T/h)
    assert asked[400] == 175 + math.floor(525 * math.log(2) / math.log(6))
    assert schedule.labels_due(1e8, 1e7, 700, 175, 2e6) == 700
    with pytest.raises(ValueError, match="first 701"):
        schedule.labels_due(0, 1, 700, 701, 1)


def planted(count: int, seed: int, steps: int = 10) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clips whose steps earn 2·x0 − x1², and who is preferred."""
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(count, 2, steps, INPUTS.size, generator=generator)
    returns = (2 * clips[..., 0] - clips[..., 1] ** 2).sum(dim=-1)
    return clips, (returns[:, 0] > returns[:, 1]).float(), returns


def made(config: PreferenceConfig = CONFIG) -> RewardLearner:
    ensemble = RewardEnsemble(INPUTS, members=config.members, seed=config.seed)
    learner = LocalLearner({"reward": (ensemble.parameters(), config.learning_rate)}, tokens_at_once=10**9)
    return RewardLearner(config, ensemble, learner, Answers.none(config.members, 10, INPUTS.size))


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["comparisons", "returns"])
def test_a_planted_reward_is_found_from_answers(objective):
    learner = made(PreferenceConfig(objective=objective))
    learner.take(*planted(300, 0))
    found = learner.learn(300)
    steps = torch.randn(1000, INPUTS.size, generator=torch.Generator().manual_seed(9))
    true = 2 * steps[:, 0] - steps[:, 1] ** 2
    assert np.corrcoef(learner.ensemble.reward(steps), true)[0, 1] > 0.85
    assert found["reward_model_held_out_accuracy"] > 0.8


def test_answers_turned_round_teach_the_opposite():
    learner = made()
    clips, target_N, returns = planted(300, 0)
    learner.take(clips, 1 - target_N, returns)
    learner.learn(200)
    steps = torch.randn(1000, INPUTS.size)
    true = 2 * steps[:, 0] - steps[:, 1] ** 2
    assert np.corrcoef(learner.ensemble.reward(steps), true)[0, 1] < -0.7


def test_members_computed_together_are_members_computed_one_by_one():
    ensemble = RewardEnsemble(INPUTS, seed=3)
    steps = torch.randn(7, INPUTS.size)
    for member, rewards_N in enumerate(ensemble(steps)):
        x = steps
        for number, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
            x = x @ weight[member] + bias[member]
            x = torch.where(x > 0, x, 0.01 * x) if number < 2 else x
        assert torch.allclose(rewards_N, x[:, 0], atol=1e-5)
    assert not torch.allclose(ensemble(steps)[0], ensemble(steps)[1])


def test_micro_batches_change_nothing():
    learner = made()
    learner.take(*planted(20, 0))
    rows = learner.pairs(torch.arange(20)[:, None].expand(-1, 3))
    coefficients = torch.tensor([0.1, 0.2, 0.3])
    whole = pairs_loss(CONFIG, learner.ensemble, coefficients, rows)["loss"]
    parts = [pairs_loss(CONFIG, learner.ensemble, coefficients, rows.select(range(i, i + 5))) for i in range(0, 20, 5)]
    assert torch.allclose(whole, sum(each["loss"] for each in parts), rtol=1e-5)
    held = (coefficients * learner.ensemble.squared_weights_M()).sum() * 20
    sums_M2 = learner.ensemble(learner.answers.clips).sum(dim=-1)
    fit = terms(CONFIG, sums_M2, learner.answers.target_N, learner.answers.returns).sum()
    assert torch.allclose(whole, fit + held, rtol=1e-5)


def test_a_learner_that_is_put_back_goes_on_to_the_same_bits():
    one, other = made(), made()
    one.take(*planted(40, 0))
    one.learn(20)
    other.restore(copy.deepcopy(one.state()))  # a checkpoint shares nothing with what goes on
    for each in (one, other):
        each.take(*planted(30, 1))
        each.learn(10)
    assert all(torch.equal(a, b) for a, b in zip(one.ensemble.parameters(), other.ensemble.parameters(), strict=True))
    assert one.coefficients_M == other.coefficients_M and torch.equal(one.ensemble.mean_M, other.ensemble.mean_M)


@pytest.fixture(scope="module")
def batch():
    keys = [Key(0, 0, sample) for sample in range(4)]
    return TogetherSampler(Gaussian(3, 1), seed=0, piece=50).sample(Classic(PENDULUM, 200, hides=True), keys)


def test_clips_are_cut_where_they_say_and_their_sums_are_theirs(batch):
    found = Cuts.of(batch, 50, 25, np.random.default_rng(0))
    sums_N2 = found.sums(batch.extras["true_rewards"])
    for pair in (0, 17, 49):
        for side in (0, 1):
            clip = found.clip(batch, pair, side)
            assert clip["rewards"].shape == (26, 1) and clip["observations"].shape == (26, 3)
            assert clip["rewards"].sum() == pytest.approx(sums_N2[pair, side], abs=1e-4)
            row, start = found.rows[pair, side], found.starts[pair, side]
            assert np.array_equal(clip["observations"][0], batch.observations[row, start].numpy())
    assert found.starts.min() == 0 and found.starts.max() == 25  # the first and the last that a piece of 50 has
    members = found.sums(torch.stack([batch.extras["true_rewards"]] * 3))
    assert members.shape == (50, 2, 3) and np.allclose(members[..., 1], sums_N2)
    with pytest.raises(ValueError, match="no trajectory has"):
        Cuts.of(batch, 1, 51, np.random.default_rng(0))


def test_the_reward_of_a_batch_does_not_look_at_the_true_one(batch):
    ensemble = RewardEnsemble(INPUTS, seed=3)
    score = EnsembleScore(ensemble, INPUTS)
    before = score(batch)
    poisoned = batch.with_extras(true_rewards=torch.full_like(batch.rewards_BT, torch.nan))
    assert torch.equal(score(poisoned), before)


def test_the_true_reward_as_a_score_has_one_scale(batch):
    score = TrueScore()
    shown = score(batch)[batch.mask_BT]
    assert shown.mean().abs() < 1e-4 and (shown.std(correction=0) - 1).abs() < 1e-4
    assert correlation([(score(batch), batch)]) == pytest.approx(1.0)
    assert correlation([(torch.zeros_like(batch.rewards_BT), batch)]) is None
    again = TrueScore()
    again.restore(score.state())
    assert torch.equal(again(batch), score(batch))
    alike = batch.with_extras(true_rewards=torch.full_like(batch.rewards_BT, 3.0))  # a pole that stands, every step
    assert correlation([(batch.extras["true_rewards"], alike)]) is None
    fallen = batch.with_extras(true_rewards=torch.zeros_like(batch.rewards_BT))
    told = [(torch.full_like(batch.rewards_BT, pay), each) for pay, each in ((-0.5, fallen), (2.0, alike))]
    assert correlation(told) == pytest.approx(1.0)  # neither batch alone tells
    assert TrueScore(centred=False)(alike)[batch.mask_BT].tolist() == pytest.approx([1.0] * int(batch.mask_BT.sum()))


def test_actions_are_read_as_the_body_feels_them():
    assert Torques((-2.0,), (2.0,))(torch.tensor([[9.0], [1.0], [-2.0]])).tolist() == [[1.0], [0.5], [-1.0]]
    assert Buttons(3)(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
