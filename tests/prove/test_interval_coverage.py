"""Every kind of interval that is printed, over 1,000 simulated data sets a cell, as a table.

Stated before it was run: nominal 95 %, at least 93 % of the intervals hold the truth in every cell. Mean width at most
1.25 times Clopper and Pearson's (shares; of clusters from 20 on, at the effective sample size) or Student's t (means;
of the deviation of the estimates). The data of each kind are described in tests/coverage.py and in the table. Prints
the table of docs/evaluation.md; a minute or two on one core.
"""

from __future__ import annotations

import pytest
from tests.coverage import COVERS, KINDS, WIDEST, Cell, Kind, measured

pytestmark = pytest.mark.prove
BOUNDED = {"share": 5, "win rate with ties": 5, "mean": 3, "clustered share": 20, "clustered mean": 10}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_intervals_cover_and_are_not_useless(kind: Kind, capsys):
    found = {(n, setting): measured(kind, n, setting) for n in kind.sizes for setting in kind.settings}
    with capsys.disabled():
        print(f"\n| {kind.name}: {kind.draws} | coverage; width |")
        for (n, setting), cell in found.items():
            print(f"| n = {n}, {setting:g} | {shown(cell)} |")
    assert {at: cell for at, cell in found.items() if cell.coverage < COVERS} == {}
    least = BOUNDED.get(kind.name)
    if least is not None:
        assert {at: cell for at, cell in found.items() if at[0] >= least and cell.width > WIDEST} == {}


def shown(cell: Cell) -> str:
    unknown = f"; {cell.unknown:.1%} too few to tell" if cell.unknown else ""
    return f"{cell.coverage:.3f}; {cell.width:.2f}{unknown}"
