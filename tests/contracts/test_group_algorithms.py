"""RLOO and GRPO: losses by hand, groups that say nothing, and what bad settings are told."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from tests.online import tiny_speaker, tiny_task, trained

from tutelage.algorithms.grpo import GRPO, GRPOConfig, grpo_loss
from tutelage.algorithms.rloo import RLOO, RLOOConfig, per_reply, rloo_loss
from tutelage.data.errors import InputError
from tutelage.formulas import groups
from tutelage.trajectory import Batch, Finish, Key, Trajectory

QUICK = {"steps": 2, "trajectories": 8, "samples": 4, "learning_rate": 1e-2}


def two_replies():
    """A reply of one token and one of three, after a prompt of one; ratios 1.5, and 0.5, 1.0, 1.1."""

    def reply(tokens):
        count = tokens + 1
        mask = torch.tensor([False] + [True] * tokens)
        zeros = torch.zeros(count)
        return Trajectory(torch.zeros(count + 1), torch.zeros(count), mask, zeros, zeros, Finish.TERMINATED, Key(0, 0))

    batch = Batch.of([reply(1), reply(3)])
    ratios = torch.tensor([[9.0, 1.5, 9.0, 9.0], [9.0, 0.5, 1.0, 1.1]])
    old = torch.full((2, 4), -1.0)
    new = (old + ratios.log()).requires_grad_()
    reference = new.detach() + torch.tensor([[9.0, math.log(2.0), 9.0, 9.0], [9.0, 0.0, 0.0, 0.0]])
    advantages = torch.tensor([[1.0], [-1.0]]) * batch.mask_BT
    batch = batch.with_extras(advantages=advantages, old_log_probs=old, reference_log_probs=reference)
    return batch, new


def loss_of(method, config, weights, batch, new):
    """What the learner makes of the sums: divided by the weight."""
    part = batch.with_extras(loss_weights=batch.weight * weights(batch.mask_BT))
    sums = method(config, lambda given: new, part)
    return {name: value / batch.weight for name, value in sums.items()}


PLAIN = GRPOConfig(beta=0.0)
DIVERGENCE = 2.0 - math.log(2.0) - 1.0  # e^d − d − 1 at d = ln 2, on the reply of one token
GOLDEN = {
    "as published": (PLAIN, (-1.2 + 2.9 / 3) / 2),
    "token mean": (replace(PLAIN, loss_type="dapo"), 1.7 / 4),
    "constant": (replace(PLAIN, loss_type="dr_grpo", max_completion_length=5), 1.7 / 10),
    "higher clip": (replace(PLAIN, epsilon_high=0.28), (-1.28 + 2.9 / 3) / 2),
    "sequence ratio": (replace(PLAIN, importance_sampling_level="sequence"), (-1.2 + 0.55 ** (1 / 3)) / 2),
    "KL": (replace(PLAIN, beta=0.1, use_bias_correction_kl=False), (-1.2 + 2.9 / 3 + 0.1 * DIVERGENCE) / 2),
    "weighted KL": (replace(PLAIN, beta=0.1), (-1.2 + 2.9 / 3 + 1.5 * 0.1 * DIVERGENCE) / 2),
    "KL in the reward": (replace(PLAIN, beta=0.1, kl_in="reward"), (-1.2 + 2.9 / 3) / 2),
}


@pytest.mark.parametrize("variant", GOLDEN)
def test_each_variant_of_grpo_by_hand(variant):
    config, expected = GOLDEN[variant]
    weights = partial(groups.token_weights, loss_type=config.loss_type, longest=config.max_completion_length or 64)
    batch, new = two_replies()
    found = loss_of(grpo_loss, config, weights, batch, new)
    assert float(found["loss"].detach()) == pytest.approx(expected, rel=1e-5)
    clipped = 1 if variant == "sequence ratio" else 2  # of four actions: 1.5 upwards, and 0.5 downwards
    assert float(found["clip_fraction"]) == pytest.approx(clipped / 4)
    found["loss"].backward()
    assert torch.isfinite(new.grad).all() and (new.grad[~batch.mask_BT] == 0).all()


@pytest.mark.parametrize(("epsilon_high", "upper"), [(None, 1.2), (0.28, 1.28)])
def test_rloo_by_hand(epsilon_high, upper):
    batch, new = two_replies()
    found = loss_of(rloo_loss, RLOOConfig(epsilon_high=epsilon_high), per_reply, batch, new)
    assert float(found["loss"].detach()) == pytest.approx((-upper + 0.8) / 2, rel=1e-5)  # 0.55 is below 1 − 0.2
    assert float(found["clip_fraction"]) == 1.0


def test_at_the_policy_that_acted_the_gradient_of_rloo_is_that_of_reinforce():
    batch, _ = two_replies()
    new = batch.extras["old_log_probs"].clone().requires_grad_()
    loss_of(rloo_loss, RLOOConfig(), per_reply, batch, new)["loss"].backward()
    expected = -torch.tensor([[1.0], [-1.0]]) / 2 * batch.mask_BT
    assert torch.allclose(new.grad, expected)


ALGORITHMS = {"rloo": (RLOO, RLOOConfig), "grpo": (GRPO, GRPOConfig)}
both = pytest.mark.parametrize("name", ALGORITHMS)


@both
def test_micro_batches_change_no_number(name, tmp_path):
    algorithm, config = ALGORITHMS[name]
    runs = [
        trained(algorithm, config(**QUICK, epochs=2, tokens_at_once=tokens), tmp_path / str(tokens))
        for tokens in (8, 4096)
    ]
    for first, second in zip(*(events for events, _ in runs), strict=True):
        for metric in ("loss", "gradient_norm_policy", "clip_fraction"):
            assert first[metric] == pytest.approx(second[metric], rel=1e-3, abs=1e-6), metric


@both
def test_groups_of_equal_scores_are_counted_and_move_nothing(name, tmp_path):
    algorithm, config = ALGORITHMS[name]
    speaker = tiny_speaker()
    before = {each: value.clone() for each, value in speaker.policy.model.state_dict().items()}
    task = tiny_task(speaker, lambda prompts, responses: [0.1 * len(prompt) for prompt in prompts])
    settings = {**QUICK, "steps": 3, "beta": 0.0}
    events, after = trained(algorithm, config(**settings), tmp_path / "run", speaker=speaker, task=task)
    for event in events:
        assert event["equal_groups_fraction"] == 1.0
        assert event["gradient_norm_policy"] == 0.0 and event["loss"] == 0.0
        assert "score_advantage_correlation" not in event
    assert all(torch.equal(before[each], after[each]) for each in before)


@both
def test_a_group_of_one_is_refused(name, tmp_path):
    algorithm, config = ALGORITHMS[name]
    with pytest.raises(InputError, match=f"{name} compares the replies to a prompt: samples is 1, expected 2 or more"):
        trained(algorithm, config(**{**QUICK, "samples": 1}), tmp_path / "run")
    assert not (tmp_path / "run" / "events.jsonl").exists()
