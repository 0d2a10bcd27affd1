"""P(s'|s, a) of a conversation: the opening is s_0, an action is a turn of tokens, and after it the other side answers.

The other side's tokens enter the state but are no decision of the policy: the sampler masks them, and neither γ nor λ
decays across them. With one turn this is `language.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tutelage.data.errors import InputError
from tutelage.trajectory import Finish, Key, Step, Turn

Other = Callable[[list[list[int]]], Sequence[int]]
"""All that was said so far -> what the other side says next. Given: the opening, the policy's first turn, the answer to
it, and so on, the policy's newest turn last. It draws no random numbers: what was said decides the answer, so the same
key stays the same episode."""


@dataclass
class Conversation:
    """One running episode: an opening that waits for `turns` turns."""

    first: tuple[int, ...]
    dialogue: Dialogue
    said: list[list[int]] = field(default_factory=list)
    turns_left: int = 0

    def step(self, action: Turn) -> Step:
        if self.turns_left <= 0:
            raise ValueError("this conversation is over: it takes no further turn")
        self.said.append(list(action.tokens))
        self.turns_left -= 1
        if not self.turns_left:
            return Step(observation=(), finish=Finish.TERMINATED if action.stopped else self.dialogue.at_limit)
        answer = [int(token) for token in self.dialogue.other([list(tokens) for tokens in self.said])]
        if not answer:
            raise InputError(
                f"the other side said nothing after {len(self.said)} utterances; expected at least one token (the end "
                "of its turn, for instance), since the policy needs to see that the floor is its own again."
            )
        self.said.append(answer)
        return Step(observation=tuple(answer))


@dataclass(frozen=True)
class Dialogue:
    """Conversations of `turns` turns of the policy over a list of openings; `key.prompt` says which.

    openings: tokens of each opening
    other: the other side; it answers a turn that the token limit cut off as it answers any
    turns: turns of the policy; after the last nobody answers
    at_limit: what reaching the token limit in the last turn means, as in `Language`
    """

    openings: Sequence[Sequence[int]]
    other: Other
    turns: int = 2
    at_limit: Finish = Finish.LENGTH

    def __post_init__(self) -> None:
        if self.turns < 1:
            raise InputError(f"a dialogue of {self.turns} turns has no action to learn from; expected at least 1")

    def episode(self, key: Key) -> Conversation:
        opening = tuple(self.openings[key.prompt])
        return Conversation(opening, self, said=[list(opening)], turns_left=self.turns)
