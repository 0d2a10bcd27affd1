"""Settings from a YAML file, by the names of the flags."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

import yaml

from tutelage.data.errors import InputError

CHECKPOINT_SECONDS = 15.0  # between checkpoints; longer where one takes more than 3 % of that


def config_file(arguments: Sequence[str]) -> str | None:
    """What follows --config on the command line, if anything does."""
    for place, argument in enumerate(arguments):
        if argument == "--config" and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    return None


def read_settings(source: str) -> Mapping[str, Any]:
    path = Path(source).expanduser()
    if not path.is_file():
        raise InputError(f"--config {source}: there is no such file.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {source} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise InputError(f"--config {source}: expected `setting: value` lines, got {type(content).__name__}.")
    return cast("Mapping[str, Any]", content)


def overridden(default: Any, values: Mapping[str, Any], source: str) -> Any:
    """The frozen settings with these values in them; a name may stand at the top or inside its group."""
    changes: dict[str, Any] = {}
    names, groups = {each.name for each in dataclasses.fields(default)}, _flat_groups(default)
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name in names:
            changes[name] = _fitting(changes.get(name, getattr(default, name)), value, f"{source}: {key}")
        elif name in groups:
            group = groups[name]
            changes[group] = overridden(changes.get(group, getattr(default, group)), {name: value}, source)
        else:
            known = ", ".join(sorted((names - set(groups.values())) | set(groups)))
            raise InputError(f"--config {source}: there is no setting {key!r}. There are: {known}.")
    return dataclasses.replace(default, **changes)


def _fitting(current: Any, value: Any, where: str) -> Any:
    """The value as the type that the setting has now (YAML reads 1e-4 as text)."""
    if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
        return overridden(current, cast("Mapping[str, Any]", value), where)
    if isinstance(current, bool) or not isinstance(current, (int, float)):
        if isinstance(current, bool) and not isinstance(value, bool):
            raise InputError(f"--config {where} is {value!r}, expected true or false.")
        return value
    try:
        return type(current)(value) if not isinstance(value, bool) else _refuse(where, value, current)
    except (TypeError, ValueError) as error:
        raise InputError(f"--config {where} is {value!r}, expected a number like {current!r}.") from error


def _refuse(where: str, value: Any, current: Any) -> Any:
    raise InputError(f"--config {where} is {value!r}, expected a number like {current!r}.")


def _flat_groups(default: Any) -> dict[str, str]:
    """Setting -> its group, for groups whose flags carry no prefix: `settings`, and those annotated with name=""."""
    hints = get_type_hints(cast("type[object]", type(default)), include_extras=True)
    flat = [name for name, hint in hints.items() if any(getattr(each, "name", None) == "" for each in get_args(hint))]
    groups = [name for name in ("settings", *flat) if dataclasses.is_dataclass(getattr(default, name, None))]
    return {each.name: group for group in groups for each in dataclasses.fields(getattr(default, group))}
