"""`tutelage feedback verify | export | import | stats STORE`: what is in a feedback store, in and out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from tutelage.data.errors import InputError
from tutelage.feedback import imports
from tutelage.feedback.exports import FORMS, export
from tutelage.feedback.foreign import ImportReport, Naming
from tutelage.feedback.store import Store

FILE = "feedback.db"
STATES = ("counted", "surplus", "late", "withdrawn")
SHOWN_FAULTS = 50


@dataclass(frozen=True)
class Verify:
    """Prove that no label is lost, doubled, on the wrong side or unaccounted for. Exits 1 where one is."""

    store: tyro.conf.Positional[str]
    """A project's or run's folder, a SQLite file, or postgresql://user@host:port/name."""
    expect: str | None = None
    """The end of the log as an earlier `verify` printed it (number:hash): nothing before it was rewritten."""


@dataclass(frozen=True)
class Export:
    """Write labels to a file. People go by opaque ids and their notes stay behind, unless you say otherwise."""

    store: tyro.conf.Positional[str]
    """A project's or run's folder, a SQLite file, or postgresql://user@host:port/name."""
    out: Path
    """The file: .jsonl, .csv or .parquet."""
    format: str | None = None
    """records (all fields), preference, dpo, kto (TRL's columns) or table; by default records in .jsonl, else table."""
    snapshot: str | None = None
    """The labels of this snapshot, instead of all present ones."""
    states: tuple[str, ...] = ("counted", "surplus")
    """Of these states: counted, surplus, late, withdrawn."""
    sources: tuple[str, ...] = ("human", "synthetic", "model")
    """By these labellers: human, synthetic, model."""
    names: bool = False
    """Write the names of labellers (personal data) instead of their ids."""
    notes: bool = False
    """Write what labellers noted (may hold personal data)."""
    overwrite: bool = False
    """Replace the file if it is there."""


@dataclass(frozen=True)
class Import:
    """Read labels given elsewhere: our records and tables, TRL's columns, exports of Argilla and Label Studio, and the
    columns of WebGPT, TL;DR and UltraFeedback."""

    store: tyro.conf.Positional[str]
    """A project's or run's folder, a SQLite file (made if it is not there), or postgresql://user@host:port/name."""
    files: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders, or hub ids (owner/name)."""
    prompt: str = ""
    """Argilla, Label Studio: the field of the prompt; guessed from its name otherwise."""
    responses: tuple[str, ...] = ()
    """Argilla, Label Studio: the fields of the responses, in order; otherwise all other texts."""
    labeller: str = "imported"
    """Who gave the labels that name nobody."""


@dataclass(frozen=True)
class Stats:
    """Count questions, answers, labellers, skips and flags."""

    store: tyro.conf.Positional[str]
    """A project's or run's folder, a SQLite file, or postgresql://user@host:port/name."""
    json: bool = False
    """As JSON."""


def main(arguments: list[str]) -> int:
    verbs: dict[str, tuple[type, Callable[[Any], int]]] = {
        "verify": (Verify, verify),
        "export": (Export, write),
        "import": (Import, read),
        "stats": (Stats, stats),
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        print("\n".join(f"  tutelage feedback {name:8s} {kind.__doc__}" for name, (kind, _) in verbs.items()))
        return 0
    if arguments[0] not in verbs:
        raise InputError(f"there is no `tutelage feedback {arguments[0]}`. There are: {', '.join(verbs)}.")
    kind, act = verbs[arguments[0]]
    prog = f"tutelage feedback {arguments[0]}"
    return act(tyro.cli(kind, args=arguments[1:], prog=prog, config=(tyro.conf.FlagCreatePairsOff,)))


def opened(given: str, new: bool = False) -> Store:
    """The store of a folder, file or URL. InputError where there is none, unless a new one may be made."""
    if "://" in given:
        return Store.open(given)
    path = Path(given).expanduser()
    path = path / FILE if path.is_dir() or (new and not path.suffix) else path
    if not new and not path.is_file():
        raise InputError(f"{path} does not exist. Give a project's or run's folder, a store's file, or its URL.")
    return Store.open(path)


def verify(asked: Verify) -> int:
    with opened(asked.store) as store:
        faults = store.verify() + (expected(store, asked.expect) if asked.expect else [])
        (seq, last), labels = store.last(), store.stats()["labels"]
        print(f"{store.place}: {seq} events, {told(labels) or 'no labels'}; the log ends with {seq}:{last}")
    for each in faults[:SHOWN_FAULTS]:
        print(f"  {each}")
    if len(faults) > SHOWN_FAULTS:
        print(f"  and {len(faults) - SHOWN_FAULTS} more")
    found = f"{len(faults)} fault{'s' * (len(faults) > 1)}"
    print(found if faults else "nothing lost, doubled, on the wrong side or unaccounted for")
    return 1 if faults else 0


def expected(store: Store, end: str) -> list[str]:
    """Whether the event of that number still has that hash."""
    number, _, hash_then = end.partition(":")
    if not number.isdecimal() or len(hash_then) != 64:
        raise InputError(f"--expect {end!r:.90}: expected number:hash, as `tutelage feedback verify` prints it.")
    now = store.hash_of(int(number))
    if now == hash_then:
        return []
    return [f"event {number}: had the hash {hash_then}, and has {now or 'none'}: the log was rewritten"]


def write(asked: Export) -> int:
    for given, known in ((asked.states, STATES), (asked.sources, ("human", "synthetic", "model"))):
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise InputError(f"there is no {unknown[0]!r}. There are: {', '.join(known)}.")
    if asked.out.exists() and not asked.overwrite:
        raise InputError(f"{asked.out} is there already. Give another --out, or --overwrite.")
    form = asked.format or ("records" if asked.out.suffix == ".jsonl" else "table")
    if form not in FORMS:
        raise InputError(f"--format {form}: expected {', '.join(FORMS)}.")
    with opened(asked.store) as store:
        labels = store.snapshot_labels(asked.snapshot) if asked.snapshot else store.labels()
        chosen = [
            each
            for each in labels
            if each.state in asked.states and each.comparison.verdict.rater_kind in asked.sources
        ]
        done = export(chosen, form, asked.out, store.names() if asked.names else {}, asked.notes)
    print(f"{asked.out}: {done}")
    return 0


def read(asked: Import) -> int:
    if not asked.files:
        raise InputError("nothing to import: tutelage feedback import STORE FILE ...")
    report, found = ImportReport(), []
    for number, each in enumerate(asked.files):
        for one in imports.read(each, Naming(asked.prompt, asked.responses), report):
            found.append(replace(one, file=f"{number} {one.file}"))  # a file that is named twice is read as two files
    answers = sum(each.answers for each in found)
    with opened(asked.store, new=True) as store:
        added, there = store.take_in(found, asked.labeller)
        print(report)
        print(f"{answers} answers make {len(found)} labels; {sum(report.dropped.values())} dropped")
        for what, count in report.beside.items():
            print(f"{count} {what}: not answers of people, not imported")
        print(f"{store.place}: {added} labels added, {there} were there already")
    return 0


def stats(asked: Stats) -> int:
    with opened(asked.store) as store:
        found = store.stats()
    if asked.json:
        print(json.dumps(found, indent=2))
        return 0
    for name, value in found.items():
        shown = told(value) if isinstance(value, Mapping) else "" if value is None else value
        print(f"  {name:20s} {f'{shown:.3f}' if isinstance(shown, float) else shown}")
    return 0


def told(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
