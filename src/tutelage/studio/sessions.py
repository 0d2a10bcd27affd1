"""Who is let in: a link that works once becomes a session, kept as a hash, so that no file can be used to enter.

Sessions outlive the server: whoever was answering when it was killed goes on when it is back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.data.errors import InputError
from tutelage.runs.files import write_json

LINK_SECONDS = 3600.0
SESSION_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Session:
    """labeller: id in the store; name: how the page greets; until: seconds since 1970; invited: not by the terminal."""

    labeller: str
    name: str
    until: float
    invited: bool = False


class Sessions:
    """Links and sessions of one project. path: a file with hashes only, beside the store, readable by its owner."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = path, clock
        self._lock = threading.Lock()
        self._links: dict[str, Session] = {}
        found = kept(path, "Delete it: everyone enters by a new link then.")
        self._secret = str(found.get("secret") or secrets.token_hex(32))
        self._sessions = {name: Session(**each) for name, each in found.get("sessions", {}).items()}
        self._keep()

    def link(self, labeller: str, name: str) -> str:
        """A token that lets this labeller in once."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._links[hashed(token)] = Session(labeller, name, self.clock() + LINK_SECONDS)
        return token

    def enter(self, token: str) -> str | None:
        """The secret of a new session, if the link was good. The link is used up."""
        with self._lock:
            found = self._links.pop(hashed(token), None)
        if found is None or found.until < self.clock():
            return None
        return self.admit(found.labeller, found.name)

    def admit(self, labeller: str, name: str, invited: bool = False) -> str:
        """The secret of a new session of somebody who was let in."""
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[hashed(cookie)] = Session(labeller, name, self.clock() + SESSION_SECONDS, invited)
            self._keep()
        return cookie

    def end(self, labeller: str) -> None:
        """All sessions of this labeller are over."""
        with self._lock:
            self._sessions = {name: each for name, each in self._sessions.items() if each.labeller != labeller}
            self._keep()

    def of(self, cookie: str | None) -> Session | None:
        """The session behind a cookie."""
        found = self._sessions.get(hashed(cookie)) if cookie else None
        return found if found is not None and found.until > self.clock() else None

    def leave(self, cookie: str) -> None:
        with self._lock:
            if self._sessions.pop(hashed(cookie), None):
                self._keep()

    def proof(self, cookie: str) -> str:
        """What the page of this session sends with everything that changes something; no other site can read it."""
        return hmac.new(self._secret.encode(), cookie.encode(), hashlib.sha256).hexdigest()

    def proven(self, cookie: str, proof: str) -> bool:
        return hmac.compare_digest(self.proof(cookie).encode(), proof.encode())

    def _keep(self) -> None:
        alive = {name: each for name, each in self._sessions.items() if each.until > self.clock()}
        self._sessions = alive
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.with_name(self.path.name + ".part").touch(mode=0o600)  # what is written there keeps that mode
        write_json(self.path, {"secret": self._secret, "sessions": {name: vars(each) for name, each in alive.items()}})


def hashed(token: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(token.encode()).hexdigest()


def kept(path: Path, instead: str) -> dict[str, Any]:
    """What is in a file beside the store, or nothing. instead: what to do where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}. {instead}") from error
