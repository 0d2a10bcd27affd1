"""Signals in real time: somebody watches an agent act and says how good that is, while it acts (docs/tamer.md).

A play is one agent with one person. Its events tell all that its weights depend on: the game's seed, every action, and
every signal with the times at which the person saw the steps that it may be about. So the weights can be worked out
from the log again, and `verify` finds an action that is missing or there twice.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from tutelage.feedback import schema
from tutelage.feedback.asked import known_labeller
from tutelage.feedback.asking import Receipt, Refused, UnknownAssignment, checked_name
from tutelage.feedback.chain import Event, Log, by_key, event_of

E = schema.event
KINDS = ("played", "acted", "signalled")
LARGEST, MOST_STEPS = 100.0, 64  # of a signal's value, and of the steps that it names


@dataclass(frozen=True)
class Span:
    """A step as the person saw it. began, ended: seconds on the clock of the page, `ended` None while it went on."""

    step: int
    began: float
    ended: float | None


@dataclass(frozen=True)
class Signal:
    """value: how good (±1, strong ±10); at: when the key was pressed, seconds on the page's clock; spans: the steps
    that it may be about, the oldest first; training: whether it was to teach."""

    value: float
    at: float
    spans: tuple[Span, ...]
    training: bool = True


@dataclass(frozen=True)
class Acts:
    """Actions of the steps first, first + 1, …; training: whether they were remembered."""

    first: int
    actions: tuple[int, ...]
    training: bool = True


@dataclass(frozen=True)
class Recorded:
    """A play as it stands in the log. happened: its actions and signals in order."""

    id: str
    labeller: str
    game: str
    settings: Mapping[str, Any]
    happened: tuple[Acts | Signal, ...]


def begin(connection: Connection, at: float, labeller: str, game: str, settings: Mapping[str, Any]) -> str:
    """The id of a new play."""
    known_labeller(connection, labeller)
    checked_name(game, "the name of a game")
    play = secrets.token_hex(8)
    Log.of(connection, at).add("played", {"play": play, "game": game, "settings": dict(settings)}, labeller)
    return play


def act(log: Log, labeller: str, play: str, acts: Acts) -> None:
    """Keeps actions; Refused where they do not follow those that are there."""
    expected = following(log.connection, labeller, play)
    if acts.first != expected:
        raise Refused(f"step {acts.first} of a play was given, expected step {expected}. Is it open in two windows?")
    body = {"play": play, "first": acts.first, "actions": list(acts.actions), "training": acts.training}
    log.add("acted", body, labeller)


def signal(log: Log, labeller: str, play: str, key: str, said: Signal) -> Receipt:
    """Keeps a signal, once for every key."""
    checked_name(key, "the key of a request")
    before = by_key(log.connection, labeller, key)
    if before is not None:
        if before.kind != "signalled" or before.body["play"] != play:
            raise Refused(f"the key {key} was used before for something else. Draw a new one for every act.")
        return Receipt(before.id, before.seq, "counted", repeated=True)
    checked(said, following(log.connection, labeller, play))
    spans = [[each.step, each.began, each.ended] for each in said.spans]
    body = {"play": play, "value": said.value, "at": said.at, "steps": spans, "training": said.training}
    event = log.add("signalled", body, labeller, key)
    return Receipt(event.id, event.seq, "counted", repeated=False)


def checked(said: Signal, following: int) -> None:
    """Refused unless the value is one, the steps were done, and their times are in order and before the signal."""
    times = [said.at, *(each for span in said.spans for each in (span.began, span.ended) if each is not None)]
    if not 0.0 < abs(said.value) <= LARGEST or not all(map(math.isfinite, times)):
        raise Refused(f"a signal: expected a value up to ±{LARGEST:.0f}, not 0, and finite times, got {said!r:.200}.")
    if len(said.spans) > MOST_STEPS:
        raise Refused(f"a signal: expected at most {MOST_STEPS} steps, got {len(said.spans)}.")
    numbers = [each.step for each in said.spans]
    if numbers != sorted(set(numbers)) or not all(0 <= each < following for each in numbers):
        raise Refused(f"a signal: expected steps below {following} in order, got {numbers!r:.80}.")
    edges = [each for span in said.spans for each in (span.began, span.ended) if each is not None]
    open_before_last = any(span.ended is None for span in said.spans[:-1])
    if open_before_last or edges != sorted(edges) or any(span.began > said.at for span in said.spans):
        raise Refused("a signal: expected the times of its steps in order, each begun before the key was pressed.")


def following(connection: Connection, labeller: str, play: str) -> int:
    """The number of the next step. UnknownAssignment where this labeller has no such play."""
    query = select(E).where(E.c.actor == labeller, E.c.kind.in_(KINDS[:2])).order_by(E.c.seq.desc())
    for row in connection.execute(query):
        body = json.loads(row.body)
        if body["play"] == play:
            return 0 if row.kind == "played" else body["first"] + len(body["actions"])
    raise UnknownAssignment(f"there is no play {play!r:.60} of yours.")


def plays(connection: Connection, labeller: str, game: str) -> list[str]:
    """The plays of this labeller, the newest last."""
    query = select(E.c.body).where(E.c.actor == labeller, E.c.kind == "played").order_by(E.c.seq)
    bodies = [json.loads(body) for body in connection.execute(query).scalars()]
    return [each["play"] for each in bodies if each["game"] == game]


def read(connection: Connection, labeller: str, play: str) -> Recorded:
    """All of a play. UnknownAssignment where this labeller has no such play."""
    query = select(E).where(E.c.actor == labeller, E.c.kind.in_(KINDS)).order_by(E.c.seq)
    events = [each for each in map(event_of, connection.execute(query)) if each.body["play"] == play]
    if not events:
        raise UnknownAssignment(f"there is no play {play!r:.60} of yours.")
    first, *rest = events
    return Recorded(play, labeller, first.body["game"], first.body["settings"], tuple(happening(each) for each in rest))


def happening(event: Event) -> Acts | Signal:
    body = event.body
    if event.kind == "acted":
        return Acts(body["first"], tuple(body["actions"]), body["training"])
    return Signal(body["value"], body["at"], tuple(Span(*each) for each in body["steps"]), body["training"])


def replayed(plays: dict[str, tuple[str | None, int]], event: Event) -> str | None:
    """Checks one event of a play against those before it, for `verify`; the fault in words. plays: play -> (labeller,
    next step), kept up to date here."""
    play = event.body["play"]
    if event.kind == "played":
        plays[play] = event.actor, 0
        return None
    actor, expected = plays[play]
    if actor != event.actor:
        return f"the play {play} is {actor}'s, not {event.actor}'s"
    if event.kind == "signalled":
        said = happening(event)
        assert isinstance(said, Signal)
        checked(said, expected)
        return None
    plays[play] = actor, event.body["first"] + len(event.body["actions"])
    return None if event.body["first"] == expected else f"step {event.body['first']} follows step {expected - 1}"
