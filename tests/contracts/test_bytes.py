"""`bytes_by_holder`: every storage once, under the first holder."""

import copy

import torch
from torch import nn

from tutelage.models.bytes import bytes_by_holder
from tutelage.policies.language import Frozen, LanguagePolicy, SharedCritic
from tutelage.rewards.language import ModelScore


def test_a_shared_storage_is_counted_once_under_the_first_holder():
    one, head = nn.Linear(10, 10, bias=False), nn.Linear(10, 1, bias=False)
    both = nn.Sequential(one, head)
    assert bytes_by_holder(policy=one, critic=both, again=both) == {"policy": 400, "critic": 40, "again": 0}
    assert bytes_by_holder(critic=both, policy=one) == {"critic": 440, "policy": 0}
    tied = nn.Linear(10, 10, bias=False)
    tied.weight = one.weight
    assert bytes_by_holder(policy=nn.Sequential(one, tied)) == {"policy": 400}
    assert bytes_by_holder(policy=one, views=[one.weight[:3], one.weight.t()]) == {"policy": 400, "views": 0}


def test_dtypes_buffers_and_the_meta_device():
    norm = nn.BatchNorm1d(8)  # four vectors of fp32 and a counter of int64
    assert bytes_by_holder(norm=norm) == {"norm": 4 * 8 * 4 + 8}
    assert bytes_by_holder(half=nn.Linear(8, 8, bias=False).to(torch.bfloat16)) == {"half": 128}
    with torch.device("meta"):
        layer = nn.Linear(8, 8)
    assert bytes_by_holder(policy=layer, again={"it": layer}) == {"policy": 288, "again": 0}


def test_holders_that_are_no_modules_are_looked_into(tiny_policy):
    base = sum(each.numel() * 4 for each in {id(p): p for p in tiny_policy.parameters()}.values())
    buffers = sum(each.numel() * each.element_size() for each in tiny_policy.buffers())
    width = tiny_policy.model.config.hidden_size
    score, other = nn.Linear(width, 1), copy.deepcopy(tiny_policy)

    def reward(batch):
        return other(batch)

    found = bytes_by_holder(
        policy=tiny_policy,
        reference=Frozen(tiny_policy),
        critic=SharedCritic(tiny_policy),
        reward=ModelScore(score),
        function=reward,
        nothing=None,
    )
    assert found == {
        "policy": base + buffers,
        "reference": base + buffers,  # a policy without an adapter is copied
        "critic": 4 * (width + 1),
        "reward": 4 * (width + 1),
        "function": base + buffers,
        "nothing": 0,
    }


def test_the_reference_of_a_new_adapter_costs_nothing(tiny_llama):
    from tutelage.models.lora import with_lora

    policy = LanguagePolicy(with_lora(copy.deepcopy(tiny_llama), 2))
    found = bytes_by_holder(policy=policy, reference=Frozen(policy))
    assert found["reference"] == 0 and found["policy"] > 0
