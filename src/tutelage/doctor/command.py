"""`tutelage doctor RUN …`: what went wrong in runs, why, and what to do.

Exits 1 where something did, else 3 where there is no diagnosis of a run, else 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tutelage.data.errors import InputError
from tutelage.doctor.deployed import Deployment
from tutelage.doctor.diagnosis import DISEASES, Diagnosis, diagnose
from tutelage.doctor.finding import Finding

LONGEST = 160  # letters of a sample on the terminal
NO_DIAGNOSIS = 3  # exit code


@dataclass(frozen=True)
class Doctor:
    """Say what went wrong in runs, with evidence, causes and a remedy. Exits 1 where there is a warning or worse.

    Else it exits 3 where there is no diagnosis of a run: it crashed, was killed, or none of the rules applies to it.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, of stages of runs, or of a labelling project."""
    deployed: Path | None = None
    """Samples from the world (prompt and response): tell whether prompts or replies drifted from those of the run."""
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False
    """Print findings as JSON instead of words."""


def main(arguments: list[str], deployment: Callable[[Path, Path], Deployment] | None = None) -> int:
    """deployment: (run, file of samples) -> what stands in both, with the likelihoods that only policies can tell."""
    asked = tyro.cli(
        Doctor,
        args=arguments,
        prog="tutelage doctor",
        description=Doctor.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if asked.deployed is not None and (len(asked.runs) != 1 or deployment is None):
        raise InputError(f"--deployed {asked.deployed} belongs to one run, got {len(asked.runs)}.")
    world = deployment(asked.runs[0], asked.deployed) if deployment and asked.deployed else None
    found = [diagnose(path, world) for path in asked.runs]
    if asked.as_json:
        print(json.dumps([each.row() for each in found], indent=2, ensure_ascii=False))
    else:
        print("\n".join(in_words(each) for each in found))
    if any(each.alarms for each in found):
        return 1
    return NO_DIAGNOSIS if any(each.missing for each in found) else 0


def in_words(found: Diagnosis) -> str:
    """All that is found in one run, the severest first."""
    said = [f"{found.path}: {counted(found)}"]
    if found.outcome.status not in ("finished", "unknown") and str(found.outcome) != found.missing:
        said.append(printable(found.outcome.sentence, 400))
    said += [f"  {printable(line)}" for line in found.outcome.traceback[-3:]]
    for finding in found.findings:
        said += ["", *paragraph(finding)]
    if found.unseen:
        said += ["", f"Not looked for, because the run does not record what it takes: {', '.join(found.unseen)}."]
    return "\n".join(said)


def counted(found: Diagnosis) -> str:
    """The first line: what was found, or why nothing is said."""
    counts = [(sum(each.severity == name for each in found.findings), name) for name in ("stop", "warning", "notice")]
    listed = ", ".join(f"{count} {name}" for count, name in counts if count)
    if found.missing:
        return f"no diagnosis: {printable(found.missing, 400)}" + (f" ({listed})" if listed else "")
    return (
        listed or f"nothing found of {len(found.known)} diseases that its records can tell ({len(DISEASES)} are known)."
    )


def paragraph(finding: Finding) -> list[str]:
    where = f"stage {finding.stage}" + (f", from step {finding.step}" if finding.step is not None else "")
    changes = " ".join(
        f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}"
        for flag, value in finding.changes.items()
    )
    return [
        f"{finding.severity.upper()}  {finding.disease} ({where})",
        *(f"  {each}" for each in finding.evidence),
        *(f"  > {printable(each)}" for each in finding.samples),
        f"  likely: {finding.causes[0]}",
        f"  remedy: {finding.remedy}" + (f" Try {changes}" if changes else ""),
        f"  to confirm: {finding.confirm}",
    ]


def printable(text: str, longest: int = LONGEST) -> str:
    """A model's words on one line: control characters could move the cursor, so they are written out."""
    line = " ".join(text[:longest].split())
    return "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in line)
