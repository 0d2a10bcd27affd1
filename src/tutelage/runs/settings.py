"""Settings from a YAML file, by the names of the flags."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args, get_type_hints

import tyro

from tutelage.data.errors import InputError
from tutelage.data.yaml_file import read_yaml_file


def config_file(arguments: Sequence[str]) -> str | None:
    """What follows --config on the command line, if anything does."""
    for place, argument in enumerate(arguments):
        if argument == "--config" and place + 1 < len(arguments):
            return arguments[place + 1]
        if argument.startswith("--config="):
            return argument.partition("=")[2]
    return None


def read_settings(source: str) -> Mapping[str, Any]:
    content = read_yaml_file(source, "--config")
    if not isinstance(content, Mapping):
        raise InputError(f"--config {source}: expected `setting: value` lines, got {type(content).__name__}.")
    return cast("Mapping[str, Any]", content)


def overridden(default: Any, values: Mapping[str, Any], source: str) -> Any:
    """The frozen settings with these values in them; a name may stand at the top or inside its group."""
    changes: dict[str, Any] = {}
    names, groups = {each.name for each in dataclasses.fields(default)}, flat_groups(default)
    hints = get_type_hints(cast("type[object]", type(default)), include_extras=True)
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name in names:
            current = changes.get(name, getattr(default, name))
            changes[name] = _fitting(current, hints[name], value, f"{source}: {key}")
        elif name in groups:
            group = groups[name]
            changes[group] = overridden(changes.get(group, getattr(default, group)), {name: value}, source)
        else:
            known = ", ".join(sorted((names - set(groups.values())) | set(groups)))
            raise InputError(f"--config {source}: there is no setting {key!r}. There are: {known}.")
    return dataclasses.replace(default, **changes)


def _fitting(current: Any, hint: Any, value: Any, where: str) -> Any:
    """The value as the type that the setting has (YAML reads 1e-4 as text). InputError where it is none of that."""
    from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError  # help is asked for without it

    if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
        return overridden(current, cast("Mapping[str, Any]", value), where)
    try:
        found = TypeAdapter(hint).validate_python(value)
    except PydanticSchemaGenerationError:  # a type of our own: its flag is checked elsewhere
        return value
    except ValidationError as error:
        told = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--config {where} is {value!r:.80}: {told}.") from error
    if isinstance(value, bool) != isinstance(found, bool):  # yes and 1 are no truth, true is no number
        expected = "true or false" if isinstance(found, bool) else "a number or a text"
        raise InputError(f"--config {where} is {value!r:.80}, expected {expected}.")
    if isinstance(found, float) and math.isnan(found):
        raise InputError(f"--config {where} is not a number.")
    return found


def flat_groups(default: Any) -> dict[str, str]:
    """Setting -> its group, for groups whose flags carry no prefix: `settings`, and those annotated with name=""."""
    hints = get_type_hints(cast("type[object]", type(default)), include_extras=True)
    flat = [name for name, hint in hints.items() if any(getattr(each, "name", None) == "" for each in get_args(hint))]
    groups = [name for name in ("settings", *flat) if dataclasses.is_dataclass(getattr(default, name, None))]
    return {each.name: group for group in groups for each in dataclasses.fields(getattr(default, group))}


def unset(job_class: type) -> Any:
    """An instance whose required fields are still to be given."""
    required = [
        each.name
        for each in dataclasses.fields(job_class)
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    ]
    return job_class(**dict.fromkeys(required, tyro.MISSING))
