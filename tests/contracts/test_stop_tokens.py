"""Every token that a model's generation config calls an end of sequence ends a reply, wherever it is sampled."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import letters_tokenizer, llama_config
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from tutelage.algorithms.ppo import PPOConfig
from tutelage.commands.chat import Chat, Talk
from tutelage.data.tokens import Codec
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.lora import with_lora
from tutelage.policies.language import LanguagePolicy, stop_tokens
from tutelage.runs.run import Run
from tutelage.studio.play.models import Bench, Drawing
from tutelage.studio.voices import voices
from tutelage.training.engine import Engine
from tutelage.training.speaker import Speaker
from tutelage.training.stepwise import StepwisePPO

EOS, TURN_END = 1, 5


def model_that_ends_turns(ends=(EOS, TURN_END)):
    """A chat model: it nearly always says the token that ends a turn, which is not the tokenizer's end of sequence."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(llama_config()).eval()
    model.generation_config.eos_token_id = list(ends) if isinstance(ends, tuple) else ends
    with torch.no_grad():
        model.lm_head.weight[TURN_END] = 0.0
        model.lm_head.weight.mul_(0.05)
        model.model.norm.weight.fill_(1.0)
    return model


@pytest.fixture
def folder(tmp_path):
    model_that_ends_turns().save_pretrained(tmp_path / "chatty")
    letters_tokenizer().save_pretrained(tmp_path / "chatty")
    return tmp_path / "chatty"


def speaker(model, **options):
    return Speaker(LanguagePolicy(model), Codec(letters_tokenizer()), SamplingSettings(60), **options)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((EOS, TURN_END), (EOS, TURN_END)),
        ((TURN_END, 9), (EOS, TURN_END, 9)),
        (TURN_END, (EOS, TURN_END)),
        ((TURN_END, 50256), (EOS, TURN_END)),  # an id that the model cannot say
        (None, (EOS,)),
    ],
)
def test_the_tokenizers_end_and_those_of_the_generation_config_end_a_reply(ends, expected):
    model, codec = model_that_ends_turns(ends), Codec(letters_tokenizer())
    assert stop_tokens(model, codec) == expected
    assert stop_tokens(with_lora(model, 2), codec) == expected


def test_replies_of_a_policy_end_there_and_fixed_lengths_do_not():
    model = model_that_ends_turns()
    batch, _ = speaker(model).replies(["abc", "de"], seed=0, samples=8)
    last = batch.actions.gather(1, batch.last_action_B[:, None])[:, 0]
    assert TURN_END in last.tolist() and set(last[batch.terminated_B].tolist()) <= {EOS, TURN_END}
    inner = batch.mask_BT.clone().scatter_(1, batch.last_action_B[:, None], False)
    assert not set(batch.actions[inner].tolist()) & {EOS, TURN_END}
    assert speaker(model, fixed_length=True).stop_tokens == ()


def test_whoever_samples_is_given_all_of_them():
    """vLLM's sampler too."""
    given = []

    def noted(policy, stops, seed, settings):
        given.append(stops)
        return NativeSampler(policy, stops, seed, settings)

    whole = speaker(model_that_ends_turns(), engine=Engine(make_text_sampler=noted))
    whole.sampler(0)
    assert given == [(EOS, TURN_END)]


def test_a_chat_ends_there(folder):
    talks = [Talk.of(Chat(str(folder), max_new_tokens=60, temperature=1.0, seed=seed)) for seed in range(4)]
    answers = [talk.answer("abc", lambda text: None) for talk in talks]
    assert all({EOS, TURN_END} <= talk.sampler.stop_tokens for talk in talks)
    end = Codec(letters_tokenizer()).text([TURN_END])  # it is not shown
    assert all(end not in answer for answer in answers) and any(len(answer) < 60 for answer in answers)


def test_voices_and_the_studio_end_there(folder):
    end = Codec(letters_tokenizer()).text([TURN_END])
    (voice,) = voices([str(folder)], 30, 1.0, "cpu")
    said = [voice.reply([{"role": "user", "content": "abc"}], number) for number in range(4)]
    drawing = Drawing(template="{message}", max_new_tokens=30, temperature=1.0, top_p=1.0, seed=0)
    said += Bench("cpu").replies(folder, [{"role": "user", "content": "abc"}], drawing, 4)[1]
    assert all(end not in answer[:-1] for answer in said) and any(answer.endswith(end) for answer in said)


def test_a_saved_policy_keeps_them(tmp_path):
    one = speaker(model_that_ends_turns())
    one.save(Run(tmp_path / "run"))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    assert stop_tokens(again, one.codec) == (EOS, TURN_END)


@pytest.mark.parametrize(("last", "ended"), [(EOS, True), (TURN_END, True), (7, False)])
def test_a_reply_handed_to_stepwise_ppo_ended_if_it_ends_in_one(last, ended):
    trainer = StepwisePPO(PPOConfig(trajectories=1, minibatches=1), model_that_ends_turns(), letters_tokenizer())
    assert (trainer._trajectory(0, ([0, 3], [4, last])).finish.name == "TERMINATED") == ended
