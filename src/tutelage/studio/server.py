"""Starting the server: its address, its one-time link, the browser; stopping it at any moment loses nothing."""

from __future__ import annotations

import contextlib
import errno
import getpass
import ipaddress
import logging
import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import uvicorn

from tutelage.data.errors import InputError
from tutelage.feedback.store import Store
from tutelage.studio.app import application
from tutelage.studio.project import Project, ask
from tutelage.studio.sessions import Sessions

if TYPE_CHECKING:  # it brings torch
    from tutelage.studio.voices import Voice

CLOSING_SECONDS = 1  # for open pages, when the server is stopped


def only_here(host: str) -> str:
    """The host, if nobody but this machine can reach it; anything wider needs what is not there yet."""
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise InputError(
            f"--host {host} would let others on the network in, without accounts and without encryption. Keep "
            "127.0.0.1 and let them come through a tunnel: ssh -L 8765:127.0.0.1:8765 THIS-MACHINE."
        )
    return host


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there, before anything else is begun."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(128)
    except (OSError, OverflowError) as error:
        found.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        why = "something else is listening there" if taken else str(error)
        raise InputError(f"the page cannot be served at {host}:{port}: {why}. Give another --port.") from error
    return found


def serve(
    project: Project,
    store: Store,
    place: tuple[str, int],
    browser: bool,
    name: str | None = None,
    voices: Sequence[Voice] = (),
) -> None:
    """Serves the page until it is stopped."""
    host = only_here(place[0])
    with contextlib.closing(bound(host, place[1])) as listening:
        port = listening.getsockname()[1]
        stop = threading.Event()
        asked = _asking(project, store, stop)
        name = name or user()
        labeller = store.labeller(name)
        sessions = Sessions(project.folder / "sessions.json")
        app = application(project, store, sessions, names(host, port), voices)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"

        def link() -> str:
            return f"{address}{project.opens}?t={sessions.link(labeller, name)}"

        with logged():
            _run(app, listening, lambda: _opened(link, browser))
        stop.set()
        asked.join()


def names(host: str, port: int) -> frozenset[str]:
    """What a browser may call this server."""
    return frozenset(f"{each}:{port}" for each in {"localhost", "127.0.0.1", f"[{host}]" if ":" in host else host})


def user() -> str:
    """Who sits here, by the machine's own word."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "me"


def _asking(project: Project, store: Store, stop: threading.Event) -> threading.Thread:
    """Asks the first questions, then the rest beside the server. A fault in the first rows stops everything."""
    faults: list[InputError] = []
    some, opened = threading.Event(), threading.Event()

    def work() -> None:
        try:
            report = ask(project, store, some, stop)
            if report.dropped:
                print(f"{project.source}: {report}", flush=True)
        except InputError as error:
            faults.append(error)
            if opened.is_set():
                print(f"tutelage: {error} The questions before it are asked.", file=sys.stderr, flush=True)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    some.wait()
    thread.join(0.05)  # a file that is wrong in its first rows is told of here
    opened.set()
    if faults:
        raise faults[0]
    return thread


def _opened(link: Callable[[], str], browser: bool) -> None:
    """Prints a link, opens it if wanted, and gives another whenever Enter is pressed."""
    first = link()
    print(f"{first}\n  works once; Enter gives another one; Ctrl-C stops the server, and nothing is lost.", flush=True)
    if browser and can_show():
        threading.Thread(target=webbrowser.open, args=(first,), daemon=True).start()
    if sys.stdin is not None and sys.stdin.isatty():
        threading.Thread(target=_more_links, args=(link,), daemon=True).start()


def can_show() -> bool:
    """Whether there is a screen: without one, a browser of letters would take the terminal."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _more_links(link: Callable[[], str]) -> None:
    for _ in sys.stdin:
        print(link(), flush=True)


def _run(app: object, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Runs until a signal comes. The link is printed when it can be followed."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,  # pyright: ignore[reportArgumentType]
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=CLOSING_SECONDS,
            lifespan="off",
        )
    )
    start = server.startup

    async def startup(sockets: list[socket.socket] | None = None) -> None:
        await start(sockets)
        ready()

    server.startup = startup
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


@contextlib.contextmanager
def logged() -> Iterator[None]:
    """Refusals and troubles on the terminal, a line each."""
    log, handler = logging.getLogger("tutelage.studio"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
