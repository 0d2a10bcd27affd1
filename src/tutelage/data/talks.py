"""Talks: messages -> the text that a model reads, by the tokenizer's chat template or as HH-RLHF writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from tutelage.data.errors import InputError
from tutelage.data.files import Row

if TYPE_CHECKING:  # it brings torch, which whoever only shows a talk does without
    from tutelage.data.tokens import Codec

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
SPEAKERS = {"user": HUMAN, "assistant": ASSISTANT, "system": "\n\nSystem:", "tool": "\n\nTool:"}
ROLES = {
    **{each: each for each in SPEAKERS},
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("agent", "gpt", "bot", "chatbot"), "assistant"),
    **dict.fromkeys(("api", "function"), "tool"),
}
WHO, WHAT = ("role", "from"), ("content", "text", "value")


def messages(value: Any, row: Row) -> list[Mapping[str, str]]:
    whole = isinstance(value, list) and bool(value)
    if not whole or not all(isinstance(each, dict) and {"role", "content"} <= each.keys() for each in value):
        raise InputError(f"{row.place}: expected a list of messages with role and content, got {value!r:.80}.")
    for each in value:
        if not isinstance(each["role"], str) or not isinstance(each["content"], (str, list, type(None))):
            raise InputError(f"{row.place}: expected a role and a text in each message, got {each!r:.80}.")
    return value


def rendered(codec: Codec, talk: Sequence[Mapping[str, str]], row: Row, *, ended: bool = False) -> str:
    """Messages by the tokenizer's chat template; asked for a reply unless the talk has ended."""
    tokenizer: Any = codec.tokenizer
    if not tokenizer.chat_template:
        raise InputError(
            f"{row.place} holds messages, but the model's tokenizer has no chat template. Give prompt and "
            "completion as text, or a model whose tokenizer has one."
        )
    try:
        text: str = tokenizer.apply_chat_template(list(talk), tokenize=False, add_generation_prompt=not ended)
    except (TemplateError, TypeError, LookupError, ValueError, AttributeError) as error:  # it is a program of others
        told = " ".join(str(error).split())
        raise InputError(f"{row.place}: the model's chat template refuses its messages: {told:.300}.") from error
    end = tokenizer.eos_token
    return text.rstrip().removesuffix(end) if ended else text


def reply(codec: Codec, asked: Sequence[Mapping[str, str]], whole: Sequence[Mapping[str, str]], row: Row) -> str:
    """What the whole talk adds to the text that asks for a reply."""
    before, after = rendered(codec, asked, row), rendered(codec, whole, row, ended=True)
    if before.startswith(after):
        return ""
    if not after.startswith(before):
        raise InputError(
            f"{row.place}: the model's chat template writes a talk otherwise when it asks for a reply "
            f"({before[-60:]!r}) than when it has one ({after[-60:]!r}). Give prompt and completion as text."
        )
    return after[len(before) :]


def turn(value: Any, roles: Mapping[str, str], row: Row) -> dict[str, str]:
    """A message of anybody's as {role, content}: roles of `SPEAKERS`, `said` as the content."""
    name = next((value[key] for key in WHO if key in value), None) if isinstance(value, dict) else None
    role = roles.get(name, ROLES.get(name.casefold())) if isinstance(name, str) else None
    if role is None:
        known = ", ".join([*roles, *ROLES])
        raise InputError(
            f"{row.place}: a turn is {value!r:.80}, expected an object whose role is one of {known}. Name others "
            f"under roles (roles.narrator=system)."
        )
    return {"role": role, "content": said(value)}


def said(message: Mapping[str, Any]) -> str:
    """The text of a message; one that has none (the call of an API) is the JSON of its other fields."""
    for key in WHAT:
        if isinstance(message.get(key), str):
            return message[key]
    rest = {key: value for key, value in message.items() if key not in WHO}
    return json.dumps(rest, ensure_ascii=False) if rest else ""


def asked(talk: Sequence[Mapping[str, str]]) -> str:
    r"""A talk as HH-RLHF writes it, up to where the assistant answers: "\n\nHuman: Hi\n\nAssistant:"."""
    return "".join(f"{SPEAKERS[each['role']]} {each['content'].strip()}" for each in talk) + ASSISTANT


def answered(text: str) -> str:
    """A reply behind `asked`."""
    return f" {text.strip()}"


def about_rule(rule: str) -> str:
    """How a rule stands behind a dialogue and its reply when it is asked whether they break it."""
    return f"\n\nRule: {rule.strip()}"
