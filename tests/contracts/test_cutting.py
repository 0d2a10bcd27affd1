"""What is cut to fit is cut between letters, in time that is linear in what is cut, and never into two equal sides."""

from __future__ import annotations

import json

import pytest
import regex
from tests.conftest import letters_tokenizer
from tests.tiny_tokenizers import byte_level, unigram
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tutelage.data import preferences, sources
from tutelage.data.letters import can_cut, last_cut, next_cut
from tutelage.data.tokens import Codec
from tutelage.data.truncate import fit, told_apart
from tutelage.recipes.sentiment import openings

LETTERS = {
    "Chinese": "顾客的水壶坏了，订单号是甲一乙。请尽快退款，谢谢您的帮助。",
    "accents": "a\u0301e\u0308o\u0302\u0323 nai\u0308ve cafe\u0301 ",
    "families": "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 ok \U0001f44d\U0001f3fd ",
    "flags": "\U0001f1ee\U0001f1f9\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
    "Hangul": "안녕하세요 \u1112\u1161\u11ab\u1100\u1173\u11af ",
    "Devanagari": "नमस्ते दुनिया ",
    "mixed": "order 水壶 cafe\u0301 \U0001f469\u200d\U0001f467 </s> é\r\n",
    "lost already": "a\ufffdb 水\ufffd ",
}


def byte_fallback():
    """As Llama's: a letter outside the vocabulary is a token for each of its bytes."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\u2581", *"abcdeo"]
    built = Tokenizer(models.BPE({each: i for i, each in enumerate(pieces)}, [], byte_fallback=True, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    built.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=built, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS = {"byte-level": byte_level, "byte fallback": byte_fallback}


@pytest.fixture(params=TOKENIZERS, scope="module")
def codec(request):
    return Codec(TOKENIZERS[request.param]())


def ends(text):
    return {found.end() for found in regex.finditer(r"\X", text)} | {0}


@pytest.mark.parametrize("name", LETTERS)
def test_a_cut_is_where_a_letter_ends(codec, name):
    """Against the text itself: tokens[:place] can be cut off where it is the beginning of the text, up to a letter."""
    text = LETTERS[name] * 6
    tokens = codec.prompt(text)
    for place in range(1, len(tokens), 3):
        left = codec.tokenizer.decode(tokens[:place])
        whole = text.startswith(left) and len(left) in ends(text)
        found = can_cut(codec.tokenizer, tokens, place)
        assert found == whole or (name == "lost already" and not found), (place, left[-8:])
    for place in (1, 17, 32, 33, 34):
        for cut in (last_cut(codec.tokenizer, tokens, place), next_cut(codec.tokenizer, tokens, place)):
            assert len(codec.tokenizer.decode(tokens[:cut])) in ends(text)


@pytest.mark.parametrize("name", LETTERS)
def test_plain_text_loses_no_letter(codec, name, tmp_path):
    """Before: the opening ended in U+FFFD, and the letter was lost from what followed."""
    text = (LETTERS[name] * 12).strip().replace("\r\n", " ")
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}), encoding="utf-8")
    for file in ("a.txt", "a.jsonl"):
        [(opening, rest)], _ = sources.demonstrations(str(tmp_path / file), codec)
        assert opening + rest == text and len(opening) in ends(text) and opening and rest
        assert sources.prompts(str(tmp_path / file), codec)[0] == [opening]
        assert abs(len(codec.prompt(opening)) - 32) <= 30
    cut = openings(tmp_path / "a.txt", codec, 32)
    assert [codec.text(each) for each in cut] == [opening]


@pytest.mark.parametrize("name", LETTERS)
def test_what_is_too_long_loses_its_front_up_to_a_letter(codec, name):
    text = LETTERS[name] * 8
    for limit in (20, 40, 41, 42, 43):
        for prompt, response in ((text, "ab"), ("ab", text), (text, text)):
            before, after, cut = fit(codec, prompt, response, limit)
            assert cut and before and after and len(before) + len(after) <= limit
            kept = codec.text([*before, *after])
            assert kept and (prompt + response).endswith(kept)
            assert len(prompt + response) - len(kept) in ends(prompt + response)
            assert (prompt + response).endswith(codec.text(after))


class Counting:
    """A tokenizer that counts its calls and the letters that it reads."""

    def __init__(self, tokenizer):
        self.tokenizer, self.calls, self.letters = tokenizer, 0, 0

    def __call__(self, text, **options):
        self.calls, self.letters = self.calls + 1, self.letters + len(text)
        return self.tokenizer(text, **options)

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def spent(turns, limit, tokenizer, talk):
    counting = Counting(tokenizer)
    before, after, cut = fit(Codec(counting), talk(turns), " thank you", limit)
    assert cut and len(before) + len(after) <= limit
    return counting.calls, counting.letters


@pytest.mark.parametrize("make", [byte_level, unigram])
@pytest.mark.parametrize("limit", [40, 128, 512])
def test_a_long_talk_is_fit_in_linear_time(make, limit):
    """Counted in letters that the tokenizer reads. Before: 400 turns cost 16 times what 100 did."""
    tokenizer = make()

    def talk(turns):
        return (
            "".join(f"\n\nHuman: where is {i}\n\nAssistant: the order </s> {i}" for i in range(turns))
            + "\n\nAssistant:"
        )

    sizes = (100, 200, 400, 800)
    calls, letters = zip(*(spent(turns, limit, tokenizer, talk) for turns in sizes), strict=True)
    per_letter = [each / len(talk(turns)) for each, turns in zip(letters, sizes, strict=True)]
    assert max(per_letter) <= 1.1 * min(per_letter[0], 30), per_letter
    assert calls[-1] <= calls[0] + 12


def test_one_long_turn_and_many_empty_ones_are_linear_too():
    tokenizer = byte_level()
    for talk in (
        lambda n: "\n\nHuman: a\n\nAssistant: b\n\nHuman:" + " order" * n,
        lambda n: "\n\nHuman:" * n,
        lambda n: "\n\nHuman:" + " order" * n + "\n\nHuman: a" * 20,
    ):
        few, many = (spent(n, 64, tokenizer, talk)[1] / len(talk(n)) for n in (500, 4000))
        assert many <= 1.5 * few


def test_as_many_of_the_newest_turns_stay_as_fit():
    codec = Codec(letters_tokenizer(pad_token="<eos>"))
    turns = [f"\n\nHuman: {'abcdefgh'[i % 8] * (1 + i % 5)}\n\nAssistant: {'k' * (1 + i % 3)}" for i in range(40)]
    for count in (1, 2, 3, 5, 8, 13, 21, 39):
        wanted = codec.pair("".join(turns[-count:]), " ab")
        room = sum(map(len, wanted))
        more = sum(map(len, codec.pair("".join(turns[-count - 1 :]), " ab")))
        for limit in (room, more - 1):
            assert fit(codec, "".join(turns), " ab", limit) == (*wanted, True), (count, limit)


def pairs(folder, rows):
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "pairs.jsonl")


def test_replies_that_differ_only_where_they_are_cut_are_dropped_and_counted(tmp_path):
    """Before: such a pair was learned from as two equal ones (loss 0.6931)."""
    codec, shared = Codec(byte_level()), " where is my order the kettle arrived broken" * 6
    rows = [
        {"prompt": "is it?", "chosen": f" Yes.{shared}", "rejected": f" No.{shared}"},
        {"prompt": "is it?", "chosen": f" Yes.{shared}", "rejected": f" Yes.{shared} no"},
        {"prompt": "is it?", "chosen": " Yes.", "rejected": " No."},
        {"prompt": "is it?", "responses": [f" a{shared}", " b", f" c{shared}"], "choice": 1},
    ]
    found, report = preferences.comparisons(pairs(tmp_path, rows), codec, limit=32)
    assert report.dropped == {"whose replies differ only where they are cut to 32 tokens": 2}
    assert report.first_place["whose replies differ only where they are cut to 32 tokens"].endswith("line 1")
    assert [each.responses[1] for each in found] == [f" Yes.{shared} no", " No."]
    assert len(preferences.comparisons(pairs(tmp_path, rows), codec)[0]) == len(rows)
    for question in found:
        assert fit(codec, question.prompt, question.responses[0], 32) != fit(
            codec, question.prompt, question.responses[1], 32
        )
    everything = preferences.comparisons(pairs(tmp_path, rows), codec)[0]
    assert told_apart(codec, everything, 32) == found and told_apart(codec, everything, None) == everything
