"""The page on which a person rewards and punishes an agent while it plays, and what it asks of the server.

The page sets the pace: it asks for a step when the one before has been seen. With every signal it says at which
moments, on its own clock, the person saw the last steps; how long a message was on its way does not matter.
"""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import Field

from tutelage.feedback.asking import UnknownAssignment
from tutelage.feedback.signals import MOST_STEPS, Signal, Span
from tutelage.feedback.store import Store
from tutelage.studio.api import Body, Id, session_of
from tutelage.studio.members import may
from tutelage.studio.opening import shell

if TYPE_CHECKING:  # it brings torch, for which nobody who only answers questions should wait
    from tutelage.recipes.tamer_live import Play

router = APIRouter(prefix="/api/tamer", dependencies=[may("label")])
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Number = Annotated[int, Field(ge=0, le=10**9)]


class Opening(Body):
    game: Literal["tetris", "mountain-car"]
    new: bool = False


class Next(Body):
    play: Id
    number: Number


class Seen(Body):
    step: Number
    began: Seconds
    ended: Seconds | None = None


class Said(Body):
    play: Id
    key: Id
    value: Literal[-10, -1, 1, 10]
    at: Seconds
    steps: Annotated[list[Seen], Field(max_length=MOST_STEPS)]


class Training(Body):
    play: Id
    on: bool


class Plays:
    """The plays that are going on in this process, by labeller and id; others are worked out from the log."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._plays: dict[tuple[str, str], Play] = {}
        self._lock = threading.Lock()

    def open(self, labeller: str, game: str, new: bool) -> Play:
        """The labeller's newest play of this game, or a new one."""
        from tutelage.recipes.tamer_live import Play

        with self._lock:
            before = [] if new else self.store.plays(labeller, game)
            if before:
                return self._of(labeller, before[-1])
            play = Play.begun(self.store, labeller, game, secrets.randbelow(2**31))
            self._plays[labeller, play.id] = play
            return play

    def of(self, labeller: str, id: str) -> Play:
        with self._lock:
            return self._of(labeller, id)

    def _of(self, labeller: str, id: str) -> Play:
        from tutelage.recipes.tamer_live import Play

        found = self._plays.get((labeller, id))
        if found is None:
            found = self._plays[labeller, id] = Play.of(self.store, labeller, id)
        return found


def page(request: Request) -> HTMLResponse:
    return shell(request, "tamer.html")


def play_of(request: Request, id: str) -> Play:
    return request.app.state.plays.of(session_of(request).labeller, id)


@router.post("/open")
def begin(request: Request, body: Opening) -> dict[str, Any]:
    """The person's agent at this game, as it was left, or a new one."""
    return request.app.state.plays.open(session_of(request).labeller, body.game, body.new).told()


@router.post("/step")
def step(request: Request, body: Next) -> dict[str, Any]:
    """The step of this number: what the agent did and what it expects. Asked again, it is not done again."""
    return play_of(request, body.play).step(body.number)


@router.post("/signal")
def signal(request: Request, body: Said) -> dict[str, Any]:
    """A signal is kept, then learned from: the steps that it is about, and how far the weights moved."""
    spans = tuple(Span(each.step, each.began, each.ended) for each in body.steps)
    receipt, learned = play_of(request, body.play).signal(body.key, Signal(float(body.value), body.at, spans))
    return {**learned, "event": receipt.event, "seq": receipt.seq, "repeated": receipt.repeated}


@router.post("/training")
def training(request: Request, body: Training) -> dict[str, Any]:
    play = play_of(request, body.play)
    play.train(body.on)
    return play.told()


@router.get("/back")
def back(request: Request, play: Annotated[str, Field(max_length=200)], game: int) -> dict[str, Any]:
    """One game as it was, with the signals that it got."""
    found = play_of(request, play).played_back(game)
    if not found:
        raise UnknownAssignment(f"there is no game {game} in this play yet.")
    return {"frames": found}
