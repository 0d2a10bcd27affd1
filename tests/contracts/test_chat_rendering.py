"""Talks as HH-RLHF writes them, written by a chat model's template."""

from __future__ import annotations

import json

import pytest
from tests.tiny_families import byte_tokenizer
from tests.tiny_tokenizers import byte_level

from tutelage.data.chat_rendering import render_talks
from tutelage.data.errors import InputError, Unusable
from tutelage.data.preference_pairs import HELD_OUT, read_preference_pairs
from tutelage.data.questions import Pair, Question
from tutelage.data.talks import parse
from tutelage.data.tokens import Codec

TALK = "\n\nHuman: where is my order\n\nAssistant: it arrived\n\nHuman: broken </s>\n\nAssistant:"


@pytest.fixture(scope="module")
def codec():
    return Codec(byte_level())


def asked(prompt=TALK, responses=(" a refund", " no")):
    return Question(prompt, responses, (Pair(0, 1, 1.0),), 0)


def test_turns_are_messages():
    said = [("user", "where is my order"), ("assistant", "it arrived"), ("user", "broken </s>")]
    assert [(each["role"], each["content"]) for each in parse(TALK)] == said
    with pytest.raises(Unusable, match='does not begin with "Human:"'):
        parse("Hello.\n\nHuman: hi")


def test_a_talk_is_written_by_the_template_and_its_letters_stay_text(codec):
    [found], left_out = render_talks(codec, [asked()], 200)
    assert left_out == 0
    assert found.prompt == (
        "<|im_start|>user where is my order<|im_end|> <|im_start|>assistant it arrived<|im_end|> "
        "<|im_start|>user broken </s><|im_end|> <|im_start|>assistant "
    )
    control = codec.tokenizer.convert_tokens_to_ids("<|im_start|>")
    tokens = codec.prompt(found.prompt)
    assert tokens.count(control) == 4 and codec.tokenizer.eos_token_id not in tokens
    assert found.responses[0].startswith("a refund") and found.pairs == (Pair(0, 1, 1.0),)


def test_the_oldest_turns_go_first_and_what_is_too_long_even_so_is_left_out(codec):
    whole, short = (render_talks(codec, [asked()], limit) for limit in (200, 40))
    assert short[0][0].prompt == "<|im_start|>user broken </s><|im_end|> <|im_start|>assistant "
    assert len(codec.prompt(short[0][0].prompt)) <= 40 < len(codec.prompt(whole[0][0].prompt))
    assert render_talks(codec, [asked(), asked("Q: no talk")], 3) == ([], 2)


def test_a_tokenizer_without_a_template_is_refused():
    with pytest.raises(InputError, match="no chat model"):
        render_talks(Codec(byte_tokenizer()), [asked()], 200)


def test_a_template_that_refuses_every_talk_says_so(codec):
    tokenizer = byte_level()
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(InputError, match="refuses every talk: roles must alternate"):
        render_talks(Codec(tokenizer), [asked()], 200)


def test_the_preferred_reply_stands_first_whatever_the_file(codec, tmp_path):
    row = {"prompt": TALK, "responses": [" no", " a refund"], "choice": 1}
    three = {"prompt": TALK, "responses": ["a", "b", "c"], "choice": 1}
    (tmp_path / "first.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [row] * 50 + [three]))
    (tmp_path / "also.jsonl").write_text(json.dumps({"chosen": TALK + " yes", "rejected": TALK + " no"}) + "\n")
    found = read_preference_pairs(codec, [str(tmp_path / each) for each in ("first.jsonl", "also.jsonl")], 200)
    assert len(found) == 51 and found.measured_P.sum() == 50 and found.left_out == 1
    assert all(each.responses[0].startswith(("a refund", "yes")) for each in found.questions)
    assert found.log_length_ratio_P.min() > 0 and set(found.prompts_P) == {0}
    with pytest.raises(InputError, match="at least 50 are needed"):
        read_preference_pairs(codec, [str(tmp_path / "also.jsonl")], 200)


def test_the_sides_share_no_prompt_and_what_is_held_out_teaches_neither(codec, tmp_path):
    """Twelve of thirty prompts are able to be held out, with two comparisons each."""
    talks = [f"\n\nHuman: order {number // 2}\n\nAssistant:" for number in range(60)]
    rows = [{"prompt": talk, "responses": ["a", "b"], "choice": 0} for talk in talks]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    pairs = read_preference_pairs(codec, [str(tmp_path / "rows.jsonl")], 200)
    able_P = pairs.prompts_P < 12
    side_P = pairs.sides(able_P, 6, seed=0)
    of_side = [set(pairs.prompts_P[side_P == side]) for side in (0, 1, HELD_OUT)]
    assert not of_side[0] & of_side[1] and not of_side[HELD_OUT] & (of_side[0] | of_side[1])
    assert len(of_side[HELD_OUT]) == 6 and able_P[side_P == HELD_OUT].all() and min(map(len, of_side)) >= 6
    with pytest.raises(InputError, match="at most half of them"):
        pairs.sides(able_P, 7, seed=0)
