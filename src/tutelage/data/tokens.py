"""Text <-> tokens, in one place, so that policy, reward model and demonstrations all read a reply alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from tutelage.data.control_tokens import TemplateText, control_pattern, encode, render
from tutelage.data.errors import InputError
from tutelage.trajectory import Batch, Finish, Key, Trajectory


@dataclass(frozen=True)
class Codec:
    """A tokenizer seen as three questions: the tokens of a prompt, of a reply to it, and the text of tokens.

    In a plain `str` nothing is a control token: `</s>` is read as these four letters, and text() gives them back. What
    a chat template wrote is a `TemplateText`, whose own control tokens are read as such.
    """

    tokenizer: PreTrainedTokenizerBase

    @cached_property
    def controls(self) -> re.Pattern[str] | None:
        """Matches the letters of any control token."""
        return control_pattern(self.tokenizer)

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        return (int(self.tokenizer.eos_token_id),)  # pyright: ignore[reportArgumentType]

    def rendered(self, talk: Sequence[Mapping[str, Any]], *, ended: bool = False) -> TemplateText:
        """Messages by the tokenizer's chat template, asked for a reply unless the talk has ended.

        An ended talk is without the token that ends every text, which `pair` writes. Letters of a control token in a
        message are text. Whatever the template raises comes through.
        """
        text = render(self.tokenizer, self.controls, talk, ended=ended)
        if not ended:
            return text
        stripped, end = len(text.rstrip()), str(self.tokenizer.eos_token)
        own = text.controls[-1:] == ((stripped - len(end), stripped),) and text.startswith(end, stripped - len(end))
        return text[: stripped - len(end) if own else stripped]

    def prompt(self, text: str) -> list[int]:
        """Tokens of the state before the first action: special tokens in front (a beginning of sequence once only)."""
        tokens = encode(self.tokenizer, self.controls, text)
        if tokens and tokens[-1] in self.stop_tokens:  # some tokenizers end every text; a prompt is not at its end
            bare = encode(self.tokenizer, self.controls, text, special=False)
            added = self._ends(tokens) - self._ends(bare)
            tokens = tokens[: max(1, len(tokens) - added)] if added > 0 else tokens
        begin = self.tokenizer.bos_token_id
        while begin is not None and tokens[:2] == [begin, begin]:
            tokens.pop(0)  # a chat template wrote one already
        if not tokens:
            raise InputError("an empty prompt has no tokens, so there is no state to act in. Drop it or give it text.")
        return tokens

    def utterance(self, text: str) -> list[int]:
        """Tokens of a text that stands after others, such as an answer in a dialogue: no special tokens around it."""
        return encode(self.tokenizer, self.controls, text, special=False)

    def _ends(self, tokens: Sequence[int]) -> int:
        """How many stop tokens stand at the end."""
        return next((count for count, each in enumerate(reversed(tokens)) if each not in self.stop_tokens), len(tokens))

    def pair(self, prompt: str, response: str, *, ended: bool = True) -> tuple[list[int], list[int]]:
        """Tokens of prompt and response, the response closed by the end of sequence where it ended by itself.

        The response is read where it stands, after its prompt: encoded alone, many tokenizers would give its first
        word another token than the policy sees.
        """
        before = self.prompt(prompt)
        whole = self.prompt(prompt + response)
        if whole[: len(before)] == before:
            after = whole[len(before) :]
        else:
            after = encode(self.tokenizer, self.controls, response, special=False)
        return before, [*after, self.stop_tokens[0]] if ended else after

    def text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)  # pyright: ignore[reportReturnType]

    def prompts_and_responses(self, batch: Batch) -> tuple[list[str], list[str]]:
        """Texts of a language batch: what stood before the policy's first token, and all that followed."""
        prompts, responses = [], []
        for row in range(len(batch)):
            tokens = batch.observations[row, : int(batch.lengths_B[row]) + 1].tolist()
            first = int(batch.mask_BT[row].int().argmax()) + 1
            prompts.append(self.text(tokens[:first]))
            responses.append(self.text(tokens)[len(prompts[-1]) :])
        return prompts, responses


def written(prompt: Sequence[int], response: Sequence[int], key: Key = Key(0, 0), *, ended: bool = True) -> Trajectory:
    """A prompt and a reply that somebody wrote (a demonstration, a candidate) as a trajectory; log-probs unknown, 0."""
    if not prompt or not response:
        raise InputError(f"a trajectory needs a prompt and a response, got {len(prompt)} and {len(response)} tokens")
    tokens = torch.tensor([*prompt, *response])
    steps = len(tokens) - 1
    return Trajectory(
        observations=tokens,
        actions=tokens[1:],
        mask_T=torch.arange(steps) >= len(prompt) - 1,
        behaviour_log_probs_T=torch.zeros(steps),
        rewards_T=torch.zeros(steps),
        finish=Finish.TERMINATED if ended else Finish.LENGTH,
        key=key,
    )
