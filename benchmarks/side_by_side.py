"""Ours beside a peer: the same tasks and seeds, in turn, and a table with intervals over seeds (Student's t).

Every run's answer lies in benchmarks/.runs; one that is there is not done again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from setting import HERE, finish

from tutelage.formulas import intervals

Found = Mapping[str, float]
"""What a run tells: its `return`, and more."""


def arguments(envs: Sequence[str], seeds: int) -> argparse.ArgumentParser:
    """What every comparison is asked. first_seed: settings are chosen on other seeds than those that are reported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--envs", nargs="+", default=list(envs))
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=50)
    return parser


def compare(name: str, given: argparse.Namespace, contenders: Mapping[str, Callable[[str, int], Found]]) -> None:
    """Runs every contender on (env, seed), the first one being ours; medians of whatever they tell beside `return`."""
    size = "-".join(str(each) for key, each in vars(given).items() if key not in ("envs", "seeds", "first_seed"))
    folder = HERE / ".runs" / f"{name}-{size}"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, list[Found]]] = {env: {who: [] for who in contenders} for env in given.envs}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for env in given.envs:
            for who, run in contenders.items():
                found[env][who].append(kept(folder / f"{env}-{who}-{seed}.json", partial(run, env, seed)))
            now = {who: each[-1] for who, each in found[env].items()}
            print(json.dumps({"env": env, "seed": seed, **now}), file=sys.stderr, flush=True)
    rows, answer, told = [], {}, []
    for env, by_who in found.items():
        ours = [run["return"] for run in next(iter(by_who.values()))]
        for who, each in by_who.items():
            returns = [run["return"] for run in each]
            mean, low, high = over(returns)
            _, behind, ahead = over([mine - theirs for mine, theirs in zip(ours, returns, strict=True)])
            told = [name for name in each[0] if name != "return"]
            medians = {name: statistics.median(run[name] for run in each) for name in told}
            rows.append([env, who, mean, low, high, *medians.values()])
            answer[f"{env} {who}"] = {"return": mean, "low": low, "high": high, "by_seed": returns, **medians}
            answer[f"{env} {who}"] |= {"ours_less_this_low": behind, "ours_less_this_high": ahead}
    finish(rows, ["task", "who", "true return", "low", "high", *told], answer)


def kept(path: Path, run: Callable[[], Found]) -> Found:
    """What this run told, now or before."""
    if not path.exists():
        path.write_text(json.dumps(run()))
    return json.loads(path.read_text())


def over(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high); one seed alone has no interval."""
    return intervals.t_interval(values) if len(values) > 1 else (values[0], values[0], values[0])
