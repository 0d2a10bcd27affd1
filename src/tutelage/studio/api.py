"""What the page asks of the server. Who asks is known from the session, never from what was sent."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tutelage.feedback.asking import LeaseLost, Receipt, Refused
from tutelage.feedback.store import Store
from tutelage.report.sanitise import sanitised
from tutelage.studio import drawn
from tutelage.studio.claiming import claimed, gone
from tutelage.studio.clips import Shelf
from tutelage.studio.idle import idle
from tutelage.studio.limits import Limit
from tutelage.studio.members import NOBODY, may, member_of
from tutelage.studio.opening import settings
from tutelage.studio.security import Refusal
from tutelage.studio.sessions import SESSION_SECONDS, Session

LOG = logging.getLogger("tutelage.studio")
MOST = 12  # questions held by one page
GUIDELINE_LENGTH = 200_000
Id = Annotated[str, Field(min_length=1, max_length=200)]
LABEL = may("label")
router = APIRouter(prefix="/api")


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Token(Body):
    token: Annotated[str, Field(max_length=200)]


class Claim(Body):
    count: Annotated[int, Field(ge=1, le=MOST)]


class Held(Body):
    assignment: Id
    lease: Id


class Holding(Body):
    held: Annotated[list[Held], Field(max_length=MOST)]


class Act(Held):
    key: Id


class Answer(Act):
    verdict: dict[str, JsonValue]
    times: dict[str, JsonValue] = Field(default_factory=dict)


class Skip(Act):
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class Flag(Act):
    flag: Annotated[str, Field(min_length=1, max_length=200)]
    note: Annotated[str, Field(max_length=2000)] = ""


class Undo(Body):
    key: Id
    event: Id | None = None


class Doors:
    """Limits of one server. Too many wrong links close the door for a while; too many answers are only marked."""

    def __init__(self) -> None:
        self.entering = Limit(5, 60.0)
        self.answering = Limit(120, 60.0)
        self.reporting = Limit(20, 60.0)
        self.telling = Limit(30, 60.0)  # lines of the log, for each labeller


def store_of(request: Request) -> Store:
    return request.app.state.store


def session_of(request: Request) -> Session:
    return request.state.session


@router.post("/enter")
def enter(request: Request, body: Token) -> Response:
    """A link that was never used becomes a session; the answer is what its page must know."""
    doors: Doors = request.app.state.doors
    client = request.client.host if request.client else "unknown"
    if doors.entering.full(client):
        raise Refusal(429, "Too many wrong links. Wait a minute.", "a flood of wrong links")
    cookie = request.app.state.sessions.enter(body.token) or invited(request, body.token)
    if cookie is None:
        doors.entering.over(client)
        raise Refusal(
            403,
            "This link was used already, or is too old. The terminal, or whoever invited you, gives a new one.",
            "a wrong link",
        )
    answer = JSONResponse(settings(request, request.app.state.sessions.of(cookie), cookie))
    answer.set_cookie(request.app.state.cookie, cookie, max_age=int(SESSION_SECONDS), httponly=True, samesite="lax")
    return answer


def invited(request: Request, token: str) -> str | None:
    """The secret of a new session for whoever was invited by this token."""
    member = request.app.state.members.accept(token)
    return None if member is None else request.app.state.sessions.admit(member.labeller, member.name, True)


@router.post("/leave")
def leave(request: Request) -> Response:
    request.app.state.sessions.leave(request.state.cookie)
    answer = Response(status_code=204)
    answer.delete_cookie(request.app.state.cookie)
    return answer


@router.post("/claim", dependencies=[LABEL])
def claim(request: Request, body: Claim) -> dict[str, Any]:
    """Questions for this labeller: those that they hold already, then new ones."""
    found, says = claimed(request, body.count)
    shelf = request.app.state.clips
    given = [drawn.assignment(each, shelf) for each in found]
    nothing = None if found else idle(request)
    return {"assignments": given, "progress": progress(request), "says": says, "idle": nothing}


@router.get("/mine", dependencies=[LABEL])
def mine(request: Request) -> dict[str, Any]:
    """The last answers and skips of this person, the newest first, each with the event that undoes it."""
    acts = store_of(request).own_acts(session_of(request).labeller)
    shelf = request.app.state.clips
    return {"acts": [{"event": event, "question": drawn.assignment(each, shelf)} for event, each in acts]}


class Again(Body):
    key: Id


@router.post("/again", dependencies=[LABEL])
def again(request: Request, body: Again) -> dict[str, Any]:
    """Gives the questions again that this person skipped and that still want an answer, as many as a page holds.

    key: the client's own; asked twice with the same one, nothing is given twice.
    """
    store, labeller = store_of(request), session_of(request).labeller
    skips = store.open_skips(labeller)
    for event in skips[:MOST]:
        store.undo(labeller, f"{body.key}-{event}"[:200], event)
    return {"given": len(skips[:MOST]), "left": max(0, len(skips) - MOST)}


@router.post("/answer", dependencies=[LABEL])
def answer(request: Request, body: Answer) -> dict[str, Any]:
    labeller = session_of(request).labeller
    times = dict(body.times)
    if request.app.state.doors.answering.over(labeller):
        times["too_many_a_minute"] = True  # a person's answer is not thrown away for being fast; it is marked
        tell(request, "more than 120 answers a minute: kept, and marked")
    done = store_of(request).answer(labeller, body.assignment, body.lease, body.key, body.verdict, times)
    return {**receipt(done), "told": store_of(request).told(labeller, body.assignment)}


@router.post("/skip", dependencies=[LABEL])
def skip(request: Request, body: Skip) -> dict[str, Any]:
    labeller = session_of(request).labeller
    return receipt(store_of(request).skip(labeller, body.assignment, body.lease, body.key, body.reason))


@router.post("/flag", dependencies=[LABEL])
def flag(request: Request, body: Flag) -> dict[str, Any]:
    labeller = session_of(request).labeller
    return receipt(store_of(request).flag(labeller, body.assignment, body.lease, body.key, body.flag, body.note))


@router.post("/undo", dependencies=[LABEL])
def undo(request: Request, body: Undo) -> dict[str, Any]:
    """Takes an answer or a skip back and gives the question again."""
    found = store_of(request).undo(session_of(request).labeller, body.key, body.event)
    return {"assignment": drawn.assignment(found, request.app.state.clips)}


@router.post("/extend", dependencies=[LABEL])
def extend(request: Request, body: Holding) -> dict[str, Any]:
    """Renews leases while the page is looked at; tells which questions it holds no more."""
    store, labeller, gone = store_of(request), session_of(request).labeller, []
    for each in body.held:
        try:
            store.extend(labeller, each.assignment, each.lease)
        except LeaseLost:
            gone.append(each.assignment)
    return {"gone": gone}


@router.get("/clips/{name}")
async def clip(request: Request, name: Annotated[str, Field(max_length=40)]) -> Response:
    """The frames of a clip, below each other in one picture."""
    shelf: Shelf = request.app.state.clips
    if shelf.shown(name) is None:
        return Response(status_code=404)
    picture = await asyncio.wrap_future(shelf.begin(name))
    return Response(picture, media_type="image/jpeg", headers={"cache-control": "private, max-age=86400, immutable"})


@router.get("/progress")
def progress(request: Request) -> dict[str, Any]:
    return vars(store_of(request).progress(session_of(request).labeller))


class Wish(Body):
    warned: bool


@router.get("/me", dependencies=[LABEL])
def me(request: Request) -> dict[str, Any]:
    """What this person is told of themselves, and nobody else of them by this door."""
    member, store = member_of(request), store_of(request)
    return {
        "name": member.name,
        "role": member.role,
        "warned": member.warned,
        "an_hour": request.app.state.project.settings.warned_an_hour,
        "standing": vars(store.standing(member.labeller)),
        "answered": store.progress(member.labeller).answered,
    }


@router.post("/me/warned", dependencies=[LABEL])
def warned(request: Request, body: Wish) -> dict[str, Any]:
    """Whether this person wants to be asked about texts that may distress; they can change their mind at any time."""
    request.app.state.members.keep(replace(member_of(request), warned=body.warned))
    return {"warned": body.warned}


@router.post("/me/exit", dependencies=[LABEL])
def leave_for_good(request: Request) -> Response:
    """Gives back what is held, ends every session; what was answered stays and counts."""
    told, member = gone(request), member_of(request)
    if member.role != "owner":
        request.app.state.members.keep(replace(member, role=NOBODY))
    request.app.state.sessions.end(member.labeller)
    answer = JSONResponse(told)
    answer.delete_cookie(request.app.state.cookie)
    return answer


@router.get("/guideline")
def guideline(request: Request, version: Annotated[str | None, Field(max_length=40)] = None) -> dict[str, Any]:
    found = store_of(request).guideline_text(version)
    return {"html": str(sanitised(found, GUIDELINE_LENGTH)) if found else ""}


@router.get("/news")
async def news(request: Request) -> StreamingResponse:
    return StreamingResponse(request.app.state.watcher.news(), media_type="text/event-stream")


@router.post("/reports")
async def reports(request: Request) -> Response:
    """The browser says here that the content policy stopped something: logged, since it should never happen."""
    body = await request.body()
    if not request.app.state.doors.reporting.over("all"):
        LOG.error("the content policy stopped something: %.300s", body.decode(errors="replace").replace("\n", " "))
    return Response(status_code=204)


def receipt(done: Receipt) -> dict[str, Any]:
    return {"event": done.event, "seq": done.seq, "state": done.state, "repeated": done.repeated}


STATUS = {"UnknownAssignment": 404, "NotYours": 403, "LeaseLost": 409}


async def refused(request: Request, error: Exception) -> JSONResponse:
    """What the store will not do. A database in trouble is worth another try; anything else is not."""
    assert isinstance(error, Refused)
    trouble = type(error.__cause__).__module__.startswith("sqlalchemy")
    status = 503 if trouble else STATUS.get(type(error).__name__, 422)
    if status != 409:
        tell(request, f"refused {request.url.path}: {error}")
    return JSONResponse({"says": str(error)}, status)


def tell(request: Request, what: str) -> None:
    """A line of the log about this labeller; a flood of them does not fill it."""
    labeller = session_of(request).labeller
    if not request.app.state.doors.telling.over(labeller):
        LOG.warning("labeller %s: %s", labeller, what)
