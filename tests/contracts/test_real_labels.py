"""Five data sets of human judgements, each read by the mapping that the documents print for it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from tests.conftest import letters_tokenizer

from tutelage.data.columns import columns_of
from tutelage.data.files import read_rows
from tutelage.data.preferences import comparisons
from tutelage.data.split import by_prompt
from tutelage.data.tokens import Codec

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real data are not beside this repository")
SAMPLES = re.findall(r"```yaml\n# (\S+)\n(.*?)```", (ROOT / "docs" / "data.md").read_text(encoding="utf-8"), flags=re.S)


@pytest.fixture(scope="module")
def read():
    """name of a documented data set -> (questions, report), each read once."""
    found, codec = {}, Codec(letters_tokenizer(pad_token="<eos>"))
    mappings = {name: columns_of(yaml.safe_load(text)) for name, text in SAMPLES}

    def reader(name):
        if name not in found:
            found[name] = comparisons(str(DATA / name), codec, mappings.get(name))
        return found[name]

    return reader


PANDALM, QA = "pandalm/testset-v1.json", "finegrained-rlhf-qa/dev_feedback.json"
OASST, TASKMASTER = "oasst/en_100_tree.jsonl", "taskmaster-reward"


def test_every_documented_mapping_is_of_data_that_lie_here():
    assert {name for name, _ in SAMPLES} == {PANDALM, QA, OASST, TASKMASTER}


def test_three_people_a_pair(read):
    found, report = read(PANDALM)
    assert report.rows_read == 999 and len(found) == 939
    assert dict(report.dropped) == {"with an empty reply": 54, "with a reply that is no text": 6}
    targets = Counter(round(each.pairs[0].target * 6) for each in found)  # three votes of 0, ½ or 1
    assert targets == {0: 397, 1: 9, 2: 49, 3: 84, 4: 38, 5: 17, 6: 345}
    assert {len(each.votes) for each in found} == {3} and {each.choice for each in found} == {None}
    agree = sum(len(set(each.votes.values())) == 1 for each in found)
    kept = {each.columns["idx"] for each in found}
    rows = [row.fields for row in read_rows(str(DATA / PANDALM)) if row.fields["idx"] in kept]
    assert agree == sum(row["annotator1"] == row["annotator2"] == row["annotator3"] for row in rows)
    assert len({each.columns["cmp_key"] for each in found}) == 10


def test_four_answers_and_six_judgements(read):
    found, report = read(QA)
    assert report.rows_read == len(found) == 500 and not report.dropped
    assert Counter(pair.target for each in found for pair in each.pairs) == {1.0: 1577, 0.0: 1039, 0.5: 384}
    assert {len(each.responses) for each in found} == {4} and {len(each.pairs) for each in found} == {6}
    assert sum(each.places is None for each in found) == 22  # their six judgements are no ranking
    assert sum(each.best is not None for each in found) == 396


def test_trees_of_ranked_replies(read):
    found, report = read(OASST)
    assert report.rows_read == 254 and len(found) == 211
    assert dict(report.dropped) == {"with a single reply": 40, "where not every reply has its rank": 3}
    assert Counter(len(each.responses) for each in found) == {2: 57, 3: 116, 4: 27, 5: 3, 6: 6, 8: 1, 9: 1}
    assert sum(len(each.pairs) for each in found) == 57 + 116 * 3 + 27 * 6 + 3 * 10 + 6 * 15 + 28 + 36
    assert all(each.places == tuple((i,) for i in range(len(each.responses))) for each in found)  # the file is sorted
    assert sum(each.prompt.count("\n\nHuman:") > 1 for each in found) > 50
    assert {each.columns["lang"] for each in found} == {"en"}


def test_single_replies_that_are_good_or_bad(read):
    found, report = read(TASKMASTER)
    assert report.rows_read == 6895 and dict(report.dropped) == {"with an empty reply": 4, "without a prompt": 6}
    assert Counter(each.ratings["reward"] for each in found).keys() == {(0.0,), (1.0,)}
    assert {len(each.responses) for each in found} == {1} and not any(each.pairs for each in found)
    calls = sum(each.responses[0].startswith(' {"api"') for each in found)
    assert calls == 1972 + 2433
    assert all(each.prompt.endswith("\n\nAssistant:") for each in found)


@pytest.mark.parametrize(
    ("name", "read_rows", "used"),
    [("helpful-base", 2354, 2339), ("harmless-base", 2312, 2303), ("helpful-rejection-sampled", 2749, 2714)],
)
def test_every_part_of_hh(read, name, read_rows, used):
    found, report = read(f"hh-rlhf/{name}.jsonl.gz")
    assert (report.rows_read, len(found)) == (read_rows, used)
    assert {(each.pairs, each.choice) for each in found} == {(((0, 1, 1.0, 0.0),), 0)}


@pytest.mark.parametrize("name", [PANDALM, QA, OASST, TASKMASTER, "hh-rlhf/helpful-base.jsonl.gz"])
def test_a_prompt_is_never_on_both_sides(read, name):
    found, _ = read(name)
    learned, held = by_prompt(found, lambda each: each.prompt, 0.1, seed=0)
    assert {each.prompt for each in learned} & {each.prompt for each in held} == set()
    assert len(learned) + len(held) == len(found) and len(held) >= 0.1 * len(found) - 1
