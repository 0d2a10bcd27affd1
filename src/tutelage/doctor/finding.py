"""What a disease is, and what is found of it in a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from tutelage.doctor.chart import Chart, Kind, Stage

Severity = Literal["notice", "warning", "stop"]
SEVERITIES: tuple[Severity, ...] = ("stop", "warning", "notice")


@dataclass(frozen=True)
class Sign:
    """That a stage has a disease.

    severity: notice (know it), warning (the run learns what it should not, or nothing), stop (going on is a waste)
    step: of the onset; None where there are no steps     evidence: sentences with numbers
    remedy: one sentence                                  changes: flag -> value that it asks for
    metrics: columns of events.jsonl that show it         samples: texts that show it
    weight: how far beyond its threshold, to order findings of one severity; 1 is at it
    """

    severity: Severity
    step: int | None
    evidence: tuple[str, ...]
    remedy: str
    changes: dict[str, Any] = field(default_factory=dict[str, Any])
    metrics: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True)
class Disease:
    """One thing that can go wrong.

    kind: of stages that can have it           needs: columns of events.jsonl without which nobody can tell
    look: what it looks like                   causes: likely ones, the likeliest first
    confirm: what would prove it               look_alike: the healthy thing that resembles it, which is not flagged
    examine: (stage, the whole run) -> a sign, or None
    """

    name: str
    kind: Kind
    needs: tuple[str, ...]
    look: str
    causes: tuple[str, ...]
    confirm: str
    look_alike: str
    examine: Callable[[Stage, Chart], Sign | None]

    def possible(self, stage: Stage) -> bool:
        """Whether the stage recorded what it takes to tell."""
        return stage.kind == self.kind and all(stage.has(name) for name in self.needs)


@dataclass(frozen=True)
class Finding:
    """A disease in a stage of a run, as it stands in a report and in `--json`."""

    disease: str
    stage: str
    severity: Severity
    step: int | None
    evidence: tuple[str, ...]
    causes: tuple[str, ...]
    remedy: str
    changes: dict[str, Any]
    confirm: str
    metrics: tuple[str, ...]
    samples: tuple[str, ...]
    weight: float

    @staticmethod
    def of(disease: Disease, stage: Stage, sign: Sign) -> Finding:
        return Finding(
            disease=disease.name,
            stage=stage.name,
            severity=sign.severity,
            step=sign.step,
            evidence=sign.evidence,
            causes=disease.causes,
            remedy=sign.remedy,
            changes=stage.offered(sign.changes),
            confirm=disease.confirm,
            metrics=sign.metrics,
            samples=sign.samples,
            weight=sign.weight,
        )

    @property
    def alarms(self) -> bool:
        return self.severity != "notice"
