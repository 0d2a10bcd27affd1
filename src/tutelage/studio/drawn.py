"""From an assignment to what the browser gets: words made safe, opaque names, and nothing that tells who wrote them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from tutelage.data.records import Context
from tutelage.data.talks import ASSISTANT, HUMAN
from tutelage.feedback.asking import Assignment, Shown
from tutelage.report.sanitise import plain, sanitised
from tutelage.studio.clips import Shelf

LONGEST = 60_000  # characters of one text; what a person can read in an hour
SPEAKERS = {"system": "System", "user": "Person", "assistant": "Assistant", "tool": "Tool"}
TURN = re.compile(f"({re.escape(HUMAN)}|{re.escape(ASSISTANT)})")


def text(words: str) -> dict[str, str]:
    """Both ways of showing a text: as markdown, and as it was written."""
    html, as_written = _shown(words)
    return {"html": html, "plain": as_written}


@lru_cache(maxsize=512)
def _shown(words: str) -> tuple[str, str]:
    """Kept, since a page asks for what it holds again with every claim, and cleaning costs more than claiming."""
    return str(sanitised(words, LONGEST)), plain(words, LONGEST)


def context(asked: Context) -> list[dict[str, str]]:
    """The turns that stand above the answers."""
    if asked.messages:
        return [_turn(each.get("role", ""), each.get("content", "")) for each in asked.messages]
    prompt = asked.prompt or ""
    return talk(prompt) if HUMAN in prompt and ASSISTANT in prompt else [{"who": "", **text(prompt)}]


def talk(prompt: str) -> list[dict[str, str]]:
    """HH-RLHF's way of writing a talk in one text, as turns; the last mark, which waits for the answer, is no turn."""
    pieces = [each.strip() for each in TURN.split(prompt)]
    before, marks, words = pieces[0], pieces[1::2], pieces[2::2]
    turns = [("", before), *zip(("user" if f"\n\n{mark}" == HUMAN else "assistant" for mark in marks), words)]
    return [_turn(role, said) for role, said in turns if said]


def _turn(role: str, words: str) -> dict[str, str]:
    return {"who": SPEAKERS.get(role, plain(role, 40).capitalize()), **text(words)}


def assignment(given: Assignment, shelf: Shelf) -> dict[str, Any]:
    """Exactly what the browser is told; a field that is not named here does not leave the server."""
    return {
        "id": given.id,
        "lease": given.lease,
        "kind": given.kind,
        "guideline": given.guideline,
        "context": context(given.context),
        "form": dict(given.form),
        "shown": [shown(given.kind, each, shelf) for each in given.shown],
        "returned": returned(given.returned) if given.returned is not None else None,
    }


def shown(kind: str, candidate: Shown, shelf: Shelf) -> dict[str, Any]:
    """A candidate's words, or its clip; one that is to be edited also letter by letter, for a field without HTML."""
    if candidate.media is not None:
        return {"id": candidate.id, "clip": shelf.shown(candidate.media)}
    words = candidate.text or ""
    exact = {"exact": sendable(words)} if kind == "edit" else {}
    return {"id": candidate.id, **text(words), **exact}


def returned(said: Any) -> Any:
    """What had been answered; of texts, half letters, which cannot be sent, become question marks."""
    if isinstance(said, dict):
        return {name: returned(value) for name, value in said.items()}
    return sendable(said) if isinstance(said, str) else said


def sendable(words: str) -> str:
    return words.encode(errors="replace").decode()
