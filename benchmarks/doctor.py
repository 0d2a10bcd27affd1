"""How often the doctor names a disease that was planted, and how often it alarms over a healthy run.

    python benchmarks/doctor.py FOLDER --base fourth,fifth --seeds 45,46 --runs diseased
    python benchmarks/doctor.py FOLDER --base fourth,fifth --seeds 45,46,47,48,49,50,51,52,53,54 --runs healthy
    python benchmarks/doctor.py FOLDER --table

Every run starts from shared SFT and reward-model checkpoints, made once a base setting. Seeds 0 to 39 of the first
three base settings are for choosing thresholds; figures come from later seeds on the fourth and fifth, on which nothing
was chosen. --runs also takes names ("KL is free,slow"). What is finished stands in FOLDER/results.jsonl and is not done
again; --table only counts. Of every run the record is kept, without weights: after a rule was changed --again diagnoses
them anew. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from faults import FAULTS, HEALTHY, Fault, prompts_of
from torch import Tensor

from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.data.helpdesk import demonstrations
from tutelage.data.records import Comparison
from tutelage.data.tokens import Codec
from tutelage.doctor.chart import Chart, read_stage
from tutelage.doctor.diagnosis import diagnose, found_in
from tutelage.execution.native import SamplingSettings
from tutelage.formulas.intervals import clopper_pearson
from tutelage.models.lora import with_lora
from tutelage.models.pretrained import load_causal_lm, load_sequence_classifier, load_tokenizer
from tutelage.policies.language import LanguagePolicy
from tutelage.recipes.demo import DemoConfig, labels_stage, reward_model_stage, sft_stage
from tutelage.rewards import helpdesk
from tutelage.rewards.language import ModelScore, RewardModel
from tutelage.runs.files import append_lines, read_lines
from tutelage.runs.run import Run, as_plain
from tutelage.training.callbacks import Callbacks
from tutelage.training.engine import Engine
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker, encoded
from tutelage.training.train import train
from tutelage.trajectory import Batch, Task

TUNED_ON, UNSEEN = ("first", "second", "third"), ("fourth", "fifth")
FIRST_UNSEEN_SEED = 40
STEPS, RESULTS = 16, "results.jsonl"
SPENT = ("seconds", "core_seconds")  # a core's own time is the one that a busy machine leaves alone
SHARED = {"sft": sft_stage, "labels": labels_stage, "reward-model": reward_model_stage}


@dataclass(frozen=True)
class Base:
    """What a run is before a fault is planted. seed: of its SFT policy, labels and reward model."""

    seed: int
    ppo: PPOConfig
    labels: int = 2000

    @property
    def demo(self) -> DemoConfig:
        return DemoConfig(seed=self.seed, labels=self.labels, ppo=self.ppo)


FIRST = replace(DemoConfig().ppo, steps=STEPS, trajectories=32)
BASES = {
    "first": Base(0, FIRST),
    "second": Base(1, replace(FIRST, epochs=1, learning_rate=1e-3, kl_coefficient=0.15, gae_lambda=1.0)),
    "third": Base(2, replace(FIRST, epochs=4, minibatches=2, learning_rate=4e-4, kl_coefficient=0.3), labels=1200),
    "fourth": Base(4, replace(FIRST, learning_rate=5e-4, value_learning_rate=7e-4, kl_coefficient=0.25)),
    "fifth": Base(5, replace(FIRST, epochs=3, learning_rate=4e-4, kl_coefficient=0.12, gae_lambda=0.9), labels=1500),
    "small": Base(3, FIRST, labels=600),  # for the part of the suite in `make test`; in no figure
}


def main() -> None:
    arguments = parsed()
    folder = Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.again:
        again(folder)
    elif not arguments.table:
        for base, seed, name in todo(arguments):
            began, worked = time.monotonic(), time.process_time()
            row = carried_out(folder, base, seed, name)
            spent = {"seconds": time.monotonic() - began, "core_seconds": time.process_time() - worked}
            append_lines(folder / RESULTS, [{**row, **{each: round(value, 1) for each, value in spent.items()}}])
            print(f"{base} {seed} {name}: {row['alarms'] or 'no alarm'}", flush=True)
    counted(read_lines(folder / RESULTS))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--base", default="first")
    parser.add_argument("--runs", default="diseased,healthy")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--again", action="store_true")
    return parser.parse_args()


def todo(arguments: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """Runs that are asked for and not finished; base by base, so that checkpoints are made once."""
    results = Path(arguments.folder) / RESULTS
    rows = read_lines(results) if results.exists() else []
    done = {(row["base"], row["seed"], row["run"]) for row in rows}
    kinds = {"diseased": list(FAULTS), "healthy": list(HEALTHY)}
    names = [name for asked in arguments.runs.split(",") for name in kinds.get(asked, [asked])]
    for base in arguments.base.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            for name in names:
                if (base, seed, name) not in done:
                    yield base, seed, name


def carried_out(folder: Path, base: str, seed: int, name: str) -> dict[str, Any]:
    """One run, diagnosed; of its folder all but the weights is kept."""
    made, fault = shared(folder, base), {**FAULTS, **HEALTHY}[name]
    config = planted(BASES[base], fault, seed)
    run = Run.create(kept(folder, base, seed, name), config, overwrite=True)
    run.skip_preflight = True  # it would refuse some of these faults, which is its part
    for stage in ("sft", "labels", "reward-model"):
        if stage == "sft" or stage not in fault.stages:
            shutil.copytree(made / stage, run.path / stage)
    act(fault, config, run, made)
    for each in [*run.path.rglob("*.safetensors"), *run.path.rglob("*.pt")]:
        each.unlink()
    return told(run.path, fault, base, seed, name)


def kept(folder: Path, base: str, seed: int, name: str) -> Path:
    return folder / "runs" / f"{base} {seed} {name}"


def again(folder: Path) -> None:
    """Every kept record diagnosed by the rules of today."""
    rows = read_lines(folder / RESULTS)
    (folder / RESULTS).rename(folder / f"before-{RESULTS}")
    for row in rows:
        base, seed, name = row["base"], row["seed"], row["run"]
        found = told(kept(folder, base, seed, name), {**FAULTS, **HEALTHY}[name], base, seed, name)
        append_lines(folder / RESULTS, [{**found, **{each: row[each] for each in SPENT if each in row}}])


def shared(folder: Path, base: str) -> Path:
    """The checkpoints of a base setting, made on first use."""
    config = BASES[base].demo
    run = Run.create(folder / f"shared-{base}", config, resume=(folder / f"shared-{base}").exists())
    if not run.finished:
        for name, make in SHARED.items():
            stage = run.stage(name)
            if not stage.finished:
                stage.mark_finished(make(config, run, stage))
        run.mark_finished({})
    return run.path


def planted(base: Base, fault: Fault, seed: int) -> dict[str, Any]:
    """The settings that are written down."""
    ppo = replace(base.ppo, seed=seed, **fault.changes)
    model = replace(base.demo.reward_model, epochs=fault.epochs, seed=seed)
    row = as_plain(replace(base.demo, ppo=ppo, reward_model=model, max_new_tokens=fault.new_tokens))
    return {**row, **({"lora_rank": fault.lora} if fault.lora else {})}


def act(fault: Fault, written: Mapping[str, Any], run: Run, made: Path) -> None:
    """The stages in which the fault is."""
    config = replace(
        BASES["first"].demo,
        seed=written["ppo"]["seed"],
        max_new_tokens=fault.new_tokens,
        ppo=PPOConfig(**written["ppo"]),
        reward_model=type(BASES["first"].demo.reward_model)(**written["reward_model"]),
    )
    if "labels" in fault.stages and fault.labels is not None:
        rows = [Comparison.model_validate(row) for row in read_lines(made / "labels" / "comparisons.jsonl")]
        stage = run.stage("labels")
        append_lines(stage.path / "comparisons.jsonl", [row.row() for row in fault.labels(rows, config.seed)])
        stage.mark_finished({})
    if "reward-model" in fault.stages:
        stage = run.stage("reward-model")
        stage.mark_finished(reward_model_stage(config, run, stage))
    if "ppo" in fault.stages:
        stage = run.stage("ppo")
        try:
            with fault.patched():
                optimise(fault, config, run, stage)
            stage.mark_finished({})
        except FloatingPointError as error:  # as `cli` does
            stage.interrupted(type(error).__name__)


def optimise(fault: Fault, config: DemoConfig, run: Run, stage: Run) -> None:
    """PPO from the shared checkpoints, gold looking on."""
    folder = str(run.path / "sft" / "model")
    model, codec = load_causal_lm(folder), Codec(load_tokenizer(folder))
    if fault.lora:
        model = with_lora(model, fault.lora)
    sampling = SamplingSettings(config.max_new_tokens)
    speaker = Speaker(LanguagePolicy(model.eval()), codec, sampling, engine=Engine(make_text_sampler=fault.drawn_by))
    classifier = load_sequence_classifier(str(run.path / "reward-model" / "model"))
    score: Any = ModelScore(RewardModel(classifier))
    if fault.rewarded is not None:
        score = fault.rewarded(score, codec)

    def look(step: int, batch: Batch, score_BT: Tensor) -> None:
        asked, replied = codec.prompts_and_responses(batch)
        stage.note(gold_score=float(np.mean(helpdesk.gold(asked, replied))))
        stage.keep_samples(step, [{"prompt": asked[i], "response": replied[i]} for i in range(4)])

    learned = encoded(codec, demonstrations.demonstrations(32, config.seed))
    critic = critic_of(speaker.policy, classifier)
    environment = speaker.environment(prompts_of(config.seed))
    task, callbacks = Task(environment, score), Callbacks(look, demonstrations=learned)
    train(PPO, config.ppo, task, language_models(speaker, critic), speaker.engine, stage, callbacks)


# --- what was found


def told(path: Path, fault: Fault, base: str, seed: int, name: str) -> dict[str, Any]:
    """Names of the alarms in the stages that were run, the severest first, and when the first accepted one came."""
    found = [each for each in diagnose(path).findings if each.stage in fault.stages and each.alarms]
    alarms = list(dict.fromkeys(each.disease for each in found))
    row: dict[str, Any] = {"base": base, "seed": seed, "run": name, "alarms": alarms}
    if "ppo" in fault.stages:
        row |= timed(path, fault.accepted or tuple(alarms))
    return row


def timed(path: Path, accepted: Sequence[str]) -> dict[str, Any]:
    """alarm: steps that had been recorded when an accepted name first came; gold_peak: where gold was highest."""
    stage = read_stage(path / "ppo")
    gold = stage.series("gold_score")
    means = gold.means()
    peak = int(means.steps[means.values.argmax()]) if len(gold) else None
    for count in range(1, len(stage.events) + 1):
        step = stage.events[count - 1]["step"]
        known = tuple(row for row in stage.samples if row["step"] <= step)
        then = replace(stage, events=stage.events[:count], samples=known, summary={}, state={})
        if any(each.disease in accepted and each.alarms for each in found_in(Chart(path, (then,)), (then,))):
            return {"alarm": step, "gold_peak": peak}
    return {"alarm": None, "gold_peak": peak}


def counted(rows: Sequence[Mapping[str, Any]]) -> None:
    """The confusion table, then figures of tuning and of unseen runs apart."""
    for name in [*FAULTS, *HEALTHY]:
        mine = [row for row in rows if row["run"] == name]
        if mine:
            first = Counter(row["alarms"][0] if row["alarms"] else "none" for row in mine)
            says = ", ".join(f"{disease} {count}" for disease, count in first.most_common())
            right = f"{sum(map(recalled, mine))}/{len(mine)}" if name in FAULTS else "healthy"
            print(f"{name:28s} {right:>8s}  first: {says}")
    tuned = [row for row in rows if row["base"] in TUNED_ON and row["seed"] < FIRST_UNSEEN_SEED]
    unseen = [row for row in rows if row["base"] in UNSEEN and row["seed"] >= FIRST_UNSEEN_SEED]
    small = [row for row in rows if row["base"] == "small"]
    print(json.dumps({"tuning": figures(tuned), "unseen": figures(unseen), "small": figures(small)}))


def recalled(row: Mapping[str, Any]) -> bool:
    """An accepted name stands first or second."""
    return any(each in FAULTS[row["run"]].accepted for each in row["alarms"][:2])


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sick, well = ([row for row in rows if (row["run"] in FAULTS) is there] for there in (True, False))
    found = sum(map(recalled, sick))
    low, high = clopper_pearson(found, len(sick)) if sick else (0.0, 1.0)
    leads = [row["gold_peak"] - row["alarm"] for row in sick if row.get("alarm") is not None and row.get("gold_peak")]
    return {
        "diseased": len(sick),
        "recall": found / len(sick) if sick else None,
        "recall_low": low,
        "recall_high": high,
        "healthy": len(well),
        "healthy_alarmed": sum(bool(row["alarms"]) for row in well),
        "alarm_steps_before_gold_peak_median": float(np.median(leads)) if leads else None,
        "alarm_before_gold_peak_fraction": float(np.mean([lead > 0 for lead in leads])) if leads else None,
        **{
            f"{each}_{name}": taken(rows, each, of)
            for each in SPENT
            for name, of in (("median", np.median), ("longest", np.max))
        },
    }


def taken(rows: Sequence[Mapping[str, Any]], name: str, of: Callable[[list[float]], Any]) -> float | None:
    times = [row[name] for row in rows if name in row]
    return float(of(times)) if times else None


if __name__ == "__main__":
    main()
