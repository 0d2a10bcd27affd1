"""Judges of pairs that are models: any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

from tutelage.data.errors import InputError
from tutelage.data.secrets import masked
from tutelage.feedback.answering import NoVerdict

QUESTION = """Two replies were given to the same request. Which one is better?

Request:
{prompt}

Reply A:
{first}

Reply B:
{second}

Answer with one letter: A, B, or T if they are equally good."""
ANSWERS = {"A": 1.0, "B": 0.0, "T": 0.5}
AGAIN_AFTER_S = (0.5, 2.0, 8.0)


@dataclass(frozen=True)
class Endpoint:
    """P(first is better) by a chat model: 1, 0, or 0.5 for a tie.

    url: of the API, such as http://127.0.0.1:8000/v1; model: its name there. A key is read from OPENAI_API_KEY at each
    request and is kept nowhere. A failed request is tried again three times; then InputError stops the run, since a
    judge that cannot be reached has no opinion.
    """

    url: str
    model: str
    timeout_s: float = 60.0
    transport: httpx.BaseTransport | None = None

    def __call__(self, prompt: str, first: str, second: str) -> float:
        content = QUESTION.format(prompt=prompt, first=first, second=second)
        asked = {"model": self.model, "temperature": 0.0, "max_tokens": 8}
        said = self._asked({**asked, "messages": [{"role": "user", "content": content}]})
        letter = re.match(r"\W*([ABT])\b", said)
        if letter is None:
            raise NoVerdict(f"it said {said[:60]!r}, expected A, B or T")
        return ANSWERS[letter[1]]

    def _asked(self, body: dict[str, Any]) -> str:
        for pause_s in (*AGAIN_AFTER_S, None):
            try:
                return self._once(body)
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
                if pause_s is None or (status is not None and status < 500 and status != 429):
                    raise InputError(
                        f"the judge at {masked(self.url)} (model {self.model!r}) cannot be asked: {_says(error)}. "
                        "Start it, or correct the address, the model's name or OPENAI_API_KEY; what was answered is "
                        "kept."
                    ) from error
                time.sleep(pause_s)
        raise AssertionError

    def _once(self, body: dict[str, Any]) -> str:
        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with httpx.Client(timeout=self.timeout_s, transport=self.transport) as client:
            reply = client.post(f"{self.url.rstrip('/')}/chat/completions", json=body, headers=headers)
        reply.raise_for_status()
        try:
            return str(reply.json()["choices"][0]["message"]["content"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise NoVerdict(f"it sent {reply.text[:60]!r}, which is no chat completion") from error


def _says(error: Exception) -> str:
    return masked(str(error).split("\n")[0]) or type(error).__name__
