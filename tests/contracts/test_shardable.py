"""Nothing in a policy, critic, reward model or sampler stands in the way of weights that are sharded over ranks."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import llama_config
from torch import nn
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from tutelage.environments.language import Language
from tutelage.execution.exact_parity import ExactParitySampler
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.execution.vllm import VLLMSampler
from tutelage.models.lora import with_lora
from tutelage.policies.control import Categorical, Gaussian
from tutelage.policies.language import Frozen, LanguagePolicy, SeparateCritic, SharedCritic, ValueModel
from tutelage.rewards.control import Buttons, Inputs, RewardEnsemble
from tutelage.rewards.ensemble import Ensemble
from tutelage.rewards.language import ModelScore, RewardModel, TextClassifier
from tutelage.trajectory import Key


@pytest.fixture(autouse=True)
def vllm_is_not_needed(monkeypatch):
    """Its sampler starts no engine before the first reply."""
    monkeypatch.setattr("tutelage.execution.vllm.refuse_missing", lambda: None)


def refuses_forward(model):
    """The model, no module of which can be run."""

    def forward(*_, **__):
        raise AssertionError("a forward pass in a constructor")

    for module in model.modules():
        module.register_forward_pre_hook(forward)
    return model


def parts_of(language_model, classifier):
    """Each thing that is built of a model, by name."""
    policy = LanguagePolicy(language_model)
    reward = RewardModel(classifier)
    sampler = NativeSampler(policy, [1], 0)
    value = ValueModel(classifier)
    return {
        "policy": policy,
        "reference": Frozen(policy),
        "value": value,
        "separate critic": SeparateCritic(policy, value),
        "shared critic": SharedCritic(policy),
        "reward model": reward,
        "ensemble": Ensemble([reward]),
        "score": ModelScore(reward),
        "text classifier": TextClassifier(classifier, None),
        "native sampler": sampler,
        "vllm sampler": VLLMSampler(policy, [1], 0),
        "exact parity": ExactParitySampler(sampler, policy, 1e-3),
        "learner": LocalLearner({"policy": (policy.parameters(), 1e-3)}),
    }


def test_no_constructor_runs_a_model(tiny_llama, tiny_classifier):
    assert parts_of(refuses_forward(tiny_llama), refuses_forward(tiny_classifier))
    with pytest.raises(AssertionError, match="in a constructor"):
        _ = LanguagePolicy(tiny_llama).head_is_plain


def test_the_reference_of_a_policy_with_an_adapter_is_made_without_a_pass(tiny_llama):
    assert Frozen(LanguagePolicy(refuses_forward(with_lora(tiny_llama, 2))))


def test_the_head_is_looked_at_once_and_in_full_precision(tiny_policy):
    with torch.autocast("cpu", torch.bfloat16):
        assert tiny_policy.head_is_plain
    refuses_forward(tiny_policy.model)
    assert tiny_policy.head_is_plain


def test_every_parameter_has_a_dimension(tiny_llama, tiny_classifier):
    built = parts_of(tiny_llama, tiny_classifier)
    built |= {"buttons": Categorical(4, 2), "torques": Gaussian(4, 1)}
    built["rewards of control"] = RewardEnsemble(Inputs(4, Buttons(2)))
    for name, each in built.items():
        if isinstance(each, nn.Module):
            assert all(parameter.dim() > 0 for parameter in each.parameters()), name


def drawn(policy):
    sampler = NativeSampler(policy, [1], 3, SamplingSettings(6))
    return sampler.sample(Language([[0, 5, 6], [0, 7]]), [Key(0, 0), Key(0, 1)])


def trained(value, batch, updates):
    """A learner of this value model after some updates toward 1."""
    learner = LocalLearner({"value": (value.parameters(), 1e-2)})
    for _ in range(updates):
        learner.update(batch, lambda rows: {"loss": (value(rows)[:, :-1] - 1.0).square()[rows.mask_BT].sum()})
    return learner


def without_dimension(state):
    """The state as it was kept while the bias of a value model had no dimension."""
    learned = state["parameters"]["value"]
    (place,) = [number for number, each in enumerate(learned) if each.shape == (1,)]
    learned[place] = learned[place].view(())
    moments = state["optimiser"]["state"][place]
    moments |= {name: moments[name].view(()) for name in ("exp_avg", "exp_avg_sq")}
    return state


def test_a_checkpoint_whose_bias_had_no_dimension_goes_on_to_the_bit(tiny_policy):
    batch = drawn(tiny_policy)

    def fresh():
        torch.manual_seed(1)
        return ValueModel(LlamaForSequenceClassification(llama_config(num_labels=1)).eval())

    whole = fresh()
    trained(whole, batch, 3)
    begun, resumed = trained(fresh(), batch, 2), fresh()
    learner = LocalLearner({"value": (resumed.parameters(), 1e-2)})
    learner.restore(without_dimension(begun.state()))
    learner.update(batch, lambda rows: {"loss": (resumed(rows)[:, :-1] - 1.0).square()[rows.mask_BT].sum()})
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert all(moment.dim() > 0 for each in learner.optimiser.state.values() for moment in (each["exp_avg"],))


def test_weights_whose_bias_had_no_dimension_are_read(tiny_classifier):
    value = SeparateCritic(nn.Identity(), ValueModel(tiny_classifier))
    old = {name: each.clone() for name, each in value.state_dict().items()}
    old["value.bias"] = torch.tensor(0.25)
    value.load_state_dict(old)
    assert value.value.bias.tolist() == [0.25]


def addresses(model):
    return [parameter.data_ptr() for parameter in model.parameters()]


def test_the_reference_is_a_copy_only_of_what_learns(tiny_llama):
    """None with a new adapter, which is switched off; the trained weights of any other policy; nothing of a policy that
    does not learn."""
    torch.manual_seed(0)
    policy = LanguagePolicy(with_lora(LlamaForCausalLM(llama_config()).eval(), 2))
    assert Frozen(policy).policy is policy
    with torch.no_grad():
        for name, each in policy.named_parameters():
            if "lora_B" in name:
                each.add_(0.1)
    continued = Frozen(policy).policy
    for (name, mine), theirs in zip(policy.named_parameters(), continued.parameters(), strict=True):
        assert (mine.data_ptr() == theirs.data_ptr()) == ("lora" not in name), name
    full = LanguagePolicy(tiny_llama)
    assert not set(addresses(full)) & set(addresses(Frozen(full).policy))
    still = LanguagePolicy(tiny_llama).requires_grad_(False)
    assert addresses(still) == addresses(Frozen(still).policy)
