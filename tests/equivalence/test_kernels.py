"""The plain kernels and those for CPUs are one model: sampling, log-probs and gradients agree, and the switch works."""

from __future__ import annotations

import copy

import pytest
import torch
from tests.conftest import FAMILIES
from torch import nn
from transformers import AutoModelForCausalLM

from tutelage.data.errors import InputError
from tutelage.environments.language import Language
from tutelage.execution.cpu import products, recorded_step
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.kernels import Head, Kernels, is_plain_linear, kernels
from tutelage.policies.language import LanguagePolicy
from tutelage.runs.run import surroundings
from tutelage.trajectory import Key

KEYS = [Key(0, prompt, sample) for prompt in range(2) for sample in range(4)]


@pytest.fixture
def with_onednn(monkeypatch):
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "library", lambda: "onednn")
    monkeypatch.setattr(products, "SMALLEST", 1)
    monkeypatch.setattr(products, "WORTH_PACKING", 1)


def sampled(model):
    policy = LanguagePolicy(model)
    settings = SamplingSettings(max_new_tokens=24, min_new_tokens=20)
    sampler = NativeSampler(policy, [1], 4, settings)
    return policy, sampler, sampler.sample(Language([[0, 5, 6], [0, 7, 8, 9, 10]]), KEYS)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_both_kernel_sets_sample_and_train_alike(family, with_onednn, monkeypatch):
    """Replies, behaviour log-probs within 3e-5 nats, gradients; and each set does what it is there for."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES[family]).eval()
    fast_policy, fast, found = sampled(copy.deepcopy(model))
    assert isinstance(fast.decoder.single, recorded_step.RecordedStep) and fast.decoder.single.recording is not None
    assert isinstance(fast.decoder.head, products.PackedHead)
    monkeypatch.setenv("TUTELAGE_KERNELS", "plain")
    plain_policy, plain, wanted = sampled(model)
    assert type(plain.decoder.head) is Head and not isinstance(plain.decoder.single, recorded_step.RecordedStep)
    assert not any(isinstance(each, products.Linear) for each in plain_policy.modules())
    assert torch.equal(found.observations, wanted.observations)
    gap = (found.behaviour_log_probs_BT - wanted.behaviour_log_probs_BT).abs().max()
    assert 0.0 <= float(gap) <= 3e-5
    for policy in (fast_policy, plain_policy):
        policy.log_probs(wanted)[wanted.mask_BT].mean().backward()
    for mine, theirs in zip(fast_policy.parameters(), plain_policy.parameters(), strict=True):
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)


def test_the_switch_takes_a_class_of_ones_own_and_config_json_names_its_products(monkeypatch):
    monkeypatch.setenv("TUTELAGE_KERNELS", f"{__name__}:Doubling")
    assert surroundings()["matrix_products"] == "doubling"
    torch.manual_seed(0)
    policy, sampler, _ = sampled(AutoModelForCausalLM.from_config(FAMILIES["llama"]).eval())
    assert (
        policy.model.accelerated and isinstance(sampler.decoder.head, CountingHead) and sampler.decoder.head.calls > 0
    )


class CountingHead(Head):
    calls = 0

    def __call__(self, states_Bd):
        self.calls += 1
        return super().__call__(states_Bd)


class Doubling(Kernels):
    products = "doubling"

    def accelerate(self, model):
        model.accelerated = True
        return model

    def head(self, layer):
        return CountingHead(layer)


@pytest.mark.parametrize(
    "wrong", ["fast", "no.such.module:Kernels", "tutelage.models.kernels:Head", "collections:Nothing"]
)
def test_a_switch_that_names_no_kernel_set_is_refused(wrong, monkeypatch):
    monkeypatch.setenv("TUTELAGE_KERNELS", wrong)
    with pytest.raises(InputError, match="TUTELAGE_KERNELS"):
        kernels()


def test_a_linear_layer_with_code_of_its_own_is_not_plain():
    class Own(products.Linear):
        pass

    assert is_plain_linear(nn.Linear(2, 2)) and is_plain_linear(products.Linear(2, 2))
    assert not is_plain_linear(Own(2, 2)) and not is_plain_linear(nn.Embedding(2, 2))
