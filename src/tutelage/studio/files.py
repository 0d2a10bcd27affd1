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


@dataclass(frozen=True)
class File:
    content: bytes
    media_type: str

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


class Files:
    """Everything under /static, by its path there."""

    def __init__(self) -> None:
        found = {each.relative_to(STATIC).as_posix(): each for each in STATIC.rglob("*") if each.suffix in TYPES}
        found["palette.css"] = PALETTE
        self.by_path = {path: File(file.read_bytes(), TYPES[file.suffix]) for path, file in found.items()}

    @property
    def modules(self) -> list[str]:
        """Scripts that the page imports; it names them at once, so that the browser need not find them one by one."""
        return sorted(path for path in self.by_path if path.endswith(".js") and path not in ("theme.js", "enter.js"))

    async def serve(self, request: Request) -> Response:
        found = self.by_path.get(request.path_params["path"])
        if found is None:
            return Response(status_code=404)
        tag = {"etag": found.tag}
        if request.headers.get("if-none-match") == found.tag:
            return Response(status_code=304, headers=tag)
        return Response(found.content, media_type=found.media_type, headers=tag)
