"""Reward models that are linear in a state of a frozen trunk: what is read, what is fitted, what is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tiny_families import saved
from transformers import AutoModelForSequenceClassification

from tutelage.data.errors import InputError
from tutelage.data.tokens import written
from tutelage.evaluation.out_of_fold import PairStates, accuracies, mark_right, out_of_fold
from tutelage.evaluation.refusals import refusal_fraction
from tutelage.models.depth import depth_of, keep_lower_layers
from tutelage.models.pretrained import load_sequence_classifier
from tutelage.models.trunk import last_states, trunk
from tutelage.rewards.end_of_turn import EndOfTurnScore, append_end
from tutelage.rewards.frozen_trunk import fit_head, read_states
from tutelage.rewards.language import RewardModel
from tutelage.trajectory import Batch

END = 2


@pytest.fixture
def classifier(tmp_path):
    return load_sequence_classifier(str(saved("llama", tmp_path / "llama", num_hidden_layers=4)))


def batch_of(*replies, ended=True):
    return Batch.of([written([5, 6, 7], reply, ended=ended) for reply in replies])


def test_the_lower_layers_give_the_states_that_the_whole_model_has_there(classifier, tmp_path):
    batch = batch_of([8, 9, 10, END])
    whole = trunk(classifier)(input_ids=batch.observations, output_hidden_states=True, use_cache=False)
    wanted = trunk(classifier).norm(whole.hidden_states[3])
    keep_lower_layers(classifier, 3)
    assert torch.equal(last_states(classifier, batch.observations), wanted)
    classifier.save_pretrained(tmp_path / "cut")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "cut")
    assert depth_of(again) == 3
    assert torch.equal(last_states(again, batch.observations), wanted)


@pytest.mark.parametrize("family", ["gpt2", "lfm2"])
def test_every_family_keeps_its_layers_in_one_list(family, tmp_path):
    model = load_sequence_classifier(str(saved(family, tmp_path / family)))
    keep_lower_layers(model, 1)
    model.save_pretrained(tmp_path / "cut")
    states = last_states(model, batch_of([8, 9]).observations)
    assert torch.isfinite(states).all() and depth_of(model) == 1


@pytest.mark.parametrize("layers", [0, 5])
def test_a_depth_that_the_model_does_not_have_is_refused(classifier, layers):
    with pytest.raises(InputError, match="the model has 4"):
        keep_lower_layers(classifier, layers)


def test_states_stand_in_the_order_of_the_rows_and_are_kept(classifier):
    batch = batch_of([8, 9, 10, 11, END], [12, END], [13, 14, END])
    kept: dict[str, dict[str, torch.Tensor]] = {}

    def keep(name, make):
        return kept.setdefault(name, kept.get(name) or make())

    states_Bd = read_states(classifier, batch, 8, keep)
    for row in range(len(batch)):
        one = batch.select([row])
        alone = last_states(classifier, one.observations)[0, -1]
        assert torch.allclose(states_Bd[row], alone, atol=1e-5)
    with torch.no_grad():
        classifier.model.norm.weight.zero_()  # whoever reads again reads what was kept
    assert torch.equal(read_states(classifier, batch, 8, keep), states_Bd)


def test_a_head_minimizes_its_loss():
    """The gradient −Σ σ(−w·δ) δ + ridge · s² w is 0, and numbers on another scale give the same scores."""
    rng = np.random.default_rng(0)
    better, worse = rng.normal(size=(200, 6)) + np.eye(6)[0] / 2, rng.normal(size=(200, 6))
    head = fit_head(better, worse, 0, ridges=(10.0,))
    delta = better - worse
    slope = -(delta / (1 + np.exp(delta @ head.weights_d))[:, None]).sum(axis=0)
    slope += 10.0 * delta.std(axis=0) ** 2 * head.weights_d
    assert np.abs(slope).max() < 0.05 < np.abs(delta.sum(axis=0)).max()
    scaled = fit_head(better * 100, worse * 100, 0, ridges=(10.0,))
    assert np.allclose(scaled.weights_d * 100, head.weights_d, atol=1e-3)


def test_the_ridge_is_chosen_by_what_was_left_out():
    """Nothing to learn: the strongest. Much to learn from few numbers: a weak one."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 40))
    assert fit_head(noise, np.zeros_like(noise), 0).ridge == 10000.0
    signal = rng.normal(size=(300, 3))
    signal[:, 0] = np.abs(signal[:, 0])
    assert fit_head(signal, np.zeros_like(signal), 0).ridge <= 100.0


def pairs_of(better, worse, prompts):
    ratio = np.random.default_rng(1).normal(size=len(better)) / 4
    return PairStates(better, worse, prompts, ratio, np.ones(len(better), dtype=bool))


def test_labels_of_the_same_prompt_are_not_seen():
    """Ten copies of every pair, and labels at random: whoever saw one copy would know the others."""
    rng = np.random.default_rng(0)
    better, worse = (np.repeat(rng.normal(size=(60, 80)), 10, axis=0) for _ in range(2))
    pairs = pairs_of(better, worse, np.repeat(np.arange(60), 10))
    seen = mark_right(pairs.differences(fit_head(better, worse, 0, ridges=(1.0,)), np.arange(600)))
    assert seen.mean() > 0.95
    found = accuracies(pairs, 0)
    assert found["reward_model_accuracy_low"] < 0.5 and found["reward_model_accuracy_n"] == 60


def test_only_the_measured_pairs_are_measured_and_the_others_teach():
    rng = np.random.default_rng(0)
    better, worse = rng.normal(size=(400, 5)) + np.eye(5)[0], rng.normal(size=(400, 5))
    pairs = PairStates(better, worse, np.arange(400), np.zeros(400), np.arange(400) < 40)
    assert len(out_of_fold(pairs, 0)) == 40
    found = accuracies(pairs, 0)
    assert found["reward_model_accuracy"] > 0.6 and found["length_rule_accuracy"] == 0.5
    assert [each["labels"] for each in found["accuracy_by_labels"]] == [50, 100, 200, 400]


def test_a_reply_is_closed_where_it_was_cut_off(classifier):
    cut, ended = [8, 9, 10], [8, 9, 10, END]
    model = RewardModel(classifier)
    batch = Batch.of([written([5, 6, 7], cut, ended=False), written([5, 6, 7], ended)])
    whole = append_end(batch, END)
    assert whole.observations.tolist() == [[5, 6, 7, 8, 9, 10, END]] * 2
    score = EndOfTurnScore(model, END, tokens_at_once=7)
    scores_B = score.scores(batch)
    assert torch.allclose(scores_B, model(whole)) and float(scores_B[0]) == float(scores_B[1])
    assert float(scores_B[0]) != pytest.approx(float(model(batch)[0].detach()))
    placed = score(batch)
    assert torch.equal(placed.sum(dim=1), scores_B) and int((placed[0] != 0).nonzero()[0]) == 4


def test_refusals_open_as_refusals_do():
    refused = [
        "I'm sorry, but I can't help.",
        "I cannot do that.",
        " As an AI language model, I",
        "Unfortunately, I am unable",
    ]
    helped = ["I can help!", "Sorrel is a herb.", "The answer is 4, I'm sorry to say.", ""]
    assert refusal_fraction(refused) == 1.0 and refusal_fraction(helped) == 0.0
