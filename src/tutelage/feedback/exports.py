"""Labels -> files that others read: our own records, TRL's preference, DPO and KTO columns, tables.

Names of people and their notes stay behind unless they are asked for; a labeller goes by the store's own id. A label
that a format cannot hold is left out and counted, with the reason.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from tutelage.data.csv_cells import protect
from tutelage.data.errors import InputError
from tutelage.data.records import Comparison, Context
from tutelage.feedback.asking import Label

Rows = list[dict[str, Any]]
TIE = "tie"


class LeftOut(Exception):
    """Why a format cannot hold a label."""


@dataclass
class Exported:
    """labels: how many were given; rows: how many were written; left_out: reason -> labels."""

    labels: int = 0
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter[str])

    def __str__(self) -> str:
        reasons = "".join(f"; {count} left out: {reason}" for reason, count in self.left_out.items())
        return f"{self.labels} labels, {self.rows} rows{reasons}"


def export(labels: Sequence[Label], form: str, path: Path, people: Mapping[str, str], notes: bool) -> Exported:
    """Writes the labels to a file of this form (FORMS) and returns what was written.

    people: labeller id -> the name to write instead; notes: whether to write what people noted.
    The suffix says how: .jsonl, .csv or .parquet. InputError for one that is none of them.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: files ending in {path.suffix or 'nothing'} are not written. {_expected(WRITERS)}.")
    if form not in FORMS:
        raise InputError(f"there is no format {form!r}. {_expected(FORMS)}.")
    if form == "records" and path.suffix != ".jsonl":
        raise InputError(
            f"{path}: records are nested, so they are written as .jsonl. For {path.suffix}: --format table."
        )
    told, rows = Exported(labels=len(labels)), []
    for each in labels:
        try:
            rows += FORMS[form](renamed(each, people, notes))
        except LeftOut as reason:
            told.left_out[str(reason)] += 1
    told.rows = len(rows)
    WRITERS[path.suffix](path, rows)
    return told


def renamed(label: Label, people: Mapping[str, str], notes: bool) -> Label:
    """The same without notes unless they are wanted, and with the labeller's name where one is given."""
    verdict = label.comparison.verdict
    changes: dict[str, Any] = {} if notes else {"notes": None}
    changes |= {"rater": people.get(verdict.rater or "", verdict.rater)}
    comparison = label.comparison.model_copy(update={"verdict": verdict.model_copy(update=changes)})
    return Label(label.id, label.seq, label.question, comparison, label.state, label.at)


def records(label: Label) -> Rows:
    """The comparison with every field, as `--data` and `feedback import` read it."""
    return [label.comparison.row()]


def preference(label: Label) -> Rows:
    """TRL's columns prompt, chosen, rejected, a row for every pair that was decided; margin where it was graded."""
    strength = label.comparison.verdict.strength
    graded = {"margin": strength} if strength is not None and len(label.comparison.candidates) == 2 else {}
    return [{**each, **graded} for each in dpo(label)]


def dpo(label: Label) -> Rows:
    """prompt, chosen, rejected; nothing else."""
    comparison = label.comparison
    prompt, replies = _prompt(comparison.context), _replies(comparison)
    edits = comparison.verdict.edits
    if edits:  # what somebody wrote instead is preferred to what they found
        return _edited(comparison, prompt, edits)
    pairs = list(decided(comparison))
    if not pairs:
        raise LeftOut("nobody won")
    return [{"prompt": prompt, "chosen": replies[better], "rejected": replies[worse]} for better, worse in pairs]


def _edited(comparison: Comparison, prompt: Any, edits: Mapping[str, str]) -> Rows:
    after = comparison.model_copy(
        update={
            "candidates": tuple(
                each.model_copy(update={"text": edits.get(each.id, each.text)}) for each in comparison.candidates
            )
        }
    )
    found = {each.id: (each.text or "").strip() for each in comparison.candidates}
    changed = [name for name, text in edits.items() if found[name] and text.strip() != found[name]]
    if not changed:
        raise LeftOut("nothing was edited")
    before, written = _replies(comparison), _replies(after)
    return [{"prompt": prompt, "chosen": written[name], "rejected": before[name]} for name in changed]


def kto(label: Label) -> Rows:
    """prompt, completion, label: the chosen one is desirable, the others are not; where all are bad, none is."""
    comparison, verdict = label.comparison, label.comparison.verdict
    prompt, replies = _prompt(comparison.context), _replies(comparison)
    rated = verdict.ratings.get("label")
    if rated is not None:
        good = {name: value >= 0.5 for name, value in rated.items()}
    elif verdict.no_choice == "all bad":
        good = dict.fromkeys(replies, False)
    elif comparison.best is not None:
        best = comparison.candidates[comparison.best].id
        good = {name: name == best for name in replies}
    else:
        raise LeftOut("nobody won")
    return [{"prompt": prompt, "completion": replies[name], "label": value} for name, value in good.items()]


def table(label: Label) -> Rows:
    """One flat row: what a person reads in a spreadsheet, and the whole record as JSON at its end."""
    comparison, verdict = label.comparison, label.comparison.verdict
    places = {each.id: i for i, each in enumerate(comparison.candidates, start=1)}
    context = comparison.context
    row: dict[str, Any] = {"label": label.id, "seq": label.seq, "question": label.question, "state": label.state}
    row["prompt"] = json.dumps(list(context.messages)) if context.messages else context.prompt or context.media
    for i, each in enumerate(comparison.candidates, start=1):
        row |= {f"response_{i}": each.text or each.media, f"policy_{i}": each.policy, f"score_{i}": each.score}
    tied = len(verdict.ranking) == 1
    best = comparison.best
    row["choice"] = str(best + 1) if best is not None else TIE if tied else verdict.no_choice
    row |= {"strength": verdict.strength, "rater": verdict.rater, "rater_kind": verdict.rater_kind}
    row["shown"] = " ".join(str(places[name]) for name in verdict.shown)
    row |= {"shown_at": verdict.shown_at, "answered_at": verdict.answered_at, "guideline": verdict.guideline}
    row |= {"asked_with": comparison.asked_with, "notes": verdict.notes}
    return [{**row, "record": json.dumps(comparison.row(), ensure_ascii=False)}]


def decided(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """(better, worse) ids: of a ranking all that do not tie, of a choice the chosen one and each other."""
    places = comparison.verdict.ranking
    if places:
        for above, below in combinations(places, 2):
            yield from ((better, worse) for better in above for worse in below)
        return
    best = comparison.verdict.choice
    if best is not None:
        yield from ((best, each.id) for each in comparison.candidates if each.id != best)


def _prompt(context: Context) -> Any:
    if context.messages:
        return [dict(each) for each in context.messages]
    if context.prompt is None:
        raise LeftOut("of something other than texts")
    return context.prompt


def _replies(comparison: Comparison) -> dict[str, Any]:
    """Id -> text, or for a talk the message that goes on with it."""
    if any(each.text is None for each in comparison.candidates):
        raise LeftOut("of something other than texts")
    texts = {each.id: each.text or "" for each in comparison.candidates}
    if not comparison.context.messages:
        return texts
    return {name: [{"role": "assistant", "content": text}] for name, text in texts.items()}


FORMS: dict[str, Callable[[Label], Rows]] = {
    "records": records,
    "preference": preference,
    "dpo": dpo,
    "kto": kto,
    "table": table,
}


def write_lines(path: Path, rows: Rows) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
    whole(path, text.encode())


def write_csv(path: Path, rows: Rows) -> None:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front; nested values are JSON."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    whole(path, file.getvalue().encode())


def cell(value: Any) -> Any:
    """What stands in the cell; reading the CSV file (`data.files`) undoes it."""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)  # it begins with a bracket, so with no formula
    return protect(value) if isinstance(value, str) else value


def write_parquet(path: Path, rows: Rows) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = list(dict.fromkeys(name for row in rows for name in row))
    try:
        found = pyarrow.table({name: pyarrow.array([row.get(name) for row in rows]) for name in columns})
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise InputError(f"{path}: talks and plain prompts cannot share a Parquet column. Write .jsonl.") from error
    file = io.BytesIO()
    pyarrow.parquet.write_table(found, file)
    whole(path, file.getvalue())


def whole(path: Path, content: bytes) -> None:
    """Written aside, flushed, renamed: a reader finds the whole file or none."""
    aside = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror or error}. Give another --out.") from error


def _expected(names: Mapping[str, object]) -> str:
    return f"Expected {', '.join(names)}"


WRITERS: dict[str, Callable[[Path, Rows], None]] = {".jsonl": write_lines, ".csv": write_csv, ".parquet": write_parquet}
