"""Two or more policies that answer people in a talk while they look: a folder or hub id each becomes a voice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutelage.data.records import Context
from tutelage.data.talks import ASSISTANT, HUMAN, SPEAKERS
from tutelage.environments.language import Language, refuse_crowded
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.pretrained import (
    context_tokens,
    device_of,
    hush,
)
from tutelage.policies.language import LanguagePolicy, stop_tokens
from tutelage.policies.loading import load_policy
from tutelage.rewards.text_scores import labels
from tutelage.studio.chat_sampling import chat_sampling
from tutelage.trajectory import Key

Message = dict[str, str]


@dataclass(frozen=True)
class Voice:
    """policy: its name in records and ratings, never shown before the choice; sampler: how it draws.

    reply: (messages, a number that makes the draw another one) -> what it says
    asks: messages -> the context as the policy reads it, so that a reward model reads the same
    """

    policy: str
    reply: Callable[[Sequence[Message], int], str]
    asks: Callable[[Sequence[Message]], Context]
    sampler: dict[str, float | int | str]


def voices(models: Sequence[str], max_new_tokens: int, temperature: float | None, device: str = "auto") -> list[Voice]:
    """One voice for each model. They take turns: a talk does not need them to be quick at once."""
    hush()
    turn = threading.Lock()
    return [
        voice(model, name, SamplingSettings(max_new_tokens, stop_strings=(HUMAN,)), temperature, (device, turn))
        for model, name in zip(models, labels(models), strict=True)
    ]


def voice(
    folder: str, name: str, settings: SamplingSettings, temperature: float | None, where: tuple[str, threading.Lock]
) -> Voice:
    device, turn = where
    model, codec = load_policy(folder, device_of(device))
    drawn = chat_sampling(model, temperature)
    settings, policy = replace(settings, top_k=drawn.top_k, top_p=drawn.top_p), LanguagePolicy(model, drawn.temperature)
    sampler = NativeSampler(policy, stop_tokens(model, codec), 0, settings, codec.text)

    def asks(messages: Sequence[Message]) -> Context:
        tokenizer: Any = codec.tokenizer
        return Context(messages=tuple(messages)) if tokenizer.chat_template else Context(prompt=as_text(messages))

    def reply(messages: Sequence[Message], number: int) -> str:
        asked = asks(messages)
        prompt = codec.prompt(asked.prompt or codec.rendered(asked.messages))
        refuse_crowded([prompt], settings.max_new_tokens, context_tokens(model))
        with turn:
            batch = sampler.sample(Language([prompt]), [Key(len(messages), 0, number)])
        return codec.prompts_and_responses(batch)[1][0].split(HUMAN)[0].strip()

    return Voice(name, reply, asks, {**vars(drawn), "max_new_tokens": settings.max_new_tokens})


def as_text(messages: Sequence[Message]) -> str:
    """As HH-RLHF writes a talk, up to the mark that asks for a reply."""
    return "".join(f"{SPEAKERS[each['role']]} {each['content']}" for each in messages) + ASSISTANT
