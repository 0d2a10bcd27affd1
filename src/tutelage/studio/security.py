"""What every request has to pass and every answer carries, whatever page it is for.

In this order: the host it asks for (a name that somebody bent to this address is refused), its size, where it comes
from (the browser says so: Origin and Sec-Fetch-Site), whose it is (the cookie's session), and that this session's page
sent it (a proof in a header). Refusals are logged by what was wrong, never with what was sent.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tutelage.studio.limits import Limit
from tutelage.studio.sessions import Sessions

LOG = logging.getLogger("tutelage.studio")
SAFE = {"GET", "HEAD"}
ENTER, REPORTS = "/api/enter", "/api/reports"
WITHOUT_PROOF = {ENTER, REPORTS}  # the first makes the session, the second is sent by the browser itself
LONGEST_BODY = 64 * 1024
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types tutelage",
        f"report-uri {REPORTS}",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


class Refusal(Exception):
    """A request that gets no answer but this. why: for the log; says: for whoever sent it."""

    def __init__(self, status: int, says: str, why: str) -> None:
        super().__init__(why)
        self.status, self.says, self.why = status, says, why


class Guard:
    """The door in front of the application. hosts: what Host may say, each with its port."""

    def __init__(self, app: ASGIApp, sessions: Sessions, hosts: frozenset[str], cookie: str) -> None:
        self.app, self.sessions, self.hosts, self.cookie = app, sessions, hosts, cookie
        self._said = Limit(30, 60.0)  # lines of the log a minute: a flood does not fill the terminal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
            await self.app(scope, _measured(receive), _with_headers(send))
        except Refusal as refusal:
            self.log(scope, refusal)
            await _answer(_with_headers(send), refusal)

    def log(self, scope: Scope, refusal: Refusal) -> None:
        if not self._said.over(refusal.why):
            client = (scope.get("client") or ("unknown",))[0]
            LOG.warning("refused %s %.80s from %s: %s", scope["method"], scope["path"], client, refusal.why)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self.hosts:
            raise Refusal(421, "This server answers under its own name only.", "a host that is not this server's")
        if int_or(headers.get("content-length"), 0) > LONGEST_BODY:
            raise Refusal(413, "That is too long.", "a body that is too long")
        self._check_where_from(scope, headers)
        secret = cookie_of(headers, self.cookie)
        session = self.sessions.of(secret)
        scope.setdefault("state", {}).update(session=session, cookie=secret if session else None)
        path: str = scope["path"]
        if not path.startswith("/api/") or path in WITHOUT_PROOF:
            return
        if session is None or secret is None:
            raise Refusal(401, "Your session is over. Open the link that the server printed.", "no session")
        proof = headers.get("x-tutelage-proof", "")
        if scope["method"] not in SAFE and not self.sessions.proven(secret, proof):
            raise Refusal(401, "Load the page again.", "no proof that this session's page sent it")

    def _check_where_from(self, scope: Scope, headers: Headers) -> None:
        """A page of another site may link here and nothing else; what changes something must come from our page."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        own = origin is not None and origin in {f"{scope['scheme']}://{host}" for host in self.hosts}
        if scope["method"] in SAFE:
            foreign = site not in (None, "same-origin", "none") and headers.get("sec-fetch-mode") != "navigate"
            if foreign or (origin is not None and not own):
                raise Refusal(403, "Only this server's own pages may ask for that.", "a request from another site")
        elif not own or site not in (None, "same-origin"):
            raise Refusal(403, "Only this server's own pages may ask for that.", "a request from another site")


def cookie_of(headers: Mapping[str, str], name: str) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return found.value if found else None


def int_or(value: str | None, otherwise: int) -> int:
    return int(value) if value is not None and value.isdecimal() else otherwise


def _measured(receive: Receive) -> Receive:
    """Counts what really comes: a length in a header is only a claim."""
    taken = 0

    async def measured() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LONGEST_BODY:
            raise Refusal(413, "That is too long.", "a body that is too long")
        return message

    return measured


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending


async def _answer(send: Send, refusal: Refusal) -> None:
    body = json.dumps({"says": refusal.says}).encode()
    headers: list[Any] = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
