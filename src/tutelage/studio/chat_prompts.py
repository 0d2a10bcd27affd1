"""What a talk looks like to a model: its chat template, a template of one's own, or plain text with speakers."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.studio.voices import Message, as_text


def as_prompt(codec: Codec, template: str, said: list[Message], *, dialogue: bool = False) -> str:
    """The given template for the last message, or the tokenizer's chat template, or the plain text so far.

    dialogue: without either, the talk is written with its speakers, as HH-RLHF writes it
    """
    tokenizer: Any = codec.tokenizer
    if template:
        system = "".join(f"{each['content']}\n\n" for each in said if each["role"] == "system")
        return system + template.replace("{message}", said[-1]["content"]).replace("\\n", "\n")
    if tokenizer.chat_template:
        return _from_chat_template(codec, said)
    return as_text(said) if dialogue else "".join(each["content"] for each in said)


def _from_chat_template(codec: Codec, said: list[Message]) -> str:
    """A template that knows no system message gets it in front of the first message of the user."""
    system = [each["content"] for each in said if each["role"] == "system"]
    try:
        found = codec.rendered(said)
        if all(each.strip() in found for each in system):
            return found
    except (TemplateError, TypeError, ValueError) as error:
        if not system:
            raise InputError(f"the model's chat template cannot write this talk: {error}.") from error
    first, *rest = [each for each in said if each["role"] != "system"]
    merged = {**first, "content": "\n\n".join([*system, first["content"]])}
    try:
        return codec.rendered([merged, *rest])
    except (TemplateError, TypeError, ValueError) as error:
        raise InputError(f"the model's chat template cannot write this talk: {error}.") from error
