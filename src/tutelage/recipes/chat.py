"""`tutelage chat MODEL`: talk to any causal language model, turn by turn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import tyro

from tutelage.data.pretrained import (
    Trust,
    context_tokens,
    device_of,
    load_causal_lm,
    load_tokenizer,
    refuse_missing_rows,
)
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language, refuse_crowded
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.policies.language import LanguagePolicy, stop_tokens
from tutelage.trajectory import Key


@dataclass(frozen=True)
class Chat:
    """Talk to a model. An empty line or Ctrl-D ends the talk."""

    model: tyro.conf.Positional[str]
    """Model folder or hub id."""
    template: str = ""
    """How a message becomes a prompt without a chat template, such as "Customer: {message}\\nAgent:"."""
    max_new_tokens: int = 128
    temperature: float = 1.0
    seed: int = 0
    device: str = "auto"
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)


def main(arguments: list[str]) -> int:
    chat = tyro.cli(Chat, args=arguments, prog="tutelage chat", description=Chat.__doc__)
    reply = replier(chat)
    asks = "you> " if sys.stdin.isatty() else ""
    for answer in talk(reply, lines(asks)):
        print(answer, flush=True)
    return 0


def lines(asks: str) -> Iterator[str]:
    """What a person types, until an empty line or the end."""
    while True:
        try:
            line = input(asks)
        except EOFError:
            return
        if not line.strip():
            return
        yield line


def talk(reply: Callable[[list[dict[str, str]]], str], messages: Iterator[str]) -> Iterator[str]:
    """One answer for each message; the model sees the whole talk so far."""
    said: list[dict[str, str]] = []
    for message in messages:
        said.append({"role": "user", "content": message})
        answer = reply(said)
        said.append({"role": "assistant", "content": answer})
        yield answer.strip()


def replier(chat: Chat) -> Callable[[list[dict[str, str]]], str]:
    device = device_of(chat.device)
    model = load_causal_lm(chat.model, device, chat.trust)
    codec = Codec(load_tokenizer(chat.model, chat.trust))
    refuse_missing_rows(model, codec.tokenizer, chat.model)
    settings = SamplingSettings(chat.max_new_tokens)
    sampler = NativeSampler(LanguagePolicy(model, chat.temperature), stop_tokens(model, codec), chat.seed, settings)

    def reply(said: list[dict[str, str]]) -> str:
        prompt = codec.prompt(as_prompt(codec, chat.template, said))
        refuse_crowded([prompt], chat.max_new_tokens, context_tokens(model))
        batch = sampler.sample(Language([prompt]), [Key(len(said), 0)])
        return codec.prompts_and_responses(batch)[1][0]

    return reply


def as_prompt(codec: Codec, template: str, said: list[dict[str, str]]) -> str:
    """The tokenizer's chat template, or the given one for the last message, or the plain text so far."""
    tokenizer: Any = codec.tokenizer
    if template:
        return template.replace("{message}", said[-1]["content"]).replace("\\n", "\n")
    if tokenizer.chat_template:
        return codec.rendered(said)
    return "".join(each["content"] for each in said)
