"""Checks of what a text environment gives: before a run, that it can be sampled at all; at every turn, its answers."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from numbers import Real
from operator import index
from typing import Any, TypeGuard

from tutelage.data.errors import InputError
from tutelage.trajectory import Environment, Finish, Key, RepliesTogether, Step, TextEnvironment

LOOKED_AT = 10_000  # starts that are read before a run
LOOKED_AT_AGAIN = 8  # of them, to see that a key gives the same episode again


class NonFiniteReward(InputError, FloatingPointError):
    """The environment paid NaN or an infinity."""


def call_environment(what: str, function: Callable[..., Any], *given: Any) -> Any:
    """What a function of somebody's environment returns; an error of its own becomes an InputError that says where.

    what: names the function in messages, such as "the environment's `reply`"
    """
    try:
        return function(*given)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"{what} raised {type(error).__name__} ({frame.filename}, line {frame.lineno}): {error}."
        ) from error


def count_starts(environment: Any, what: str) -> int:
    """len(environment); InputError where that fails."""
    if isinstance(environment, type):
        raise InputError(f"{what} is the class {environment.__name__}; expected one of its objects: call the class.")
    return call_environment(f"{what}: its `__len__`", len, environment)


def read_tokens(tokens: Any, what: str, vocabulary: int | None = None) -> tuple[int, ...]:
    """The tokens of a list, tuple, array or tensor [n] as ints.

    what: names them in messages, such as "the other side's answer 2 of 8"
    vocabulary: tokens that the policy knows, where that is known
    raises InputError: where it is no sequence of whole numbers, or one lies outside of range(vocabulary)
    """
    if hasattr(tokens, "tolist"):
        tokens = tokens.tolist()
    if isinstance(tokens, (str, bytes)) or not isinstance(tokens, Sequence):
        raise InputError(
            f"{what} is {tokens!r:.80} ({type(tokens).__name__}); expected a list of tokens (whole numbers)."
        )
    found = []
    for token in tokens:
        try:
            found.append(index(token))
        except TypeError:
            raise InputError(
                f"{what} holds {token!r:.80} ({type(token).__name__}); expected tokens, which are whole numbers. Texts "
                "become tokens by `codec.prompt` or a tokenizer."
            ) from None
    outside = [token for token in found if token < 0 or (vocabulary is not None and token >= vocabulary)]
    if outside:
        known = "0 and above" if vocabulary is None else f"0 to {vocabulary - 1}, which the policy's model knows"
        raise InputError(f"{what} holds the token {outside[0]}; expected tokens from {known}.")
    return tuple(found)


def read_step(step: Any, vocabulary: int | None = None) -> Step:
    """A step of a text environment, its observation as a tuple of ints and its reward as a float.

    raises InputError: where it is no `Step`, its observation is no tokens, it neither answers nor ends the episode, or
        its reward is not one number; NonFiniteReward (a FloatingPointError, too) where that is NaN or infinite
    """
    if not isinstance(step, Step):
        raise InputError(
            f"the environment answered a turn with {step!r:.80} ({type(step).__name__}); expected a "
            "tutelage.trajectory.Step(observation, reward, finish)."
        )
    if step.finish is not None and not isinstance(step.finish, Finish):
        raise InputError(f"a step's finish is {step.finish!r:.80}; expected None or a tutelage.trajectory.Finish.")
    heard = read_tokens(step.observation, "the observation of a step", vocabulary)
    if step.finish is None and not heard:
        raise InputError(
            "the environment neither answered nor ended the episode after a turn: a step's observation is empty and "
            "its finish is None. Give at least one token (the end of its turn, for instance), or a Finish."
        )
    return Step(heard, read_reward(step.reward), step.finish)


def read_reward(reward: Any) -> float:
    """What a turn was paid: a Python or NumPy number, or a tensor or array without dimensions."""
    if getattr(reward, "shape", None) == ():
        reward = reward.item()
    if not isinstance(reward, Real):
        raise InputError(
            f"the environment paid {reward!r:.80} ({type(reward).__name__}) for a turn; expected one number a step "
            "(it stands at the turn's last token). A reward for each token is given by the score of the task."
        )
    if not math.isfinite(reward):
        raise NonFiniteReward(f"the environment paid {float(reward)} for a turn; expected a finite number.")
    return float(reward)


def start_of(environment: Environment, key: Key, vocabulary: int | None = None) -> tuple[Any, tuple[int, ...]]:
    """(an episode before its first turn, the tokens that it starts with); InputError where it cannot be played."""
    if not callable(getattr(environment, "episode", None)):
        raise InputError(
            f"{_named(environment)} has no method `episode(key)`; expected an environment as docs/environments.md "
            "describes it."
        )
    episode = call_environment(f"`episode` of {_named(environment)}, called with {key},", environment.episode, key)
    always_answered = replies_together(environment) and not hasattr(episode, "needs_reply")
    owed = ("first",) if always_answered else ("first", "step")
    missing = [name for name in owed if not hasattr(episode, name)]
    if missing:
        raise InputError(
            f"the episode that {_named(environment)} gives for {key} ({type(episode).__name__}) has no "
            f"{' and no '.join(f'`{name}`' for name in missing)}; expected the tokens `first` and a method "
            "`step(turn)`."
        )
    first = read_tokens(episode.first, f"the beginning (`first`) of the episode for {key}", vocabulary)
    if not first:
        raise InputError(
            f"the episode for {key} begins with no tokens (`first` is empty), so there is no state to act in. Give it "
            "at least one token."
        )
    return episode, first


def refuse_unusable_environment(
    environment: Any, new_tokens: int = 0, context_tokens: int | None = None, name: str = ""
) -> None:
    """InputError where a text environment lacks something or where a beginning leaves no room for a turn.

    new_tokens, context_tokens: of a turn and of the model, where the model's length is limited
    name: of the environment in messages, such as "--environment mine:make"
    Of more than LOOKED_AT starts the first ones are looked at.
    """
    what = name or _named(environment)
    missing = [each for each in ("episode", "__len__") if not callable(getattr(environment, each, None))]
    if missing:
        raise InputError(
            f"{what} is a {type(environment).__name__} without {' and '.join(missing)}; expected `episode(key)` and "
            "`__len__()`, the number of its starts (docs/environments.md)."
        )
    starts = count_starts(environment, what)
    if starts == 0:
        raise InputError(f"{what} has no start: its length is 0. Expected at least one, for `key.prompt` to name.")
    firsts = first_starts(environment)
    for prompt, first in enumerate(firsts):
        if context_tokens is not None and len(first) + new_tokens > context_tokens:
            raise InputError(
                f"{what}: start {prompt + 1} has {len(first)} tokens and a turn may have {new_tokens}, but the model's "
                f"context is {context_tokens} tokens. Shorten the beginning, or lower --max-new-tokens."
            )
    for prompt, first in enumerate(firsts[:LOOKED_AT_AGAIN]):
        if start_of(environment, Key(0, prompt))[1] != first:
            raise InputError(
                f"{what}: start {prompt + 1} begins with other tokens when it is asked for a second time; expected "
                "the same episode for the same key, since a run that is resumed asks again. What is random must "
                "depend on the key alone."
            )


def refuse_outgrown(tokens: int, context_tokens: int | None) -> None:
    """InputError where what was said in an episode leaves no room for a further token in the model's context."""
    if context_tokens is not None and tokens >= context_tokens:
        raise InputError(
            f"an episode has grown to {tokens} tokens with what the other side said, and the model has positions for "
            f"{context_tokens}. Shorten the beginnings or what the other side says, lower max_new_tokens, or end the "
            "episode after fewer turns."
        )


def first_starts(environment: TextEnvironment) -> list[tuple[int, ...]]:
    """The tokens that episodes start with, of the first LOOKED_AT starts."""
    return [start_of(environment, Key(0, prompt))[1] for prompt in range(min(len(environment), LOOKED_AT))]


def replies_together(environment: Any) -> TypeGuard[RepliesTogether]:
    """Whether the environment answers all episodes that wait in one call."""
    return callable(getattr(environment, "reply", None))


def _named(environment: Any) -> str:
    return f"the environment {type(environment).__name__}"
