"""A learning story that cannot fail proves nothing: with the advantages' sign flipped, each of them must."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.stories import tabular, test_cartpole, test_dialogue, test_tabular

from tutelage.formulas import advantage


@pytest.fixture
def flipped(monkeypatch):
    straight = advantage.generalised

    def crooked(*arguments):
        advantages_BT, returns_BT = straight(*arguments)
        return -advantages_BT, returns_BT

    monkeypatch.setattr(advantage, "generalised", crooked)


@pytest.mark.slow
@pytest.mark.usefixtures("flipped")
def test_the_table_runs_from_its_optimum():
    probabilities = tabular.learned(1.0, seed=0)
    with pytest.raises(AssertionError):
        test_tabular.check(1.0, probabilities)
    assert probabilities.argmax() != 2  # the best word is no longer the likeliest


@pytest.mark.slow
@pytest.mark.usefixtures("flipped")
def test_the_dialogue_unlearns():
    _, after = test_dialogue.learned(seed=0)
    assert after < 0.1


@pytest.mark.usefixtures("flipped")
def test_the_pole_falls():
    policy, environment, _ = test_cartpole.trained(replace(test_cartpole.CONFIG, seed=0, steps=10))
    assert test_cartpole.mean_return(policy, environment, 0) < 50
