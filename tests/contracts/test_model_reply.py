"""Another language model is the other side: one sampling call for all that wait, decided by what was said."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import llama_config
from transformers import LlamaForCausalLM

from tutelage.data.errors import InputError
from tutelage.environments.dialogue import Dialogue
from tutelage.execution.model_reply import ModelReply
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.trajectory import Key

STOP = 1
PROMPTS = [[0, 5, 6, 7], [0, 8, 9], [0, 11, 12, 13]]
KEYS = [Key(0, prompt, sample) for prompt in range(3) for sample in range(4)]


def other_model(**options):
    torch.manual_seed(9)
    model = LlamaForCausalLM(llama_config()).eval()
    return ModelReply(model, [STOP], 2, SamplingSettings(max_new_tokens=5), **options)


def sampler_of(policy):
    return NativeSampler(policy, [STOP], 3, SamplingSettings(max_new_tokens=6))


def test_one_sampling_call_answers_all_that_wait(tiny_policy, monkeypatch):
    other, calls = other_model(), []
    sample = other.sampler.sample
    monkeypatch.setattr(other.sampler, "sample", lambda texts, keys: calls.append(len(keys)) or sample(texts, keys))
    batch = sampler_of(tiny_policy).sample(Dialogue(PROMPTS, other, turns=4), KEYS)
    assert len(calls) == 3 and all(1 < each <= len(KEYS) for each in calls)
    for row, key in enumerate(KEYS):
        steps = int(batch.lengths_B[row])
        tokens, mask = batch.actions[row, :steps].tolist(), batch.mask_BT[row, :steps].tolist()
        answers = "".join(".T"[each] for each in mask[len(PROMPTS[key.prompt]) - 1 :]).split("T")
        assert len([each for each in answers if each]) == 3 and max(map(len, answers)) <= 5
        assert not batch.behaviour_log_probs_BT[row][~batch.mask_BT[row]].any() and len(tokens) == steps


def test_what_was_said_decides_the_answer_whoever_else_waits():
    other = other_model()
    dialogues = [[prompt, [4 + turn, STOP]] for prompt in PROMPTS for turn in range(3)]
    together = other(dialogues)
    assert together == other_model()(dialogues)
    assert [other([each])[0] for each in dialogues] == together
    assert other(dialogues[::-1]) == together[::-1]
    assert other([dialogues[0]] * 3) == [together[0]] * 3
    assert len(set(map(tuple, together))) > 1
    other.sampler.seed = 5
    assert other(dialogues) != together


def test_the_same_keys_are_the_same_episodes(tiny_policy):
    environment = Dialogue(PROMPTS, other_model(), turns=3)
    first, again = (sampler_of(tiny_policy).sample(environment, KEYS) for _ in range(2))
    assert torch.equal(first.observations, again.observations)
    alone = sampler_of(tiny_policy).sample(environment, KEYS[5:6])
    assert torch.equal(alone.row(0).observations, first.row(5).observations)


def test_what_it_reads_and_what_is_heard_may_be_other_tokens():
    read = []

    def last_words(utterances):
        read.append(utterances)
        return [0, *utterances[-1]]

    other = other_model(read=last_words, write=lambda tokens: [20, *tokens[:1], 21])
    answers = other([[[0, 5], [6, STOP]], [[0, 7], [6, STOP]]])
    assert read == [[[0, 5], [6, STOP]], [[0, 7], [6, STOP]]]
    assert answers[0] == answers[1] and answers[0][0] == 20 and answers[0][-1] == 21 and len(answers[0]) == 3


def test_an_answer_of_nothing_and_a_dialogue_that_is_too_long_are_clear_errors():
    with pytest.raises(InputError, match="`write` left nothing of the other model's answer to 4 tokens"):
        other_model(write=lambda tokens: [])([[[0, 5], [6, STOP]]])
    with pytest.raises(InputError, match="holds the token 99"):
        other_model()([[[0, 5], [99]]])
