"""The page as it is first sent, and what its scripts are told: at once to whoever has a session, else on entering."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from tutelage.studio.members import MAY
from tutelage.studio.pages import Page
from tutelage.studio.project import Project
from tutelage.studio.sessions import Session


def label(request: Request) -> HTMLResponse:
    return shell(request, "label.html")


def shell(request: Request, template: str) -> HTMLResponse:
    """A page. Without a session it knows nothing but how to enter."""
    session: Session | None = request.state.session
    state = request.app.state
    found = settings(request, session, request.state.cookie) if session is not None else None
    title = state.project.name if session is not None else "tutelage"
    return HTMLResponse(_template(template).render(title=title, settings=_inert(found), files=state.files))


def settings(request: Request, session: Session, cookie: str) -> dict[str, Any]:
    """What the scripts of this session's page are told."""
    state = request.app.state
    project: Project = state.project
    known: dict[str, Page] = state.pages
    role = state.members.of(session).role
    return {
        "title": project.name,
        "proof": state.sessions.proof(cookie),
        "labeller": session.labeller,
        "role": role,
        "may": {act: role in roles for act, roles in MAY.items()},
        "talks": len(state.voices),
        "guideline": state.store.guideline_version(),
        "block": project.settings.block,
        "blockMinutes": project.settings.block_minutes,
        "pauseSeconds": project.settings.pause_seconds,
        "pages": {kind: page.settings(project.settings) for kind, page in known.items()},
    }


@cache
def _template(name: str) -> Template:
    loader = PackageLoader("tutelage.studio")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True).get_template(name)


def _inert(found: Any) -> Markup:
    """JSON inside a script element that no text can end."""
    return Markup(json.dumps(found).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
