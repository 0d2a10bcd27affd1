"""The order in which rows are seen: a function of its arguments, drawn once an epoch."""

from __future__ import annotations

import numpy as np

from tutelage.algorithms import minibatches as order


def replayed(rows, seed, epoch):
    rng = np.random.default_rng([seed, 0x0DE5])
    return [rng.permutation(rows) for _ in range(epoch + 1)][epoch]


def test_a_minibatch_depends_on_its_arguments_alone():
    """Whatever was asked before: forwards, backwards (a resumed run), several sets of rows in turn, across epochs."""
    for step in (0, 7, 3, 120, 0, 59, 60):
        for rows, size in ((10, 4), (7, 10), (3, 8)):
            found = order.minibatch(rows, size, 5, step)
            places = range(step * size, step * size + size)
            assert found.tolist() == [int(replayed(rows, 5, place // rows)[place % rows]) for place in places]


def test_an_epoch_is_shuffled_once(monkeypatch):
    """The shuffles of all epochs before were drawn again for each epoch: 20 rows sixty times were 1,830 shuffles."""
    drawn = []
    fresh = np.random.default_rng

    class Counting:
        def __init__(self, seed):
            self.inner = fresh(seed)

        def permutation(self, rows):
            drawn.append(rows)
            return self.inner.permutation(rows)

    monkeypatch.setattr(order.np.random, "default_rng", Counting)
    order._shuffles.cache_clear()
    for step in range(300):
        order.minibatch(20, 4, 11, step)
    assert len(drawn) <= 61
    order._shuffles.cache_clear()
