"""Of the feedback store, too, everything is documented that is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tutelage.feedback import schema
from tutelage.feedback.asking import LabelState
from tutelage.feedback.counts import counts
from tutelage.feedback.exports import FORMS, WRITERS
from tutelage.feedback.store import Store
from tutelage.feedback.verify import ACTS

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA, FEEDBACK = ((DOCS / name).read_text(encoding="utf-8") for name in ("schema.md", "feedback.md"))


@pytest.mark.parametrize("table", schema.metadata.tables)
def test_every_table_and_column_is_documented(table):
    [row] = re.findall(rf"^\| `{table}` \| (.*) \|$", SCHEMA.split("| table |")[1].split("| kind of")[0], flags=re.M)
    for column in schema.metadata.tables[table].columns:
        assert f"`{column.name}`" in row, column.name


def test_every_kind_of_event_is_documented():
    part = SCHEMA.split("| kind of event |")[1].split("## A comparison")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", part, flags=re.M)) == set(ACTS)


def test_every_state_format_and_count_is_documented(tmp_path):
    assert set(re.findall(r"^\| `(\w+)` \| ", FEEDBACK, flags=re.M)) == {*LabelState.__args__, *FORMS}
    assert all(suffix in FEEDBACK for suffix in WRITERS)
    with Store.open(tmp_path / "feedback.db") as store, store._database.reading() as connection:
        assert all(f"\n  {name} " in FEEDBACK for name in counts(connection))
