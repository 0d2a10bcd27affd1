"""A run folder as the doctor reads it: events, samples, settings, summaries, comparisons. Nothing is written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tutelage.data.errors import InputError
from tutelage.doctor.deployed import Deployment
from tutelage.doctor.judgements import Judgement, judgements_in, judgements_of
from tutelage.doctor.series import Series
from tutelage.runs.files import read_json, read_lines
from tutelage.runs.outcome import is_begun

Kind = Literal["ppo", "reward model", "supervised", "labels", "other"]
SETTINGS_OF = {"ppo": "ppo", "reward model": "reward_model", "supervised": "sft"}
DOTTED = {*SETTINGS_OF.values(), "reward", "teacher"}  # groups whose flags begin with their name
OTHER_NAMES = {"kl_coefficient": "beta", "clip_range": "epsilon"}  # of PPO's settings, in other algorithms
LARGEST = 1e100  # beyond it a number is as good as any other, and its square still is one


@dataclass(frozen=True)
class Stage:
    """One run folder: a stage of a pipeline, or the whole of a run that has none.

    settings: of its algorithm     job: all settings of the run     prefix: what its flags begin with ("ppo.", or "")
    """

    name: str
    kind: Kind
    path: Path
    events: tuple[dict[str, float], ...] = ()
    samples: tuple[dict[str, Any], ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    job: Mapping[str, Any] = field(default_factory=dict[str, Any])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    prefix: str = ""
    judgements: tuple[Judgement, ...] = ()

    def has(self, name: str) -> bool:
        return any(name in event for event in self.events)

    def series(self, name: str) -> Series:
        """A column of events.jsonl, where it was recorded."""
        rows = [(event["step"], event[name]) for event in self.events if name in event]
        steps, values = zip(*rows, strict=True) if rows else ((), ())
        return Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))

    def setting(self, name: str, otherwise: float) -> float:
        """A number among the settings of its algorithm."""
        value = self.settings.get(self._own_name(name))
        return number(value) if isinstance(value, (int, float)) else otherwise

    @property
    def of_bodies(self) -> bool:
        """Control, whose episodes end by the clock and whose scores are sums over many steps."""
        return self.has("true_return")

    def result(self, name: str) -> float | None:
        """A number of its summary."""
        value = self.summary.get(name)
        return number(value) if isinstance(value, (int, float)) else None

    def size(self, name: str) -> str:
        """ " (n = 40)" of an estimate of its summary; nothing where the run did not record it."""
        count = self.result(f"{name}_n")
        return "" if count is None else f" (n = {count:.0f})"

    def flag(self, name: str) -> str:
        """What a setting of its algorithm is called on the command line."""
        return f"--{self.prefix}{self._own_name(name)}".replace("_", "-")

    def _own_name(self, name: str) -> str:
        """What this run's algorithm calls a setting of PPO."""
        other = OTHER_NAMES.get(name, name)
        return other if name not in self.settings and other in self.settings else name

    def texts(self, key: str = "response") -> list[tuple[int, str]]:
        """(step, text) of the samples, in their order; a probe's, alike by design, only where there are no others."""
        drawn = [row for row in self.samples if "probe" not in row] or self.samples
        return [(row["step"], row[key]) for row in drawn if isinstance(row.get(key), str)]

    def offered(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the changes that the verb of this run has a flag for, and that change something."""
        known = {f"--{name}".replace("_", "-"): value for name, value in _flat(self.job).items()}
        return {flag: value for flag, value in changes.items() if not known or (flag in known and known[flag] != value)}

    @property
    def unhappy_end(self) -> str:
        """The kind of error that ended it; "" where none did."""
        return str(self.state.get("stopped_by", ""))


@dataclass(frozen=True)
class Chart:
    """A run: its own folder first, then its stages. deployed: what came back from the world, where it was given."""

    path: Path
    stages: tuple[Stage, ...]
    deployed: Deployment | None = None

    def of_kind(self, kind: Kind) -> list[Stage]:
        return [stage for stage in self.stages if stage.kind == kind]

    @cached_property
    def judgements(self) -> list[Judgement]:
        """What was said anywhere in the run; stages may repeat each other."""
        return [each for stage in self.stages for each in stage.judgements]

    @cached_property
    def judged_texts(self) -> frozenset[str]:
        """Every reply that was judged anywhere in the run."""
        return frozenset(text for row in self.judgements for text in row.texts)


def chart_of(path: Path) -> Chart:
    """Reads a run folder, a stage's, or a labelling project's; InputError where it is none of them, or damaged."""
    try:
        if not path.is_dir():
            raise InputError(
                f"{path} is no folder. tutelage doctor takes the folder of a run: tutelage doctor runs/ppo"
            )
        inner = sorted(each.parent for each in path.glob("*/state.json"))
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.") from error
    stages = [read_stage(folder) for folder in (path, *inner)]
    asked = judgements_in(path / "feedback.db") if not any(stage.judgements for stage in stages) else ()
    if asked:
        stages.append(Stage("feedback store", "labels", path, judgements=asked))
    if not (stages[0].state or stages[0].events or len(stages) > 1 or is_begun(path)):
        raise InputError(f"{path} has no state.json and no events.jsonl: it is no run folder.")
    return Chart(path, tuple(stages))


def read_stage(folder: Path) -> Stage:
    """One folder, without those inside."""
    state = optional(folder / "state.json")
    events = tuple(_event(folder, row) for row in lines(folder / "events.jsonl"))
    samples = tuple(_sample(row) for row in lines(folder / "samples.jsonl"))
    said = judgements_of(folder / "comparisons.jsonl") if (folder / "comparisons.jsonl").exists() else ()
    summary, kind = optional(folder / "summary.json"), kind_of(events, bool(said))
    job = settings_of(folder)
    settings, prefix = _own(job, kind)
    name = state.get("name")
    return Stage(
        name=name if isinstance(name, str) else folder.name,
        kind=kind,
        path=folder,
        events=events,
        samples=samples,
        summary=summary,
        state=state,
        job=job,
        settings=settings,
        prefix=prefix,
        judgements=said,
    )


def kind_of(events: Sequence[Mapping[str, float]], judged: bool) -> Kind:
    """What a stage is, by what it recorded."""
    names = set(events[0]) if events else set[str]()
    if "kl_nats_per_sequence" in names:
        return "ppo"
    if "gradient_norm_reward_model" in names:
        return "reward model"
    if "perplexity" in names:
        return "supervised"
    return "labels" if judged else "other"


def settings_of(folder: Path) -> Mapping[str, Any]:
    """The settings of the run that the folder is, or is a stage of."""
    for each in (folder, folder.parent):
        settings = optional(each / "config.json").get("settings")
        if isinstance(settings, dict):
            return settings
    return {}


def _own(job: Mapping[str, Any], kind: Kind) -> tuple[Mapping[str, Any], str]:
    """(the settings of this algorithm, what their flags begin with)."""
    name = SETTINGS_OF.get(kind, "")
    for place, prefix in ((name, f"{name}."), ("settings", "")):
        if isinstance(job.get(place), dict):
            return job[place], prefix
    return job, ""


def _flat(job: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by the names of their flags: some groups are written with a dot, others are not."""
    found: dict[str, Any] = {}
    for name, value in job.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{name}." if name in DOTTED else before)
        else:
            found[f"{before}{name}"] = value
    return found


def optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def lines(path: Path) -> list[dict[str, Any]]:
    return read_lines(path) if path.exists() else []


def number(value: float) -> float:
    """Finite and not so large that its square is not; NaN becomes 0, which says nothing."""
    try:
        found = float(value)
    except OverflowError:
        return LARGEST if value > 0 else -LARGEST
    return 0.0 if math.isnan(found) else max(-LARGEST, min(LARGEST, found))


def _event(folder: Path, row: Mapping[str, Any]) -> dict[str, float]:
    """A row of numbers; InputError where it has no step, or a metric is none."""
    wrong = [name for name, value in row.items() if isinstance(value, bool) or not isinstance(value, (int, float))]
    broken = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    if wrong or broken or not isinstance(row.get("step"), int) or not 0 <= row["step"] < 2**62:
        fault = (wrong or broken or ["step"])[0]
        raise InputError(
            f"{folder / 'events.jsonl'}: {fault} is {str(row.get(fault))[:80]!r}, expected a finite number."
        )
    return {name: row["step"] if name == "step" else number(value) for name, value in row.items()}


def _sample(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with a step; numbers that are none are left out."""
    step = row.get("step")
    kept = {name: value for name, value in row.items() if not isinstance(value, float) or math.isfinite(value)}
    return {**kept, "step": step if isinstance(step, int) and 0 <= step < 2**62 else 0}
