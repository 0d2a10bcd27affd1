"""A talk in which two policies answer every turn and the reply that a person prefers goes on (Bai et al. 2022, §2).

Every turn is a question of the store for this person alone, so it is leased, answered, verified and learned from like
any other; the talk is nothing but its questions, and goes on after any crash where it stood. In an attack (Ganguli et
al. 2022, §3.1) the person first writes what they set out to do and at the end rates how far it worked; the better
reply is what is asked for, since asking for the worse one makes training on both harder (Bai et al. 2022, §4.3).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import Field

from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, candidate_id
from tutelage.data.talks import ASSISTANT, HUMAN
from tutelage.feedback.asking import Asking, Check, Label, Refused
from tutelage.feedback.forms import Axis, Form
from tutelage.feedback.store import Store
from tutelage.studio import drawn, opening
from tutelage.studio.api import Body, Id, receipt
from tutelage.studio.limits import Limit
from tutelage.studio.members import may, member_of
from tutelage.studio.security import Refusal

if TYPE_CHECKING:  # it brings torch, for which a server without voices does not wait
    from tutelage.studio.voices import Message, Voice

MOST_TURNS = 20
LONGEST = 8000  # letters of a message
AGAIN = 3  # draws, where both voices said the same
SUCCESS = Form(axes=(Axis(name="attack success", low=0, high=4, worst="not at all", best="entirely"),))
Text = Annotated[str, Field(min_length=1, max_length=LONGEST, pattern=r"\S")]
TalkId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
LABEL = may("label")
router = APIRouter(prefix="/api/talk")


class Say(Body):
    talk: TalkId
    turn: Annotated[int, Field(ge=0, lt=MOST_TURNS)]
    text: Text
    kind: Literal["chat", "attack"] = "chat"
    task: Annotated[str, Field(max_length=2000)] = ""


class Which(Body):
    talk: TalkId


class End(Which):
    key: Id
    rating: Annotated[int, Field(ge=0, le=4)]
    notes: Annotated[str, Field(max_length=10_000)] = ""


def page(request: Request) -> HTMLResponse:
    return opening.shell(request, "talk.html")


@router.post("/say", dependencies=[LABEL])
def say(request: Request, body: Say) -> dict[str, Any]:
    """What the person says next; two replies to it. The same turn again gives the same replies."""
    store, voices = store_of(request), voices_of(request)
    mine = member_of(request)
    name = named(mine.labeller, body.talk, body.turn)
    if not store.known(name):
        limit: Limit = request.app.state.talking
        if limit.over(mine.labeller):
            raise Refusal(429, "That was a lot within a minute. Wait a little.", "a flood of talk")
        refuse_unwilling(body, mine.warned)
        said = [*turns(store, mine.labeller, body.talk, body.turn), {"role": "user", "content": tame(body.text)}]
        store.ask([asked(voices, said, body, mine.labeller, name)])
    return {"assignment": drawn_of(request, mine.labeller, name)}


def refuse_unwilling(body: Say, warned: bool) -> None:
    """An attack is made by those who said that they want to see such texts, and begins with what it is for."""
    if body.kind == "attack" and not warned:
        raise Refusal(
            403, 'An attack may bring up texts that distress. Say under "You" that you want to see such.', "no"
        )
    if body.kind == "attack" and not body.task.strip():
        raise Refused("an attack begins with a line that says what it sets out to do.")


def asked(voices: Sequence[Voice], said: list[Message], body: Say, labeller: str, name: str) -> Asking:
    """The question of a turn: the replies of two voices, or two of the only one."""
    chosen = random.Random(body.talk).sample(range(len(voices)), 2) if len(voices) > 1 else [0, 0]
    pair = [voices[place] for place in chosen]
    texts = replies(pair, said, body)
    candidates = tuple(
        Candidate(id=candidate_id(name, place), text=text, policy=voice.policy, sampler=voice.sampler)
        for place, (voice, text) in enumerate(zip(pair, texts, strict=True))
    )
    both = all(each.asks(said).messages for each in pair)
    context = pair[0].asks(said) if both or pair[0].asks(said).prompt else pair[1].asks(said)
    form = {"warning": "an attack"} if body.kind == "attack" else {}
    check = Check("talk", person=labeller, right={"task": body.task} if body.task else {}, says=said[-1]["content"])
    return Asking(context, candidates, "turn", name, priority=1.0, form=form, check=check)


def replies(pair: Sequence[Voice], said: list[Message], body: Say) -> list[str]:
    """Two texts, drawn again where they are the same or one is empty."""
    start = random.Random(f"{body.talk} {body.turn}").randrange(1 << 30)
    texts: list[str] = []
    try:
        for number in range(AGAIN):
            texts = [voice.reply(said, start + 2 * number + place) for place, voice in enumerate(pair)]
            if texts[0] != texts[1] and all(texts):
                break
    except InputError as error:  # a talk that no longer fits into the model, for instance
        raise Refused(str(error)) from error
    return [each or "…" for each in texts]


@router.post("/state", dependencies=[LABEL])
def state(request: Request, body: Which) -> dict[str, Any]:
    """Where a talk of this person stands: what was said, and the choice that waits, if one does."""
    store, mine = store_of(request), member_of(request)
    found: list[dict[str, str]] = []
    for turn in range(MOST_TURNS):
        name = named(mine.labeller, body.talk, turn)
        known = store.known(name)
        if known is None:
            return {"said": found, "turn": turn, "assignment": None}
        person = {"who": "You", **drawn.text(known["right"]["says"])}
        label = store.label_of(name, mine.labeller)
        if label is None:
            return {"said": [*found, person], "turn": turn, "assignment": drawn_of(request, mine.labeller, name)}
        found += [person, {"who": "Assistant", **drawn.text(goes_on(label))}]
    return {"said": found, "turn": MOST_TURNS, "assignment": None}


@router.post("/end", dependencies=[LABEL])
def end(request: Request, body: End) -> dict[str, Any]:
    """Of an attack: how far it worked by the attacker's own word, about its last reply and what led to it."""
    store, mine = store_of(request), member_of(request)
    last = max((t for t in range(MOST_TURNS) if store.known(named(mine.labeller, body.talk, t))), default=None)
    label = None if last is None else store.label_of(named(mine.labeller, body.talk, last), mine.labeller)
    if label is None:
        raise Refused("an attack is rated after its last choice.")
    known = store.known(named(mine.labeller, body.talk, 0))
    if known is None:
        raise Refused("this talk was erased.")
    task = known["right"]["verdict"].get("task", "")
    name = named(mine.labeller, body.talk, MOST_TURNS)
    reply = next(each for each in label.comparison.candidates if each.text == goes_on(label))
    check = Check("attack", person=mine.labeller, says=task)
    store.ask([Asking(label.comparison.context, (reply,), "attack", name, form=SUCCESS.row(), check=check)])
    held = next(iter(store.claim(mine.labeller, names=[name])), None)
    if held is None:
        return {"state": "counted", "repeated": True}
    verdict = {"ratings": {"attack success": {held.shown[0].id: body.rating}}, "notes": noted(task, body.notes)}
    return receipt(store.answer(mine.labeller, held.id, held.lease, body.key, verdict))


def noted(task: str, notes: str) -> str:
    return f"task: {task}\n{notes}".strip()


def named(labeller: str, talk: str, turn: int) -> str:
    """Of a turn: it holds whose talk it is, so nobody reaches another's."""
    return f"talk-{labeller}-{talk}-{turn}"


def turns(store: Store, labeller: str, talk: str, turn: int) -> list[Message]:
    """What was said before this turn. Refused where a choice is missing."""
    said: list[Message] = []
    for before in range(turn):
        name = named(labeller, talk, before)
        known, label = store.known(name), store.label_of(name, labeller)
        if known is None or label is None:
            raise Refused("choose between the replies first: the one you choose goes on.")
        said.append({"role": "user", "content": known["right"]["says"]})
        said.append({"role": "assistant", "content": goes_on(label)})
    return said


def goes_on(label: Label) -> str:
    """The chosen reply; where none was, the one that stood first."""
    comparison = label.comparison
    first = comparison.verdict.shown[0]
    place = comparison.best
    own = comparison.candidates[place].id if place is not None else first
    return next(each.text or "" for each in comparison.candidates if each.id == own)


def tame(text: str) -> str:
    """A person's words never look like the next turn of a talk in one text."""
    for mark in (HUMAN, ASSISTANT):
        text = text.replace(mark, mark.replace("\n\n", "\n "))
    return text.strip()


def drawn_of(request: Request, labeller: str, name: str) -> dict[str, Any]:
    """The turn as the page gets it, leased; LeaseLost for one that was answered meanwhile."""
    found = store_of(request).claim(labeller, names=[name])
    if not found:
        raise Refused("that turn was answered already. Load the page again.")
    return drawn.assignment(found[0], request.app.state.clips)


def store_of(request: Request) -> Store:
    return request.app.state.store


def voices_of(request: Request) -> Sequence[Voice]:
    found: Sequence[Voice] = request.app.state.voices
    if not found:
        raise Refusal(404, "Nobody answers here: start the server with --chat MODEL MODEL.", "a talk without voices")
    return found
