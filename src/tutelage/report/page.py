"""Run folder -> report.html. What is shown follows from what the folder holds, not from what kind of run it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError

from tutelage.data.errors import InputError
from tutelage.report import (
    algorithms,
    clips,
    demo,
    doctor,
    evaluation,
    objectives,
    overoptimisation,
    plots,
    rounds,
    tamer,
)
from tutelage.report.estimates import between, card, interval, of_mean, sized
from tutelage.report.sanitise import sanitised
from tutelage.runs.files import cannot_write, read_json, read_lines
from tutelage.runs.outcome import outcome_of
from tutelage.runs.went_back import WENT_BACK

CURVES = (
    ("True return of an episode, which the learner does not see", ("true_return",)),
    ("Learned against true reward, correlation over steps", ("reward_correlation",)),
    ("Scores", ("gold_score", "score")),
    ("KL to the reference, nats a sequence", ("kl_nats_per_sequence",)),
    ("Loss", ("loss",)),
    ("Accuracy on the minibatch", ("accuracy",)),
    ("Implicit reward of preferred and of other replies", ("rewards_chosen", "rewards_rejected")),
    ("Log-probs of preferred and of other replies, nats", ("log_probs_chosen", "log_probs_rejected")),
    ("Actions an episode", ("actions",)),
    ("Entropy, nats an action", ("entropy_nats",)),
    ("Explained variance of the critic", ("explained_variance",)),
    ("Clip fraction", ("clip_fraction",)),
    ("KL coefficient, reward a nat", ("kl_coefficient",)),
    ("Distinct pairs of words", ("distinct_2",)),
    ("Against the first policy, share of unseen prompts", ("win_rate_by_reward_model", "shorter")),
    ("From an answer to the policy, seconds", ("seconds_from_answer",)),
    ("Words a reply", ("words", "words_first")),
    ("Answers learned from", ("labels",)),
    ("Held-out answers predicted", ("reward_model_held_out_accuracy",)),
    ("ℓ2 of the reward's networks", ("reward_model_l2",)),
)
SHOWN_SAMPLES = 10


def write(run_path: Path) -> Path:
    """Writes RUN/report.html and returns its path."""
    try:
        text = rendered(run_path)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, TemplateError) as error:
        raise InputError(
            f"{run_path} is not what tutelage wrote ({type(error).__name__}: {str(error)[:160]}): its summary.json, "
            "events.jsonl or samples.jsonl was edited by hand, or damaged."
        ) from error
    target = run_path / "report.html"
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(target, error) from error
    return target


def rendered(run_path: Path) -> str:
    """The page as text."""
    state = read_json(run_path / "state.json")
    config = read_json(run_path / "config.json") if (run_path / "config.json").exists() else {}
    summary = read_json(run_path / "summary.json") if (run_path / "summary.json").exists() else {}
    stages = [stage(folder) for folder in (run_path, *stage_folders(run_path))]
    environment = Environment(
        loader=PackageLoader("tutelage.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html").render(
        name=state["name"],
        status=state["status"],
        outcome=outcome_of(run_path),
        story=demo.story(summary),
        verdict=[
            *demo.verdict(summary),
            *verdict(summary),
            *overoptimisation.verdict(summary),
            *evaluation.verdict(summary),
            *rounds.verdict(summary),
            *clips.verdict(summary),
            *objectives.verdict(summary),
            *returns(run_path),
            *tamer.verdict(summary),
        ],
        doctor=doctor.section(run_path),
        rounds=rounds.section(summary),
        clips=clips.section(run_path),
        tamer=tamer.section(summary),
        laboratory=overoptimisation.section(summary),
        algorithms=algorithms.section(summary),
        objectives=objectives.section(summary),
        evaluation=evaluation.section(summary),
        figure=plots.methods(summary["methods"]) if summary.get("methods") else None,
        methods=summary.get("methods", []),
        frontier=frontier(run_path, summary),
        stages=[each for each in stages if each["curves"] or each["numbers"]],
        pairs=pairs(samples(run_path)),
        sides=sides(summary),
        singles=[row for row in samples(run_path) if "before" not in row and "probe" not in row][:SHOWN_SAMPLES],
        numbers=scalars(summary),
        seconds=seconds(summary),
        settings=flat(config.get("settings", {})),
        surroundings=flat({name: value for name, value in config.items() if name != "settings"}),
        plotly=plots.script(),
        clean=sanitised,
        between=between,
        interval=interval,
        of_mean=of_mean,
        sized=sized,
    )


def stage_folders(run_path: Path) -> list[Path]:
    """The stages of a pipeline, in the order in which they began."""
    folders = [each.parent for each in run_path.glob("*/state.json")]
    return sorted(folders, key=lambda folder: min(each.stat().st_mtime_ns for each in folder.iterdir()))


def stage(folder: Path) -> dict[str, Any]:
    """The curves and numbers of one run folder."""
    events = read_lines(folder / "events.jsonl") if (folder / "events.jsonl").exists() else []
    known = set().union(*(event.keys() for event in events)) if events else set()
    drawn = []
    for title, names in CURVES:
        present = [name for name in names if name in known]
        if present and len(events) > 1:
            drawn.append((f"{title}{plots.sizes(folder, events, present)}", plots.curves(events, present, title)))
    summary = read_json(folder / "summary.json") if (folder / "summary.json").exists() else {}
    return {"name": read_json(folder / "state.json")["name"], "curves": drawn, "numbers": scalars(summary)}


def samples(run_path: Path) -> list[dict[str, Any]]:
    return read_lines(run_path / "samples.jsonl") if (run_path / "samples.jsonl").exists() else []


def pairs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Prompts with two replies side by side and whatever scores stand beside them."""
    found = []
    for row in [each for each in rows if "before" in each and "after" in each][:SHOWN_SAMPLES]:
        scores = {
            side: {name.removeprefix(f"{side}_"): value for name, value in row.items() if name.startswith(f"{side}_")}
            for side in ("before", "after")
        }
        found.append({"prompt": row["prompt"], "before": row["before"], "after": row["after"], "scores": scores})
    return found


def sides(summary: Mapping[str, Any]) -> dict[str, str]:
    """Which policy wrote what stands on each side of a pair."""
    if demo.is_demo(summary):
        return {"before": "before: SFT", "after": "after: PPO"}
    if summary.get("judges") is not None:
        return {"before": "the other policy", "after": "the candidate"}
    return {"before": "before", "after": "after"}


def frontier(run_path: Path, summary: Mapping[str, Any]) -> Any:
    if not summary.get("frontier"):
        return None
    return plots.frontier(summary["frontier"], read_lines(run_path / "ppo" / "events.jsonl"))


def verdict(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(figure, what it is, detail) of what one wants to know first, as far as the summary knows it."""
    found: list[tuple[str, str, str]] = []
    if summary.get("win_rate") is not None:
        judges = summary.get("judges")
        what = f"of replies preferred, by {judges[0]['judge']}" if judges else "of replies better than before"
        found.append(card(summary, "win_rate", what, "prompts", detail="Ties count half"))
    for before, after, what in (
        ("gold_mean_initial", "gold_mean_ppo", "gold score, initial policy → PPO"),
        ("score_baseline", "score_model", "mean score, other policy → candidate"),
    ):
        if before in summary and after in summary:
            change = f"{summary[before]:.2f} → {summary[after]:.2f}"
            found.append((change, what, both_intervals(summary, before, after)))
    if "kl_nats_per_sequence" in summary:
        whose = "of PPO from SFT" if demo.is_demo(summary) else "from where it started"
        found.append((f"{summary['kl_nats_per_sequence']:.1f}", "nats of KL a sequence", whose))
    found += predicted(summary)
    if "seconds_total" in summary:
        found.append((f"{summary['seconds_total'] / 60:.1f} min", "in all", ""))
    return found


def both_intervals(summary: Mapping[str, Any], before: str, after: str) -> str:
    """95 % of both means, where the summary has them."""
    told = [interval(summary, name) for name in (before, after)]
    return f"95 %: {told[0]}, {told[1]}; {sized(summary, after, 'prompts')}" if all(told) else ""


def predicted(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """How often a reward model is right about what it did not learn from, and on how many that was tested."""
    name = "reward_model_accuracy" if summary.get("reward_model_accuracy") is not None else "accuracy"
    if summary.get(name) is None:
        return []
    rule = summary.get(f"{name.removesuffix('accuracy')}length_rule_accuracy")
    details = [f"Preferring the longer reply: {rule:.0%}"] if rule is not None else []
    details += [f"{summary['labels']:,} labels in all"] if "labels" in summary else []
    what = "of held-out choices predicted, " + ("implicit reward" if "rewards_margins" in summary else "reward model")
    return [card(summary, name, what, "held-out choices", detail=". ".join(details))]


def returns(run_path: Path) -> list[tuple[str, str, str]]:
    """Stages that went back to an earlier checkpoint."""
    found = [read_json(each) for each in sorted([*run_path.glob(WENT_BACK), *run_path.glob(f"*/{WENT_BACK}")])]
    return [(f"step {row['step']}", f"of {row['from_step']}: back from {row['disease']}", row["why"]) for row in found]


def scalars(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, shown(value)) for name, value in summary.items() if isinstance(value, (int, float, str))]


def seconds(summary: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(stage, seconds, share of the longest)."""
    by_stage: Mapping[str, float] = summary.get("seconds_by_stage", {})
    longest = max(by_stage.values(), default=1.0) or 1.0
    return [(name, value, value / longest) for name, value in by_stage.items()]


def flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{before}{name}.")
        else:
            rows.append((f"{before}{name}", shown(value)))
    return rows


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
