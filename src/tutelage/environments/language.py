"""P(s'|s, a) of one reply: the prompt is s_0, an action is a turn of tokens, and after it the episode is over.

Between two tokens of a turn the environment is as simple as one can be: s_{t+1} is s_t with a_t appended. The sampler
does that appending; this file says where an episode starts and when it ends. Read it beside `control.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.data.errors import InputError
from tutelage.trajectory import Finish, Key, Step, Turn


@dataclass(frozen=True)
class Reply:
    """One running episode: a prompt that waits for one turn."""

    first: tuple[int, ...]
    at_limit: Finish

    def step(self, action: Turn) -> Step:
        return Step(observation=(), finish=Finish.TERMINATED if action.stopped else self.at_limit)


@dataclass(frozen=True)
class Language:
    """One-turn episodes over a list of prompts; `key.prompt` says which.

    prompts: tokens of each prompt
    at_limit: what reaching the token limit means: LENGTH (the reply was cut off, the default; its score is that of the
        text as it stands) or TERMINATED, where a fixed length is part of the task (Ziegler et al. 2019 continue a story
        by exactly 24 tokens)
    """

    prompts: Sequence[Sequence[int]]
    at_limit: Finish = Finish.LENGTH

    def __len__(self) -> int:
        """How many starts there are: `key.prompt` is below it."""
        return len(self.prompts)

    def episode(self, key: Key) -> Reply:
        return Reply(tuple(self.prompts[key.prompt]), self.at_limit)


def refuse_crowded(prompts: Sequence[Sequence[int]], new_tokens: int, context_tokens: int | None) -> None:
    """InputError where a prompt leaves no room for a reply in the model's context."""
    if context_tokens is None:
        return
    for index, prompt in enumerate(prompts):
        if len(prompt) + new_tokens > context_tokens:
            raise InputError(
                f"prompt {index + 1} has {len(prompt)} tokens and replies may have {new_tokens}, but the model's "
                f"context is {context_tokens} tokens. Shorten or drop the prompt, or lower --max-new-tokens."
            )
