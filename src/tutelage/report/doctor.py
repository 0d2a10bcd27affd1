"""The doctor's part of a report: what went wrong, where it shows, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.doctor.diagnosis import diagnose
from tutelage.doctor.finding import Finding
from tutelage.report import plots
from tutelage.runs.files import read_lines

SHOWN = 12  # findings with a plot; the rest stand in a list


def section(run_path: Path) -> dict[str, Any] | None:
    """What the template shows, or None where the run recorded nothing that a disease could be told from."""
    found = diagnose(run_path)
    told = found.findings or found.unseen or found.outcome.ended_badly
    if not told and not any(run_path.glob("**/events.jsonl")):
        return None
    return {
        "findings": [shown(run_path, each, place < SHOWN) for place, each in enumerate(found.findings)],
        "diseases": len(found.known),
        "missing": found.missing,
        "unseen": found.unseen,
    }


def shown(run_path: Path, finding: Finding, drawn: bool) -> dict[str, Any]:
    changes = [
        (flag, f"{value:g}" if isinstance(value, float) else str(value)) for flag, value in finding.changes.items()
    ]
    return {
        **{name: getattr(finding, name) for name in ("disease", "stage", "severity", "step", "evidence", "causes")},
        **{name: getattr(finding, name) for name in ("remedy", "confirm", "samples")},
        "changes": changes,
        "plots": curves(run_path, finding) if drawn else [],
    }


def curves(run_path: Path, finding: Finding) -> list[tuple[str, Any]]:
    """(title, plot) of up to two columns that show it."""
    folder = next((each for each in (run_path / finding.stage, run_path) if (each / "events.jsonl").exists()), None)
    events: list[Mapping[str, Any]] = [*read_lines(folder / "events.jsonl")] if folder is not None else []
    known = [name for name in finding.metrics if sum(name in event for event in events) > 1][:2]
    if folder is None:
        return []
    titles = [f"{name.replace('_', ' ')}{plots.sizes(folder, events, [name])}" for name in known]
    return [(title, plots.curves(events, [name], name)) for title, name in zip(titles, known, strict=True)]
