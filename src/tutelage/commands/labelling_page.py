"""The labelling page beside a run that asks people."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.execution.ranks import is_main_rank


@contextmanager
def labelling_page(job: Any, path: Path) -> Iterator[None]:
    """The page beside a run that asks people, in a process of its own, so that no answer waits for training."""
    asking = getattr(job, "asking", job)
    if getattr(asking, "labeller", "") != "human" or getattr(asking, "without_page", False) or not is_main_rank():
        yield
        return
    program = [sys.executable, "-c", "from tutelage.cli import main; main()"]
    page = subprocess.Popen([*program, "label", "--from-run", str(path), "--port", "0"])  # another page may be open
    try:
        yield
    finally:
        page.terminate()
        page.wait(timeout=10)
