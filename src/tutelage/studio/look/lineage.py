"""Which labels made which reward model made which policy, read from what run folders and stores say.

Within a run: by the snapshot that a reward model names (model/feedback.json), and by the names of its stages. Between
runs: by the paths in their settings; a run that was moved is found again by the end of its path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from tutelage.data.errors import InputError
from tutelage.report.sanitise import plain
from tutelage.runs.files import read_json
from tutelage.studio.look.lines import number
from tutelage.studio.look.runs import Folder
from tutelage.studio.look.stores import Snapshots, snapshots_of

NAMED = ("model", "data", "also_data", "reward", "held_out_reward", "demonstrations", "baseline", "references")
ROLES = ("questions", "labels", "reward-model", "ppo-on-gold", "ppo", "sft-best-quarter", "sft", "policy", "live")
MAKES = {"ppo": "policy", "sft": "policy", "reward-model": "reward model"}
"""Verb -> what its run will have made, where there is no model yet."""
MADE_OF = {
    "labels": ("sft", "policy"),
    "questions": ("policy",),
    "reward-model": ("questions", "labels", "sft", "policy"),
    "ppo": ("reward-model", "sft", "policy"),
    "ppo-on-gold": ("sft",),
    "sft-best-quarter": ("sft",),
    "live": ("policy",),
}
"""Role of a stage -> roles of what it is made of: of the same prefix, else of none."""
SHARES = [f"{name}{end}" for name in ("accuracy", "win_rate") for end in ("", "_low", "_high", "_n")]
NUMBERS = (*SHARES, "labels", "score_mean", "kl_nats_per_sequence", "gold_score_last_quarter_lowest")


@dataclass
class Graph:
    """nodes by id; edges (from, to, by what)."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    edges: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])
    paths: dict[tuple[str, ...], str] = field(default_factory=dict[tuple[str, ...], str])

    def add(self, name: str, kind: str, title: str, run: str, **more: Any) -> str:
        self.nodes[name] = {"id": name, "kind": kind, "title": plain(title, 120), "run": run, **more}
        return name

    def join(self, source: str, target: str, by: str) -> None:
        if source != target and source in self.nodes and target in self.nodes:
            self.edges.add((source, target, by))

    def at(self, path: str) -> str | None:
        """The node whose path is the longest end of this one."""
        parts = PurePath(path).parts
        ends = (parts[place:] for place in range(len(parts)))
        return next((self.paths[end] for end in ends if end in self.paths), None)


def lineage(folders: Sequence[Folder], stores: Mapping[str, Path]) -> dict[str, Any]:
    """Everything that is known. stores: further feedback stores by the name that they are shown under."""
    graph = Graph()
    for folder in folders:
        _stages(graph, folder)
    for folder in folders:
        if "feedback.db" in folder.stages[0].files:
            _store(graph, folder.id, folder.path / "feedback.db")
    for name, path in stores.items():
        if path.is_file():
            _store(graph, name, path)
    for folder in folders:
        _within(graph, folder)
        _between(graph, folder)
    edges = [{"from": source, "to": target, "by": by} for source, target, by in sorted(graph.edges)]
    joined = {end for edge in edges for end in (edge["from"], edge["to"])}
    nodes = [each for each in graph.nodes.values() if each["id"] in joined or each["kind"] != "result"]
    return {"nodes": nodes, "edges": edges}


def _stages(graph: Graph, folder: Folder) -> None:
    """What a run left: models, labels, or numbers alone."""
    for stage in folder.stages:
        name, parts = f"{folder.id}//{stage.name}", (*folder.id.split("/"), *([stage.name] if stage.name else []))
        kind = kind_of(stage.path, stage.files)
        if kind is None and stage.name:
            continue
        kind = kind or MAKES.get(str(config_of(folder).get("verb")))
        title = " / ".join(parts)
        about = {"stage": stage.name, "numbers": _numbers(stage.path, stage.files), "changed": stage.changed}
        graph.add(name, kind or "result", title, folder.id, **about)
        for end in ((), ("model",), ("comparisons.jsonl",), ("feedback.db",)):
            graph.paths[(*parts, *end)] = name


def kind_of(path: Path, files: Mapping[str, Any]) -> str | None:
    """What a stage made: a policy, a reward model, labels; None where nothing that others are made of."""
    model = path / "model"
    if (model / "ensemble.json").is_file():
        return "reward model"
    if (model / "adapter_config.json").is_file():
        with suppress(InputError):
            task = read_json(model / "adapter_config.json").get("task_type")
            return "reward model" if task == "SEQ_CLS" else "policy"
    if (model / "config.json").is_file():
        with suppress(InputError):
            architectures = str(read_json(model / "config.json").get("architectures"))
            return "reward model" if "SequenceClassification" in architectures else "policy"
    return "labels" if "comparisons.jsonl" in files else None


def _numbers(path: Path, files: Mapping[str, Any]) -> dict[str, float]:
    if "summary.json" not in files:
        return {}
    try:
        summary = read_json(path / "summary.json")
    except InputError:
        return {}
    return {name: value for name in NUMBERS if (value := number(summary.get(name))) is not None}


def _store(graph: Graph, owner: str, path: Path) -> None:
    """A store's snapshots, each with who gave its labels and what was taken back since."""
    found: Snapshots = snapshots_of(path)
    parent = f"{owner}//store"
    graph.add(parent, "labels", f"{owner} / feedback.db", owner, stage="", trouble=found.trouble, people=found.people)
    graph.nodes[parent]["numbers"] = {"labels": found.labels}
    graph.paths[(*owner.split("/"), "feedback.db")] = parent
    for each in found.snapshots:
        name = f"{owner}//snapshot//{each.id}"
        about = {"stage": "", "people": each.people, "taken_back": each.taken_back}
        graph.add(name, "labels", f"{owner} / snapshot {each.id[:8]}", owner, **about)
        graph.nodes[name]["numbers"] = {"labels": each.labels}
        graph.join(parent, name, "frozen")


def _within(graph: Graph, folder: Folder) -> None:
    """Stages of one run, by their names and by the snapshots that they name."""
    stages = {stage.name: stage for stage in folder.stages if stage.name}
    for stage in stages.values():
        target, (prefix, role) = f"{folder.id}//{stage.name}", _role(stage.name)
        snapshot = _snapshot(stage.path)
        if snapshot:
            graph.join(f"{folder.id}//snapshot//{snapshot}", target, "learned from")
        for other in MADE_OF.get(role, ()):
            source = next((name for name in (f"{prefix}{other}", other) if name in stages), None)
            if source is not None:
                graph.join(f"{folder.id}//{source}", target, "stage")
        if role == "live":
            graph.join(f"{folder.id}//store", target, "learned from")


def _role(name: str) -> tuple[str, str]:
    """(what stands before the role in a stage's name, the role)."""
    role = next((each for each in ROLES if name == each or name.endswith(f"-{each}")), "")
    return (name.removesuffix(role), role) if role else (name, "")


def _snapshot(path: Path) -> str:
    with suppress(InputError):
        found = read_json(path / "model" / "feedback.json").get("snapshot")
        return found if isinstance(found, str) else ""
    return ""


def _between(graph: Graph, folder: Folder) -> None:
    """What the settings of a run name: another run's model or labels, or something from elsewhere."""
    target = f"{folder.id}//"
    for name, value in _texts(config_of(folder).get("settings")):
        last = name.rpartition(".")[2]
        if last not in NAMED or not value:
            continue
        source = graph.at(value)
        if source is None:
            source = graph.add(f"elsewhere//{value}", "elsewhere", value, "", stage="", numbers={})
        graph.join(source, target, last.replace("_", " "))


def config_of(folder: Folder) -> dict[str, Any]:
    """config.json, or nothing where it cannot be read."""
    try:
        return read_json(folder.path / "config.json")
    except InputError:
        return {}


def _texts(settings: Any, before: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(settings, dict) and depth < 8:
        for name, value in settings.items():
            yield from _texts(value, f"{before}.{name}" if before else str(name), depth + 1)
    elif isinstance(settings, str):
        yield before, settings
