"""What a run says of itself while people answer (live.json), and telling the open pages when something has moved.

One watcher for all pages: it looks at the store and at the file, and every page hears of it over server-sent events.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tutelage.feedback.asking import Refused
from tutelage.feedback.store import Store
from tutelage.report.sanitise import plain

WATCH_SECONDS = 1.0
QUIET_SECONDS = 15.0  # after so long without news a page hears that the server is there


class Win(BaseModel):
    """What wins: a taste by name, and the share of pairs in which the answer that has more of it is preferred."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    name: str = Field(max_length=60)
    value: float = Field(ge=0, le=1)
    low: float | None = Field(default=None, ge=0, le=1)
    high: float | None = Field(default=None, ge=0, le=1)
    n: int | None = Field(default=None, ge=0)


class Live(BaseModel):
    """What the page shows of live.json. The policy's name is not among it: whoever answers is not told whose it is."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="ignore")

    round: int | None = None
    step: int | None = None
    labels: int | None = None
    waiting: bool = False
    says: str = Field(default="", max_length=300)
    win_rate: float | None = Field(default=None, ge=0, le=1)
    win_rate_low: float | None = Field(default=None, ge=0, le=1)
    win_rate_high: float | None = Field(default=None, ge=0, le=1)
    win_rate_n: int | None = Field(default=None, ge=0)
    kl_nats: float | None = None
    wins: tuple[Win, ...] = Field(default=(), max_length=12)


def read(folder: Path) -> dict[str, Any] | None:
    """live.json as the page shows it; None where there is none, or where it is none of that."""
    try:
        found = Live.model_validate(json.loads((folder / "live.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None
    shown = found.model_dump(exclude_none=True)
    return {
        **shown,
        "says": plain(found.says),
        "wins": [{**each, "name": plain(each["name"])} for each in shown["wins"]],
    }


class Watcher:
    """Tells every open page of new events in the store and of a changed live.json; idle while no page is open."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder = store, folder
        self._pages: set[asyncio.Queue[dict[str, Any]]] = set()
        self._task: asyncio.Task[None] | None = None

    async def news(self) -> AsyncIterator[str]:
        """Server-sent events for one page, until it is closed."""
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=100)
        self._pages.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch())
        try:
            last = await asyncio.to_thread(self.store.wait, 0, 0.0)  # what happened before this page listened
            yield sent({"live": read(self.folder), "seq": last})
            while True:
                try:
                    yield sent(await asyncio.wait_for(queue.get(), QUIET_SECONDS))
                except TimeoutError:
                    yield ": still here\n\n"
        finally:
            self._pages.discard(queue)

    async def _watch(self) -> None:
        seq, live = 0, None
        while self._pages:
            last, found = await asyncio.to_thread(self._look, seq)
            if last != seq:
                self._tell({"seq": last})
            if found != live:
                self._tell({"live": found})
            seq, live = last, found
            await asyncio.sleep(0.1)  # a burst of answers is one piece of news

    def _look(self, seq: int) -> tuple[int, dict[str, Any] | None]:
        """The last event and live.json, as soon as there is news; a database in trouble has none for the moment."""
        try:
            seq = self.store.wait(seq, WATCH_SECONDS)
        except Refused:
            time.sleep(WATCH_SECONDS)
        return seq, read(self.folder)

    def _tell(self, news: dict[str, Any]) -> None:
        for queue in self._pages:
            if not queue.full():
                queue.put_nowait(news)


def sent(news: dict[str, Any]) -> str:
    return f"data: {json.dumps(news, allow_nan=False)}\n\n"
