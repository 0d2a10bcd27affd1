"""Commands of tutelage in processes of their own that start at once and may be killed: a server that forks.

Run as a script it imports the package, then forks a child for every line of JSON on its standard input:
{"arguments": [...], "fault": [operation number, "before" or "after"] or null}. It answers with the child's process id,
and with its exit status when it has ended.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Launcher:
    """One server; `start` begins a command, `wait` returns how it ended (a negative number is a signal)."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT / "src"), str(ROOT)]
        )  # this checkout, whichever is installed
        self.server: Any = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.server.stdout.readline().strip() == "ready"

    def start(self, arguments: Sequence[str], fault: tuple[int, str] | None = None, log: Path | None = None) -> int:
        asked = {"arguments": list(arguments), "fault": fault, "log": str(log) if log else None}
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def wait(self) -> int:
        return int(self.server.stdout.readline())

    def run(self, arguments: Sequence[str], fault: tuple[int, str] | None = None, log: Path | None = None) -> int:
        self.start(arguments, fault, log)
        return self.wait()

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(timeout=60)
        self.server.stdout.close()


OPERATIONS = ("write", "stream", "sync", "rename")


class FaultyDisk:
    """Kills this process before or after its n-th durable operation; writes half of what it dies in."""

    def __init__(self, whole: Any, number: int, when: str) -> None:
        self.operations = {name: getattr(whole, name) for name in OPERATIONS}
        self.whole, self.left, self.when = whole, number, when

    def _maybe_die(self, now: str) -> None:
        if self.left == 0 and now == self.when:
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, path: Path, content: bytes) -> None:
        if self.left == 0 and self.when == "before":
            path.write_bytes(content[: len(content) // 2])
        self._done("write", path, content)

    def stream(self, path: Path, pour: Callable[[Any], object]) -> None:
        if self.left == 0 and self.when == "before":
            whole = io.BytesIO()
            pour(whole)
            path.write_bytes(whole.getvalue()[: whole.tell() // 2])
        self._done("stream", path, pour)

    def sync(self, path: Path) -> None:
        self._done("sync", path)

    def rename(self, before: Path, after: Path) -> None:
        self._done("rename", before, after)

    def _done(self, name: str, *given: Any) -> None:
        self._maybe_die("before")
        self.operations[name](*given)
        self._maybe_die("after")
        self.left -= 1


def child(asked: dict[str, Any]) -> int:
    from tutelage.cli import run_command
    from tutelage.runs.files import Disk

    log = os.open(asked["log"] or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if asked["fault"]:
        faulty = FaultyDisk(Disk(), *asked["fault"])  # holds the operations as they were, bound
        for name in OPERATIONS:
            setattr(Disk, name, lambda self, *given, name=name: getattr(faulty, name)(*given))
    return run_command(asked["arguments"])


def serve() -> None:
    import torch

    torch.set_num_threads(1)
    from tutelage.recipes import demo, sentiment  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            try:
                code = child(json.loads(line))
            except BaseException:
                import traceback

                traceback.print_exc()
                code = 70
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        print(process, flush=True)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    serve()
