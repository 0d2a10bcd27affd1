"""Every accuracy, win rate and share on a page comes with its size; of fewer than 30 it says too few to tell."""

from __future__ import annotations

import pytest

from tutelage.report import demo, estimates, objectives, rounds
from tutelage.report.evaluation import curve_says, line
from tutelage.report.page import predicted, rendered, verdict
from tutelage.report.plots import script
from tutelage.runs.run import Run


def of(name: str, value: float, low: float | None, high: float | None, count: int) -> dict:
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_n": count}


def method(name: str, gold: float, count: int = 512, breaks: float = 0.1) -> dict:
    mean = {"gold_mean": gold, "gold_low": gold - 0.05, "gold_high": gold + 0.05, "gold_n": count}
    broken = of("policy_breaks", breaks, breaks / 2, breaks * 1.5, count)
    more = {"policy_breaks_fraction": broken.pop("policy_breaks"), "proxy_mean": 0.0, "length_tokens": 20.0}
    return {"name": name, **mean, **broken, **more}


def demo_summary(count: int = 512, held_out: int = 200) -> dict:
    rates = of("win_rate", 0.82, 0.79, 0.86, count)
    return {
        "win_rate_ppo_over_sft": rates.pop("win_rate"),
        **rates,
        "labels": 2000,
        "demonstrations": 6000,
        "parameters": 923_000,
        "share_synthetic": 1.0,
        "share_human": 0.0,
        **of("reward_model_accuracy", 0.75, 0.68, 0.81, held_out),
        "kl_nats_per_sequence": 3.1,
        "methods": [
            method("SFT", 0.28, count, 0.24), method("best of 16", 1.41, count), method("PPO", 1.40, count, 0.002),
            method("PPO on gold", 1.70, count), method("SFT, best quarter", 1.60, count),
        ],
    }  # fmt: skip


def test_one_held_out_comparison_is_too_few_to_tell():
    """A card said: 100 % of held-out choices predicted. It was one comparison."""
    summary = {**of("accuracy", 1.0, 0.025, 1.0, 1), "held_out": 1, "length_rule_accuracy": 0.0}
    figure, what, detail = predicted(summary)[0]
    assert figure == "too few to tell" and "held-out choices predicted" in what
    assert "100%" in detail and "2% to 100%" in detail and "n = 1 held-out choices" in detail
    (old,) = predicted({"accuracy": 1.0, "accuracy_low": 0.2, "accuracy_high": 1.0, "held_out": 1})  # of 0.1.0
    assert old[0] == "too few to tell" and "n = 1 held-out" in old[2]
    (unknown,) = predicted({"accuracy": 1.0})
    assert unknown[0] == "too few to tell" and "n not recorded" in unknown[2]


@pytest.mark.parametrize(("count", "shown"), [(29, "too few to tell"), (30, "75%")])
def test_thirty_are_enough(count, shown):
    assert predicted(of("accuracy", 0.75, 0.6, 0.9, count))[0][0] == shown
    assert verdict(of("win_rate", 0.75, 0.6, 0.9, count))[0][0] == shown
    answers = {f"{name}_by_answers": value for name, value in of("win_rate", 0.75, 0.6, 0.9, count).items()}
    assert rounds.verdict(answers)[0][0] == shown
    taken = {**of("best_broken", 0.75, 0.6, 0.9, count), "best_broken_fraction": 0.75}
    about = {"best_name": "x", "keep_breaks_under": 0.1, "best_pleased_mean": 1.0, "best_kl_nats": 2.0}
    assert objectives.verdict({**taken, **about})[1][0].startswith(shown.removesuffix("%"))
    for cards in (predicted, verdict):
        assert f"n = {count}" in cards({**of("accuracy", 0.75, 0.6, 0.9, count)})[0][2]


def test_tables_say_how_many_and_open_ends_stay_open():
    assert estimates.between(of("accuracy", 0.75, 0.6, 0.9, 60), "accuracy") == "0.75 (0.60 to 0.90), n = 60"
    few = estimates.between(of("accuracy", 0.75, 0.3, 0.98, 6), "accuracy")
    assert few == "0.75 (0.30 to 0.98), n = 6, too few to tell"
    assert estimates.between(of("elo", 400.0, 120.0, None, 60), "elo", 0) == "400 (120 to …), n = 60"
    assert estimates.between({"accuracy": None}, "accuracy") == ""
    row = {"model": "m", "data": "d", "accuracy": {**of("accuracy", 1.0, 0.3, 1.0, 3), "pairs": 9, "ties": 0}}
    assert line(row)["value"].endswith("n = 3, too few to tell")
    curve = {**of("expected_gain", 0.01, None, None, 4), "more": 100, "points": [{}] * 4}
    assert "too few to tell" in curve_says(curve) and "4 models" in curve_says(curve)


def test_the_story_of_the_demo_is_told_first():
    story = demo.story(demo_summary())
    first, rest = story.split(". ", 1)
    assert first.startswith(
        "A language model of 0.9 million weights, trained by PPO on a reward model of 2,000 choices"
    )
    for part in (
        "by simulated labelers", "by gold, a score that training never saw",
        "82% (95 %: 79% to 86%, n = 512 unseen prompts)",
        "supervised training on the best quarter of the demonstrations by gold reaches 1.60 [1.55 to 1.65]",
        "PPO on gold itself reaches 1.70", "where PPO reaches 1.40 [1.35 to 1.45]",
    ):  # fmt: skip
        assert part in first, part
    assert "best of 16" not in first and "interval" in rest  # 1.41 beside 1.40: nobody can tell them apart
    assert len(first.split()) < 85
    assert "people" in demo.story({**demo_summary(), "share_synthetic": 0.0, "share_human": 1.0})
    alone = {**demo_summary(), "methods": [method("SFT", 0.3), method("PPO", 1.4)]}
    assert "no reference does better than its 1.40" in demo.story(alone)
    assert "too few to tell" in demo.story(demo_summary(count=12))
    assert demo.story({"win_rate": 0.5}) == ""


def test_every_card_of_the_demo_names_its_policy_and_its_size():
    rate, gold, broken = demo.verdict(demo_summary())
    assert rate == (
        "82%", "of PPO's replies preferred to SFT's, by gold",
        "95 % interval 79% to 86%, n = 512 unseen prompts. Ties count half",
    )  # fmt: skip
    assert gold[:2] == ("0.28 → 1.40", "gold score, SFT → PPO") and "n = 512" in gold[2] and "[1.35 to 1.45]" in gold[2]
    assert broken[0] == "24% → 0.2%" and "SFT → PPO" in broken[1] and "n = 512" in broken[2]
    kl, accuracy = verdict(demo_summary())
    assert kl[2] == "of PPO from SFT"
    assert accuracy[0] == "75%" and "n = 200 held-out choices" in accuracy[2] and "2,000 labels in all" in accuracy[2]
    assert [figure for figure, *_ in demo.verdict(demo_summary(count=12))] == [
        "too few to tell", "0.28 → 1.40", "too few to tell",
    ]  # fmt: skip


def test_the_page_shows_them_and_a_run_of_the_first_version_still_opens(tmp_path):
    run = Run.create(tmp_path / "new", {"seed": 0})
    for step in run.steps(3):
        run.record(step, {"accuracy": 0.7, **of("win_rate_by_reward_model", 0.6, 0.4, 0.8, 24)})
    run.keep_samples(0, [{"prompt": "p", "before": "a", "after": "b"}])
    run.mark_finished(demo_summary())
    page = rendered(run.path).replace(str(script()), "")
    assert page.index("A language model of 0.9 million") < page.index('class="verdict"')
    assert "n = 24: too few to tell" in page and "before: SFT" in page and "after: PPO" in page
    old = demo_summary()
    old["methods"] = [{k: v for k, v in row.items() if not k.endswith("_n")} for row in old["methods"]]
    old = {name: value for name, value in old.items() if not name.endswith("_n")}
    before = Run.create(tmp_path / "old", {"seed": 0})
    before.mark_finished(old)
    page = rendered(before.path).replace(str(script()), "")
    assert "n not recorded" in page and "too few to tell" in page


def test_nothing_on_a_page_needs_an_interval(tmp_path):
    """Scores that are all equal, and policies that always win, have none."""
    rows = [{**method("SFT", 1.0, 3), "gold_low": None, "gold_high": None}, method("PPO", 1.2, 3)]
    run = Run.create(tmp_path / "r", {})
    run.mark_finished({**demo_summary(3), "win_rate_low": None, "win_rate_high": None, "methods": rows})
    assert "too few to tell" in rendered(run.path).replace(str(script()), "")
    loop = Run.create(tmp_path / "loop", {})
    row = {"name": "x", "score_mean": 1.0, "kl_nats_per_sequence": 1.0, "words": 3.0}
    elo = {
        **of("elo", 900.0, 200.0, None, 12),
        **{k: v for k, v in of("score", 1.0, None, None, 12).items() if k != "score"},
    }
    shares = {"share_human": 0.0, "share_synthetic": 1.0, "share_model": 0.0}
    about = {"seeds": 1, "labels": 9, "score_first": 0.0, "score_last_round": 1.0, "elo_last_round": 900.0, **shares}
    loop.mark_finished({**about, "rounds": [{**row, **elo}]})
    assert "200 to …" in rendered(loop.path)
