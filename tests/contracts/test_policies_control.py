"""What a policy of control owes: what it did is what it says it did, alone or in company, by the textbook's density."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tutelage.environments.control import Control, named
from tutelage.execution.stepwise import StepwiseSampler
from tutelage.policies.control import Categorical, Gaussian, network
from tutelage.trajectory import Batch, Finish, Key, Trajectory

KEYS = [Key(2, 0, sample) for sample in range(8)]
CASES = {
    "buttons": (lambda: Categorical(4, 2, seed=3), "CartPole-v1"),
    "torques": (lambda: Gaussian(3, 1, seed=3, deviation=0.7), "Pendulum-v1"),
}


def opened(policy):
    """Far from uniform, so that a wrong log-prob shows."""
    with torch.no_grad():
        policy.policy[-1].weight.mul_(100)
    return policy


@pytest.fixture(params=CASES)
def drawn(request):
    make, name = CASES[request.param]
    policy = opened(make())
    sampler = StepwiseSampler(policy, seed=11)
    environment = Control(named(name), seed=5)
    return policy, sampler, environment, sampler.sample(environment, KEYS)


def test_the_same_keys_give_the_same_trajectories_whatever_the_batching(drawn):
    """Bitwise: eight at once, three at a time, one by one, in another order."""
    policy, sampler, environment, batch = drawn
    threes = StepwiseSampler(policy, seed=11, episodes_at_once=3).sample(environment, KEYS)
    back = sampler.sample(environment, KEYS[::-1]).select(torch.arange(8).flip(0))
    ones = [sampler.sample(environment, [key]) for key in KEYS]
    assert back.keys == threes.keys == batch.keys == tuple(KEYS)
    for name in ("observations", "actions", "behaviour_log_probs_BT", "rewards_BT", "lengths_B", "terminated_B"):
        whole = getattr(batch, name)
        assert torch.equal(getattr(threes, name), whole), name
        assert torch.equal(getattr(back, name), whole), name
        for row, one in enumerate(ones):
            single = getattr(one, name)
            expected = whole[row, : single.shape[1]] if single.ndim > 1 else whole[row]
            assert torch.equal(single[0], expected), name


def test_another_seed_step_or_sample_is_another_episode(drawn):
    policy, sampler, environment, batch = drawn
    first = batch.select([0]).actions[0]
    others = [
        StepwiseSampler(policy, seed=12).sample(environment, KEYS[:1]),
        sampler.sample(environment, [Key(3, 0, 0)]),
        sampler.sample(environment, [Key(2, 1, 0)]),
        batch.select([1]),
    ]
    assert all(not torch.equal(other.actions[0], first) for other in others)


def test_the_learner_recognises_what_the_sampler_did(drawn):
    policy, _, _, batch = drawn
    with torch.no_grad():
        gap = (policy(batch).log_probs_BT - batch.behaviour_log_probs_BT)[batch.mask_BT].abs().max()
    assert gap < 1e-5


def test_values_stand_at_every_observation_and_neighbours_do_not_change_them(drawn):
    policy, _, _, batch = drawn
    with torch.no_grad():
        together = policy(batch)
        assert together.values_BS.shape == batch.observations.shape[:2]
        assert together.log_probs_BT.shape == together.entropy_BT.shape == batch.mask_BT.shape
        for row in range(len(batch)):
            alone = policy(batch.select([row]))
            steps = int(batch.lengths_B[row])
            for name, width in (("log_probs_BT", steps), ("entropy_BT", steps), ("values_BS", steps + 1)):
                assert torch.allclose(getattr(together, name)[row, :width], getattr(alone, name)[0], atol=1e-5)


def test_padding_has_neither_action_nor_gradient(drawn):
    """Garbage in the padding changes no gradient of a masked sum."""
    policy, _, _, batch = drawn
    short = Trajectory(
        observations=batch.observations[0, :3],
        actions=batch.actions[0, :2],
        mask_T=torch.ones(2, dtype=torch.bool),
        behaviour_log_probs_T=batch.behaviour_log_probs_BT[0, :2],
        rewards_T=batch.rewards_BT[0, :2],
        finish=Finish.TRUNCATED,
    )
    mixed = Batch.of([short, *([short] * 0)])
    wide = Batch.of([short, long_of(batch)])
    wide.observations[0, 3:] = 123.0
    gradients = []
    for part, rows in ((mixed, 1), (wide, 1)):
        policy.zero_grad()
        evaluation = policy(part)
        kept = part.mask_BT[:rows, :2]
        loss = (evaluation.log_probs_BT[:rows, :2] * kept).sum() + evaluation.values_BS[:rows, :3].sum()
        loss.backward()
        gradients.append([p.grad.clone() for p in policy.parameters()])
    for first, second in zip(*gradients, strict=True):
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-4)


def long_of(batch: Batch) -> Trajectory:
    row, steps = int(batch.lengths_B.argmax()), int(batch.lengths_B.max())
    return Trajectory(
        observations=batch.observations[row, : steps + 1],
        actions=batch.actions[row, :steps],
        mask_T=batch.mask_BT[row, :steps],
        behaviour_log_probs_T=batch.behaviour_log_probs_BT[row, :steps],
        rewards_T=batch.rewards_BT[row, :steps],
        finish=Finish.TRUNCATED,
    )


def test_an_inverse_cdf_meets_its_probabilities():
    policy = opened(Categorical(2, 3, seed=1))
    observation = torch.tensor([[0.3, -1.2]])
    with torch.no_grad():
        probabilities = policy.policy(observation).softmax(-1)[0]
        uniforms = (torch.arange(20_000, dtype=torch.float64)[:, None] + 0.5) / 20_000
        actions, log_probs = policy.act(observation.expand(20_000, -1), uniforms)
        ends, _ = policy.act(observation.expand(2, -1), torch.tensor([[0.0], [1.0 - 2.0**-53]], dtype=torch.float64))
    shares = torch.bincount(actions, minlength=3) / 20_000
    assert torch.allclose(shares, probabilities, atol=2e-4)
    assert torch.allclose(log_probs.exp(), probabilities[actions], atol=1e-6)
    assert ends.tolist() == [0, 2]


def test_the_gaussian_is_the_textbooks():
    """Two torques: log density and entropy by hand, Σ −½((a−μ)/σ)² − ln σ − ½ ln 2π and Σ ln σ + ½ ln 2πe."""
    policy = Gaussian(2, 2, deviation=0.5, seed=0)
    observations = torch.tensor([[0.1, -0.4], [0.0, 0.0]])
    action = torch.tensor([[0.3, -0.2]])
    batch = Batch.of(
        [Trajectory(observations, action, torch.tensor([True]), torch.zeros(1), torch.zeros(1), Finish.TERMINATED)]
    )
    with torch.no_grad():
        means = policy.policy(observations[:1])[0].tolist()
        found = policy(batch)
    by_hand = sum(
        -0.5 * ((a - mean) / 0.5) ** 2 - math.log(0.5) - 0.5 * math.log(2 * math.pi)
        for a, mean in zip([0.3, -0.2], means, strict=True)
    )
    assert float(found.log_probs_BT) == pytest.approx(by_hand, abs=1e-5)
    assert float(found.entropy_BT) == pytest.approx(
        2 * (math.log(0.5) + 0.5 * math.log(2 * math.pi * math.e)), abs=1e-5
    )


def test_torques_follow_their_noise():
    policy = Gaussian(3, 2, deviation=0.5)
    rng = np.random.default_rng(0)
    observation = torch.zeros(1, 3)
    noise = torch.from_numpy(np.stack([policy.noise(rng) for _ in range(20_000)]))
    with torch.no_grad():
        actions, _ = policy.act(observation.expand(20_000, -1), noise)
        mean = policy.policy(observation)[0]
    assert torch.allclose(actions.mean(0), mean, atol=0.015)
    assert torch.allclose(actions.std(0), torch.full((2,), 0.5), atol=0.015)


@pytest.mark.parametrize("make", [case[0] for case in CASES.values()], ids=list(CASES))
def test_a_policy_starts_as_the_literature_has_it(make):
    policy = make()
    for part, last_gain in ((policy.policy, 0.01), (policy.value, 1.0)):
        linears = [layer for layer in part if isinstance(layer, torch.nn.Linear)]
        for linear, gain in zip(linears, [math.sqrt(2), math.sqrt(2), last_gain], strict=True):
            singular = torch.linalg.svdvals(linear.weight)
            assert torch.allclose(singular, torch.full_like(singular, gain), rtol=1e-4)
            assert not linear.bias.any()


def test_weights_depend_on_their_seed_alone():
    torch.manual_seed(0)
    first = Categorical(4, 2, seed=9)
    torch.manual_seed(1)
    again, other = Categorical(4, 2, seed=9), Categorical(4, 2, seed=10)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.policy[0].weight, other.policy[0].weight)
    assert [layer.__class__.__name__ for layer in network([2, 3, 1], 1.0, torch.Generator())] == [
        "Linear",
        "Tanh",
        "Linear",
    ]


def test_a_limit_of_steps_truncates():
    policy, environment = Categorical(4, 2, seed=3), Control(named("CartPole-v1"), seed=5)
    whole = StepwiseSampler(policy, seed=11).sample(environment, KEYS)
    cut = StepwiseSampler(policy, seed=11, steps_at_most=12).sample(environment, KEYS)
    assert whole.terminated_B.all()
    for row in range(len(KEYS)):
        length = int(whole.lengths_B[row])
        assert int(cut.lengths_B[row]) == min(12, length)
        assert bool(cut.terminated_B[row]) == (length <= 12)


def test_a_reward_that_is_no_number_stops_the_sampler():
    class Broken(type(Control(named("CartPole-v1")).episode(KEYS[0]).game.unwrapped)):
        def step(self, action):
            observation, _, *rest = super().step(action)
            return observation, float("nan"), *rest

    with pytest.raises(FloatingPointError, match="nan"):
        StepwiseSampler(Categorical(4, 2), seed=0).sample(Control(Broken), KEYS[:1])
