"""`module:function` on the command line -> a Python function of the user's own."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tutelage.data.errors import InputError

TextReward = Callable[[list[str], list[str]], Sequence[float]]
"""(prompts, responses) -> one number each."""


def names_function(name: str) -> bool:
    """Whether a value of --reward means `module:function`, not a folder or a hub id."""
    return ":" in name and not Path(name).exists()


def load_reward(name: str, flag: str = "--reward") -> TextReward:
    """The function that `module:function` names; it must take (prompts, responses)."""
    function = load_function(name, flag)
    refuse_other_arguments(
        function, f"{flag} {name}", "(prompts, responses)", "def score{}`, returning one number for each response"
    )
    return function


def refuse_other_arguments(function: Callable[..., Any], what: str, arguments: str, definition: str) -> None:
    """InputError where a function does not take two arguments.

    arguments: their names, such as "(prompts, responses)"     definition: how to write it, {} in their place
    """
    try:
        inspect.signature(function).bind([], [])
    except TypeError as error:
        raise InputError(
            f"{what}: the function cannot be called with {arguments}: {error}. Define it as "
            f"`{definition.format(arguments)}."
        ) from error
    except ValueError:  # some functions written in C do not tell their signature
        pass


def load_function(name: str, flag: str) -> Callable[..., Any]:
    """The function that `module:function` names; the current folder is searched first, then installed packages.

    Raises InputError that names what is missing: the module, something the module imports, or the function. flag: the
    option that the name was given to, for messages.
    """
    module_name, _, function_name = name.partition(":")
    _refuse_malformed(name, module_name, function_name, flag)
    module = _imported(name, module_name, flag)
    here = Path(f"{module_name}.py")
    if here.is_file() and not here.samefile(getattr(module, "__file__", None) or "/"):
        raise InputError(
            f"{flag} {name}: {here.resolve()} has the name of a module that is loaded already ({_origin(module)}). "
            "Rename your file."
        )
    found = getattr(module, function_name, None)
    if found is None:
        raise InputError(f"{flag} {name}: {_origin(module)} has no function {function_name}. {_others(module, name)}")
    if not callable(found):
        raise InputError(
            f"{flag} {name}: {function_name} in {_origin(module)} is a {type(found).__name__}, not a function. "
            f"{_others(module, name)}"
        )
    if inspect.iscoroutinefunction(found):
        raise InputError(f"{flag} {name}: {function_name} is an async function. Give one that returns its numbers.")
    return found


def refuse_bare_module(name: str, flag: str = "--reward") -> None:
    """InputError where a value that names no folder is a Python file beside the caller: the function is missing."""
    path = Path(name if name.endswith(".py") else f"{name}.py")
    if not Path(name).is_dir() and path.is_file():
        module = ".".join(path.with_suffix("").parts)
        raise InputError(f"{flag} {name}: that is a Python file. Say which function of it: {flag} {module}:FUNCTION.")


def _refuse_malformed(name: str, module_name: str, function_name: str, flag: str) -> None:
    if module_name.endswith(".py") or "/" in module_name:
        path = Path(module_name.removesuffix(".py"))
        if path.is_absolute():
            raise InputError(
                f"{flag} {name}: expected a module's name, not a path. Change to the folder {path.parent} and give "
                f"{path.name}:{function_name or 'FUNCTION'}."
            )
        raise InputError(
            f"{flag} {name}: expected a module's name, not a file. Give "
            f"{'.'.join(path.parts)}:{function_name or 'FUNCTION'}."
        )
    if not all(each.isidentifier() for each in module_name.split(".")) or not function_name.isidentifier():
        raise InputError(
            f"{flag} {name}: expected module:function, such as mine:score for the function score in mine.py."
        )


def _imported(name: str, module_name: str, flag: str) -> ModuleType:
    try:
        with _current_folder_first():
            importlib.invalidate_caches()
            return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            file = f"{module_name.replace('.', '/')}.py"
            folders = "(A reward model is given as its folder, a function as module:function.)"
            folders = "" if flag == "--environment" else folders
            raise InputError(
                f"{flag} {name}: there is no {file} in {Path.cwd()}, and no module {module_name} is installed. Write "
                f"the function into {file} here, or start tutelage in the folder that holds it. {folders}".rstrip()
            ) from error
        raise InputError(
            f"{flag} {name}: {module_name} was found, but importing it failed{_place(error)}: {error}. Install what it "
            "imports, or put that module beside it."
        ) from error
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{flag} {name}: importing {module_name} raised {type(error).__name__}{_place(error)}: {error}. Correct "
            "that file, so that `import` only defines its functions."
        ) from error


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """During the import the current folder comes first, as for a Python script; afterwards it stays last on the path,
    so that the function can import its neighbors later and yet no file here hides an installed package."""
    here = str(Path.cwd())
    before = list(sys.path)
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path[:] = [*before, *([] if here in before else [here])]


def _place(error: BaseException) -> str:
    """File and line of the user's own code in which an import failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "importlib" not in each.filename]
    own = [each for each in frames if each.filename != __file__]
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or f"the module {module.__name__}"


def _others(module: ModuleType, name: str) -> str:
    """The functions that the module defines; the one that was probably meant first."""
    module_name, _, wanted = name.partition(":")
    names = [
        each
        for each, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    if not names:
        return "It defines no function."
    close = difflib.get_close_matches(wanted, names, n=1)
    guess = f"Did you mean {module_name}:{close[0]}? " if close else ""
    return f"{guess}Its functions: {', '.join(sorted(names)[:12])}."
