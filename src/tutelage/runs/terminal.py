"""What reaches the terminal: no warnings of libraries, and no traceback where nobody reads the output any more."""

from __future__ import annotations

import importlib
import os
import site
import sys
import sysconfig
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

PIPE_CLOSED = 141  # 128 + SIGPIPE: what a shell sees of a command such as `yes | head`
PACKAGE = str(Path(__file__).parents[1])
QUIET = {
    "TOKENIZERS_PARALLELISM": "false",  # tokenizers warns wherever a process is forked after it ran
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
}


def run_until_pipe_closes(command: Callable[[], int]) -> int | str | None:
    """The exit code of the command, or PIPE_CLOSED where its standard output or error was closed by the reader."""
    try:
        try:
            code: int | str | None = command()
        except SystemExit as ended:  # after --help, and where a flag is wrong
            code = ended.code
        for stream in filter(None, (sys.stdout, sys.stderr)):  # None where the caller closed it: >&-
            stream.flush()
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    return code


def _discard_output() -> None:
    """What is still in the buffers goes nowhere: the interpreter would fail to write it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        os.dup2(nowhere, stream.fileno())


def hide_library_warnings() -> None:
    """Shows the warnings of tutelage itself as one line, those of a user's own modules as Python does, and none of the
    libraries below, which say nothing that a user of tutelage can act on. Errors are not touched.

    -W and PYTHONWARNINGS bring everything back.
    """
    if sys.warnoptions:
        return
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    paths = sysconfig.get_paths()
    libraries = tuple({paths["stdlib"], paths["platstdlib"], *site.getsitepackages(), site.getusersitepackages()})
    as_python_does = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if filename.startswith(PACKAGE):
            if not issubclass(category, (FutureWarning, DeprecationWarning)):  # those are of what we call
                print(f"tutelage: warning: {message}", file=file or sys.stderr)
        elif not filename.startswith((*libraries, "<")):
            as_python_does(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def hush() -> None:
    """Quiet transformers, where a verb has loaded it."""
    if "transformers" in sys.modules:
        importlib.import_module("tutelage.models.pretrained").hush()
