"""P(s'|s, a) of a conversation: the opening is s_0, an action is a turn of tokens, and after it the other side answers.

The other side's tokens enter the state but are no decision of the policy: the sampler masks them, and neither γ nor λ
decays across them. With one turn this is `language.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutelage.data.errors import InputError
from tutelage.environments.checks import read_step, read_tokens
from tutelage.trajectory import Finish, Key, Step, Turn

Utterances = list[list[int]]
"""The tokens of all that was said: the opening, the policy's first turn, the answer to it, and so on."""

Answer = Sequence[int] | Step
"""The tokens that the other side says next, or a `Step` with them, what it pays for the turn, and whether it ends the
conversation."""

Other = Callable[[list[Utterances]], Sequence[Answer]]
"""The other side. Given: all dialogues that wait for it, each with the policy's newest turn last. Returns: one answer
for each, in their order. It draws no random numbers of its own: what was said decides the answer, so that the same key
stays the same episode."""


@dataclass
class Conversation:
    """One running episode: an opening that waits for `turns_left` turns of the policy."""

    first: tuple[int, ...]
    dialogue: Dialogue
    said: Utterances = field(default_factory=list)
    turns_left: int = 0

    @property
    def needs_reply(self) -> bool:
        """Whether somebody answers the turn that is being written: not the last one."""
        return self.turns_left > 1

    def step(self, action: Turn) -> Step:
        return self.dialogue.reply([self], [action])[0]


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

    def __len__(self) -> int:
        return len(self.openings)

    def episode(self, key: Key) -> Conversation:
        opening = tuple(self.openings[key.prompt])
        return Conversation(opening, self, said=[list(opening)], turns_left=self.turns)

    def reply(self, episodes: Sequence[Conversation], turns: Sequence[Turn]) -> list[Step]:
        """One step for each conversation: the other side is called once, for all that are not at their last turn.

        raises InputError: where it does not give one answer for each dialogue, or an answer that is not tokens
        """
        if any(each.turns_left <= 0 for each in episodes):
            raise ValueError("this conversation is over: it takes no further turn")
        said = [[*each.said, list(turn.tokens)] for each, turn in zip(episodes, turns, strict=True)]
        answered = [place for place, each in enumerate(episodes) if each.turns_left > 1]
        answers = self._answers([said[place] for place in answered]) if answered else []
        steps = [Step((), finish=Finish.TERMINATED if turn.stopped else self.at_limit) for turn in turns]
        for place, answer in zip(answered, answers, strict=True):
            steps[place] = answer
            said[place].append(list(answer.observation))
        for each, utterances in zip(episodes, said, strict=True):
            each.said, each.turns_left = utterances, each.turns_left - 1
        return steps

    def _answers(self, dialogues: list[Utterances]) -> list[Step]:
        returned: Any = self.other([[list(tokens) for tokens in each] for each in dialogues])
        if isinstance(returned, (str, bytes)) or not hasattr(returned, "__len__"):
            raise InputError(
                f"the other side returned {returned!r:.80} ({type(returned).__name__}) for {len(dialogues)} dialogues; "
                "expected a list with one answer, a list of tokens, for each of them, in their order."
            )
        if len(returned) != len(dialogues):
            raise InputError(
                f"the other side gave {len(returned)} answers for {len(dialogues)} dialogues; expected one answer, a "
                "list of tokens, for each of them, in their order."
            )
        return [_read(answer, f"answer {n} of {len(dialogues)}") for n, answer in enumerate(returned, start=1)]


def each_alone(answer: Callable[[Utterances], Answer]) -> Other:
    """An other side from a function of one dialogue; it is called for one after the other."""

    def other(dialogues: list[Utterances]) -> list[Answer]:
        return [answer(each) for each in dialogues]

    return other


def _read(answer: Any, which: str) -> Step:
    if isinstance(answer, Step):
        return read_step(answer)
    tokens = read_tokens(answer, f"the other side's {which}")
    if not tokens:
        raise InputError(
            f"the other side said nothing ({which} is empty); expected at least one token (the end of its turn, for "
            "instance), since the policy needs to see that the floor is its own again. To end the conversation, give "
            "Step((), finish=Finish.TERMINATED)."
        )
    return Step(tokens)
