"""Synthetic labellers: they mean the score, and each errs in the way it says."""

import math

import numpy as np
import pytest

from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk import world
from tutelage.feedback.labellers import SyntheticLabeller, agreement_fraction, length, panel, warmth, with_taste
from tutelage.recipes import demo
from tutelage.rewards import helpdesk


def by_number(prompts: list[str], responses: list[str]) -> list[float]:
    return [float(response) for response in responses]


def share_of_first(labeller: SyntheticLabeller, responses: list[str], draws: int = 4000) -> float:
    rng = np.random.default_rng(0)
    return float(np.mean([labeller.choose("?", responses, rng) == 0 for _ in range(draws)]))


@pytest.mark.parametrize(
    ("settings", "responses", "expected"),
    [
        ({"sharpness": 1.0}, ["1", "0"], 1 / (1 + math.exp(-1))),
        ({"sharpness": 2.0}, ["0", "1"], 1 / (1 + math.exp(2))),
        ({"sharpness": 1.0, "first_bias": 0.5}, ["0", "0"], 1 / (1 + math.exp(-0.5))),
        ({"sharpness": 50.0, "mistake_fraction": 0.3}, ["0", "1"], 0.15),
        ({"sharpness": 1.0}, ["1", "0", "0"], math.e / (math.e + 2)),
    ],
)
def test_choices_follow_bradley_terry_with_bias_and_slips(settings, responses, expected):
    found = share_of_first(SyntheticLabeller("somebody", by_number, **settings), responses)
    assert found == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 4000))


def test_the_same_generator_gives_the_same_choices():
    labeller = panel(by_number)[4]
    first, second = ([labeller.choose("?", ["0", "0.1"], rng) for _ in range(100)] for rng in _twins())
    assert first == second and len(set(first)) == 2


def _twins():
    return np.random.default_rng(9), np.random.default_rng(9)


def test_tastes_add_to_the_score():
    assert with_taste(by_number, lambda text: len(text), 0.5, ["?"] * 2, ["7", "10"]) == [7.5, 11.0]
    assert length(" Dear Ana, thank you.") == 4
    assert warmth(" Dear Ana, I am sorry. Thank you.") == 3


def test_a_choice_needs_two_responses_and_finite_opinions():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 2"):
        SyntheticLabeller("alone", by_number).choose("?", ["1"], rng)
    with pytest.raises(ValueError, match="nan"):
        SyntheticLabeller("lost", lambda prompts, responses: [math.nan, 0.0]).choose("?", ["a", "b"], rng)


def test_the_panel_differs_in_taste_and_agrees_with_gold_in_85_to_91_of_100():
    rng = np.random.default_rng(4)
    told = world.cases("labels", 1000, 6)
    prompts = [world.prompt(case, rng) for case in told]
    pairs = [[desk.reply(case, rng) for _ in range(2)] for case in told]
    first, second = (helpdesk.gold(prompts, [pair[place] for pair in pairs]) for place in range(2))
    better = [int(b > a) for a, b in zip(first, second, strict=True)]
    shares = {}
    for labeller in panel(helpdesk.gold):
        chosen = [labeller.choose(prompt, pair, rng) for prompt, pair in zip(prompts, pairs, strict=True)]
        shares[labeller.name] = agreement_fraction(chosen, better)
    assert 0.85 <= np.mean(list(shares.values())) <= 0.91, shares
    assert shares["careful"] == max(shares.values()) and shares["hurried"] == min(shares.values())


def test_those_with_a_taste_follow_it_where_the_score_is_silent():
    def silent(prompts: list[str], responses: list[str]) -> list[float]:
        return [0.0] * len(responses)

    _, likes_length, likes_warmth, first_come, _ = panel(silent)
    assert share_of_first(likes_length, ["word " * 20, "word"]) > 0.7
    assert share_of_first(likes_warmth, ["Dear Ana, sorry, thank you.", "Ana, well, goodbye."]) > 0.7
    assert share_of_first(first_come, ["a", "b"]) > 0.57


def test_a_choice_is_kept_by_candidate_not_by_place_on_the_screen(monkeypatch):
    sure = SyntheticLabeller("sure", lambda prompts, responses: [len(each) for each in responses], sharpness=1e6)
    monkeypatch.setattr(demo, "PANEL", (sure,))
    rng = np.random.default_rng(0)
    rows = [demo.labelled("p", ["a", "aaa"], rng) for _ in range(20)]
    assert all(row.chosen() == 1 for row in rows)
    assert {row.verdict.shown[0] == row.candidates[0].id for row in rows} == {True, False}
