"""What the native sampler offers beyond one reply a prompt: refills, limits, supports, stop strings, other families."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.conftest import FAMILIES, SIZES, TOKENS
from transformers import AutoModelForCausalLM, BloomConfig, BloomForCausalLM, MistralConfig, MistralForCausalLM

from tutelage.environments.dialogue import Dialogue, each_alone
from tutelage.environments.language import Language
from tutelage.execution import decoding, native
from tutelage.execution.cpu import recorded_step
from tutelage.execution.native import NativeSampler, SamplingSettings, close_ranks
from tutelage.policies.language import Frozen, LanguagePolicy
from tutelage.trajectory import Key

EOS = 1
PROMPTS = [[0, 5, 6], [0, 7, 8, 9, 10, 11], [0, 12], [0, 3, 4, 5, 6, 7, 8]]
KEYS = [Key(0, prompt, sample) for prompt in range(4) for sample in range(5)]


def drawn(policy, stops=(EOS,), keys=KEYS, environment=None, text=None, allowed=None, **settings):
    chosen = SamplingSettings(**{"max_new_tokens": 24, **settings})
    sampler = NativeSampler(policy, stops, 4, chosen, text=text, allowed=allowed)
    return sampler.sample(environment or Language(PROMPTS), keys)


def gap(policy, batch):
    with torch.no_grad():
        return float((policy.log_probs(batch) - batch.behaviour_log_probs_BT)[batch.mask_BT].abs().max())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_sampled_in_slots_and_recorded(family):
    """The fast way is really taken, and its recording goes on following the weights."""
    torch.manual_seed(0)
    policy = LanguagePolicy(AutoModelForCausalLM.from_config(FAMILIES[family]).eval())
    sampler = NativeSampler(policy, [EOS], 4, SamplingSettings(max_new_tokens=24, min_new_tokens=20))
    sampler.sample(Language(PROMPTS), KEYS)
    assert isinstance(sampler.decoder, decoding.Slots)
    assert sampler.decoder.single.recording is not None
    with torch.no_grad():
        for each in policy.parameters():
            each.mul_(1.3)
    again = sampler.sample(Language(PROMPTS), KEYS)
    assert gap(policy, again) < 1e-5


@pytest.mark.parametrize("slots", [1, 3, 8, 20])
def test_a_queue_that_waits_for_room_draws_the_same_replies(tiny_policy, slots):
    whole, queued = drawn(tiny_policy), drawn(tiny_policy, episodes_at_once=slots)
    assert torch.equal(whole.observations, queued.observations)
    assert torch.allclose(whole.behaviour_log_probs_BT, queued.behaviour_log_probs_BT, atol=1e-5)
    assert len({int(length) for length in whole.lengths_B}) > 5  # they end at different times


def test_a_shared_prompt_is_read_once(tiny_policy, monkeypatch):
    read = []
    whole = decoding.Slots._read

    def counting(self, slots, tokens, starts):
        read.extend(tuple(each) for each in tokens)
        return whole(self, slots, tokens, starts)

    sampler = NativeSampler(tiny_policy, [EOS], 4, SamplingSettings(max_new_tokens=24))
    sampler.decoder = decoding.decoder_of(tiny_policy)  # it compares first whether slots fit this model
    monkeypatch.setattr(decoding.Slots, "_read", counting)
    sampler.sample(Language(PROMPTS), KEYS)
    assert sorted(read) == sorted(tuple(prompt[:-1]) for prompt in PROMPTS)


def test_an_answer_is_read_into_the_cache_and_the_talk_goes_on(tiny_policy):
    talk = Dialogue(PROMPTS, each_alone(lambda said: [11, 12, 13, 14]), turns=3)
    batch = drawn(tiny_policy, environment=talk, max_new_tokens=5, episodes_at_once=6)
    assert gap(tiny_policy, batch) < 1e-5


@pytest.mark.parametrize(
    "settings", [{"top_k": 4}, {"top_p": 0.6}, {"min_new_tokens": 9}, {"top_k": 9, "top_p": 0.8, "min_new_tokens": 3}]
)
def test_what_was_left_to_choose_from_is_kept_and_replayed(tiny_policy, settings):
    batch = drawn(tiny_policy, **settings)
    assert gap(tiny_policy, batch) < 1e-5
    with torch.no_grad():
        kl = (tiny_policy.log_probs(batch) - Frozen(tiny_policy)(batch))[batch.mask_BT]
    assert float(kl.abs().max()) < 1e-6  # the reference starts as the policy under the same support
    assert int(batch.mask_BT.sum(dim=1).min()) >= settings.get("min_new_tokens", 1)
    unrestricted = _without_support(batch)
    assert gap(tiny_policy, unrestricted) > 1e-3


def _without_support(batch):
    return replace(batch, extras={})


def test_top_k_takes_none_but_the_likeliest(tiny_policy):
    batch = drawn(tiny_policy, top_k=2, stops=())
    with torch.no_grad():
        plain = _without_support(batch)
        logits = tiny_policy.action_logits(tiny_policy.states(plain), plain)
    best = logits.topk(2, dim=-1).indices
    assert (best == batch.actions[batch.mask_BT][:, None]).any(dim=1).all()


def test_several_stop_tokens_end_a_turn_and_count(tiny_policy):
    batch = drawn(tiny_policy, stops=(EOS, 5, 9))
    last = batch.actions.gather(1, batch.last_action_B[:, None])[:, 0]
    assert batch.terminated_B.any()
    assert all((int(token) in (EOS, 5, 9)) == bool(end) for token, end in zip(last, batch.terminated_B, strict=True))


def test_a_stop_string_ends_a_turn_wherever_its_tokens_part(tiny_policy):
    def text(tokens):
        return "".join(chr(97 + token) for token in tokens)

    free = drawn(tiny_policy, stops=())
    row = free.actions[0][free.mask_BT[0]].tolist()
    wanted = text(row[6:9])
    batch = drawn(tiny_policy, stops=(), stop_strings=(wanted, "never said"), text=text)
    said = batch.actions[0][batch.mask_BT[0]].tolist()
    assert said == row[: text(row).index(wanted) + 3] and bool(batch.terminated_B[0])
    with pytest.raises(ValueError, match="text"):
        drawn(tiny_policy, stop_strings=("a",))


BYTES = sorted({*"ありがとう🏳️‍🌈 Ж.".encode(), 0})


def spoken(tokens, quiet=()):
    """A token a byte, as a byte-level tokenizer falls back to them; `quiet` ones are special and have no text."""
    return bytes(BYTES[token] for token in tokens if token not in quiet).decode(errors="replace")


@pytest.mark.parametrize("wanted", ["ありがとう", "🏳️‍🌈", "Ж", "う. "])
@pytest.mark.parametrize("quiet", [0, 3, 60])
def test_a_stop_string_is_found_whatever_its_letters_take(wanted, quiet):
    """Also after and between tokens that have no text, and only once its last byte is there."""
    silent = len(BYTES)
    said = [BYTES.index(each) for each in ("Ж " * 9 + wanted).encode()]
    said = [*said[:-2], *[silent] * quiet, *said[-2:]]

    def text(tokens):
        return spoken(tokens, quiet=(silent,))

    starts = "Ж " * 9 if wanted == "Ж" else ""  # it has been said before
    assert native.says_stop((wanted, "never"), text, said)
    assert native.says_stop((wanted,), text, said[:-1]) == bool(starts)
    assert not native.says_stop((wanted + "!",), text, said)


def test_a_stop_string_is_looked_for_in_the_end_of_a_turn_alone():
    """A turn of a thousand tokens is not read from its beginning at each of them."""
    read = []

    def text(tokens):
        read.append(len(tokens))
        return spoken(tokens)

    turn = [BYTES.index(each) for each in ("Ж " * 500).encode()]
    assert not native.says_stop(("ありがとう",), text, turn)
    assert sum(read) <= 3 * (len("ありがとう".encode()) + 8)


def test_a_constraint_is_kept_to_and_replayed(tiny_policy):
    """Every other token must be the one after the one before: a grammar as a function."""

    def allowed(tokens, turn):
        if len(turn) % 2 == 0:
            return None
        only = torch.zeros(23, dtype=torch.bool)
        only[(tokens[-1] + 1) % 23] = True
        return only

    batch = drawn(tiny_policy, stops=(), allowed=allowed)
    for row in range(len(batch)):
        said = batch.actions[row][batch.mask_BT[row]].tolist()
        assert all(second == (first + 1) % 23 for first, second in zip(said[::2], said[1::2], strict=True))
    assert gap(tiny_policy, batch) < 1e-5
    with pytest.raises(ValueError, match="nothing may come next"):
        drawn(tiny_policy, allowed=lambda tokens, turn: torch.zeros(23, dtype=torch.bool))


@pytest.mark.parametrize("wrong", [{"top_k": -1}, {"top_p": 0.0}, {"min_new_tokens": 25}, {"max_new_tokens": 0}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=r"top_k|min_new_tokens"):
        SamplingSettings(**{"max_new_tokens": 24, **wrong})


def test_a_family_that_slots_do_not_fit_is_read_anew(capsys):
    """BLOOM tells positions by the mask: it is still sampled rightly, and one is told that it is slow."""
    torch.manual_seed(0)
    policy = LanguagePolicy(BloomForCausalLM(BloomConfig(vocab_size=23, hidden_size=32, n_layer=2, n_head=4)).eval())
    sampler = NativeSampler(policy, [EOS], 4, SamplingSettings(max_new_tokens=12))
    batch = sampler.sample(Language(PROMPTS), KEYS[:6])
    assert isinstance(sampler.decoder, decoding.Rereading) and "anew" in capsys.readouterr().err
    assert gap(policy, batch) < 1e-5


@pytest.mark.parametrize("turns", [1, 3])
def test_what_a_window_forgets_is_forgotten_in_slots_too(turns):
    """Also where only later turns outgrow the window, and where short rows outlive long ones."""
    torch.manual_seed(0)
    narrow = MistralConfig(**{**SIZES, **TOKENS}, sliding_window=16, initializer_range=0.2)
    policy = LanguagePolicy(MistralForCausalLM(narrow).eval())
    talk = Dialogue(PROMPTS, each_alone(lambda said: [11, 12]), turns=turns)
    batch = drawn(policy, environment=talk, max_new_tokens=7 if turns > 1 else 20, episodes_at_once=6)
    assert int(batch.lengths_B.min()) < 16 < int(batch.lengths_B.max())
    assert gap(policy, batch) < 1e-5


def test_the_recorded_step_is_the_model_to_the_bit(tiny_policy, monkeypatch):
    recorded = drawn(tiny_policy, stops=())
    monkeypatch.setattr(recorded_step, "WORTH_TRACING", 10**9)
    plain = drawn(tiny_policy, stops=())
    assert torch.equal(recorded.observations, plain.observations)
    assert torch.equal(recorded.behaviour_log_probs_BT, plain.behaviour_log_probs_BT)


def test_models_of_one_kind_share_a_recording_and_each_says_its_own(monkeypatch):
    monkeypatch.setattr(recorded_step, "RECORDINGS", {})
    for seed in range(3):
        torch.manual_seed(seed)
        policy = LanguagePolicy(AutoModelForCausalLM.from_config(FAMILIES["llama"]).eval())
        assert gap(policy, drawn(policy, min_new_tokens=20)) < 1e-5
    assert len(recorded_step.RECORDINGS) == 1
    # one that pretends to be of this kind and is not: what it was recorded as does not serve, and it is recorded anew
    monkeypatch.setattr(recorded_step, "_kind_of", lambda model, plain, advance: next(iter(recorded_step.RECORDINGS)))
    other = FAMILIES["llama"].__class__(**{**FAMILIES["llama"].to_dict(), "rms_norm_eps": 10.0})
    policy = LanguagePolicy(AutoModelForCausalLM.from_config(other).eval())
    assert gap(policy, drawn(policy, min_new_tokens=20)) < 1e-5


def test_a_step_recorded_on_one_row_serves_many(tiny_policy, monkeypatch):
    """A shape of one is a constant to the recorder: one prompt first and two afterwards broke the sampler."""
    monkeypatch.setattr(recorded_step, "RECORDINGS", {})
    for keys in (KEYS[:1], KEYS[:2], KEYS):
        assert gap(tiny_policy, drawn(tiny_policy, keys=keys, min_new_tokens=20)) < 1e-5
    assert len(recorded_step.RECORDINGS) == 1


def test_ranks_close_with_as_few_moves_as_there_are_gaps():
    assert close_ranks([True, True, True]) == [0, 1, 2]
    assert close_ranks([False, True, False, True, True]) == [4, 1, 3]
    assert close_ranks([False, False]) == []
    assert close_ranks([True, False, False]) == [0]


def test_a_stream_is_fixed_by_its_key_alone():
    first, second = (native.stream(3, Key(1, 2, 3)).random(4) for _ in range(2))
    assert (first == second).all()
    others = [native.stream(*each).random() for each in ((4, Key(1, 2, 3)), (3, Key(2, 2, 3)), (3, Key(1, 3, 2)))]
    assert len({first[0], *others}) == 4
