"""Comparisons of two replies in a chat model's own form: the preferred reply first, whatever file they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.data import preferences
from tutelage.data.chat_rendering import render_talks
from tutelage.data.errors import InputError
from tutelage.data.questions import Question
from tutelage.data.split import by_prompt
from tutelage.data.tokens import Codec

HELD_OUT = 2
FEWEST = 50  # comparisons from which anything can be learned and measured


@dataclass(frozen=True)
class PreferencePairs:
    """P comparisons of two replies each.

    questions: the first reply is the preferred one     measured_P: those of the source on which accuracy is measured
    left_out: rows without one preferred reply of two, or whose talk the model's template cannot write
    """

    questions: list[Question]
    measured_P: np.ndarray
    left_out: int

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def prompts_P(self) -> np.ndarray:
        """[P] a number for each prompt."""
        places = {each: place for place, each in enumerate(dict.fromkeys(each.prompt for each in self.questions))}
        return np.array([places[each.prompt] for each in self.questions])

    @property
    def log_length_ratio_P(self) -> np.ndarray:
        """[P] log of the characters of the preferred reply over those of the other one."""
        lengths = np.array([[max(1, len(text)) for text in each.responses] for each in self.questions], dtype=float)
        return np.log(lengths[:, 0] / lengths[:, 1])

    def sides(self, able_P: np.ndarray, held_out: int, seed: int) -> np.ndarray:
        """[P] 0 and 1: two halves, by prompt; `HELD_OUT`: the comparisons of so many prompts that are in neither.

        able_P: [P] whether a prompt may be held out, where accuracy is measured on it
        """
        able = sorted({self.questions[place].prompt for place in np.flatnonzero(able_P & self.measured_P)})
        if len(able) < 2 * held_out:
            raise InputError(
                f"{held_out} prompts are to be held out of {len(able)} that are short enough, and at most half of them "
                "may be. Lower --evaluation-prompts, raise --prompt-tokens, or give more comparisons."
            )
        held = set(np.random.default_rng([seed, 1]).permutation(able)[:held_out].tolist())
        first = set(by_prompt([each.prompt for each in self.questions], str, 0.5, seed)[0])
        return np.array([HELD_OUT if each.prompt in held else int(each.prompt not in first) for each in self.questions])


def read_preference_pairs(
    codec: Codec, sources: Sequence[str], prompt_tokens: int, limit: int | None = None, seed: int = 0
) -> PreferencePairs:
    """Comparisons of two replies, written by the model's chat template.

    sources: on the first one the accuracy is measured, the others are only learned from
    prompt_tokens: longest prompt; the oldest turns go first     limit: of each source, in an order by the seed
    """
    found, left_out = list[tuple[Question, bool]](), 0
    for source in sources:
        questions, report = preferences.comparisons(source, codec)
        order = np.random.default_rng([seed, 0x1AB]).permutation(len(questions))[:limit]
        plain = [each for place in order if (each := of_two(questions[place])) is not None]
        written, dropped = render_talks(codec, plain, prompt_tokens)
        left_out += dropped + len(order) - len(plain) + report.dropped.total()
        found += [(each, source == sources[0]) for each in written]
    usable = sum(measured for _, measured in found)
    if usable < FEWEST:
        raise InputError(
            f"--data {sources[0]}: {usable} comparisons of two replies can be used; at least {FEWEST} are needed."
        )
    return PreferencePairs([each for each, _ in found], np.array([measured for _, measured in found]), left_out)


def of_two(question: Question) -> Question | None:
    """With the preferred reply first; None where there are more than two, or none is preferred."""
    if len(question.responses) != 2 or len(question.pairs) != 1 or question.pairs[0].target == 0.5:
        return None
    first, second, target, margin = question.pairs[0]
    better, worse = (first, second) if target > 0.5 else (second, first)
    pair = question.pairs[0]._replace(first=0, second=1, target=max(target, 1 - target), margin=margin)
    responses = (question.responses[better], question.responses[worse])
    return Question(question.prompt, responses, (pair,), 0, columns=question.columns)
