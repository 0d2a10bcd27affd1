"""What answers are worth, and what each part of the method brings: the recipe over seeds and ablations.

    python benchmarks/christiano.py run --envs Pendulum-v1 CartPole-v1 --what full --seeds 5
    python benchmarks/christiano.py table
    python benchmarks/christiano.py table --first-seed 5 --seeds 20 --measure run

Runs lie in benchmarks/.runs/christiano; one that is there is not done again, one that was stopped goes on. `table`
prints what is there of these seeds: the ratio (preferences − random) / (PPO − random), both ends measured per seed,
with intervals over seeds; then how much less that is, seed by seed, than the full method's, or than that of what
stands before its comma. `--measure run` takes the mean over the whole run instead of its end: how soon it was learned.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import page_trend_test
from setting import HERE, finish

from tutelage.algorithms.preferences import PreferenceConfig
from tutelage.feedback.teachers import Teacher
from tutelage.formulas import intervals
from tutelage.recipes.christiano import christiano
from tutelage.recipes.christiano_settings import ChristianoConfig, ClipQuestions
from tutelage.runs.files import read_lines
from tutelage.runs.run import Run

RUNS = HERE / ".runs" / "christiano"
ASK, LEARN = ClipQuestions(), PreferenceConfig()
NOISY = Teacher(sharpness=1.0)  # B-Pref's, by σ(difference of returns), where a step earns 1 at most
WHAT: dict[str, tuple[ClipQuestions, PreferenceConfig, Teacher]] = {
    "full": (ASK, LEARN, Teacher()),
    "350 labels": (replace(ASK, labels=350), LEARN, Teacher()),
    "1400 labels": (replace(ASK, labels=1400), LEARN, Teacher()),
    "offline labels": (replace(ASK, first_fraction=1.0), LEARN, Teacher()),
    "single frames": (replace(ASK, clip_steps=1), LEARN, Teacher()),
    "no ensemble": (ASK, replace(LEARN, members=1), Teacher()),
    "random queries": (replace(ASK, select="uniform"), LEARN, Teacher()),
    "no regularisation": (ASK, replace(LEARN, held_back=False), Teacher()),
    "target regression": (ASK, replace(LEARN, objective="returns"), Teacher()),
    "70 labels": (replace(ASK, labels=70), LEARN, Teacher()),
    "70 labels, offline": (replace(ASK, labels=70, first_fraction=1.0), LEARN, Teacher()),
    "70 labels, single frames": (replace(ASK, labels=70, clip_steps=1), LEARN, Teacher()),
    "mistakes 10 %": (ASK, LEARN, Teacher(mistake=0.1)),
    "noisy answers": (ASK, LEARN, NOISY),
    "noisy answers, offline": (replace(ASK, first_fraction=1.0), LEARN, NOISY),
    "noisy answers, single frames": (replace(ASK, clip_steps=1), LEARN, NOISY),
    "noisy answers, 350 labels": (replace(ASK, labels=350), LEARN, NOISY),
    "noisy answers, 1400 labels": (replace(ASK, labels=1400), LEARN, NOISY),
}
MOST = {"Pendulum-v1": 16.2736044}  # that a step can earn above the least; elsewhere about 1
TRENDS = (
    ("350 labels", "full", "1400 labels"),
    ("70 labels", "350 labels", "full", "1400 labels"),
    ("noisy answers, 350 labels", "noisy answers", "noisy answers, 1400 labels"),
)


def folder(env: str, what: str, seed: int) -> Path:
    return RUNS / f"{env}-{what.replace(' ', '-').replace('%', 'percent').replace(',', '')}-{seed}"


def done(env: str, what: str, seed: int, steps: int, episodes: int) -> dict[str, Any]:
    """The summary of one run, made if it is not there. Only the full method runs PPO on the true reward beside it."""
    asking, learning, teacher = WHAT[what]
    teacher = replace(teacher, sharpness=teacher.sharpness / MOST.get(env, 1.0))
    config = ChristianoConfig(
        env, seed, steps, what == "full", episodes, asking=asking, reward=learning, teacher=teacher
    )
    path = folder(env, what, seed)
    if not (path / "summary.json").exists():
        run = Run.create(path, config, resume=path.exists())
        run.mark_finished(christiano(config, run))
        shutil.rmtree(path / "clips")
        print(json.dumps({"what": what, **run.summary}), flush=True)
    return json.loads((path / "summary.json").read_text())


def gained(path: Path, policy: str, measure: str) -> float:
    """What a policy, `ppo` or `preferences`, earned more than the untrained one: in the end, or on average over all
    batches of its run, which says how soon it learned."""
    summary = json.loads((path / "summary.json").read_text())
    if measure == "end":
        reached = summary[f"true_return_{policy}"]
    else:
        reached = float(np.mean([row["true_return"] for row in read_lines(path / policy / "events.jsonl")]))
    return reached - summary["true_return_random"]


def ratios(env: str, what: str, seeds: range, measure: str) -> dict[int, float]:
    """Seed -> share of PPO's gain."""
    found = {}
    for seed in seeds:
        full, mine = folder(env, "full", seed), folder(env, what, seed)
        if all((path / "summary.json").exists() for path in (full, mine)):
            found[seed] = gained(mine, "preferences", measure) / gained(full, "ppo", measure)
    return found


def before(what: str) -> str:
    """What this differs from in one thing."""
    return what.split(", ")[0] if ", " in what else "full"


def table(envs: Sequence[str], seeds: range, measure: str) -> None:
    rows, answer = [], {}
    for env in envs:
        for what in WHAT:
            mine = ratios(env, what, seeds, measure)
            if len(mine) < 2:
                continue
            mean, low, high = intervals.t_interval(list(mine.values()))
            whole = ratios(env, before(what), seeds, measure)
            worse = [whole[seed] - mine[seed] for seed in sorted(set(mine) & set(whole))]
            gap = intervals.t_interval(worse) if what != "full" else (0.0, 0.0, 0.0)
            rows.append([env, what, len(mine), mean, low, high, *gap])
            answer[f"{env}, {what}"] = {"ratio": mean, "low": low, "high": high, "by_seed": mine}
        for trend in TRENDS:
            by_labels = [ratios(env, what, seeds, measure) for what in trend]
            shared = sorted(set.intersection(*(set(each) for each in by_labels)))
            if len(shared) > 2:
                found = page_trend_test(np.array([[each[seed] for each in by_labels] for seed in shared]))
                told = {"page_l": found.statistic, "p": found.pvalue, "seeds": len(shared)}
                answer[f"{env}, trend over {', '.join(trend)}"] = told
    finish(rows, ["task", "what", "seeds", "ratio", "low", "high", "less by", "low", "high"], answer)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=("run", "table"))
    parser.add_argument("--envs", nargs="+", default=["Pendulum-v1", "CartPole-v1"])
    parser.add_argument("--what", nargs="+", default=list(WHAT), choices=list(WHAT))
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--measure", choices=("end", "run"), default="end")
    given = parser.parse_args()
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    if given.act == "run":
        for what in given.what:
            for seed in seeds:
                for env in given.envs:
                    done(env, what, seed, given.steps, given.episodes)
    table(given.envs, seeds, given.measure)


if __name__ == "__main__":
    main()
