"""Scripts and styles, read once: what is not in the package cannot be asked for, and nothing waits for the disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

import tutelage.report

STATIC = Path(__file__).parent / "static"
PALETTE = Path(tutelage.report.__file__).parent / "templates" / "palette.css"
TYPES = {".js": "text/javascript", ".css": "text/css"}


FOREVER = {"cache-control": "max-age=31536000, immutable"}


@dataclass(frozen=True)
class File:
    content: bytes
    media_type: str


class Files:
    """Everything under /static. Addresses hold a hash of all files, so a browser never asks for one twice."""

    def __init__(self) -> None:
        found = {each.relative_to(STATIC).as_posix(): each for each in STATIC.rglob("*") if each.suffix in TYPES}
        found["palette.css"] = PALETTE
        self.by_path = {path: File(file.read_bytes(), TYPES[file.suffix]) for path, file in sorted(found.items())}
        everything = b"\0".join(path.encode() + each.content for path, each in self.by_path.items())
        self.root = f"/static/{hashlib.sha256(everything).hexdigest()[:16]}"

    @property
    def modules(self) -> list[str]:
        """Scripts that the desk imports; it names them at once, so that the browser need not find them one by one.
        Those of other pages lie in folders of their own."""
        mine = [path for path in self.by_path if "/" not in path or path.startswith("pages/")]
        return [path for path in mine if path.endswith(".js") and path != "theme.js"]

    async def serve(self, request: Request) -> Response:
        path = request.url.path.removeprefix(f"{self.root}/")
        found = self.by_path.get(path)
        if found is None:
            return Response(status_code=404)
        return Response(found.content, media_type=found.media_type, headers=FOREVER)
