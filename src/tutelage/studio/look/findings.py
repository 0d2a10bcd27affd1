"""The doctor's findings of a run for its page, looked for again only when the run has changed."""

from __future__ import annotations

import threading
from typing import Any

from tutelage.data.errors import InputError
from tutelage.report.sanitise import plain
from tutelage.studio.drawn import text
from tutelage.studio.look.runs import Folder, said_of

SAMPLES = 4  # texts shown of one finding


class Surgery:
    """Looks at one run at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[Any, dict[str, Any]]] = {}

    def findings(self, folder: Folder) -> dict[str, Any]:
        with self._lock:
            kept = self._kept.get(folder.id)
            if kept is None or kept[0] != folder.mark:
                kept = self._kept[folder.id] = (folder.mark, examined(folder))
            return kept[1]


def examined(folder: Folder) -> dict[str, Any]:
    """What the page shows: findings, the severest first; or why the doctor could not look."""
    from tutelage.doctor.diagnosis import DISEASES, diagnose  # beside numpy and scipy: only who asks waits for them

    try:
        found = diagnose(folder.path)
    except InputError as error:
        return {
            "run": folder.id,
            "trouble": said_of(folder, error),
            "findings": [],
            "unseen": [],
            "diseases": 0,
            "missing": "",
        }
    diseases = {each.name: each for each in DISEASES}
    rows: list[dict[str, Any]] = []
    for finding in found.findings:
        about = diseases.get(finding.disease)
        rows.append(
            {
                **{name: getattr(finding, name) for name in ("disease", "severity", "step", "remedy", "confirm")},
                "stage": plain(finding.stage, 80),
                "in": _stage(folder, finding.stage),
                "evidence": [plain(each, 600) for each in finding.evidence],
                "causes": list(finding.causes),
                "changes": [[flag, _shown(value)] for flag, value in finding.changes.items()],
                "metrics": list(finding.metrics[:3]),
                "samples": [text(each) for each in finding.samples[:SAMPLES]],
                "look": about.look if about else "",
                "look_alike": about.look_alike if about else "",
            }
        )
    return {
        "run": folder.id,
        "trouble": "",
        "findings": rows,
        "unseen": list(found.unseen),
        "diseases": len(found.known),
        "missing": plain(found.missing, 600),
    }


def _stage(folder: Folder, name: str) -> str | None:
    """The stage of the curves that show it; None where the finding is about no stage's events."""
    with_events = {stage.name for stage in folder.stages if "events.jsonl" in stage.files}
    return name if name in with_events else ("" if "" in with_events else None)


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else plain(str(value), 120)
