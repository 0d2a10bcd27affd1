"""The application: pages, scripts and the interface behind them, with the guard in front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.types import ASGIApp

from tutelage.feedback.asking import Refused
from tutelage.feedback.store import Store
from tutelage.studio import api, pages, talks, tamer, team
from tutelage.studio.clips import Shelf
from tutelage.studio.files import Files
from tutelage.studio.limits import Limit
from tutelage.studio.live import Watcher
from tutelage.studio.members import Members
from tutelage.studio.opening import label
from tutelage.studio.project import Project
from tutelage.studio.security import Guard, Refusal
from tutelage.studio.sessions import Sessions

if TYPE_CHECKING:  # it brings torch
    from tutelage.studio.voices import Voice


def application(
    project: Project, store: Store, sessions: Sessions, hosts: frozenset[str], voices: Sequence[Voice] = ()
) -> ASGIApp:
    """Everything that one server serves. hosts: names, each with its port, under which it may be asked; voices: the
    policies that answer in talks."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    port = next(iter(hosts)).rpartition(":")[2]
    cookie = f"tutelage-{port}"  # a browser does not keep the cookies of two ports apart
    app.state.project, app.state.store, app.state.sessions = project, store, sessions
    app.state.doors, app.state.pages, app.state.cookie = api.Doors(), pages.found(), cookie
    app.state.watcher, app.state.clips = Watcher(store, project.folder), Shelf(project.folder)
    app.state.members = Members(project.folder / "team.json", sessions.clock)
    app.state.address = lambda request: f"{request.url.scheme}://{request.headers['host']}"
    app.state.warned = Limit(project.settings.warned_an_hour, 3600.0)
    app.include_router(api.router)
    app.include_router(tamer.router)
    app.state.plays = tamer.Plays(store)
    app.state.voices, app.state.talking = voices, Limit(20, 60.0)
    app.include_router(team.router)
    app.include_router(talks.router)
    app.add_api_route("/talk", talks.page, response_class=HTMLResponse)
    app.add_api_route("/", label, response_class=HTMLResponse)
    app.add_api_route("/team", team.page, response_class=HTMLResponse)
    app.state.files = Files()
    app.add_api_route("/tamer/{game}", tamer.page, response_class=HTMLResponse)
    app.add_route("/static/{path:path}", app.state.files.serve)
    if project.also is not None:
        project.also(app)
    guard = Guard(app, sessions, hosts, cookie)

    async def refusal(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Refusal)
        guard.log(request.scope, error)
        return JSONResponse({"says": error.says}, error.status)

    app.add_exception_handler(Refusal, refusal)
    app.add_exception_handler(Refused, api.refused)
    app.add_exception_handler(RequestValidationError, unreadable)
    return guard


async def unreadable(request: Request, error: Exception) -> JSONResponse:
    """A body that is no request of ours; what it held is not sent back."""
    assert isinstance(error, RequestValidationError)
    fields = sorted({".".join(map(str, each["loc"][1:])) or "the body" for each in error.errors()})
    return JSONResponse({"says": f"Not understood: {', '.join(fields)[:200]}."}, 422)
