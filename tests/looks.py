"""How pages are looked at: at 1280 and 390 pixels, light and dark, by axe and by people.

TUTELAGE_PICTURES=DIR keeps a picture of each; those of docs/studio were made by
`TUTELAGE_PICTURES=docs/studio python -m pytest tests/browser/test_pictures.py tests/browser/test_pictures_of_runs.py`.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from tests.labelling import ROOT

AXE = ROOT / ".build" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
NO_AXE = "needs axe-core and npm: source .ci/browser"
LOOKS = [(width, height, scheme) for width, height in ((1280, 800), (390, 844)) for scheme in ("light", "dark")]
TALLEST = {1280: 1250, 390: 1700}  # pixels of a picture that is kept
COLOURS = 64

DESK = ("entrance", "viewer", "pair", "ranking", "good", "rating", "rules", "edit", "clip", "cover")
TEAM = ("team", "team-lead", "team-viewer", "team-labeller")
TALK = ("talk-begin", "talk", "attack", "attack-end")
TAMER = ("tamer-tetris", "tamer-mountain-car")
RUNS = ("runs", "curves", "samples", "doctor", "frontier", "overoptimisation", "objectives", "lineage")
FOLDED = ("runs-unfolded", "curves-unfolded", "samples-unfolded")  # seen by axe, not kept
PLAY = ("play-chat", "play-arena", "play-arena-judged", "play-best-of-n", "play-opinion")
COVERED = {
    "/": DESK,
    "/team": TEAM,
    "/talk": TALK,
    "/tamer/{game}": TAMER,
    "/look/{page}": RUNS + FOLDED + PLAY,
}  # address -> what is seen of it; each of these in every look


def findings(page: Any) -> list[Any]:
    """What axe finds against WCAG 2.2 A and AA, and its good practice; nothing where axe is not there."""
    if not AXE.exists():
        return []
    page.evaluate(AXE.read_text(encoding="utf-8"))
    violations = page.evaluate("() => axe.run().then((result) => result.violations)")
    return [(each["id"], each["impact"], [node["html"][:160] for node in each["nodes"]]) for each in violations]


def seen(page: Any, name: str, look: tuple[int, int, str]) -> None:
    """Nothing wider than the screen, no finding of axe, and a picture where one is wanted."""
    width, _, scheme = look
    assert any(name in names for names in COVERED.values()), name
    page.wait_for_timeout(150)
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width, f"{name} is {wide} wide"
    if os.environ.get("TUTELAGE_PICTURES") and name not in FOLDED:
        kept(page, Path(os.environ["TUTELAGE_PICTURES"]) / f"{name}-{width}-{scheme}.png", width)
    found = findings(page)
    assert found == [], found


def kept(page: Any, place: Path, width: int) -> None:
    """A picture of the whole page, on a screen as high as the page: plots are drawn when they come into sight, and what
    keeps to the bottom of the screen stands there.
    """
    from PIL import Image

    before = page.viewport_size
    height = page.evaluate("() => document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": max(before["height"], min(height, TALLEST[width]))})
    page.evaluate("() => window.scrollTo({ top: 0, behavior: 'instant' })")
    page.wait_for_timeout(600)
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    few = shot.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)  # thin lines keep their colour
    few.save(place, optimize=True)
    page.set_viewport_size(before)


def somebody(person: Any, look: tuple[int, int, str], **context: Any) -> Any:
    """A person with such a screen; axe needs a page that lets it in."""
    width, height, scheme = look
    return person(viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True, **context)
