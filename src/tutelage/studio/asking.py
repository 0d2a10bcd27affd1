"""From a file to the questions that a page asks: their kind, their form, and those whose answer is known."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.data import replies
from tutelage.data.errors import InputError
from tutelage.data.files import ReadReport
from tutelage.data.pairs import Asked, pairs
from tutelage.data.records import Candidate
from tutelage.feedback.asking import Asking, Check, canonical
from tutelage.feedback.forms import INSTRUCTGPT, Form
from tutelage.feedback.store import Store
from tutelage.studio.settings import Settings

ALONE = ("good", "rating", "rules", "edit")  # kinds whose pages show one reply
UNWRITTEN = Candidate(id="unwritten", text="")  # what a demonstration replaces


def questions(source: str, settings: Settings, report: ReadReport) -> Iterator[Asking]:
    """What a file's rows ask, by the project's kind of task."""
    read = pairs if settings.kind == "pair" else replies.replies
    for each in read(source, report):
        yield from asked(each, settings)


def asked(each: Asked, settings: Settings) -> Iterator[Asking]:
    """One question; of kinds that judge one reply alone, one for each; of rules, one for each rule too."""
    candidates = each.candidates or ((UNWRITTEN,) if settings.kind == "edit" else ())
    groups = [(one,) for one in candidates] if settings.kind in ALONE else [tuple(candidates)] if candidates else []
    for group in groups:
        for form in forms(settings):
            asking = Asking(each.context, group, settings.kind, wanted=settings.wanted, form=form.row())
            yield asking


def forms(settings: Settings) -> list[Form]:
    warned: dict[str, Any] = {"warning": settings.warning}
    if settings.kind == "rules":
        if not settings.rules:
            raise InputError("a project of kind rules has no rules; name them under `rules` in project.json.")
        return [Form(rule=rule, **warned) for rule in settings.rules]
    if settings.kind == "rating":
        given = Form(axes=settings.axes, flags=settings.flags, **warned)
        found = given if given.axes or given.flags else INSTRUCTGPT.model_copy(update=warned)
        return [found]
    return [Form(**warned)]


def known(path: Path, purpose: str, settings: Settings) -> Iterator[Asking]:
    """Questions of a file whose right answers are known, to be copied for people (checks.py)."""
    for found in replies.known(str(path)):
        for each in asked(found.asked, settings):
            mine = {candidate.id for candidate in each.candidates}
            check = Check(purpose, right=found.verdict, says=found.why)
            name = hashlib.sha256(canonical([purpose, each.called, sorted(mine)]).encode()).hexdigest()[:24]
            yield Asking(each.context, each.candidates, each.kind, name, form=each.form, check=check)


def ask_known(folder: Path, settings: Settings, store: Store) -> None:
    """Asks the questions of the files that the project names; what was asked before is not asked again."""
    for purpose, name in (("gold", settings.gold), ("qualification", settings.qualification)):
        if name:
            store.ask(list(known(folder / name, purpose, settings)))
