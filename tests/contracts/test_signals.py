"""Signals in real time in the store, on both databases: kept once, in order, enough to work the weights out again."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from tests.contracts.test_store import Clock
from tests.databases import BACKENDS, database

from tutelage.feedback.asking import Refused, UnknownAssignment
from tutelage.feedback.people import holds_people
from tutelage.feedback.signals import Acts, Signal, Span
from tutelage.feedback.store import Store
from tutelage.recipes.tamer_live import Play


@pytest.fixture(params=BACKENDS)
def url(request, tmp_path):
    with database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def store(url):
    with Store.open(url, Clock(), random.Random(0)) as opened:
        yield opened


def said(value=1.0, at=2.5, spans=((0, 0.5, 1.5), (1, 1.5, None))):
    return Signal(value, at, tuple(Span(*each) for each in spans))


def test_a_play_is_read_back_as_it_was(store):
    ann = store.labeller("ann")
    play = store.begin_play(ann, "tetris", {"seed": 3})
    store.act(ann, play, Acts(0, (5, 7)))
    store.signal(ann, play, "k1", said())
    store.signal(ann, play, "k2", said(-10.0, 3.5, ((1, 1.5, 3.0), (2, 3.0, None))), Acts(2, (1,)))
    found = store.recorded(ann, play)
    assert (found.game, found.settings) == ("tetris", {"seed": 3})
    expected = (Acts(0, (5, 7)), said(), Acts(2, (1,)), said(-10.0, 3.5, ((1, 1.5, 3.0), (2, 3.0, None))))
    assert found.happened == expected
    assert store.plays(ann, "tetris") == [play] and store.plays(ann, "mountain-car") == []
    assert store.stats()["signals"] == 2
    assert store.verify() == []


def test_the_same_key_is_one_signal(store):
    ann = store.labeller("ann")
    play = store.begin_play(ann, "tetris", {})
    store.act(ann, play, Acts(0, (1, 2)))
    first, again = (store.signal(ann, play, "k", said()) for _ in range(2))
    assert again.repeated and not first.repeated and again.event == first.event
    assert store.stats()["signals"] == 1
    other = store.begin_play(ann, "tetris", {})
    with pytest.raises(Refused, match="used before"):
        store.signal(ann, other, "k", said(spans=()))


@pytest.mark.parametrize(
    "wrong",
    [
        said(0.0),
        said(1e9),
        said(float("nan")),
        said(at=float("inf")),
        said(spans=((0, 0.5, 1.5), (2, 1.5, None))),  # not done yet
        said(spans=((-1, 0.5, None),)),
        said(spans=((1, 0.5, 1.0), (0, 1.0, None))),
        said(spans=((0, 0.5, None), (1, 1.5, None))),
        said(spans=((0, 1.5, 0.5),)),
        said(spans=((0, 2.6, None),)),  # begun after the key
        said(spans=tuple((i, float(i), i + 1.0) for i in range(100))),
    ],
)
def test_a_signal_that_cannot_be_is_refused_and_nothing_of_it_is_kept(store, wrong):
    ann = store.labeller("ann")
    play = store.begin_play(ann, "tetris", {})
    before = store.last()
    with pytest.raises(Refused, match="signal"):
        store.signal(ann, play, "k", wrong, Acts(0, (4, 5)))
    assert store.last() == before


def test_actions_follow_each_other_and_plays_belong_to_somebody(store):
    ann, bob = store.labeller("ann"), store.labeller("bob")
    play = store.begin_play(ann, "tetris", {})
    store.act(ann, play, Acts(0, (1, 2, 3)))
    for first in (0, 2, 4):
        with pytest.raises(Refused, match="expected step 3"):
            store.act(ann, play, Acts(first, (1,)))
    for theirs in (
        lambda: store.act(bob, play, Acts(3, (1,))),
        lambda: store.recorded(bob, play),
        lambda: store.signal(bob, play, "k", said()),
    ):
        with pytest.raises(UnknownAssignment):
            theirs()
    assert store.verify() == []


def test_verify_names_an_action_that_is_missing(store):
    """As if a process had written past the store: an event that does not follow from those before."""
    from tutelage.feedback.chain import Log

    ann = store.labeller("ann")
    play = store.begin_play(ann, "tetris", {})
    store.act(ann, play, Acts(0, (1, 2, 3)))
    with store._database.writing() as connection:
        Log.of(connection, 1.0).add("acted", {"play": play, "first": 5, "actions": [1], "training": True}, ann)
    [fault] = store.verify()
    assert "step 5 follows step 2" in fault


def test_signals_of_people_are_not_overwritten(tmp_path):
    with Store.open(tmp_path / "feedback.db") as store:
        for name, kind, expected in (("script", "synthetic", False), ("ann", "human", True)):
            labeller = store.labeller(name, kind)
            play = store.begin_play(labeller, "tetris", {})
            store.signal(labeller, play, "k", said(spans=()))
            assert holds_people(tmp_path / "feedback.db") is expected


def taught(store, labeller, game="tetris", steps=70, say=lambda step: step % 3 == 0) -> Play:
    """A play with signals now and then, and a time without training in between."""
    play, chance = Play.begun(store, labeller, game, seed=11), np.random.default_rng(0)
    for step in range(steps):
        if step in (40, 50):
            play.train(step == 50)
        play.step(step)
        if say(step):
            spans = tuple(Span(i, i * 1.0, i + 1.0 if i < step else None) for i in range(max(0, step - 4), step + 1))
            play.signal(f"k{step}", Signal(float(chance.choice([1.0, -1.0])), step + 0.7, spans))
    return play


@pytest.mark.parametrize("game", ["tetris", "mountain-car"])
def test_the_weights_follow_from_the_log_to_the_bit(store, game):
    ann = store.labeller("ann")
    play = taught(store, ann, game)
    play.keep()
    again = Play.of(store, ann, play.id)
    assert np.array_equal(again.trainee.expected.weights_F, play.trainee.expected.weights_F)
    assert np.abs(play.trainee.expected.weights_F).max() > 0
    assert (again.steps, again.game, again.finished, again.signals) == (play.steps, play.game, play.finished, 24)
    assert np.array_equal(again.current.features_AF, play.current.features_AF)
    assert store.verify() == []


def test_a_step_asked_for_twice_is_done_once(store):
    play = Play.begun(store, store.labeller("ann"), "tetris", 0)
    first = play.step(0)
    assert play.step(0) == first and play.steps == 1
    assert play.step(1)["step"] == 1


def test_a_signal_sent_twice_teaches_once(store):
    play = Play.begun(store, store.labeller("ann"), "tetris", 0)
    play.step(0)
    _, learned = play.signal("k", said(1.0, 1.0, ((0, 0.0, None),)))
    weights = play.trainee.expected.weights_F
    receipt, again = play.signal("k", said(1.0, 1.0, ((0, 0.0, None),)))
    assert learned["change"] > 0 and receipt.repeated and again["change"] == 0.0
    assert np.array_equal(play.trainee.expected.weights_F, weights)


def test_while_training_is_off_signals_are_kept_and_teach_nothing(store):
    ann = store.labeller("ann")
    play = taught(store, ann, steps=39)
    weights = play.trainee.expected.weights_F
    play.train(False)
    play.step(39)
    _, learned = play.signal("off", said(1.0, 40.5, ((39, 40.0, None),)))
    assert learned["about"] == [] and np.array_equal(play.trainee.expected.weights_F, weights)
    assert store.recorded(ann, play.id).happened[-1].training is False


def test_a_game_is_played_back_as_it_was_seen(store):
    ann = store.labeller("ann")
    play = taught(store, ann, steps=90)
    assert len(play.finished) >= 1
    frames = play.played_back(0)
    assert [each["step"] for each in frames] == list(range(len(frames)))
    assert frames[-1]["over"] and frames[-1]["lines"] == play.finished[0]["lines"]
    assert all(len(each["signals"]) == (each["step"] % 3 == 0) for each in frames)
    assert all(one["after"] == other["rows"] for one, other in pairwise(frames))
    assert play.played_back(99) == []
