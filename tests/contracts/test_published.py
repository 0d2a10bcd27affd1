"""Rows in the columns of WebGPT, TL;DR and UltraFeedback: each becomes a row, or is counted with its reason."""

from __future__ import annotations

import json

import pytest
from tests.conftest import letters_tokenizer
from tests.tiny_tokenizers import byte_level

from tutelage.data import preferences, sources
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec


def webgpt(first, second, score):
    answers = {"answer_0": first, "answer_1": second, "score_0": score, "score_1": -score}
    quotes = {f"quotes_{i}": {"title": ["t"], "extract": ["e"]} for i in (0, 1)}
    tokens = {f"tokens_{i}": {"prefix": [1, 2], "completion": [3]} for i in (0, 1)}
    return {"question": {"dataset": "eli5", "id": "q", "full_text": "why?"}, **answers, **quotes, **tokens}


INFO = {"id": "t3", "post": "I was late.", "title": "Late", "subreddit": "tifu", "site": None, "article": None}
ARTICLE = {"id": "a", "post": None, "title": None, "subreddit": None, "site": "cnn", "article": "It rained."}
POST = "SUBREDDIT: r/tifu\n\nTITLE: Late\n\nPOST: I was late.\n\nTL;DR:"


def tldr(first, second, choice, info=INFO):
    summaries = [{"text": each, "policy": "ref", "note": None} for each in (first, second)]
    about = {"worker": "w", "batch": "b", "split": "train", "extra": {"confidence": 7}}
    return {"info": info, "summaries": summaries, "choice": choice, **about}


def axes(text, **given):
    named = dict.fromkeys(("overall", "accuracy", "coverage", "coherence", "compatible")) | given
    return {"info": INFO, "summary": {"text": text, "policy": "sup", "note": "n", "axes": named}, "worker": "w"}


def ultra(*replies):
    names = ("helpfulness", "honesty", "instruction_following", "truthfulness")
    completions = [
        {
            "response": text,
            "model": "m",
            "annotations": {name: {"Rating": rating, "Rationale": "r"} for name, rating in zip(names, ratings)},
            "fine-grained_score": score,
            "overall_score": 7.5,
            "critique": "c",
            "principle": "helpfulness",
            "custom_system_prompt": "s",
        }
        for text, ratings, score in replies
    ]
    return {
        "source": "s",
        "instruction": "why?",
        "models": ["m"],
        "completions": completions,
        "correct_answers": ["None"],
    }


TALKS = [[{"role": "user", "content": "why?"}, {"role": "assistant", "content": each}] for each in ("so", "thus")]
BINARIZED = {
    "prompt": "why?",
    "prompt_id": "p",
    "chosen": TALKS[0],
    "rejected": TALKS[1],
    "messages": TALKS[0],
    "score_chosen": 8.0,
    "score_rejected": 3.5,
}
ARGILLA = {
    "source": "s",
    "instruction": "why?",
    "chosen_response": "so",
    "rejected_response": "thus",
    "chosen_avg_rating": 4.5,
}
GOOD = (("5", "4", "N/A", "5"), 4.7)
BAD = (("1", "2", "1", "2"), 1.5)


@pytest.fixture(params=["template", "none"])
def codec(request):
    return Codec(byte_level() if request.param == "template" else letters_tokenizer(pad_token="<eos>"))


def put(folder, *rows):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "rows.jsonl")


def read(codec, path):
    """What each verb's reader makes of it: everything is a row, or counted."""
    found = {}
    for reader in (preferences.comparisons, sources.demonstrations, sources.prompts):
        rows, report = reader(path, codec)
        assert len(rows) + sum(report.dropped.values()) == report.rows_read
        found[reader.__name__] = rows, dict(report.dropped)
    return found


def test_webgpt(tmp_path, codec):
    rows = [webgpt("so", "thus", 0.5), webgpt("so", "thus", -1.0), webgpt("so", "thus", 0.0), webgpt("so", "", 1.0)]
    found = read(codec, put(tmp_path, *rows))
    asked, why = found["comparisons"]
    assert [each.pairs[0][2:] for each in asked] == [(1.0, 0.5), (0.0, 1.0), (0.5, 0.0)]
    assert why == {"with an empty reply": 1}
    assert [each.choice for each in asked] == [0, 1, None]
    prompt = (
        codec.rendered([{"role": "user", "content": "why?"}])
        if codec.tokenizer.chat_template
        else "\n\nHuman: why?\n\nAssistant:"
    )
    taught, why = found["demonstrations"]
    assert [(p, r.strip().removesuffix("<|im_end|>")) for p, r in taught] == [(prompt, "so"), (prompt, "thus")]
    assert why == {"without a reply that was preferred to each other one": 1, "with an empty reply": 1}
    assert found["prompts"] == ([prompt] * 4, {})


def test_tldr(tmp_path, codec):
    rows = [tldr(" so.", " thus", 1), tldr("a", "b", 0, ARTICLE), tldr("same", " same", 0), tldr("", "b", 1)]
    rows += [axes(" ok", overall=7, accuracy=4, compatible=False), axes("ok"), axes(" ", overall=1)]
    found = read(codec, put(tmp_path, *rows))
    asked, why = found["comparisons"]
    assert asked[0].prompt == POST and asked[0].responses == (" so.", " thus") and asked[0].best == 1
    assert asked[1].prompt == "Article: It rained.\n\nTL;DR:"
    assert asked[2].ratings == {"overall": (1.0,), "accuracy": (0.5,), "compatible": (0.0,)}
    assert why == {"with equal replies": 1, "with an empty reply": 2, "without a rating": 1}
    taught, why = found["demonstrations"]
    assert taught == [(POST, " thus"), ("Article: It rained.\n\nTL;DR:", " a")]
    assert sum(why.values()) == 5
    assert found["prompts"][0] == [POST, "Article: It rained.\n\nTL;DR:", *[POST] * 5]
    listed = {**rows[0], "summaries": {"text": [" so.", " thus"], "policy": ["a", "b"], "note": [None, None]}}
    assert preferences.comparisons(put(tmp_path, listed), codec)[0][0].responses == (" so.", " thus")


def test_ultrafeedback(tmp_path, codec):
    rows = [
        ultra(("so", *GOOD), ("thus", *BAD), ("why", *GOOD)),
        ultra(("so", ("N/A",) * 4, None)),
        ultra(),
        ultra(("", *GOOD)),
    ]
    found = read(codec, put(tmp_path, *rows, ultra(("a", *GOOD), ("b", *BAD))))
    asked, why = found["comparisons"]
    assert [pair[:3] for pair in asked[0].pairs] == [(0, 1, 1.0), (0, 2, 0.5), (1, 2, 0.0)]
    assert asked[0].ratings["helpfulness"] == (1.0, 0.0, 1.0)
    assert asked[0].ratings["instruction_following"] == (None, 0.0, None)
    assert why == {"without a judgement": 1, "without replies": 1, "with an empty reply": 1}
    assert len(found["prompts"][0]) == 5
    taught, why = found["demonstrations"]
    assert len(taught) == 1 and "a" in taught[0][1]
    assert why["without a reply that was preferred to each other one"] == 1


def test_ultrafeedback_binarized(tmp_path):
    codec = Codec(byte_level())
    prompt = codec.rendered(TALKS[0][:1])
    empty = {**BINARIZED, "rejected": [TALKS[0][0], {"role": "assistant", "content": ""}]}
    found = read(codec, put(tmp_path, BINARIZED, empty, ARGILLA))
    asked, why = found["comparisons"]
    assert [(each.prompt, each.best) for each in asked] == [(prompt, 0), (prompt, 0)]
    assert asked[0].responses == ("so<|im_end|>", "thus<|im_end|>") and why == {"with an empty reply": 1}
    assert asked[0].columns["score_chosen"] == 8.0
    assert found["demonstrations"][0] == [(prompt, "so<|im_end|>")] * 3
    assert found["prompts"] == ([prompt] * 3, {})


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**webgpt("a", "b", 1.0), "score_0": "much"}, "score_0 is 'much', expected a number"),
        (tldr("a", "b", 2), "choice is 2 of 2 summaries"),
        (axes("a", overall=9), "overall is 9, expected 1 to 7"),
        (ultra(("a", ("6", "1", "1", "1"), 3.0)), "helpfulness is '6', expected 1 to 5"),
        ({**tldr("a", "b", 1), "info": "text"}, "info is 'text', expected an object"),
        ({"question": "why?", "answer_0": "a"}, "its columns are question, answer_0; expected"),
    ],
)
def test_what_is_not_as_published_is_refused_by_its_line(tmp_path, row, says):
    with pytest.raises(InputError, match="line 1") as refused:
        preferences.comparisons(put(tmp_path, row), Codec(byte_level()))
    assert says in str(refused.value)
