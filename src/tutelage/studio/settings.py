"""What a project's page does: project.json in its folder (docs/labelling.md, docs/teams.md)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from tutelage.data.errors import InputError
from tutelage.data.records import explained
from tutelage.feedback.checks import Shares
from tutelage.feedback.forms import Axis

Kind = Literal["pair", "ranking", "good", "rating", "rules", "edit"]
Share = Field(default=0.0, ge=0.0, le=0.5)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Settings:
    """Of the page: title; scale: how pairs are answered; block, block_minutes: questions, and minutes, between pauses.

    Of the questions: kind; wanted: answers by different people; axes, flags (of rating; InstructGPT's where there are
    none); rules (of rules, each asked by itself); warning: why somebody may not want to see them.
    Of a team: repeat, swap, gold_share: checks for every answer; gold, qualification: files whose answers are known;
    pass_share: of the qualification that has to be right; warned_an_hour: questions with a warning that one person
    gets within an hour, at most
    """

    title: str = ""
    scale: Literal["binary", "graded"] = "binary"
    block: int = Field(default=25, ge=1)
    block_minutes: float = Field(default=20.0, gt=0)
    pause_seconds: int = Field(default=20, ge=0)
    kind: Kind = "pair"
    wanted: int = Field(default=1, ge=1)
    axes: tuple[Axis, ...] = ()
    flags: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    warning: str = Field(default="", max_length=120)
    repeat: float = Share
    swap: float = Share
    gold: str = ""
    gold_share: float = Share
    qualification: str = ""
    pass_share: float = Field(default=0.8, ge=0.0, le=1.0)
    warned_an_hour: int = Field(default=20, ge=1)

    @property
    def shares(self) -> Shares:
        return Shares(self.repeat, self.swap, self.gold_share if self.gold else 0.0, bool(self.qualification))


def says_wanted(folder: Path) -> bool:
    """Whether project.json, which `settings` could read, names the number of answers."""
    path = folder / "project.json"
    return path.exists() and "wanted" in json.loads(path.read_bytes())


def settings(folder: Path) -> Settings:
    """project.json, if there is one."""
    path = folder / "project.json"
    if not path.exists():
        return Settings()
    try:
        return TypeAdapter(Settings).validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        why = explained(error) if isinstance(error, ValidationError) else str(error)
        raise InputError(
            f"{path}: {why}. Its fields: {', '.join(each.name for each in dataclasses.fields(Settings))}."
        ) from error
