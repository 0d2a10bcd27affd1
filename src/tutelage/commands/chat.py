"""`tutelage chat MODEL`: talk to any causal language model, turn by turn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from tutelage.data.errors import InputError
from tutelage.data.talks import HUMAN, template_of
from tutelage.data.tokens import Codec
from tutelage.environments.language import Language, refuse_crowded
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.models.pretrained import (
    Trust,
    context_tokens,
    device_of,
)
from tutelage.policies.language import LanguagePolicy, stop_tokens
from tutelage.policies.loading import load_policy
from tutelage.runs.files import read_lines
from tutelage.studio.chat_prompts import as_prompt
from tutelage.studio.chat_sampling import TextStream, chat_sampling
from tutelage.trajectory import Key

Message = dict[str, str]
ROOM = 16  # tokens that are left for a reply at least, before the oldest turns are forgotten
BARE = "{message}"


@dataclass(frozen=True)
class Chat:
    """Talk to a model. Ctrl-C stops an answer; an empty line or Ctrl-D ends the talk.

    How replies are drawn is what the model's generation_config.json recommends, where no flag says otherwise; where it
    recommends nothing, temperature 0.7 and top-p 0.9.
    """

    model: tyro.conf.Positional[str]
    """Model folder or hub id."""
    system: str = ""
    """What the model is told before the talk."""
    template: str = ""
    """How a message becomes a prompt without a chat template, such as "Customer: {message}\\nAgent:"."""
    max_new_tokens: int = 256
    """Longest answer."""
    temperature: float | None = None
    """0: the likeliest token each time."""
    top_k: int | None = None
    """Draw from the likeliest tokens only; 0: all."""
    top_p: float | None = None
    """Draw from the fewest tokens that hold this much probability; 1: all."""
    seed: int = 0
    device: str = "auto"
    trust: Annotated[Trust, tyro.conf.arg(name="")] = field(default_factory=Trust)


def main(arguments: list[str]) -> int:
    chat = tyro.cli(Chat, args=arguments, prog="tutelage chat", description=Chat.__doc__)
    if chat.max_new_tokens < 1:
        raise InputError(f"--max-new-tokens {chat.max_new_tokens}: expected 1 or more.")
    chat_sampling(None, chat.temperature, chat.top_k, chat.top_p)  # refuses before the model is loaded
    talk, typed = Talk.of(chat), sys.stdin.isatty()
    for message in lines("you> " if typed else ""):
        try:
            talk.answer(message, show)
        except InputError as error:
            if not typed:
                raise
            print(f"tutelage: {error}", file=sys.stderr)  # the next message may be shorter
    return 0


def show(text: str) -> None:
    print(text, end="", flush=True)


def lines(asks: str) -> Iterator[str]:
    """What a person types, until an empty line or the end. Ctrl-C twice without a word between ends the talk, too."""
    stopped = False
    while True:
        try:
            line = input(asks)
        except EOFError:
            return
        except KeyboardInterrupt:
            if stopped or not asks:
                print()
                return
            stopped = True
            print("\n(an empty line, Ctrl-D or Ctrl-C once more ends the talk)", file=sys.stderr)
            continue
        if not line.strip():
            return
        stopped = False
        yield line


class Talk:
    """A model and what was said so far. Make one with `Talk.of`."""

    def __init__(self, sampler: NativeSampler, codec: Codec, template: str, system: str, longest: int) -> None:
        self.sampler, self.codec, self.template, self.longest = sampler, codec, template, longest
        self.system: list[Message] = [{"role": "system", "content": system}] if system else []
        self.said: list[Message] = []
        self.turns = 0

    @staticmethod
    def of(chat: Chat) -> Talk:
        model, codec = load_policy(chat.model, device_of(chat.device), trust=chat.trust)
        drawn = chat_sampling(model, chat.temperature, chat.top_k, chat.top_p)
        template = chat.template or ("" if has_template(codec) else template_of_run(chat.model))
        stops = () if template or has_template(codec) else (HUMAN,)
        if stops:
            print(
                f"{chat.model} has no chat template: the talk is written as Human: … Assistant: … (--template changes "
                "that).",
                file=sys.stderr,
            )
        settings = SamplingSettings(chat.max_new_tokens, top_k=drawn.top_k, top_p=drawn.top_p, stop_strings=stops)
        policy = LanguagePolicy(model, drawn.temperature)
        ends = {*stop_tokens(model, codec), *ends_of_turn(codec)}
        sampler = NativeSampler(policy, ends, chat.seed, settings, codec.text)
        return Talk(sampler, codec, template, chat.system, chat.max_new_tokens)

    def answer(self, message: str, write: Callable[[str], object]) -> str:
        """The answer to a message, written as it comes. KeyboardInterrupt stops it there; what was said stays said.

        Raises InputError where the message leaves no room for an answer.
        """
        self.turns += 1
        before = list(self.said)
        self.said.append({"role": "user", "content": message})
        try:
            prompt, room = self.fitted()
        except InputError:
            self.said = before
            raise
        stream = TextStream(self.codec.text, write, self.sampler.settings.stop_strings)
        turn: Sequence[int] = ()

        def listen(tokens: Sequence[int]) -> None:
            nonlocal turn
            turn = tokens[:-1] if tokens[-1] in self.sampler.stop_tokens else tokens
            stream.update(turn)

        self.sampler.listen = listen
        self.sampler.settings = replace(self.sampler.settings, max_new_tokens=room)
        with suppress(KeyboardInterrupt):  # the person has read enough
            self.sampler.sample(Language([prompt]), [Key(self.turns, 0)])
        answer = stream.end(turn)
        write("\n")
        self.said.append({"role": "assistant", "content": answer})
        return answer

    def fitted(self) -> tuple[list[int], int]:
        """(tokens of the talk, how many the answer may have): the oldest turns are forgotten where there is no room."""
        context = context_tokens(self.sampler.policy.model)
        forgotten = 0
        while True:
            text = as_prompt(self.codec, self.template, [*self.system, *self.said], dialogue=True)
            prompt = self.codec.prompt(text)
            room = self.longest if context is None else min(self.longest, context - len(prompt))
            if room >= min(ROOM, self.longest):
                break
            if len(self.said) < 3:
                refuse_crowded([prompt], min(ROOM, self.longest), context)
                break
            del self.said[:2]
            forgotten += 2
        if forgotten:
            print(f"(the oldest {forgotten} messages no longer fit and are forgotten)", file=sys.stderr)
        return prompt, room


def ends_of_turn(codec: Codec) -> list[int]:
    """The tokens that end a turn in the usual chat templates, as far as this tokenizer has them."""
    tokenizer: Any = codec.tokenizer
    known = tokenizer.get_added_vocab()
    return [known[each] for each in ENDS_OF_TURN if each in known]


ENDS_OF_TURN = (
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<|end|>",
    "<|end_of_turn|>",
    "<|endoftext|>",
    "<|eom_id|>",
)


def has_template(codec: Codec) -> bool:
    tokenizer: Any = codec.tokenizer
    return bool(tokenizer.chat_template)


def template_of_run(model: str) -> str:
    """How the run that made this model wrote its prompts: what they have in common, else the bare message; nothing
    where the folder is of no run."""
    samples = Path(model).expanduser().resolve().parent / "samples.jsonl"
    if not samples.is_file():
        return ""
    found = [row["prompt"] for row in read_lines(samples)[:200] if isinstance(row.get("prompt"), str)]
    return template_of(found) or BARE if found else ""
