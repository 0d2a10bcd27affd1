"""The pages for looking at runs, and what their scripts ask. Everything here is a GET and changes nothing."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from tutelage.data.errors import InputError
from tutelage.report.sanitise import plain
from tutelage.studio.files import FOREVER
from tutelage.studio.look import samples as sample_rows
from tutelage.studio.look.curves import Shelf, curves, settings
from tutelage.studio.look.findings import Surgery
from tutelage.studio.look.frontier import frontier
from tutelage.studio.look.lineage import lineage
from tutelage.studio.look.runs import Folder, Index, ending
from tutelage.studio.look.samples import SampleShelf
from tutelage.studio.members import may
from tutelage.studio.opening import _inert as inert  # pyright: ignore[reportPrivateUsage]
from tutelage.studio.opening import settings as page_settings
from tutelage.studio.security import Refusal

PAGES = {
    "runs": "Runs",
    "curves": "Curves",
    "samples": "Samples",
    "doctor": "Doctor",
    "frontier": "Frontier",
    "lineage": "Lineage",
    "play": "Play",
}
PLOTTED = ("curves", "doctor", "frontier")  # pages with plots
TOGETHER = 40  # runs looked at together
router = APIRouter(dependencies=[may("look")])  # policies by their names: not for those who judge
Id = Annotated[str, Query(max_length=1000)]
Ids = Annotated[list[str], Query(max_length=TOGETHER)]
Name = Annotated[str | None, Query(max_length=300)]


@dataclass
class Looking:
    """A folder of runs and what is held of it in memory. stores: feedback stores beside it, by name."""

    root: Path
    stores: dict[str, Path] = field(default_factory=dict[str, Path])
    shelf: Shelf = field(default_factory=Shelf)
    samples: SampleShelf = field(default_factory=SampleShelf)
    surgery: Surgery = field(default_factory=Surgery)
    index: Index = field(init=False)

    def __post_init__(self) -> None:
        self.index = Index(self.root)

    def add(self, app: FastAPI) -> None:
        """Puts the pages into an application."""
        app.state.looking = self
        app.include_router(router)

    def folder(self, name: str) -> Folder:
        try:
            return self.index.folder(name)
        except InputError as error:
            raise Refusal(404, str(error), "a run that there is not") from error


def looking_of(request: Request) -> Looking:
    return request.app.state.looking


def told(content: Any) -> Response:
    """JSON in ASCII: a name that a file system allows can hold halves of letters."""
    return Response(json.dumps(content, allow_nan=False), media_type="application/json")


@cache
def plotly() -> bytes:
    """The plotting library's own script, found without importing the package, which takes long."""
    package = importlib.util.find_spec("plotly")
    assert package is not None and package.origin is not None
    return (Path(package.origin).parent / "package_data" / "plotly.min.js").read_bytes()


@cache
def plotly_styles() -> list[str]:
    """Ids of style elements that the script would add, were there none of that id: the content policy forbids it."""
    return sorted({found.decode() for found in re.findall(rb'getElementById\("([0-9a-f]{32,128})"\)', plotly())})


@cache
def plotly_name() -> str:
    """An address that changes with the library's version."""
    return f"/look/plotly-{metadata.version('plotly')}.js"


@router.get("/look/{name}.js")
def script(request: Request, name: str) -> Response:
    if f"/look/{name}.js" != plotly_name():
        return Response(status_code=404)
    return Response(plotly(), media_type="text/javascript", headers=FOREVER)


@router.get("/look")
def door() -> Response:
    return RedirectResponse("/look/runs", 307)


@router.get("/look/{page}")
def shell(request: Request, page: str) -> Response:
    """A page; without a session it knows nothing but how to enter."""
    if page not in PAGES:
        raise Refusal(404, "There is no such page.", "a page that there is not")
    session, state = request.state.session, request.app.state
    found = page_settings(request, session, request.state.cookie) if session is not None else None
    root = plain(looking_of(request).root.resolve().name, 80) if session is not None else ""
    shown: dict[str, Any] = {
        "page": page,
        "pages": PAGES,
        "plotly": plotly_name() if page in PLOTTED else "",
        "root": root,
    }
    shown["styles"] = plotly_styles() if page in PLOTTED else []
    return HTMLResponse(_template().render(**shown, settings=inert(found), files=state.files))


@cache
def _template() -> Template:
    loader = PackageLoader("tutelage.studio")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True).get_template(
        "look.html"
    )


@router.get("/api/look/runs")
def runs(request: Request, mark: Name = None) -> Response:
    """All runs, the newest first; only the mark where nothing has changed since the page's."""
    rows, now = looking_of(request).index.rows()
    if mark == now:
        return told({"mark": now, "unchanged": True, "now": time.time()})
    return told({"mark": now, "now": time.time(), "runs": rows})


@router.get("/api/look/ending")
def ending_of(request: Request, run: Id) -> Response:
    """How it ended, and the end of what it printed."""
    return told(ending(looking_of(request).folder(run)))


@router.get("/api/look/curves")
def curves_of(
    request: Request, run: Id, stage: Name = None, known: int = -1, buckets: Annotated[int, Query(ge=10, le=500)] = 120
) -> Response:
    looking = looking_of(request)
    return told(curves(looking.shelf, looking.folder(run), stage, known, buckets))


@router.get("/api/look/settings")
def settings_of(request: Request, run: Ids) -> Response:
    looking = looking_of(request)
    return told(settings([looking.folder(each) for each in run]))


@router.get("/api/look/steps")
def steps_of(request: Request, run: Id, stage: Name = None) -> Response:
    looking = looking_of(request)
    return told(sample_rows.steps(looking.samples, looking.folder(run), stage))


@router.get("/api/look/samples")
def samples_of(
    request: Request, run: Id, step: int, stage: Name = None, first: int = 0, probe: bool = False
) -> Response:
    looking = looking_of(request)
    return told(sample_rows.at_step(looking.samples, looking.folder(run), stage, step, first, probe))


@router.get("/api/look/search")
def search(
    request: Request, run: Id, words: Annotated[str, Query(min_length=1, max_length=200)], stage: Name = None
) -> Response:
    looking = looking_of(request)
    return told(sample_rows.search(looking.samples, looking.folder(run), stage, words))


@router.get("/api/look/doctor")
def doctor(request: Request, run: Id) -> Response:
    looking = looking_of(request)
    return told(looking.surgery.findings(looking.folder(run)))


@router.get("/api/look/frontier")
def frontier_of(request: Request, run: Id) -> Response:
    looking = looking_of(request)
    return told(frontier(looking.shelf, looking.folder(run)))


@router.get("/api/look/lineage")
def lineage_of(request: Request) -> Response:
    looking = looking_of(request)
    return told(lineage(looking.index.all(), looking.stores))
