"""Two voices that need no model, for tests of talks in a browser."""

from __future__ import annotations

from tutelage.data.records import Context
from tutelage.studio.voices import Voice

WORDS = ("the parcel is on its way", "nobody knows that yet", "please look at the letter", "it was sent on Monday")


def speaker(name: str, step: int) -> Voice:
    def reply(messages, number):
        return f"Well, {WORDS[(step + len(messages) + number) % len(WORDS)]} ({number % 97})."

    return Voice(name, reply, lambda messages: Context(messages=tuple(messages)), {"temperature": 1.0})


SPEAKERS = (speaker("step-100", 1), speaker("step-200", 2))
