"""The doctor beside a run: looks now and then, says each disease once, and ends the run where it was told to."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Literal

from tutelage.data.errors import InputError
from tutelage.doctor import dead_critic
from tutelage.doctor.chart import Chart, read_stage
from tutelage.doctor.diagnosis import found_in
from tutelage.doctor.finding import Finding
from tutelage.execution.ranks import agree_to_stop, is_main_rank
from tutelage.runs.run import Run

OnDisease = Literal["warn", "stop", "best", "off"]
FIRST, EVERY, GROWS = (
    10,
    5,
    1.1,
)  # records before the first look, and between looks: ever rarer, so that looking is cheap


SILENT_MEANWHILE = {dead_critic.DISEASE.name}
"""Said of a run that has ended only: on real weights 15 of 20 healthy runs were alarmed early, by this at record 10."""
KEPT = 8  # checkpoints that stay where a run may have to go back, instead of the newest two


class Diseased(InputError):
    """The run has a disease with which going on is a waste, and it was told to stop then, or to go back.

    finding: what was found, None on ranks other than 0, which do not look; run: the stage that has it
    """

    def __init__(self, told: str, finding: Finding | None, run: Run) -> None:
        super().__init__(told)
        self.finding, self.run = finding, run


@dataclass
class Watch:
    """What `Run.watch` is set to.

    on_disease: warn says what it finds; stop also ends the run at a finding of the severity "stop"; best does, too, and
        whoever carries the run out goes back then (`returning`)
    """

    on_disease: OnDisease
    said: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    records: dict[str, int] = field(default_factory=dict[str, int])
    next_look: dict[str, int] = field(default_factory=dict[str, int])
    unreadable: set[str] = field(default_factory=set[str])

    def __call__(self, run: Run) -> None:
        name = str(run.path)
        count = self.records[name] = self.records.get(name, run.step) + 1
        if self.on_disease == "off" or count < self.next_look.get(name, FIRST):
            return
        self.next_look[name] = max(count + EVERY, int(count * GROWS))
        found = self._look(run) if is_main_rank() else None
        if not agree_to_stop(found is not None):
            return
        if found is None:
            raise Diseased(f"{run.name}: rank 0 found a disease and ended the run.", None, run)
        raise Diseased(
            f"{run.name}: {found.disease}. {' '.join(found.evidence)} {found.remedy} --on-disease "
            f"warn goes on all the same; `tutelage doctor {run.path}` tells more.",
            found,
            run,
        )

    def _look(self, run: Run) -> Finding | None:
        """Says what is new; returns a finding with which the run is to end, if there is one."""
        for finding in self._new(run):
            print(f"doctor: {in_short(finding)}", file=sys.stderr)
            if self.on_disease in ("stop", "best") and finding.severity == "stop":
                return finding
        return None

    def _new(self, run: Run) -> list[Finding]:
        """Findings of warning or worse that were not said before. A folder that cannot be read is no reason to stop."""
        if str(run.path) in self.unreadable:
            return []
        try:
            stage = read_stage(run.path)
        except InputError as error:
            print(f"doctor: could not look: {error}", file=sys.stderr)
            self.unreadable.add(str(run.path))
            return []
        found = found_in(Chart(run.path, (stage,)), (stage,))
        new = [
            each
            for each in found
            if each.alarms and each.disease not in SILENT_MEANWHILE and self._name(each) not in self.said
        ]
        self.said |= {self._name(each) for each in new}
        return new

    def _name(self, finding: Finding) -> tuple[str, str, str]:
        """With its severity: a warning that becomes a reason to stop is news."""
        return finding.disease, finding.stage, finding.severity


def in_short(finding: Finding) -> str:
    since = f" since step {finding.step}" if finding.step is not None else ""
    return f"{finding.severity}: {finding.disease} in {finding.stage}{since}. {finding.evidence[0]} {finding.remedy}"
