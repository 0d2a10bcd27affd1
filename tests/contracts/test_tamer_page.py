"""The page for teaching over HTTP: whose agent it is, what is kept, what is refused."""

from __future__ import annotations

import pytest
from tests.contracts.test_studio import Clock, Desk

from tutelage.recipes.tamer_live import Play
from tutelage.studio.files import Files


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path, Clock())
    yield found
    assert found.store.verify() == []
    found.store.close()


def open_play(browser, game="tetris", new=False):
    return browser.post("tamer/open", {"game": game, "new": new}).json()


def signal(browser, play, key="k1", value=1, **changes):
    steps = [{"step": 0, "began": 1.0, "ended": 2.0}, {"step": 1, "began": 2.0, "ended": None}]
    body = {"play": play, "key": key, "value": value, "at": 2.6, "steps": steps, **changes}
    return browser.post("tamer/signal", body)


@pytest.fixture
def going(desk):
    """Somebody whose agent has done two steps."""
    ann = desk.browser()
    play = open_play(ann)["play"]
    for number in range(2):
        assert ann.post("tamer/step", {"play": play, "number": number}).json()["step"] == number
    return ann, play


def test_the_page_is_there_and_knows_nothing_without_a_session(desk):
    shown = desk.browser(None).client.get("/tamer/tetris")
    assert shown.status_code == 200 and 'id="settings">null<' in shown.text
    assert "script-src 'self'" in shown.headers["content-security-policy"]
    assert desk.browser(None).post("tamer/open", {"game": "tetris"}).status_code == 401


def test_a_signal_is_kept_with_its_times_and_teaches(desk, going):
    ann, play = going
    answer = signal(ann, play).json()
    assert answer["change"] > 0 and [step for step, _ in answer["about"]] == [0, 1]
    assert sum(credit for _, credit in answer["about"]) == pytest.approx(0.978, abs=0.001)  # F(1.6) of Gamma(2, 0.28)
    labeller = desk.store.labeller("ann")
    kept = desk.store.recorded(labeller, play).happened[-1]
    assert (kept.value, kept.at, [each.began for each in kept.spans]) == (1.0, 2.6, [1.0, 2.0])
    again = signal(ann, play).json()
    assert again["repeated"] and again["event"] == answer["event"] and again["change"] == 0


def test_a_killed_server_knows_the_agent_again(desk, going, tmp_path):
    ann, play = going
    signal(ann, play)
    weights = desk.app.app.state.plays.of(desk.store.labeller("ann"), play).trainee.expected.weights_F
    second = Desk(tmp_path, Clock())
    bea = second.browser()
    found = open_play(bea)
    assert found["play"] == play and found["next"] == 2 and found["signals"] == 1
    again = Play.of(second.store, second.store.labeller("ann"), play)
    assert (again.trainee.expected.weights_F == weights).all()
    second.store.close()


def test_nobody_reaches_anybody_elses_agent(desk, going):
    _, play = going
    bob = desk.browser("bob")
    assert open_play(bob)["play"] != play
    assert signal(bob, play).status_code == 404
    assert bob.post("tamer/step", {"play": play, "number": 2}).status_code == 404
    assert bob.post("tamer/training", {"play": play, "on": False}).status_code == 404
    assert bob.client.get(f"/api/tamer/back?play={play}&game=0").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": 2},
        {"value": 1e300},
        {"value": None},
        {"at": -1},
        {"at": "soon"},
        {"steps": [{"step": 7, "began": 0, "ended": None}]},
        {"steps": [{"step": 0, "began": 9.0, "ended": None}]},
        {"steps": [{"step": 1, "began": 0, "ended": 1}, {"step": 0, "began": 1, "ended": 2}]},
        {"steps": [{"step": 0, "began": 0, "ended": 1}] * 65},
        {"steps": "all"},
        {"key": ""},
        {"weights": [1]},
    ],
)
def test_what_is_no_signal_is_refused_and_teaches_nothing(desk, going, wrong):
    ann, play = going
    weights = desk.app.app.state.plays.of(desk.store.labeller("ann"), play).trainee.expected.weights_F.copy()
    assert signal(ann, play, **wrong).status_code == 422
    after = desk.app.app.state.plays.of(desk.store.labeller("ann"), play)
    assert (after.trainee.expected.weights_F == weights).all() and desk.store.stats()["signals"] == 0
    assert signal(ann, play).status_code == 200


def test_what_no_page_of_ours_sends_is_refused(desk, going):
    ann, play = going
    body = {"play": play, "number": 2}
    assert ann.post("tamer/step", body, **{"x-tutelage-proof": None}).status_code == 401
    assert ann.post("tamer/step", body, origin="http://evil.example").status_code == 403
    assert open_play(ann, "chess").get("says", "").startswith("Not understood")
    assert ann.client.get(f"/api/tamer/back?play={play}&game=5").status_code == 404


def test_training_is_switched_and_a_new_agent_knows_nothing(desk, going):
    ann, play = going
    assert ann.post("tamer/training", {"play": play, "on": False}).json()["training"] is False
    assert signal(ann, play).json()["change"] == 0
    fresh = open_play(ann, new=True)
    assert fresh["play"] != play and fresh["weights"] == 0 and fresh["training"] is True
    assert open_play(ann)["play"] == fresh["play"]


def test_the_labelling_page_does_not_wait_for_these_scripts():
    files = Files()
    assert not any(each.startswith("tamer/") for each in files.modules)
    assert "tamer/main.js" in files.by_path
