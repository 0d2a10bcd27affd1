"""Comparisons of talks as HH-RLHF writes them, written by a chat model's own template instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from jinja2 import TemplateError

from tutelage.data import talks
from tutelage.data.errors import InputError, Unusable
from tutelage.data.questions import Question
from tutelage.data.tokens import Codec


def render_talks(codec: Codec, questions: Iterable[Question], prompt_tokens: int) -> tuple[list[Question], int]:
    """(the questions with prompts and replies by the tokenizer's chat template, how many were left out).

    The oldest turns go first, until a prompt has at most so many tokens and the user's turn in front. Left out is a
    talk whose last turn alone is longer, or that is not written as HH-RLHF writes talks.

    raises InputError: where the tokenizer has no chat template, or the template refuses every talk
    """
    if not codec.tokenizer.chat_template:
        raise InputError(
            "the model's tokenizer has no chat template, so it is no chat model. Give one that has been "
            "fine-tuned on talks, or write the template into the tokenizer (tokenizer.chat_template)."
        )
    found, left_out, refusal = list[Question](), 0, ""
    for each in questions:
        try:
            found.append(_render(codec, each, prompt_tokens))
        except Unusable:
            left_out += 1
        except TemplateError as error:  # such as one that refuses two turns of one role in a row
            left_out, refusal = left_out + 1, " ".join(str(error).split())
    if refusal and not found:
        raise InputError(f"the model's chat template refuses every talk: {refusal:.300}.")
    return found, left_out


def _render(codec: Codec, question: Question, prompt_tokens: int) -> Question:
    talk = talks.to_answer(talks.parse(question.prompt))
    while True:
        prompt = codec.rendered(talk)
        if len(codec.prompt(prompt)) <= prompt_tokens:
            break
        later = next((place for place, each in enumerate(talk) if place and each["role"] == "user"), None)
        if later is None:
            raise Unusable(f"whose last turn is longer than {prompt_tokens} tokens")
        talk = talk[later:]
    return replace(
        question,
        prompt=prompt,
        responses=tuple(_render_reply(codec, talk, prompt, each) for each in question.responses),
    )


def _render_reply(codec: Codec, talk: Sequence[Any], prompt: str, reply: str) -> str:
    whole = codec.rendered([*talk, {"role": "assistant", "content": reply.strip()}], ended=True)
    if not whole.startswith(prompt):
        raise Unusable("which the chat template writes otherwise when it is answered")
    return whole[len(prompt) :]
