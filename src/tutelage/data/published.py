"""Data sets in the columns that they were published with: WebGPT, TL;DR, UltraFeedback.

- WebGPT comparisons (Nakano et al. 2021): question {dataset, id, full_text}, answer_0, answer_1, score_0, score_1 (from
  -1 to 1, their sum is 0) and the quotes of each.
- TL;DR (Stiennon et al. 2020): info {post, title, subreddit} or {article}; in the comparisons summaries (two of {text,
  policy, note}) and choice; in the axis ratings summary {text, axes: {overall, accuracy, coverage, coherence}}, 1 to 7.
- UltraFeedback (Cui et al. 2023): instruction and completions, each with response, fine-grained_score, overall_score,
  and annotations {helpfulness, honesty, instruction_following, truthfulness} with a Rating, 1 to 5 or "N/A". Its
  binarized form has prompt, chosen and rejected (talks), which `sources` reads.

Of a comparison the reply that was preferred to each other one serves as a demonstration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

from tutelage.data import talks
from tutelage.data.errors import InputError, Unusable
from tutelage.data.files import Row
from tutelage.data.questions import Pair, Question, Scalar, chosen, plain_values

if TYPE_CHECKING:
    from tutelage.data.tokens import Codec

WEBGPT = ("question", "answer_0", "answer_1", "score_0", "score_1")
TLDR_PAIR, TLDR_AXES = ("info", "summaries", "choice"), ("info", "summary")
ULTRAFEEDBACK = ("instruction", "completions")
BINARIZED_TEXT = ("instruction", "chosen_response", "rejected_response")
SHAPES = (WEBGPT, TLDR_PAIR, TLDR_AXES, ULTRAFEEDBACK, BINARIZED_TEXT)
AXIS_SCALE, RATING_SCALE = (1.0, 7.0), (1.0, 5.0)


def question(codec: Codec, row: Row) -> Question:
    """What was said of the replies of a row; Unusable where nothing was, InputError where the row is none of these."""
    fields = row.fields
    if _is(fields, WEBGPT):
        return _webgpt(codec, row)
    if _is(fields, TLDR_PAIR):
        return _tldr_pair(row)
    if _is(fields, TLDR_AXES):
        return _tldr_axes(row)
    if _is(fields, ULTRAFEEDBACK):
        return _ultrafeedback(codec, row)
    texts = [_text(fields[name], name, row) for name in BINARIZED_TEXT[1:]]
    return _asked(codec, fields["instruction"], texts, chosen(0, 2), row, choice=0)


def prompt(codec: Codec, row: Row) -> str:
    """The prompt of a row, as `question` gives it."""
    fields = row.fields
    if _is(fields, WEBGPT):
        return _prompt(codec, _full_text(row), row)
    if "info" in fields:
        return _post(row)
    return _prompt(codec, fields["instruction"], row)


def demonstration(codec: Codec, row: Row) -> tuple[str, str]:
    """(prompt, the reply that was preferred to each other one); Unusable where there is none."""
    asked = question(codec, row)
    if asked.best is None:
        raise Unusable("without a reply that was preferred to each other one")
    return asked.prompt, asked.responses[asked.best]


def _webgpt(codec: Codec, row: Row) -> Question:
    answers = [_text(row.fields[name], name, row) for name in ("answer_0", "answer_1")]
    scores = [_number(row.fields[name], name, row) for name in ("score_0", "score_1")]
    difference = (scores[0] - scores[1]) / 2
    target = 0.5 + 0.5 * ((difference > 0) - (difference < 0))
    pair = Pair(0, 1, target, abs(difference))
    return _asked(codec, _full_text(row), answers, (pair,), row, choice={1.0: 0, 0.0: 1}.get(target))


def _full_text(row: Row) -> Any:
    asked = row.fields["question"]
    return asked.get("full_text") if isinstance(asked, Mapping) else asked


def _tldr_pair(row: Row) -> Question:
    summaries, choice = _each(row.fields["summaries"], "summaries", row), row.fields["choice"]
    if isinstance(choice, bool) or not isinstance(choice, int) or not 0 <= choice < len(summaries):
        raise InputError(
            f"{row.place}: choice is {choice!r:.60} of {len(summaries)} summaries, expected an index from 0."
        )
    texts = [_text(each.get("text"), "text of a summary", row) for each in summaries]
    _refuse_empty_or_equal(texts)
    answers = tuple(talks.answered(each) for each in texts)
    return Question(_post(row), answers, chosen(choice, len(texts)), choice, columns=_columns(row))


def _tldr_axes(row: Row) -> Question:
    summary = row.fields["summary"]
    if not isinstance(summary, Mapping):
        raise InputError(f"{row.place}: summary is {summary!r:.60}, expected an object with text and axes.")
    text = _text(summary.get("text"), "text of the summary", row)
    if not text.strip():
        raise Unusable(talks.EMPTY_REPLY)
    axes: Mapping[str, Any] = summary.get("axes") or {}
    rated = {
        name: (float(value) if isinstance(value, bool) else _scaled(value, name, AXIS_SCALE, row),)
        for name, value in axes.items()
        if value is not None
    }
    if not rated:
        raise Unusable("without a rating")
    return Question(_post(row), (talks.answered(text),), ratings=rated, columns=_columns(row))


def _post(row: Row) -> str:
    """The prompt of Stiennon et al. (2020, table 4): of a Reddit post, or of an article of CNN/DM."""
    info = row.fields["info"]
    if not isinstance(info, Mapping):
        raise InputError(f"{row.place}: info is {info!r:.60}, expected an object with post or article.")
    post, article = info.get("post"), info.get("article")
    if isinstance(post, str) and post.strip():
        head = f"SUBREDDIT: r/{info['subreddit']}\n\n" if info.get("subreddit") else ""
        title = f"TITLE: {info['title']}\n\n" if info.get("title") else ""
        return f"{head}{title}POST: {post}\n\nTL;DR:"
    if isinstance(article, str) and article.strip():
        title = f"Title: {info['title']}\n\n" if info.get("title") else ""
        return f"{title}Article: {article}\n\nTL;DR:"
    raise Unusable("with an empty prompt")


def _ultrafeedback(codec: Codec, row: Row) -> Question:
    replies = _each(row.fields["completions"], "completions", row)
    if not replies:
        raise Unusable("without replies")
    texts = [_text(each.get("response"), "response", row) for each in replies]
    if any(not text.strip() for text in texts):
        raise Unusable(talks.EMPTY_REPLY)
    axes = {name: None for each in replies for name in each.get("annotations") or {}}
    rated_by_axis = {
        name: tuple(_annotated((each.get("annotations") or {}).get(name), name, row) for each in replies)
        for name in axes
    }
    ratings = {name: rated for name, rated in rated_by_axis.items() if any(each is not None for each in rated)}
    overall = [_overall(each, [rated[i] for rated in ratings.values()], row) for i, each in enumerate(replies)]
    known = {i: score for i, score in enumerate(overall) if score is not None}
    judged = [
        Pair(i, j, 0.5 + 0.5 * ((known[i] > known[j]) - (known[i] < known[j]))) for i, j in combinations(known, 2)
    ]
    pairs = tuple(pair for pair in judged if texts[pair.first].strip() != texts[pair.second].strip())
    if not pairs and not ratings:
        raise Unusable("without a judgement")
    prompt_, responses = _written(codec, row.fields["instruction"], texts, row)
    return Question(prompt_, responses, pairs, ratings=ratings, columns=_columns(row))


def _annotated(annotation: Any, name: str, row: Row) -> float | None:
    """The rating, from 0 to 1; None for "N/A"."""
    rating = annotation.get("Rating") if isinstance(annotation, Mapping) else annotation
    if rating is None or (isinstance(rating, str) and rating.strip().casefold() in ("", "n/a", "na", "none")):
        return None
    return _scaled(rating, name, RATING_SCALE, row)


def _overall(reply: Mapping[str, Any], rated: Sequence[float | None], row: Row) -> float | None:
    """fine-grained_score, the mean of the ratings; where it is absent the mean itself, else overall_score."""
    given = [each for each in rated if each is not None]
    if reply.get("fine-grained_score") is not None:
        return _number(reply["fine-grained_score"], "fine-grained_score", row)
    if given:
        return sum(given) / len(given)
    score = reply.get("overall_score")
    return None if score is None else _number(score, "overall_score", row)


def _asked(
    codec: Codec, prompt: Any, texts: Sequence[str], pairs: tuple[Pair, ...], row: Row, *, choice: int | None
) -> Question:
    _refuse_empty_or_equal(texts)
    asked, responses = _written(codec, prompt, texts, row)
    return Question(asked, responses, pairs, choice, columns=_columns(row))


def _refuse_empty_or_equal(texts: Sequence[str]) -> None:
    stripped = [each.strip() for each in texts]
    if not all(stripped):
        raise Unusable(talks.EMPTY_REPLY)
    if len(set(stripped)) < len(stripped):
        raise Unusable("with equal replies")


def _written(codec: Codec, prompt: Any, texts: Sequence[str], row: Row) -> tuple[str, tuple[str, ...]]:
    """(prompt, responses) by the tokenizer's chat template, or as HH-RLHF writes them where it has none."""
    asked = _prompt(codec, prompt, row)
    if not codec.tokenizer.chat_template:
        return asked, tuple(talks.answered(each) for each in texts)
    talk = _turn(prompt, row)
    whole = [[*talk, {"role": "assistant", "content": each}] for each in texts]
    return asked, tuple(talks.reply(codec, talk, each, row) for each in whole)


def _prompt(codec: Codec, prompt: Any, row: Row) -> str:
    talk = _turn(prompt, row)
    return talks.rendered(codec, talk, row) if codec.tokenizer.chat_template else talks.asked(talk)


def _turn(prompt: Any, row: Row) -> list[dict[str, str]]:
    text = _text(prompt, "the question", row)
    if not text.strip():
        raise Unusable("with an empty prompt")
    return [{"role": "user", "content": text}]


def _columns(row: Row) -> dict[str, Scalar]:
    return plain_values(row.fields, {name for shape in SHAPES for name in shape})


def _each(value: Any, name: str, row: Row) -> list[Mapping[str, Any]]:
    """A list of objects, also where it is an object of equally long lists."""
    if isinstance(value, Mapping) and all(isinstance(each, list) for each in value.values()):
        columns = list(value.values())
        if len({len(each) for each in columns}) == 1:
            return [dict(zip(value, each, strict=True)) for each in zip(*columns, strict=True)]
    if isinstance(value, list) and all(isinstance(each, Mapping) for each in value):
        return value
    raise InputError(f"{row.place}: {name} is {value!r:.80}, expected a list of objects.")


def _is(fields: Mapping[str, Any], shape: Sequence[str]) -> bool:
    return all(fields.get(name) is not None for name in shape)


def _text(value: Any, name: str, row: Row) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(f"{row.place}: {name} is {value!r:.80}, expected text.")
    return value


def _scaled(value: Any, name: str, scale: tuple[float, float], row: Row) -> float:
    number, (lowest, highest) = _number(value, name, row), scale
    if not lowest <= number <= highest:
        raise InputError(f"{row.place}: {name} is {value!r:.60}, expected {lowest:g} to {highest:g}.")
    return (number - lowest) / (highest - lowest)


def _number(value: Any, name: str, row: Row) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{row.place}: {name} is {value!r:.60}, expected a number.")
    return number
