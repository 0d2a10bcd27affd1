"""What the laboratory says of curves whose peak, fall and fit are known, and how a run ends at a held-out peak."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from tests.conftest import letters_tokenizer
from tests.stories.quiet_run import QuietRun
from tests.stories.tabular import Table, Vocabulary, config, keys, scored

from tutelage.algorithms import peak
from tutelage.algorithms.ppo import ppo
from tutelage.data.errors import InputError
from tutelage.data.tokens import Codec
from tutelage.evaluation.overoptimisation import Checked, Optimised, best_of_n_points, found_in
from tutelage.execution.learner import LocalLearner
from tutelage.execution.stepwise import StepwiseSampler
from tutelage.recipes import frontier
from tutelage.recipes.frontier import FrontierConfig
from tutelage.recipes.overoptimise import OveroptimiseConfig, combinations, named, overoptimise, plan, smaller
from tutelage.recipes.proxies import TESTED, Pool
from tutelage.recipes.tamer import TamerConfig, checked
from tutelage.report.overoptimisation import fall_of_gold, section, verdict
from tutelage.runs.run import Run
from tutelage.trajectory import Batch, Finish, Key, Task, Trajectory

DISTANCES = np.linspace(0.0, 4.0, 9)


def optimised(alpha, beta, noise=0.0, seed=0, prompts=40):
    """Rows of samples.jsonl whose gold follows d(α − β log d) but for noise by prompt, proxies that rise with d."""
    rng, rows = np.random.default_rng(seed), []
    for step, d in enumerate(DISTANCES):
        gold = 1.0 + d * alpha - beta * (d * np.log(d) if d else 0.0) + noise * rng.standard_normal(prompts)
        checked = Checked(list(gold), [0.5 + d] * prompts, [d * d] * prompts)
        rows += [{"step": 3 * step, **row} for row in checked.rows(["p"] * prompts, ["r"] * prompts)]
    return Optimised.of(rows, steps=24).row()


def test_peak_and_fall_of_a_known_curve():
    row = optimised(alpha=1.0, beta=1.0)
    at = row["gold"].index(max(row["gold"]))
    assert row["sqrt_kl_at_peak"] == pytest.approx(DISTANCES[at]) == 1.0  # e^{α/β − 1} = 1
    assert row["gold_peak"] == pytest.approx(1.0)
    assert row["gold_drop"] == pytest.approx(1.0 - 4.0 * (1.0 - np.log(4.0)))
    assert row["proxy_at_end"] == pytest.approx(4.0)
    assert row["proxy_at_peak"] == pytest.approx(1.0)


def test_noise_alone_has_no_fall():
    """Flat gold: the highest checkpoint is luck, and on the prompts that had no say it is no higher than the last."""
    falls = [optimised(alpha=0.0, beta=0.0, noise=1.0, seed=seed) for seed in range(200)]
    assert abs(np.mean([row["gold_drop"] for row in falls])) < 0.05
    covered = np.mean([row["gold_drop_low"] <= 0.0 <= row["gold_drop_high"] for row in falls])
    assert 0.9 < covered < 0.99
    assert np.mean([max(row["gold"]) - row["gold"][-1] for row in falls]) > 0.2  # what was avoided


def summaries(alpha=1.2, beta=0.8, noise=0.01, seeds=3):
    setting, found = {"labels": 200, "width": 8}, {}
    rng = np.random.default_rng(5)
    for seed in range(seeds):
        proxy_PN = rng.standard_normal((6, 400))
        gold_PN = proxy_PN + rng.standard_normal((6, 400))
        where = f"200-labels-width-8-seed-{seed}"
        found[f"proxy-{where}"] = {
            "seconds": 1.0,
            "accuracy": 0.7,
            "proxy_parameters": 10,
            "best_of_n": best_of_n_points(proxy_PN, gold_PN),
        }
        for name, drop in (("ppo", 0.0), ("ppo-minimum", 0.2), ("ppo-uwo", 0.1), ("ppo-stopped-50", -0.3)):
            found[f"{name}-{where}"] = {"seconds": 2.0, **optimised(alpha, beta - drop, noise, seed)}
        found[f"held-out-50-{where}"] = {"seconds": 1.0, "accuracy": 0.6}
    return found_in(found, [setting], [50])


def test_planted_coefficients_are_found():
    found = summaries()
    row = found["settings"][0]
    assert row["alpha_rl"] == pytest.approx(1.2, rel=0.01)
    assert row["beta_rl"] == pytest.approx(0.8, rel=0.01)
    assert row["r2_rl"] > 0.99
    assert row["sqrt_kl_of_fitted_peak_rl"] == pytest.approx(np.exp(1.2 / 0.8 - 1), rel=0.02)
    assert row["gold_drop_low"] > 0
    assert row["proxy_rise_after_peak_low"] > 0
    assert found["seconds_total"] == 3 * 10.0


def test_helps_are_paired_by_seed_and_have_their_sign():
    found = summaries()
    ensembles = {row["name"]: row for row in found["ensembles"]}
    end = 4.0 * np.log(4.0)  # what β is multiplied by at the end
    assert ensembles["minimum"]["gold_at_end_gain"] == pytest.approx(0.2 * end, abs=0.02)
    assert ensembles["uwo"]["gold_at_end_gain_low"] > 0
    (stopped,) = found["stop_at_peak"]
    assert stopped["saved"] == pytest.approx(-0.3 * end, abs=0.02)
    assert stopped["saved_high"] < 0


def test_a_noisy_proxy_only_flattens_the_best_of_n():
    """Facts 3 and 4: gold of the best of n is half of its proxy's where the noise is as large as gold."""
    rng = np.random.default_rng(0)
    gold_PN = rng.standard_normal((200, 512))
    points = best_of_n_points(gold_PN + rng.standard_normal((200, 512)), gold_PN)
    assert points["n"] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    at = points["n"].index(64)
    assert points["gold"][at] == pytest.approx(2.34373 / np.sqrt(2), abs=0.05)
    assert points["sqrt_kl"][at] == pytest.approx(np.sqrt(3.174508), abs=1e-5)
    assert all(np.diff(points["gold"][:8]) > 0)


def test_the_report_draws_what_was_found():
    found = summaries()
    shown = section(found)
    assert [title for title, _ in shown["figures"]] == [
        "PPO, 200 labels, proxy 8 wide",
        "best of n, 200 labels, proxy 8 wide",
    ]
    assert "KL to the initial policy" in str(shown["figures"][0][1])
    assert section({"methods": []}) is None


def test_every_stage_is_planned_once_and_quick_is_smaller():
    whole, quick = OveroptimiseConfig(), smaller(OveroptimiseConfig())
    assert len(plan(quick)) < 0.5 * len(plan(whole))
    assert named("ppo-stopped-1000", whole.settings[0], 4) in plan(whole)
    assert named("ppo", whole.settings[1], 2) in plan(whole)
    assert named("ppo", whole.settings[1], 3) not in plan(whole)
    assert [(each.labels, each.width) for each in whole.settings] == [
        (100, 128),
        (400, 128),
        (2000, 128),
        (2000, 64),
        (2000, 32),
    ]


def test_quick_leaves_what_somebody_gave():
    given = OveroptimiseConfig(seeds=4, ppo=replace(OveroptimiseConfig().ppo, steps=12))
    quick = smaller(given)
    assert (quick.seeds, quick.ppo.steps) == (4, 12)
    assert (quick.pool, quick.ppo.trajectories) == (2000, 32)  # nobody gave these
    prices = frontier.smaller(FrontierConfig(rule_weights=(2.0,)))
    assert (prices.rule_weights, prices.kl_budgets) == ((2.0,), (3.0, 8.0))
    trained = checked(TamerConfig(quick=True, games=7))
    assert (trained.games, trained.seeds) == (7, 2)


def test_a_held_out_model_sees_nothing_that_its_proxy_saw():
    pool = Pool(["p"] * 3000, [("a", "b")] * 3000, np.zeros((3000, 2)))
    seen, unseen = set(pool.seen(200, (0, 3), 0)), set(pool.unseen(200, 1000, (0, 3)))
    assert len(seen) == 200
    assert len(unseen) == 1000
    assert not seen & unseen
    assert max(seen | unseen) < 3000 - TESTED
    assert set(pool.seen(200, (0, 3), 1)) < seen  # a bootstrap
    assert set(pool.seen(200, (0, 4), 0)) != seen


def test_labels_are_golds_and_ties_are_halves():
    gold = np.array([[1.0, 0.0], [0.0, 0.5], [2.0, 2.0]])
    pool = Pool(["ab "] * 3, [("a", "b")] * 3, gold)

    codec = Codec(letters_tokenizer())
    assert pool.judgements(codec, np.arange(3)).preferred_NKK[:, 0, 1].tolist() == [1.0, 0.0, 0.5]


def one_word(*values):
    """A batch of episodes of one action, and a score of them."""
    rows = [
        Trajectory(
            torch.tensor([0, 1]),
            torch.tensor([1]),
            torch.tensor([True]),
            torch.zeros(1),
            torch.zeros(1),
            Finish.TERMINATED,
            Key(0, i),
        )
        for i in range(len(values))
    ]
    batch = Batch.of(rows)
    return batch, lambda each: each.at_last_action(torch.tensor(values))


def stopped_or_not(patience, steps=80):
    """PPO on scores (0, 1, 2) while a second judge thinks that the middle word is best."""
    torch.manual_seed(0)
    table = Table()
    settings = replace(config(0.0, seed=0), steps=steps, stop_at_peak=patience)
    learner = LocalLearner({"policy": ([table.logits_V], 0.03), "value": ([table.value], 0.03)})
    liked = torch.tensor([0.0, 1.0, 0.2])
    task = Task(Vocabulary(), scored, partial(keys, 256), lambda batch: liked[batch.actions] * batch.mask_BT)
    run = QuietRun()
    start = table.logits_V.detach().log_softmax(0).clone()
    ppo(settings, task, table, lambda batch: start[batch.actions], StepwiseSampler(table, seed=0), learner, run)
    return float((table.logits_V.detach().softmax(0) * liked).sum()), len(run.events)


@pytest.mark.slow
def test_a_run_ends_at_the_peak_of_the_held_out_score():
    ran_on, all_steps = stopped_or_not(0)
    stopped, steps = stopped_or_not(10)
    assert all_steps == 80
    assert steps < 60
    assert ran_on < 0.3  # nearly always the last word
    assert stopped > 0.4  # about the most that the way from (0.5, 0.3, 0.2) to the last word passes


@pytest.mark.slow
@pytest.mark.parametrize(("errors", "low", "high"), [(0.0, 40, 80), (peak.ERRORS, 0, 35)])
def test_a_plateau_makes_few_new_peaks(monkeypatch, errors, low, high):
    """Without a margin the highest of a hundred noisy means lies in the middle, on average."""
    monkeypatch.setattr(peak, "ERRORS", errors)
    rng = np.random.default_rng(0)
    learner = LocalLearner({"policy": ([torch.nn.Parameter(torch.zeros(1))], 0.1)})
    last = []
    for _ in range(20):
        watch = peak.Peak(learner, scored, patience=10)
        for step in range(100):
            batch, watch.score = one_word(*rng.standard_normal(48))
            watch.saw(step, batch)
        last.append(watch.step)
    assert low < np.mean(last) < high


@pytest.mark.parametrize("patience", [1, 2, 3, 7])
@pytest.mark.parametrize(
    ("held_out", "best"),
    [([0, 1, 2, 1, 0, -1, -2, -3, -4, -5, -6], 2), ([5, 4, 3, 2, 1, 0, -1, -2], 0), (list(range(12)), 11)],
    ids=["up and down", "down", "up"],
)
def test_any_patience_takes_the_best_step_that_was_seen(patience, held_out, best):
    """Before, a patience below 4 ended the run before the first mean over five steps, with the weights of the start."""
    weight = torch.nn.Parameter(torch.zeros(1))
    watch = peak.Peak(LocalLearner({"policy": ([weight], 0.1)}), scored, patience)
    for step, mean in enumerate(held_out):
        weight.data.fill_(step)
        batch, watch.score = one_word(float(mean), float(mean))
        watch.saw(step, batch)
        if watch.passed(step):
            break
    watch.put_back()
    assert (watch.step, float(weight.detach())) == (best, best)


@pytest.mark.slow
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_a_short_patience_is_better_than_the_start(patience):
    start, _ = stopped_or_not(0, steps=1)
    stopped, steps = stopped_or_not(patience)
    assert stopped > start + 0.02 and 5 <= steps < 60


def test_a_patience_below_nothing_is_refused():
    with pytest.raises(ValueError, match="expected at least 1"):
        peak.Peak(LocalLearner({"policy": ([torch.nn.Parameter(torch.zeros(1))], 0.1)}), scored, -3)


def test_stopping_needs_somebody_who_looks_on():
    with pytest.raises(ValueError, match="held_out"):
        peak.Peak(LocalLearner({"policy": ([torch.nn.Parameter(torch.zeros(1))], 0.1)}), None, 5)


def rendered(summary):
    templates = Environment(loader=PackageLoader("tutelage.report"), autoescape=True, undefined=StrictUndefined)
    return templates.get_template("overoptimisation.html").render(laboratory=section(summary))


def test_a_fall_that_is_not_settled_is_not_shown():
    """On a seed nobody had tuned on, the report drew a fall of −0.04 and fits with an R² of 0.17 and 0.06."""
    row = {**summaries()["settings"][0], "gold_drop": 0.04, "gold_drop_low": -0.28, "gold_drop_high": 0.35}
    assert fall_of_gold(row, 3).startswith("Not shown: the fall of gold behind its peak is 0.04 [-0.28, 0.35] over 3 s")
    assert fall_of_gold({**row, "gold_drop_low": 0.01}, 3).startswith("Shown")
    poor = {**summaries(), "settings": [{**row, "r2_bon": 0.17, "r2_rl": 0.85}]}
    assert verdict(poor)[0][0] == "not shown"
    page = rendered(poor)
    assert page.count("does not fit") == 1 and f"{row['alpha_rl']:.2f}" in page


def test_too_few_points_leave_the_fit_out():
    """One look after the start and best of 2: one point each. The laboratory ended in a traceback after its work."""
    first = best_of_n_points(np.array([[0.0, 1.0]]), np.array([[0.2, 0.4]]))
    rows = [row for step in (0, 2) for row in Checked([0.1] * 4, [0.3 * step] * 4, [step] * 4).rows("pppp", "rrrr")]
    run = Optimised.of([{**each, "step": 0 if place < 4 else 2} for place, each in enumerate(rows)], steps=2).row()
    proxy = {"seconds": 1.0, "accuracy": 0.5, "proxy_parameters": 10, "best_of_n": first}
    where = "200-labels-width-8-seed-0"
    summary = found_in(
        {f"proxy-{where}": proxy, f"ppo-{where}": {"seconds": 1.0, **run}}, [{"labels": 200, "width": 8}], []
    )
    found = summary["settings"][0]
    assert all(found[f"{name}_{method}"] is None for name in ("alpha", "beta_high", "r2") for method in ("bon", "rl"))
    assert found["sqrt_kl_of_fitted_peak_rl"] is None and found["runs_rl"] == 1
    json.dumps(summary, allow_nan=False)
    assert rendered(summary).count("no fit: too few points") == 2


def test_gold_that_never_moved_has_a_fit_without_r_squared():
    """R² of equal rewards is not known, and summary.json has no word for NaN."""
    found = summaries(alpha=0.0, beta=0.0, noise=0.0)
    assert found["settings"][0]["r2_rl"] is None
    json.dumps(found, allow_nan=False)
    assert "does not fit" in rendered(found)


def test_too_few_prompts_or_comparisons_are_refused_before_the_work(tmp_path):
    run = Run(tmp_path)
    with pytest.raises(InputError, match="--evaluation-prompts 3: expected 4 or more"):
        overoptimise(replace(OveroptimiseConfig(), evaluation_prompts=3), run)
    with pytest.raises(InputError, match=r"--pool 2000: expected 2500 or more: 2000 labels"):
        overoptimise(replace(OveroptimiseConfig(), pool=2000), run)
    assert not list(tmp_path.iterdir())


def test_quick_is_one_kind_of_proxy_over_many_seeds():
    quick = smaller(OveroptimiseConfig())
    assert len(quick.settings) == 1 and quick.seeds >= 5 and not combinations(quick)
    assert not any("ppo-minimum" in name or "stopped" in name for name in plan(quick))
