"""The vLLM sampler owes what the native one owes; run by `make prove-vllm`, in an environment that has vLLM."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import FAMILIES, letters_tokenizer, llama_config
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.environments.dialogue import Dialogue, each_alone
from tutelage.environments.language import Language
from tutelage.execution import engine as engines
from tutelage.execution import vllm
from tutelage.execution.engine import Engine, EngineSettings, Said
from tutelage.execution.native import SamplingSettings
from tutelage.execution.vllm import VLLMSampler
from tutelage.formulas import sampling
from tutelage.models.lora import with_lora
from tutelage.policies.language import Frozen, LanguagePolicy
from tutelage.trajectory import Key, SamplerMismatchError, Step

EOS = 1
PROMPTS = [[0, 5, 6], [0, 7, 8, 9, 10, 11], [0, 12], [0, 3, 4, 5, 6, 7, 8]]
KEYS = [Key(0, prompt, sample) for prompt in range(4) for sample in range(5)]
SMALL = EngineSettings(cache_bytes=2**26)
WIDE = {"hidden_size": 128}  # 32 a head: the narrowest that vLLM's attention takes on a CPU


def policy_of(model):
    return LanguagePolicy(model.eval(), temperature=0.7)


@pytest.fixture(scope="module")
def policy():
    torch.manual_seed(0)
    return policy_of(LlamaForCausalLM(llama_config(**WIDE)))


def sampler_of(policy, stops=(EOS,), text=None, engine=SMALL, **settings):
    return VLLMSampler(policy, stops, 4, SamplingSettings(**{"max_new_tokens": 24, **settings}), text, engine)


@pytest.fixture(scope="module")
def sampler(policy):
    return sampler_of(policy)


def gap(policy, batch):
    with torch.no_grad():
        return float((policy.log_probs(batch) - batch.behaviour_log_probs_BT)[batch.mask_BT].abs().max())


@pytest.mark.vllm
def test_log_probs_are_the_policys_and_ends_are_told(policy, sampler):
    batch = sampler.sample(Language(PROMPTS), KEYS)
    assert batch.keys == tuple(KEYS)
    assert gap(policy, batch) < 1e-4
    assert batch.behaviour_log_probs_BT.dtype == torch.float32
    assert 0 < int(batch.terminated_B.sum()) < len(KEYS)
    for row, key in enumerate(KEYS):
        steps, prompt = int(batch.lengths_B[row]), PROMPTS[key.prompt]
        assert batch.observations[row, : len(prompt)].tolist() == prompt
        assert torch.equal(batch.actions[row, :steps], batch.observations[row, 1 : steps + 1])
        said = batch.actions[row, :steps][batch.mask_BT[row, :steps]].tolist()
        assert batch.mask_BT[row, :steps].tolist() == [False] * (len(prompt) - 1) + [True] * len(said)
        assert EOS not in said[:-1]
        assert bool(batch.terminated_B[row]) == (said[-1] == EOS)
        assert said[-1] == EOS or len(said) == 24


@pytest.mark.vllm
def test_an_episode_does_not_depend_on_company_order_or_what_came_before(policy, sampler):
    whole = sampler.sample(Language(PROMPTS), KEYS)
    again = sampler.sample(Language(PROMPTS), KEYS)
    assert torch.equal(whole.observations, again.observations)
    turned = sampler.sample(Language(PROMPTS), KEYS[::-1])
    for row, key in enumerate(KEYS):
        other = turned.row(turned.keys.index(key))
        assert torch.equal(other.observations, whole.row(row).observations)
    alone = sampler.sample(Language(PROMPTS), [KEYS[7]]).row(0)
    assert torch.equal(alone.observations, whole.row(7).observations)
    assert torch.allclose(alone.behaviour_log_probs_T, whole.row(7).behaviour_log_probs_T, atol=1e-4)
    assert len({tuple(whole.row(row).observations.tolist()) for row in range(5)}) > 1  # samples of one prompt differ


@pytest.mark.vllm
def test_seed_and_step_change_the_draw(policy, sampler):
    first = sampler.sample(Language(PROMPTS), KEYS)
    later = sampler.sample(Language(PROMPTS), [replace(key, step=1) for key in KEYS])
    assert not torch.equal(first.observations[:, :8], later.observations[:, :8])
    sampler.seed = 5
    try:
        assert not torch.equal(first.observations[:, :8], sampler.sample(Language(PROMPTS), KEYS).observations[:, :8])
    finally:
        sampler.seed = 4


@pytest.mark.vllm
def test_draws_follow_the_policys_distribution(policy, sampler):
    """First tokens of 2,000 episodes against exact probabilities: chi-square of 22 degrees, 99.9 % below 48.3."""
    keys = [Key(9, 0, sample) for sample in range(2000)]
    sampler.settings, before = replace(sampler.settings, max_new_tokens=1), sampler.settings
    try:
        batch = sampler.sample(Language(PROMPTS), keys)
    finally:
        sampler.settings = before
    with torch.no_grad():
        probs = (policy.model(input_ids=torch.tensor(PROMPTS[:1])).logits[0, -1] / 0.7).softmax(-1)
    found = torch.bincount(batch.actions[batch.mask_BT], minlength=23).double()
    assert float(((found - 2000 * probs) ** 2 / (2000 * probs)).sum()) < 48.3


@pytest.mark.vllm
def test_a_talk_goes_on_after_the_other_side_answered(policy, sampler):
    talk = Dialogue(PROMPTS, each_alone(lambda said: [11, 12, 13]), turns=3)
    sampler.settings, before = replace(sampler.settings, max_new_tokens=5), sampler.settings
    try:
        batch = sampler.sample(talk, KEYS)
    finally:
        sampler.settings = before
    assert gap(policy, batch) < 1e-4
    for row in range(len(batch)):
        mask = batch.mask_BT[row, : int(batch.lengths_B[row])].tolist()
        answers = "".join(".T"[each] for each in mask).lstrip(".").count("...")
        assert answers == 2
        spoken = batch.actions[row, : len(mask)][~batch.mask_BT[row, : len(mask)]].tolist()
        assert spoken[-6:] == [11, 12, 13] * 2
    single = sampler.sample(Language(PROMPTS), KEYS)
    assert single.mask_BT.sum() != batch.mask_BT.sum()


@pytest.mark.vllm
def test_published_weights_arrive_and_unpublished_ones_do_not():
    torch.manual_seed(0)
    policy = policy_of(LlamaForCausalLM(llama_config(**WIDE)))
    sampler = sampler_of(policy)
    before = sampler.sample(Language(PROMPTS), KEYS)
    with torch.no_grad():
        for each in policy.parameters():
            each.mul_(1.3)
    stale = sampler.sample(Language(PROMPTS), KEYS)
    assert torch.equal(stale.observations, before.observations)
    assert gap(policy, stale) > 0.1
    sampler.publish()
    assert gap(policy, sampler.sample(Language(PROMPTS), KEYS)) < 1e-4
    sampler.engine.push = lambda policy: None  # weights that get lost on the way
    with torch.no_grad():
        policy.model.lm_head.weight.mul_(1.1)
    with pytest.raises(SamplerMismatchError, match="after the weights were published"):
        sampler.publish()


@pytest.mark.vllm
def test_what_was_remembered_of_old_weights_is_forgotten():
    """A prompt longer than a block of the cache: its keys and values of old weights must not be used again."""
    torch.manual_seed(0)
    policy = policy_of(LlamaForCausalLM(llama_config(**WIDE, max_position_embeddings=512)))
    sampler = sampler_of(policy, max_new_tokens=8)
    long = Language([[(3 * place) % 23 for place in range(300)]])
    assert gap(policy, sampler.sample(long, KEYS[:5])) < 1e-3
    with torch.no_grad():
        for each in policy.parameters():
            each.mul_(1.2)
    sampler.publish()
    assert gap(policy, sampler.sample(long, KEYS[:5])) < 1e-3


@pytest.mark.vllm
def test_an_adapter_is_delivered_merged_and_the_learner_keeps_its_bits():
    torch.manual_seed(0)
    policy = LanguagePolicy(with_lora(LlamaForCausalLM(llama_config(**WIDE)).eval(), 4), 0.7)
    sampler = sampler_of(policy)
    assert gap(policy, sampler.sample(Language(PROMPTS), KEYS)) < 1e-4
    with torch.no_grad():
        for name, each in policy.named_parameters():
            if "lora_B" in name:
                each.normal_(std=0.3)
    bits = [each.detach().clone() for each in policy.parameters()]
    stale = gap(policy, sampler.sample(Language(PROMPTS), KEYS))
    sampler.publish()
    assert stale > 0.1 and gap(policy, sampler.sample(Language(PROMPTS), KEYS)) < 1e-4
    assert all(torch.equal(one, other) for one, other in zip(bits, policy.parameters(), strict=True))


@pytest.mark.vllm
@pytest.mark.parametrize("family", ["llama-tied", "gpt2", "qwen2", "mistral"])
def test_families(family):
    torch.manual_seed(0)
    config = type(FAMILIES[family])(**{**FAMILIES[family].to_diff_dict(), **WIDE, "head_dim": None})
    config.head_dim = 32
    policy = policy_of(AutoModelForCausalLM.from_config(config))
    sampler = sampler_of(policy)
    assert gap(policy, sampler.sample(Language(PROMPTS), KEYS)) < 1e-4
    with torch.no_grad():
        for each in policy.parameters():
            each.mul_(1.1)
    sampler.publish()
    assert gap(policy, sampler.sample(Language(PROMPTS), KEYS)) < 1e-4


@pytest.mark.vllm
def test_a_family_that_vllm_does_not_have_is_refused_and_left_whole():
    """vLLM would run it through transformers' classes, which it rewrites: the learner could not use them any more."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(FAMILIES["gpt-neox"]).eval()
    before = type(model.base_model).__mro__
    with pytest.raises(InputError, match="no GPTNeoXForCausalLM of its own"):
        sampler_of(policy_of(model)).sample(Language(PROMPTS), KEYS)
    assert type(model.base_model).__mro__ == before
    assert model(input_ids=torch.tensor(PROMPTS[:1])).logits.isfinite().all()


@pytest.mark.vllm
def test_a_shape_without_a_kernel_is_refused_at_the_start(tiny_policy):
    """8 a head, where vLLM's attention on a CPU begins at 32."""
    with pytest.raises(InputError, match=r"does not run this LlamaForCausalLM here: .*head"):
        sampler_of(tiny_policy).sample(Language(PROMPTS), KEYS)


@pytest.mark.vllm
@pytest.mark.parametrize(
    "settings", [{"top_k": 4}, {"top_k": 40}, {"min_new_tokens": 9}, {"top_k": 9, "top_p": 0.8, "min_new_tokens": 3}]
)
def test_what_was_left_to_choose_from_is_kept_and_replayed(policy, settings):
    batch = sampler_of(policy, stops=(EOS, 5), **settings).sample(Language(PROMPTS), KEYS)
    assert gap(policy, batch) < 1e-4
    with torch.no_grad():
        kl = (policy.log_probs(batch) - Frozen(policy)(batch))[batch.mask_BT]
    assert float(kl.abs().max()) < 1e-6
    assert int(batch.mask_BT.sum(dim=1).min()) >= settings.get("min_new_tokens", 1)
    if settings != {"top_k": 40}:  # 23 tokens: nothing was left out there
        assert gap(policy, replace(batch, extras={})) > 1e-3


@pytest.mark.vllm
def test_only_the_samplers_own_stops_stop(policy):
    """The model's config names token 1 as its end; asked to stop at 5 and 9 only, 1 is a token like any other."""
    batch = sampler_of(policy, stops=(5, 9), min_new_tokens=3).sample(Language(PROMPTS), KEYS)
    assert gap(policy, batch) < 1e-4
    assert (batch.actions[batch.mask_BT] == EOS).any()
    last = batch.actions.gather(1, batch.last_action_B[:, None])[:, 0].tolist()
    assert [token in (5, 9) for token in last] == batch.terminated_B.tolist()


@pytest.mark.vllm
def test_a_stop_string_ends_a_turn_wherever_its_tokens_part(policy):
    def text(tokens):
        return "".join(chr(97 + token) for token in tokens)

    free = sampler_of(policy, stops=()).sample(Language(PROMPTS), KEYS)
    row = free.actions[0][free.mask_BT[0]].tolist()
    wanted = text(row[6:9])
    cut = sampler_of(policy, stops=(), stop_strings=(wanted, "never said"), text=text)
    for _ in range(2):  # the engine has forgotten the turns that were cut
        batch = cut.sample(Language(PROMPTS), KEYS)
        assert batch.actions[0][batch.mask_BT[0]].tolist() == row[: text(row).index(wanted) + 3]
        assert bool(batch.terminated_B[0]) and gap(policy, batch) < 1e-4
    cut.publish()


@pytest.mark.vllm
def test_an_environment_that_breaks_leaves_the_engine_usable(policy, sampler):
    whole = sampler.sample(Language(PROMPTS), KEYS)

    def breaks(said):
        raise RuntimeError("the other side left")

    with pytest.raises(RuntimeError, match="the other side left"):
        sampler.sample(Dialogue(PROMPTS, breaks, turns=2), KEYS)
    assert torch.equal(sampler.sample(Language(PROMPTS), KEYS).observations, whole.observations)


@pytest.mark.vllm
def test_a_process_has_one_engine(policy, monkeypatch):
    first, second, closed, close = sampler_of(policy), sampler_of(policy), [], Engine.close
    whole = first.sample(Language(PROMPTS), KEYS)
    monkeypatch.setattr(Engine, "close", lambda self: (closed.append(id(self)), close(self)))
    for sampler, other in ((second, first), (first, second)):
        before = other.engine
        assert torch.equal(sampler.sample(Language(PROMPTS), KEYS).observations, whole.observations)
        assert Engine.running is sampler.engine
        assert closed[-1] == id(before)
    second.close()  # another's engine is left alone
    assert Engine.running is first.engine
    first.close()
    assert Engine.running is None
    second.publish()
    assert Engine.running is second.engine and gap(policy, second.sample(Language(PROMPTS), KEYS)) < 1e-4


@pytest.mark.vllm
def test_more_than_the_model_sees_is_refused(policy, sampler):
    with pytest.raises(InputError, match="64 that the model sees"):
        sampler.sample(Language([[5] * 41]), [Key(0, 0)])
    assert len(sampler.sample(Language([[5] * 40]), [Key(0, 0)])) == 1


@pytest.mark.vllm
def test_the_process_is_left_as_it_was(policy):
    """A run is the same whoever samples for it: random states, environment variables, threads, warnings."""
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate(), dict(os.environ)
    threads, filters = torch.set_num_threads, list(warnings.filters)
    sampler = sampler_of(policy)
    sampler.sample(Language(PROMPTS), KEYS)
    sampler.publish()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert (random.getstate(), dict(os.environ)) == before[2:]
    assert torch.set_num_threads is threads and warnings.filters == filters


@pytest.mark.vllm
def test_compiled_steps_follow_the_weights_too():
    torch.manual_seed(0)
    policy = policy_of(LlamaForCausalLM(llama_config(**WIDE)))
    sampler = sampler_of(policy, engine=EngineSettings(cache_bytes=2**26, eager=False))
    assert gap(policy, sampler.sample(Language(PROMPTS), KEYS)) < 1e-3
    with torch.no_grad():
        for each in policy.parameters():
            each.mul_(1.1)
    sampler.publish()
    assert gap(policy, sampler.sample(Language(PROMPTS), KEYS)) < 1e-3


@pytest.mark.vllm
def test_ppo_on_the_command_line_resumes_to_the_bit(files):
    """Preflight nudges, publishes and compares; every step compares again; the replayed steps draw the same replies."""
    torch.manual_seed(0)
    LlamaForCausalLM(llama_config(**WIDE)).save_pretrained(files / "wide")
    letters_tokenizer().save_pretrained(files / "wide")
    out = files / "out"
    command = ["ppo", "--model", files / "wide", "--data", files / "prompts.jsonl", "--reward", f"{__name__}:length"]
    command += ["--sampler", "vllm", "--max-new-tokens", "5", "--steps", "4", "--trajectories", "8", "--epochs", "2"]
    command += ["--learning-rate", "3e-3", "--checkpoint-seconds", "0", "--out", out]
    assert run_command([str(part) for part in command]) == 0
    found = {each["name"]: each["passed"] for each in json.loads((out / "preflight.json").read_text())["findings"]}
    assert found["sampler is learner"] and found["new weights arrive"] and found["samples are of the policy"]
    assert run_command(["verify-resume", str(out)]) == 0


def length(prompts, responses):
    return [float(len(response)) for response in responses]


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: object())


class Scripted:
    """An engine that says the same to every request: what the sampler makes of it, without vLLM."""

    context_tokens = 64

    def __init__(self, tokens, choices=None, over=True):
        self.tokens, self.over = tokens, over
        self.choices = choices or [{token: -0.5} for token in tokens]
        self.asked, self.waiting = [], []

    def ask(self, name, tokens, **parameters):
        self.asked.append(list(tokens))
        self.waiting.append(name)

    def step(self):
        waiting, self.waiting = self.waiting, []
        return [Said(name, self.tokens, self.choices, self.over) for name in waiting]

    def forget(self, names):
        pass


@pytest.fixture
def scripted(tiny_policy, installed, monkeypatch):
    def make(tokens, choices=None, over=True, **settings):
        sampler = sampler_of(tiny_policy, **settings)
        sampler.engine = Scripted(tokens, choices, over)
        monkeypatch.setattr(Engine, "running", sampler.engine)
        return sampler

    return make


def test_what_the_engine_says_becomes_episodes_of_several_turns(scripted):
    sampler = scripted([4, 5, EOS])
    batch = sampler.sample(Dialogue(PROMPTS, each_alone(lambda said: [11, 12]), turns=2), [Key(0, 2), Key(0, 0)])
    assert batch.observations[0, :10].tolist() == [0, 12, 4, 5, EOS, 11, 12, 4, 5, EOS]
    assert batch.mask_BT[0, :9].tolist() == [False] + [True] * 3 + [False] * 2 + [True] * 3
    assert batch.behaviour_log_probs_BT[0, :9].tolist() == [0.0] + [-0.5] * 3 + [0.0] * 2 + [-0.5] * 3
    assert batch.lengths_B.tolist() == [9, 10] and batch.terminated_B.all() and "support" not in batch.extras
    assert sorted(sampler.engine.asked) == sorted(
        [[0, 12], [0, 5, 6], [0, 12, 4, 5, EOS, 11, 12], [0, 5, 6, 4, 5, EOS, 11, 12]]
    )


def test_the_other_side_answers_all_that_wait_in_one_call_and_pays(scripted):
    calls = []

    def other(dialogues):
        calls.append(len(dialogues))
        return [Step((11, 12), float(len(each))) for each in dialogues]

    batch = scripted([4, 5, EOS]).sample(Dialogue(PROMPTS, other, turns=3), KEYS)
    assert calls == [len(KEYS)] * 2
    assert [float(each) for each in batch.rewards_BT[batch.rewards_BT != 0]] == [2.0, 4.0] * len(KEYS)
    with pytest.raises(InputError, match="gave 19 answers for 20 dialogues"):
        scripted([4, 5, EOS]).sample(Dialogue(PROMPTS, lambda dialogues: [[11]] * 19, turns=2), KEYS)


def test_an_engine_ends_with_its_sampler(tiny_policy, installed, monkeypatch):
    ended = []

    class Started:
        running = None

        def __init__(self, *arguments):
            pass

        def close(self):
            ended.append(self)

    monkeypatch.setattr(vllm, "Engine", Started)
    sampler = sampler_of(tiny_policy)
    started = sampler._running()
    assert not ended
    del sampler
    gc.collect()
    assert ended == [started]


def test_the_limit_truncates_and_a_stop_at_the_limit_still_stops(scripted):
    assert not scripted([4, 5, 6], max_new_tokens=3).sample(Language(PROMPTS), KEYS[:1]).terminated_B.any()
    assert scripted([4, 5, EOS], max_new_tokens=3).sample(Language(PROMPTS), KEYS[:1]).terminated_B.all()


def test_an_engine_that_ends_a_turn_by_itself_is_an_error(scripted):
    with pytest.raises(RuntimeError, match="without a stop and below the limit"):
        scripted([4, 5]).sample(Language(PROMPTS), KEYS[:1])


def test_supports_are_those_named_and_a_tie_that_hides_some_is_an_error(scripted):
    half, never = math.log(0.5), -math.inf
    chosen = {4: half, 9: half, 3: never}
    batch = scripted([4, EOS], [chosen, {EOS: 0.0, 2: never}], top_k=2).sample(Language(PROMPTS), KEYS[:1])
    support = sampling.unpack(batch.extras["support"][0], 23)
    assert support[0].all() and support[1].all()  # the prompt
    assert [row.nonzero()[:, 0].tolist() for row in support[2:4]] == [[4, 9], [EOS]]
    with pytest.raises(SamplerMismatchError, match=r"probability 0\.5 together"):
        scripted([4, EOS], [{4: half}, {EOS: 0.0}], top_k=2).sample(Language(PROMPTS), KEYS[:1])


def test_before_the_shortest_turn_ends_stops_are_left_out(scripted):
    batch = scripted([4, 5, EOS], stops=(EOS, 7), min_new_tokens=2).sample(Language(PROMPTS), KEYS[:1])
    support = sampling.unpack(batch.extras["support"][0], 23)
    left_out = [(~row).nonzero()[:, 0].tolist() for row in support]
    assert left_out == [[], [], [EOS, 7], [EOS, 7], []]


def test_a_publish_that_does_not_arrive_is_an_error_here_too(scripted):
    sampler = scripted([4, 5, EOS], max_new_tokens=3)
    pushed = []
    sampler.engine.push = pushed.append
    with pytest.raises(SamplerMismatchError, match="after the weights were published"):
        sampler.publish()
    assert pushed == [sampler.policy]


def test_weights_carry_the_names_of_a_checkpoint_an_adapter_merged(tiny_llama):
    names = dict(tiny_llama.state_dict())
    assert {name: tensor.data_ptr() for name, tensor in engines.weights(tiny_llama)} == {
        name: tensor.data_ptr() for name, tensor in names.items()
    }
    before = tiny_llama.model.layers[0].mlp.up_proj.weight.detach().clone()
    adapted = with_lora(tiny_llama, 2)
    with torch.no_grad():
        for name, each in adapted.named_parameters():
            if "lora_B" in name:
                each.normal_()
    pushed = {name: tensor.clone() for name, tensor in engines.weights(adapted)}
    assert not torch.equal(pushed["model.layers.0.mlp.up_proj.weight"], before)
    merged = adapted.merge_and_unload().state_dict()
    assert pushed.keys() == merged.keys()
    assert all(torch.allclose(pushed[name], merged[name], atol=1e-6) for name in merged)


def test_without_vllm_one_is_told_what_to_install(tiny_policy, monkeypatch):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'tutelage\[vllm\]'"):
        sampler_of(tiny_policy)


def test_the_command_line_says_it_too(model_folder, files, monkeypatch, capsys):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    command = ["ppo", "--model", str(model_folder), "--data", str(files / "prompts.jsonl"), "--sampler", "vllm"]
    command += ["--max-new-tokens", "5", "--reward", f"{__name__}:length", "--out", str(files / "out")]
    assert run_command(command) == 2
    assert "pip install 'tutelage[vllm]'" in capsys.readouterr().err.splitlines()[-1]


def test_what_could_not_be_replayed_is_refused(tiny_policy, tiny_llama, installed):
    with pytest.raises(InputError, match=r"top_p 0.9 with vLLM.*Give top_k too"):
        sampler_of(tiny_policy, top_p=0.9)
    for temperature in (0.005, 2.5):
        with pytest.raises(InputError, match=f"temperature {temperature} with vLLM"):
            sampler_of(LanguagePolicy(tiny_llama, temperature))
    with pytest.raises(ValueError, match="text"):
        sampler_of(tiny_policy, stop_strings=("a",))
    assert sampler_of(tiny_policy, top_p=0.9, top_k=5).engine is None  # it starts when it is needed
