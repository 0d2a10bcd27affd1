"""Cached and recorded sampling is the model's own, for every family, adapter, length and neighbor, or is not used."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as hf
from peft import LoraConfig, get_peft_model
from tests.conftest import FAMILIES, SIZES, TOKENS
from torch import nn

from tutelage.data.errors import InputError
from tutelage.environments.dialogue import Dialogue, each_alone
from tutelage.environments.language import Language
from tutelage.execution import decoding
from tutelage.execution.cpu import products, recorded_step
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.length_limits import cached_length, rotary_length
from tutelage.models.lora import with_lora
from tutelage.policies.language import LanguagePolicy
from tutelage.trajectory import Key

BASE = {**SIZES, **TOKENS, "max_position_embeddings": 128, "initializer_range": 0.2}
NEO = {
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "intermediate_size": 64,
    "attention_types": [[["global", "local"], 1]],
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    **TOKENS,
}
EXPERTS = {**BASE, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
ROPE = {"rope_theta": 10000.0, "factor": 4.0}
LOCAL = {
    "gpt-neo": lambda: hf.GPTNeoConfig(**NEO, window_size=8),
    "gpt-neo-20": lambda: hf.GPTNeoConfig(**NEO, window_size=20),
    "mistral-local": lambda: hf.MistralConfig(**BASE, sliding_window=8),
    "gemma2": lambda: hf.Gemma2Config(**BASE, sliding_window=8, head_dim=8),
    "gemma3": lambda: hf.Gemma3TextConfig(**BASE, sliding_window=8, head_dim=8),
    "qwen2-local": lambda: hf.Qwen2Config(**BASE, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "phi3": lambda: hf.Phi3Config(**BASE, sliding_window=8),
}
GLOBAL = {
    "bloom": lambda: hf.BloomConfig(hidden_size=32, n_layer=2, n_head=4, initializer_range=0.2, **TOKENS),
    "falcon": lambda: hf.FalconConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True, initializer_range=0.2, **TOKENS
    ),
    "mpt": lambda: hf.MptConfig(d_model=32, n_layers=2, n_heads=4, max_seq_len=128, initializer_range=0.2, **TOKENS),
    "yarn": lambda: hf.LlamaConfig(
        **BASE, rope_parameters={**ROPE, "rope_type": "yarn", "original_max_position_embeddings": 16}
    ),
}
MIXTURES = {
    "mixtral": lambda: hf.MixtralConfig(**BASE, num_local_experts=4, num_experts_per_tok=2),
    "qwen3-moe": lambda: hf.Qwen3MoeConfig(**EXPERTS, num_experts=4, head_dim=8),
    "deepseek-v3": lambda: hf.DeepseekV3Config(
        **{**EXPERTS, **LATENT, "num_key_value_heads": 4},
        n_routed_experts=4,
        n_group=2,
        topk_group=1,
        first_k_dense_replace=1,
    ),
}
CHANGING = {
    "dynamic": lambda: hf.LlamaConfig(
        **{**BASE, "max_position_embeddings": 16}, rope_parameters={**ROPE, "rope_type": "dynamic"}
    ),
    "longrope": lambda: hf.Phi3Config(
        **BASE,
        original_max_position_embeddings=16,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "original_max_position_embeddings": 16,
            "short_factor": [1.0] * 4,
            "long_factor": [3.0] * 4,
        },
    ),
}
EVERY = {**LOCAL, **GLOBAL, **MIXTURES, **CHANGING}
PROMPTS = [[0, 5, 6], [0, 7, 8, 9, 10, 11], [0, *range(3, 20)]]
KEYS = [Key(0, prompt, sample) for prompt in range(3) for sample in range(2)]


def model_of(name, seed=0):
    torch.manual_seed(seed)
    config = EVERY[name]() if name in EVERY else copy.deepcopy(FAMILIES[name])
    return hf.AutoModelForCausalLM.from_config(config).eval()


def grown(model, seed=0):
    """An adapter that has learned something: a fresh one adds 0, and hides whatever is wrong with it."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, each in model.named_parameters():
            if "lora_B" in name:
                each.copy_(0.3 * torch.randn(each.shape, generator=generator))
    return model


def adapted(model, **settings):
    config = LoraConfig(**{"r": 2, "lora_dropout": 0.0, "target_modules": "all-linear", **settings})
    return grown(get_peft_model(model, config).eval())


@pytest.fixture
def early(monkeypatch):
    """Steps are recorded from the third on, so that short replies show what a recording does."""
    monkeypatch.setattr(recorded_step, "WORTH_TRACING", 3)


def drawn(policy, turns=2, tokens=13, sampler=None, environment=None):
    talk = environment or Dialogue(PROMPTS, each_alone(lambda said: [11, 12, 13]), turns=turns)
    chosen = SamplingSettings(max_new_tokens=tokens, min_new_tokens=min(10, tokens))
    sampler = sampler or NativeSampler(policy, [1], 4, chosen)
    return sampler.sample(talk, KEYS), sampler


def replayed(policy, batch):
    with torch.no_grad():
        return float((policy.log_probs(batch) - batch.behaviour_log_probs_BT)[batch.mask_BT].abs().max())


@pytest.mark.parametrize(("name", "rank"), [*((name, 0) for name in [*LOCAL, *GLOBAL]), *((name, 2) for name in LOCAL)])
def test_every_family_is_sampled_rightly_past_its_window_beside_longer_neighbors_in_turns(name, rank):
    model = model_of(name)
    policy = LanguagePolicy(grown(with_lora(model, rank)) if rank else model)
    batch, sampler = drawn(policy)
    assert replayed(policy, batch) < 1e-4
    again, _ = drawn(policy, turns=1, sampler=sampler, environment=Language(PROMPTS))
    assert replayed(policy, again) < 1e-4


@pytest.mark.parametrize("name", LOCAL)
def test_the_limit_of_a_local_family_is_its_window(name):
    assert cached_length(model_of(name)) == (20 if name == "gpt-neo-20" else 8)


@pytest.mark.parametrize("name", [*FAMILIES, "mpt", "yarn", *MIXTURES])
def test_what_sees_everything_has_no_limit_and_keeps_its_recorded_step(name, early):
    policy = LanguagePolicy(model_of(name))
    assert cached_length(policy.model) == float("inf")
    sampler = drawn(policy, tokens=8)[1]
    assert isinstance(sampler.decoder, decoding.Slots) and sampler.decoder.single.recording is not None


def test_windows_that_no_layer_uses_set_no_limit():
    unused = hf.Qwen2Config(**BASE, use_sliding_window=False, sliding_window=8)
    everywhere = hf.GPTNeoConfig(**{**NEO, "attention_types": [[["global"], 2]]}, window_size=8)
    for config in (unused, everywhere):
        assert cached_length(hf.AutoModelForCausalLM.from_config(config)) == float("inf")


def test_a_window_that_no_config_names_is_found_by_what_was_drawn(monkeypatch, capsys):
    """A repository's own model may call its window anything."""
    monkeypatch.setattr(decoding, "cached_length", lambda model: float("inf"))
    policy = LanguagePolicy(model_of("gpt-neo-20"))
    batch, sampler = drawn(policy)
    assert replayed(policy, batch) < 1e-4
    assert isinstance(sampler.decoder, decoding.Rereading) and capsys.readouterr().err.count("read anew") == 1
    assert replayed(policy, drawn(policy, sampler=sampler)[0]) < 1e-4


def test_the_plain_path_is_announced_once(capsys):
    policy = LanguagePolicy(model_of("gpt-neo"))
    for _ in range(2):
        drawn(policy)
    assert capsys.readouterr().err.count("past 8 tokens") == 1


@pytest.mark.parametrize("name", CHANGING)
def test_positions_that_change_with_length_are_sampled_one_length_at_a_time_and_not_learned_from(name):
    policy = LanguagePolicy(model_of(name))
    short = Language(PROMPTS[:2])
    sampler = NativeSampler(policy, [1], 4, SamplingSettings(9))
    batch = sampler.sample(short, KEYS[:4])
    assert replayed(policy, batch) < 1e-4 and rotary_length(policy.model) == 15
    batch = NativeSampler(policy, [1], 4, SamplingSettings(24)).sample(Language(PROMPTS), KEYS)
    with pytest.raises(InputError, match="past 15 the rotary positions"):
        policy.log_probs(batch)
    for row in range(len(batch)):  # each action was drawn as the model reads what stands before it, alone
        for place in batch.mask_BT[row].nonzero()[:, 0].tolist()[-4:]:
            policy.model(input_ids=torch.zeros(1, 1, dtype=torch.long))
            with torch.no_grad():
                logits = policy.model(input_ids=batch.observations[row : row + 1, : place + 1]).logits[0, -1]
            said = float(logits.log_softmax(-1)[batch.actions[row, place]])
            assert said == pytest.approx(float(batch.behaviour_log_probs_BT[row, place]), abs=1e-4)


def test_turns_of_unequal_length_fit_into_learned_positions(monkeypatch):
    """57 and 43 tokens: the shorter one's padding would lie behind the last of 64 positions."""
    lengths = iter([20, 1, 1, 20] * 8)
    policy = LanguagePolicy(model_of("gpt2"))
    openings = [[0] * 34, [0] * 20]

    def answer(said):
        return [11] * next(lengths)

    talk = Dialogue(openings, each_alone(answer), turns=3)
    sampler = NativeSampler(policy, [], 4, SamplingSettings(max_new_tokens=3))
    batch = sampler.sample(talk, [Key(0, 0), Key(0, 1)])
    assert int(batch.lengths_B.max()) > 56
    assert replayed(policy, batch) < 1e-4


@pytest.mark.parametrize("name", ["gpt2", "gpt-neo"])
def test_an_episode_that_outgrows_learned_positions_is_one_clear_error(name):
    policy = LanguagePolicy(model_of(name))
    talk = Dialogue([[0, 5]], each_alone(lambda said: [11] * 40), turns=9)
    with pytest.raises(InputError, match=r"has grown to \d+ tokens.*, and the model has positions for"):
        NativeSampler(policy, [], 4, SamplingSettings(max_new_tokens=3)).sample(talk, [Key(0, 0)])


@pytest.mark.parametrize("settings", [{"use_rslora": True}, {"use_dora": True}, {"lora_alpha": 64}])
def test_every_kind_of_adapter_is_sampled_as_it_is(settings, early):
    policy = LanguagePolicy(adapted(model_of("llama"), **settings))
    batch, _ = drawn(policy, tokens=6)
    assert replayed(policy, batch) < 1e-4


def test_two_adapters_of_one_rank_do_not_share_a_recording(monkeypatch, early):
    monkeypatch.setattr(recorded_step, "RECORDINGS", {})
    for alpha in (8, 64, 8):
        policy = LanguagePolicy(adapted(model_of("llama"), lora_alpha=alpha))
        batch, sampler = drawn(policy, tokens=6)
        assert sampler.decoder.single.recording is not None
        assert replayed(policy, batch) < 1e-4
    assert len(recorded_step.RECORDINGS) == 2


def test_fresh_adapters_do_not_hide_what_they_are_multiplied_with(monkeypatch, early):
    """Both add 0 when they are recorded; what they learn later is multiplied by 4 and by 32."""
    monkeypatch.setattr(recorded_step, "RECORDINGS", {})
    for alpha in (8, 64):
        model = get_peft_model(model_of("llama"), LoraConfig(r=2, lora_alpha=alpha, target_modules="all-linear"))
        policy = LanguagePolicy(model.eval())
        _, sampler = drawn(policy, tokens=6)
        assert sampler.decoder.single.recording is not None
        grown(model)
        assert replayed(policy, drawn(policy, sampler=sampler)[0]) < 1e-4


@pytest.mark.slow
def test_an_adapter_that_is_switched_scaled_or_merged_is_followed(early):
    model = adapted(model_of("llama"), lora_alpha=8)
    model.add_adapter("other", LoraConfig(r=2, lora_alpha=64, target_modules="all-linear"))
    grown(model, seed=1)
    policy = LanguagePolicy(model.eval())
    _, sampler = drawn(policy, tokens=6)
    changes = [
        lambda: model.set_adapter("other"),
        lambda: model.set_adapter("default"),
        lambda: [each.set_scale("default", 9.0) for each in model.modules() if hasattr(each, "set_scale")],
        model.merge_adapter,
        model.unmerge_adapter,
    ]
    for change in changes:
        change()
        assert replayed(policy, drawn(policy, tokens=6, sampler=sampler)[0]) < 1e-4
        assert sampler.decoder.single.recording is not None
    with model.disable_adapter():
        assert replayed(policy, drawn(policy, sampler=sampler)[0]) < 1e-4


@pytest.mark.parametrize("name", MIXTURES)
def test_adapters_of_experts_are_sampled_by_the_plain_path_and_left_whole(name, capsys):
    """peft cannot be recorded there: said once, and no parametrization stays behind."""
    policy = LanguagePolicy(grown(with_lora(model_of(name), 2)))
    before = {key: type(each) for key, each in policy.model.named_modules()}
    names = list(policy.model.state_dict())
    for _ in range(2):
        batch, sampler = drawn(policy, tokens=24)
        assert replayed(policy, batch) < 1e-4
    assert sampler.decoder.single.recording is None
    assert capsys.readouterr().err.count("cannot be recorded") == 1
    assert {key: type(each) for key, each in policy.model.named_modules()} == before
    assert list(policy.model.state_dict()) == names
    assert all(each.requires_grad == ("lora_" in key) for key, each in policy.model.named_parameters())


def test_buffers_are_inputs_of_a_recording(early):
    """DeepSeek-V3 balances its experts by a buffer: models of one kind that differ there differ."""
    for seed in range(2):
        model = model_of("deepseek-v3")
        with torch.no_grad():
            for name, each in model.named_buffers():
                if "bias" in name:
                    each.copy_(torch.randn(each.shape, generator=torch.Generator().manual_seed(seed)))
        policy = LanguagePolicy(model)
        batch, sampler = drawn(policy, tokens=6)
        assert sampler.decoder.single.recording is not None
        assert replayed(policy, batch) < 1e-4


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
@pytest.mark.parametrize("wrapped", [{"target_modules": ["lm_head"]}, {"modules_to_save": ["lm_head"]}])
def test_a_packed_head_keeps_to_what_an_adapter_makes_of_it(monkeypatch, wrapped):
    monkeypatch.setattr(products, "library", lambda: "onednn")
    monkeypatch.setattr(products, "WORTH_PACKING", 1)
    model = adapted(model_of("llama"), **{"target_modules": ["q_proj"], **wrapped})
    if "modules_to_save" in wrapped:
        nn.init.normal_(model.get_output_embeddings().modules_to_save["default"].weight)
    policy = LanguagePolicy(model)
    batch, _ = drawn(policy, tokens=20)
    assert replayed(policy, batch) < 1e-4


def test_the_plain_path_reads_long_batches_in_parts(monkeypatch):
    """The logits of every position of every row would not fit into memory: 25 GB for 256 rows of SmolLM2."""
    monkeypatch.setattr(decoding, "READ_AT_ONCE", 40)
    for name in ("gpt-neo", "gemma2"):
        policy = LanguagePolicy(model_of(name))
        batch, _ = drawn(policy, turns=1)
        assert replayed(policy, batch) < 1e-4
