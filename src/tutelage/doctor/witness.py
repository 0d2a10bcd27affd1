"""A judge that nothing is optimised against: a held-out reward, a gold score, in events or beside the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tutelage.doctor.chart import Stage
from tutelage.doctor.series import Series

JUDGES = ("held_out_score", "gold_score")  # in events.jsonl
ERRORS = 4.0  # standard errors of a mean that a fall must have: the highest of many means is high by luck already
FEWEST = 6  # looks that a fall can be told from


@dataclass(frozen=True)
class Fall:
    """judge: who saw it; step: of the peak; start, peak, end: means there; noise: standard error of a mean;
    proxy_at_peak, proxy_at_end: what is optimised, at the same steps"""

    judge: str
    step: int
    start: float
    peak: float
    end: float
    noise: float
    proxy_at_peak: float
    proxy_at_end: float

    @property
    def gain_lost(self) -> float:
        """Share of what had been gained that is gone again; 1 and more: it is no better than at the start."""
        return min(10.0, (self.peak - self.end) / max(self.peak - self.start, 1e-9))


def judged(stage: Stage) -> list[tuple[str, Series, Series]]:
    """(name, what the judge says, the proxy meanwhile) of every judge of this stage."""
    found = [(name, stage.series(name), stage.series("score")) for name in JUDGES if stage.has(name)]
    gold, proxy = of_samples(stage, "gold"), of_samples(stage, "proxy")
    return [*found, ("gold", gold, proxy)] if len(gold) and len(proxy) else found


def of_samples(stage: Stage, name: str) -> Series:
    """Means by step of a number that stands beside the samples."""
    rows: dict[int, list[float]] = {}
    for row in stage.samples:
        value = row.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e100:
            rows.setdefault(row["step"], []).append(float(value))
    steps = sorted(rows)
    return Series(np.array(steps, dtype=np.int64), np.array([np.mean(rows[step]) for step in steps]))


def falls(stage: Stage) -> list[Fall]:
    """Where a judge's score fell from its peak by more than its noise."""
    return [fall for each in judged(stage) if (fall := fall_of(*each)) is not None]


def fall_of(name: str, seen: Series, proxy: Series) -> Fall | None:
    if len(seen) < FEWEST or len(proxy) < FEWEST:
        return None
    means, optimised = seen.means(), proxy.means()
    at = int(means.values.argmax())
    fall = Fall(
        judge=name,
        step=int(means.steps[at]),
        start=seen.start,
        peak=float(means.values[at]),
        end=seen.last,
        noise=seen.noise,
        proxy_at_peak=float(np.interp(means.steps[at], optimised.steps, optimised.values)),
        proxy_at_end=proxy.last,
    )
    return fall if fall.peak - fall.end > ERRORS * fall.noise and fall.peak > fall.end else None
