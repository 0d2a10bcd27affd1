"""Many episodes at once are the same episodes: beside Gymnasium, beside one at a time, whole and in pieces."""

from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from tutelage.environments import classic
from tutelage.environments.classic import CART_POLE, PENDULUM, Classic
from tutelage.environments.control import Bodies, Control, named, start_of
from tutelage.execution.stepwise import StepwiseSampler
from tutelage.execution.together import TogetherSampler
from tutelage.policies.control import Categorical, Gaussian, Scale
from tutelage.trajectory import Key

KEYS = [Key(3, 1, sample) for sample in range(6)]
SAME = ("observations", "actions", "behaviour_log_probs_BT", "rewards_BT", "lengths_B", "terminated_B", "mask_BT")


def test_the_pendulum_is_gymnasiums_number_by_number():
    theirs = gymnasium.make("Pendulum-v1").unwrapped
    observed, _ = theirs.reset(seed=start_of(5, KEYS[0]))
    ours = Classic(PENDULUM, 200, seed=5).episodes(KEYS[:1])
    assert np.array_equal(ours.observations_ND[0], observed)
    torques = np.random.default_rng(0).normal(size=200).astype(np.float32) * 2  # also beyond the limit of 2
    for torque in torques:
        observed, reward, *_ = theirs.step(np.array([torque]))
        moved = ours.step(np.array([[torque]]), [0])
        assert np.array_equal(moved.observations_ND[0], observed)
        assert moved.rewards_N[0] == np.float32(reward)


def test_the_cart_pole_is_gymnasiums_until_it_falls_and_then_earns_nothing_as_long_as_it_lies():
    theirs = gymnasium.make("CartPole-v1").unwrapped
    observed, _ = theirs.reset(seed=start_of(5, KEYS[0]))
    ours = Classic(CART_POLE, 500, seed=5).episodes(KEYS[:1])
    assert np.array_equal(ours.observations_ND[0], observed)
    for _ in range(500):
        observed, _, fallen, *_ = theirs.step(1)
        moved = ours.step(np.array([1]), [0])
        if fallen:
            break
        assert np.array_equal(moved.observations_ND[0], observed) and moved.rewards_N[0] == 1.0
    assert fallen and moved.rewards_N[0] == 0.0 and not moved.terminated_N.any()
    later = [float(ours.step(np.array([1]), [0]).rewards_N[0]) for _ in range(30)]
    assert later == [0.0] * 30


@pytest.mark.parametrize("seed", [0, 1])
def test_together_is_one_by_one_to_the_bit(seed):
    """Episodes that end at different times, of a body that is Gymnasium's."""
    policy = Categorical(4, 2, seed=seed)
    with torch.no_grad():
        policy.policy[-1].weight.mul_(100)
    alone = StepwiseSampler(policy, seed=11).sample(Control(named("CartPole-v1"), seed=5), KEYS)
    stage = Bodies(named("CartPole-v1"), 500, seed=5)
    together = TogetherSampler(policy, seed=11).sample(stage, KEYS)
    other_company = TogetherSampler(policy, seed=11).sample(stage, KEYS[::-1]).select(torch.arange(6).flip(0))
    assert len(set(together.lengths_B.tolist())) > 1
    for name in SAME:
        assert torch.equal(getattr(together, name), getattr(alone, name)), name
        assert torch.equal(getattr(other_company, name), getattr(alone, name)), name


def test_arrays_and_gymnasium_give_the_same_trajectories():
    policy = Gaussian(3, 1, seed=2)
    gym = TogetherSampler(policy, seed=4).sample(Bodies(named("Pendulum-v1"), 200, seed=9), KEYS)
    arrays = TogetherSampler(policy, seed=4).sample(Classic(PENDULUM, 200, seed=9), KEYS)
    for name in SAME:
        assert torch.equal(getattr(gym, name), getattr(arrays, name)), name


def test_pieces_are_the_episode_and_only_its_end_is_its_end():
    policy = Categorical(4, 2, seed=0)
    stage = Bodies(named("CartPole-v1"), 500, seed=5)
    whole = TogetherSampler(policy, seed=1).sample(stage, KEYS)
    cut = TogetherSampler(policy, seed=1, piece=7).sample(stage, KEYS)
    row = 0
    for episode, length in enumerate(whole.lengths_B.tolist()):
        count = -(-length // 7)
        rows = range(row, row + count)
        rewards = torch.cat([cut.rewards_BT[each, : int(cut.lengths_B[each])] for each in rows])
        assert torch.equal(rewards, whole.rewards_BT[episode, :length])
        for number, each in enumerate(rows):
            steps = int(cut.lengths_B[each])
            expected = whole.observations[episode, 7 * number : 7 * number + steps + 1]
            assert torch.equal(cut.observations[each, : steps + 1], expected)
        assert cut.terminated_B[list(rows)].tolist() == [False] * (count - 1) + [True]
        row += count
    assert row == len(cut) and len(set(cut.keys)) == len(cut)


def test_padding_is_zero():
    cut = TogetherSampler(Categorical(4, 2, seed=0), seed=1, piece=7).sample(Bodies(named("CartPole-v1"), 500), KEYS)
    for row, length in enumerate(cut.lengths_B.tolist()):
        assert not cut.actions[row, length:].any() and not cut.observations[row, length + 1 :].any()
        assert not cut.mask_BT[row, length:].any() and cut.mask_BT[row, :length].all()


def test_a_hidden_reward_stands_beside_and_is_not_paid():
    open_, hidden = (Classic(PENDULUM, 40, seed=9, hides=hides) for hides in (False, True))
    sampler = TogetherSampler(Gaussian(3, 1, seed=2), seed=4)
    paid, unpaid = sampler.sample(open_, KEYS), sampler.sample(hidden, KEYS)
    assert not unpaid.rewards_BT.any()
    assert torch.equal(unpaid.extras["true_rewards"], paid.rewards_BT) and paid.rewards_BT.any()


def test_the_length_of_an_episode_tells_nothing():
    batch = TogetherSampler(Categorical(4, 2, seed=0), seed=1).sample(Classic(CART_POLE, 200), KEYS)
    assert batch.lengths_B.tolist() == [200] * 6 and not batch.terminated_B.any()
    returns = batch.extras["true_rewards"].sum(dim=1)
    assert returns.max() < 200 and len(set(returns.tolist())) > 1


def test_what_is_drawn_is_the_state():
    batch = TogetherSampler(Gaussian(3, 1, seed=2), seed=4).sample(Classic(PENDULUM, 40), KEYS)
    angle = batch.extras["scenes"][..., 0]
    assert torch.allclose(angle.cos(), batch.observations[..., 0], atol=1e-5)
    assert torch.allclose(angle.sin(), batch.observations[..., 1], atol=1e-5)


def test_episodes_of_one_length_cannot_run_apart():
    with pytest.raises(ValueError, match="end together"):
        Classic(PENDULUM, 40).episodes(KEYS).step(np.zeros((1, 1)), [0])


def test_a_reward_that_is_not_finite_stops_the_run():
    broken = replace(PENDULUM, move=lambda states, actions: (states, np.full(len(states), np.nan)))
    with pytest.raises(FloatingPointError, match="paid"):
        TogetherSampler(Gaussian(3, 1), seed=0).sample(Classic(broken, 5), KEYS)


def test_mujoco_says_a_thing_once_and_leaves_no_file(tmp_path, monkeypatch, capfd):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)  # MuJoCo's log would lie here
    bodies = Bodies(named("HalfCheetah-v5", disable_env_checker=True), 3).episodes(KEYS)
    assert capfd.readouterr().err == ""
    for game in bodies.games:
        game.data.qvel[:] = 1e200  # simulates to nowhere
        game.step(np.zeros(6))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("MuJoCo: Nan, Inf or huge value")
    assert list(tmp_path.iterdir()) == []


def test_a_scale_has_the_moments_of_all_it_saw_and_moves_only_when_told():
    torch.manual_seed(0)
    parts = [torch.randn(number, 3) * 5 + 2 for number in (4, 100, 1)]
    scale = Scale(3)
    for each in parts:
        scale.saw(each)
    everything = torch.cat(parts).double()
    assert torch.allclose(scale.mean_D.double(), everything.mean(dim=0), atol=1e-6)
    assert torch.allclose(scale.deviation_D.double(), everything.std(dim=0, correction=0), atol=1e-6)
    assert torch.allclose(scale(everything.float()).std(dim=0, correction=0), torch.ones(3), atol=1e-5)
    again = Scale(3)
    again.restore(scale.state())
    assert torch.equal(again(parts[0]), scale(parts[0]))
    policy = Gaussian(3, 1, seed=2, scaled=True)
    sampler = TogetherSampler(policy, seed=4)
    batch = sampler.sample(Classic(PENDULUM, 40), KEYS)
    gap = (policy(batch).log_probs_BT - batch.behaviour_log_probs_BT).abs().max()
    assert policy.scale.count == 0 and gap < 1e-5
    sampler.publish()
    assert policy.scale.count == 6 * 40
    batch = sampler.sample(Classic(PENDULUM, 40), KEYS)
    assert (policy(batch).log_probs_BT - batch.behaviour_log_probs_BT).abs().max() < 1e-5


def test_the_pendulums_worst_step_is_the_floor_of_its_teacher():
    from tutelage.recipes.control_tasks import pendulum

    hanging = np.array([[-np.pi, classic.SPEED_LIMIT]])
    _, paid = classic.pendulum_move(hanging, np.array([[5.0]]))
    assert paid[0] == pytest.approx(pendulum().floor, abs=1e-6)
