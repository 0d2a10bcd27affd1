"""YAML that a person wrote (settings, mappings of columns): plain values, each name once, nothing by reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tutelage.data.errors import InputError

LARGEST_BYTES = 1_000_000


class Plain(yaml.SafeLoader):
    """SafeLoader without references: a few lines of them grow to gigabytes when somebody prints the value."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="a reference (*name): write the value itself", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names: list[Any] = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            problem = f"the name {twice[0]!r:.60} stands twice"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def is_there(name: str) -> bool:
    """Whether it is the name of a file."""
    try:
        return Path(name).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def read_yaml_file(name: str, flag: str) -> Any:
    """The value of the file that a flag names. InputError where there is none or it cannot be read."""
    if not is_there(name):
        raise InputError(f"{flag} {name!r:.200}: there is no such file.")
    try:
        path = Path(name).expanduser()
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{flag} {name} has more than {LARGEST_BYTES:,} bytes: it is no file of settings.")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{flag} {name} is not YAML: not even UTF-8 text ({error.reason}).") from error
    except OSError as error:
        raise InputError(f"{flag} {name} could not be read: {error}") from error
    return yaml_value(text, f"{flag} {name}")


def yaml_value(text: str, given: str) -> Any:
    """given: what was given, for the message."""
    try:
        return yaml.load(text, Plain)
    except (
        Exception
    ) as error:  # beside its own errors: those of int, float, dates and of recursion, by what stands there
        told = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{given:.200} is not YAML: {told:.300}") from error
