"""Comparisons that nobody made: what an edit may and may not do, and answers by their votes."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.data import weak
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import demonstrations as desk
from tutelage.data.helpdesk import edits, tokenizer
from tutelage.data.questions import Pair, Question
from tutelage.data.tokens import Codec
from tutelage.rewards import helpdesk

DEMONSTRATIONS = desk.demonstrations(300, 0)
ALL = {**weak.EDITS, **{each.__name__: each for each in edits.EDITS}}


@pytest.mark.parametrize("name", ALL)
def test_the_original_is_preferred_to_every_edit(name):
    found = weak.edited(DEMONSTRATIONS, 3, [ALL[name]])
    originals = dict(DEMONSTRATIONS)
    assert len(found) > 150
    for question in found:
        assert question.responses[0] == originals[question.prompt]
        assert question.responses[0].strip() != question.responses[1].strip() != ""
        assert question.pairs == (Pair(0, 1, 1.0),) and question.choice == 0
        assert question.columns == {"edit": name}
    assert weak.edited(DEMONSTRATIONS, 3, [ALL[name]]) == found


def test_a_seed_draws_its_own_edits():
    assert weak.edited(DEMONSTRATIONS, 3) == weak.edited(DEMONSTRATIONS, 3) != weak.edited(DEMONSTRATIONS, 4)
    assert {each.columns["edit"] for each in weak.edited(DEMONSTRATIONS, 3)} == set(weak.EDITS)


def test_what_each_edit_does():
    rng, reply, other = np.random.default_rng(0), " One is. Two are! Three?", " Four. Five."
    assert weak.answers_another(reply, other, rng) == other
    shorter = weak.without_a_sentence(reply, other, rng)
    assert shorter in (" One is. Two are!", " One is. Three?", " Two are! Three?")
    assert weak.without_a_sentence(" One", other, rng) == " One"
    foreign = weak.with_a_foreign_sentence(reply, other, rng)
    assert sum(each in foreign for each in (" One is.", " Two are!", " Three?")) == 2
    assert (" Four." in foreign) != (" Five." in foreign)
    moved = [weak.out_of_order(reply, other, rng) for _ in range(20)]
    assert all(sorted(each.split()) == sorted(reply.split()) for each in moved) and len(set(moved)) > 5


def test_the_desk_s_own_edits_are_worse_by_gold():
    """Each lowers the gold score of most replies and raises it of few: weak, not wrong. Its words are the desk's."""
    codec = Codec(tokenizer.tokenizer())
    for name in ("vandalised", "discourteous", "misread"):
        found = weak.edited(DEMONSTRATIONS, 0, [ALL[name]])
        prompts = [each.prompt for each in found]
        better, worse = (helpdesk.gold(prompts, [each.responses[side] for each in found]) for side in (0, 1))
        assert np.mean(np.array(better) > np.array(worse)) > 0.8, name  # some orders were misread already
        assert np.mean(np.array(better) < np.array(worse)) < 0.05, name
        for question in found[:50]:
            assert codec.tokenizer.unk_token_id not in codec.prompt(question.responses[1])


def test_two_demonstrations_at_least():
    with pytest.raises(InputError, match="at least 2"):
        weak.edited(DEMONSTRATIONS[:1], 0)
    with pytest.raises(InputError, match="none of the 2 replies was changed"):
        weak.edited([("a ", "b"), ("c ", "b")], 0, [weak.answers_another])


def test_answers_are_compared_by_their_votes():
    asked = Question("q ", ("a", "b", "c", "d"), ratings={"votes": (3.0, None, 9.0, 3.0)}, columns={"site": "x"})
    alone, level = (Question("r ", texts, ratings={"votes": (1.0,) * len(texts)}) for texts in (("a",), ("a", "b")))
    found = weak.by_ratings([asked, alone, level], "votes")
    assert len(found) == 1
    assert found[0].pairs == (Pair(0, 2, 0.0), Pair(2, 3, 1.0)) and found[0].columns == {"site": "x"}
    with pytest.raises(InputError, match="'length'"):
        weak.by_ratings([asked], "length")
