"""Seconds of PPO until the helpdesk's gold score reaches a target, ours against TRL 1.12.0's.

    python benchmarks/time_to_reward.py [seeds]

The demo's own SFT policy and reward model (seed 0) serve both; 64 episodes a step, 2 epochs of one minibatch, KL
coefficient 0.2, constant learning rate, the same for policy and value. The target must be the mean gold score of the
last three batches of 64 fresh replies; starting up and looking at gold do not count. TRL may choose the best of three
learning rates, ours has the middle one; a run that does not arrive counts as its budget.
"""

from __future__ import annotations

import json
import statistics
import sys

from setting import HERE, finish, python_of, run_script

from tutelage.data.helpdesk import world
from tutelage.data.tokens import Codec
from tutelage.models.pretrained import load_tokenizer
from tutelage.recipes import demo as demo_stages
from tutelage.recipes.demo import DemoConfig
from tutelage.runs.run import Run
from tutelage.training.stages import run_stages

TARGET, BUDGET_S, RATES = 1.2, 150.0, (3e-4, 7e-4, 1.5e-3)
MODELS = HERE / ".peers" / "helpdesk"


def models() -> dict[str, str]:
    """The demo's policy and reward model, made on first use."""
    config, wanted = DemoConfig(), ("sft", "labels", "reward-model")
    if not (MODELS / wanted[-1] / "summary.json").exists():
        run = Run.create(MODELS, config, overwrite=MODELS.exists())
        acts = {name: demo_stages.STAGES[name] for name in wanted}
        run_stages({name: lambda stage, act=act: act(config, run, stage) for name, act in acts.items()}, run)
        run.interrupted()
    return {"policy": str(MODELS / "sft" / "model"), "classifier": str(MODELS / "reward-model" / "model")}


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    folders, config = models(), DemoConfig()
    codec = Codec(load_tokenizer(folders["policy"]))
    asked = {
        **folders,
        "prompts": [codec.prompt(each) for each in world.prompts("labels", config.ppo_prompts, 1)],
        "episodes": config.ppo.trajectories,
        "epochs": config.ppo.epochs,
        "minibatches": 1,
        "steps": 10_000,
        "new_tokens": config.max_new_tokens,
        "stops": True,
        "kl_coefficient": config.ppo.kl_coefficient,
        "truncation_penalty": 2.0,
        "target": TARGET,
        "budget_s": BUDGET_S,
    }
    rows, ours, trl = [], [], {rate: [] for rate in RATES}
    for seed in range(seeds):
        found = run_script(sys.executable, "our_to_reward.py", {**asked, "seed": seed, "learning_rate": RATES[1]})
        ours.append(found["reached_s"] or BUDGET_S)
        rows.append([seed, "ours", RATES[1], found["reached_s"], found["steps"], found["curve"][-1][1]])
        for rate in RATES:
            found = run_script(python_of("trl"), "trl_ppo.py", {**asked, "seed": seed, "learning_rate": rate})
            trl[rate].append(found["reached_s"] or BUDGET_S)
            rows.append([seed, "TRL", rate, found["reached_s"], found["steps"], found["curve"][-1][1]])
        print(json.dumps(rows[-len(RATES) - 1 :]), file=sys.stderr)
    medians = {rate: statistics.median(each) for rate, each in trl.items()}
    best = min(medians, key=medians.__getitem__)
    answer = {
        "ratio_time_to_reward": medians[best] / statistics.median(ours),
        "ratios_by_seed": [theirs / mine for theirs, mine in zip(trl[best], ours, strict=True)],
        "trl_learning_rate": best,
        "seconds_trl": trl[best],
        "seconds_ours": ours,
        "target": TARGET,
        "budget_s": BUDGET_S,
    }
    finish(rows, ["seed", "who", "learning rate", "seconds", "batches", "gold of the last batch"], answer)


if __name__ == "__main__":
    main()
