"""Talks: messages -> the text that a model reads, by the tokenizer's chat template or as HH-RLHF writes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from tutelage.data.errors import InputError, Unusable
from tutelage.data.files import Row

if TYPE_CHECKING:  # it brings torch, which whoever only shows a talk does without
    from tutelage.data.control_tokens import TemplateText
    from tutelage.data.tokens import Codec

HUMAN, ASSISTANT = "\n\nHuman:", "\n\nAssistant:"
SPEAKERS = {"user": HUMAN, "assistant": ASSISTANT, "system": "\n\nSystem:", "tool": "\n\nTool:"}
SPOKEN = re.compile(r"\n\n(Human|Assistant|System|Tool):")
ROLES = {
    **{each: each for each in SPEAKERS},
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("agent", "gpt", "bot", "chatbot", "model"), "assistant"),
    **dict.fromkeys(("api", "function"), "tool"),
}
CALLS = ("tool_calls", "function_call")
TEXT_PARTS = ("text", "input_text", "output_text")
EMPTY_REPLY = "with an empty reply"
OTHER_SPEAKER = "whose reply is not the assistant's turn"
WHO, WHAT = ("role", "from"), ("content", "text", "value")


def messages(value: Any, row: Row) -> list[dict[str, Any]]:
    """The messages with their contents as text; other fields stay as they are, nulls are left out.

    InputError where it is no list of messages; Unusable for one with a part that is no text, or with a tool call.
    """
    whole = isinstance(value, list) and bool(value)
    if not whole or not all(isinstance(each, dict) and {"role", "content"} <= each.keys() for each in value):
        raise InputError(f"{row.place}: expected a list of messages with role and content, got {value!r:.80}.")
    for each in value:
        if not isinstance(each["role"], str) or not isinstance(each["content"], (str, list, type(None))):
            raise InputError(f"{row.place}: expected a role and a text in each message, got {each!r:.80}.")
    return [_message(each) for each in value]


def _message(value: Mapping[str, Any]) -> dict[str, Any]:
    role = value["role"]
    for name in CALLS:
        if value.get(name):
            raise Unusable(f"with a tool call ({name})")
    if role not in SPEAKERS:
        role = ROLES.get(role.strip().casefold(), role)
    others = {name: each for name, each in value.items() if each is not None and name not in (*CALLS, "content")}
    return {**others, "role": role, "content": content_text(value["content"])}


def content_text(content: Any) -> str:
    """The text of a message's content: of a list of parts those of its texts, joined; Unusable for another part."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") in TEXT_PARTS else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise Unusable(f"with a part that is no text ({kind!s:.40})")
        texts.append(text)
    return "".join(texts)


def split_reply(talk: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    """(what is answered, the assistant's reply at its end). Unusable where it does not end in one that says something,
    after a turn of somebody else's."""
    *before, last = talk
    if last["role"] != "assistant":
        raise Unusable("whose last turn is not the assistant's")
    if not last["content"].strip():
        raise Unusable(EMPTY_REPLY)
    if not before:
        raise Unusable("without a turn that is answered")
    return before, last


def split_sides(prompt: Any, completion: Any, row: Row) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """(what is answered, the assistant's turns that answer it) of two columns, at least one of them messages.

    A text beside messages is one turn. A reply may repeat the talk that it answers. Unusable where what is left of it
    is not the assistant's, or says nothing.
    """
    asked = messages(prompt, row) if isinstance(prompt, list) else _one_turn("user", prompt, row)
    said = messages(completion, row) if isinstance(completion, list) else _one_turn("assistant", completion, row)
    if not isinstance(prompt, list) and asked[0] in said:  # the first question of a talk
        asked, said = said[:-1], said[-1:]
    elif said[: len(asked)] == asked:
        said = said[len(asked) :]
    if not said or any(each["role"] != "assistant" for each in said):
        raise Unusable(OTHER_SPEAKER)
    if not any(each["content"].strip() for each in said):
        raise Unusable(EMPTY_REPLY)
    return [*asked], [*said]


def _one_turn(role: str, text: Any, row: Row) -> list[dict[str, Any]]:
    if not isinstance(text, str):
        raise InputError(f"{row.place}: expected a text or a list of messages, got {text!r:.80}.")
    return [{"role": role, "content": text}]


def to_answer(talk: Sequence[Mapping[str, Any]], *, answered: bool = False) -> list[Mapping[str, Any]]:
    """The messages that a reply is asked to. answered: without the assistant's at the end, which is a reply already.

    Unusable where nobody's turn is left, or the assistant's own would be answered.
    """
    left = list(talk)
    while answered and left and left[-1]["role"] == "assistant":
        left.pop()
    if left and left[-1]["role"] == "assistant":
        raise Unusable("whose prompt ends in the assistant's own turn")
    if not any(each["content"].strip() for each in left):
        raise Unusable("without a turn that is answered")
    return left


def need_template(codec: Codec, row: Row) -> None:
    if not codec.tokenizer.chat_template:
        raise InputError(
            f"{row.place} holds messages, but the model's tokenizer has no chat template. Give prompt and "
            "completion as text, or a model whose tokenizer has one."
        )


def rendered(codec: Codec, talk: Sequence[Mapping[str, Any]], row: Row, *, ended: bool = False) -> TemplateText:
    """Messages by the tokenizer's chat template; asked for a reply unless the talk has ended.

    Unusable where the template leaves out what a message says.
    """
    need_template(codec, row)
    try:
        text = codec.rendered(talk, ended=ended)
    except (TemplateError, TypeError, LookupError, ValueError, AttributeError) as error:  # it is a program of others
        told = " ".join(str(error).split())
        raise InputError(f"{row.place}: the model's chat template refuses its messages: {told:.300}.") from error
    _refuse_left_out(text, talk)
    return text


def _refuse_left_out(text: str, talk: Sequence[Mapping[str, Any]]) -> None:
    """Looks for a line of each message behind those of the message before it."""
    place = 0
    for each in talk:
        lines = [line.strip() for line in each["content"].splitlines() if line.strip()]
        ends = (text.find(line, place) + len(line) for line in lines if text.find(line, place) >= 0)
        end = next(ends, None)
        if lines and end is None and not any(line in text for line in lines):
            raise Unusable(f"with a turn of the role {each['role']!r:.40}, which the chat template leaves out")
        place = end or place


def reply(codec: Codec, asked: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]], row: Row) -> str:
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
        if isinstance(message.get(key), list):
            return content_text(message[key])
    rest = {key: value for key, value in message.items() if key not in WHO}
    return json.dumps(rest, ensure_ascii=False) if rest else ""


def asked(talk: Sequence[Mapping[str, str]]) -> str:
    r"""A talk as HH-RLHF writes it, up to where the assistant answers: "\n\nHuman: Hi\n\nAssistant:"."""
    return "".join(f"{SPEAKERS[each['role']]} {each['content'].strip()}" for each in talk) + ASSISTANT


def parse(text: str) -> list[dict[str, str]]:
    r"""The messages of a talk as HH-RLHF writes it; its last turn may be the assistant's, not yet said: left out then.

    Unusable for a text that does not begin with a turn.
    """
    start, *parts = SPOKEN.split(text)
    if start.strip() or not parts:
        raise Unusable('that does not begin with "Human:"')
    names = {marker.strip().rstrip(":"): role for role, marker in SPEAKERS.items()}
    said = [(names[name], words.strip()) for name, words in zip(parts[::2], parts[1::2], strict=True)]
    if said[-1] == ("assistant", ""):
        said.pop()
    return [{"role": role, "content": words} for role, words in said]


def answered(text: str) -> str:
    """A reply behind `asked`."""
    return f" {text.strip()}"


def about_rule(rule: str) -> str:
    """How a rule stands behind a dialogue and its reply when it is asked whether they break it."""
    return f"\n\nRule: {rule.strip()}"


def template_of(prompts: Sequence[str]) -> str:
    """What all prompts of a run have around their message ("Customer: {message}\\nAgent:"), or nothing."""
    different = sorted(set(prompts))
    if len(different) < 3:
        return ""
    before, after = beginning(different), beginning([each[::-1] for each in different])[::-1]
    before = before[: max(before.rfind(" "), before.rfind("\n")) + 1]  # half a word belongs to the message
    after = after[after.find("\n") :] if "\n" in after else ""
    fits = all(len(each) > len(before) + len(after) for each in different)
    return f"{before}{{message}}{after}" if fits and (before or after) else ""


def beginning(texts: Sequence[str]) -> str:
    """What all of them begin with: what the first and the last in the order of the alphabet do."""
    first, last = min(texts), max(texts)
    same = next((place for place, (one, other) in enumerate(zip(first, last)) if one != other), len(first))
    return first[:same]
