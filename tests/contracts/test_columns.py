"""A mapping of columns that is refused, one that is read from a file or from flags, and the question it makes."""

from __future__ import annotations

import json

import pytest

from tutelage.cli import run_command
from tutelage.commands.resume import stored
from tutelage.data.columns import columns_of, parse_columns
from tutelage.data.errors import InputError
from tutelage.data.questions import Pair, Question

TWO = {"prompt": "q", "responses": ["a", "b"]}
CODES = {"column": "vote", "first": 1, "second": 2, "tie": 0}
TREE = {"tree": "prompt", "responses": "replies", "ranking": "rank"}


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"prompts": "q", "responses": "a"}, "no prompts. Did you mean prompt"),
        ({**TWO, "preference": {"colum": "vote"}}, "no preference.colum. Did you mean column"),
        ({"responses": ["a", "b"], "preference": CODES}, "prompt is missing"),
        ({"prompt": "q", "preference": CODES}, "responses is missing"),
        (TWO, "nothing says what people answered"),
        ({**TWO, "preference": CODES, "choice": 0}, "preference and choice are given"),
        ({**TWO, "preference": {"column": "vote", "first": 1}}, "first and second, or a scale"),
        ({**TWO, "preference": {**CODES, "tie": 1}}, "means two things"),
        ({**TWO, "preference": {**CODES, "scale": [0, 1]}}, "or a scale instead"),
        ({**TWO, "preference": "vote"}, "preference is 'vote', expected a column and its codes"),
        ({**TWO, "choice": 2}, "none of the responses"),
        ({**TWO, "ranking": "r", "margin": "m"}, "margin is given without"),
        ({**TWO, "ranking": ["r", "s", "t"]}, "not one for each response"),
        ({**TWO, "ratings": {"good": {"scale": [1]}}}, "its two ends"),
        ({**TWO, "choice": 0, "form": "chat"}, "form is 'chat', expected one of talk, text, template"),
        ({**TWO, "choice": 0, "roles": {"x": "boss"}}, "one of user, assistant, system, tool"),
        ({**TREE, "prompt": "q"}, "prompt and tree are both given"),
        ({**TWO, "prompt": 3, "choice": 0}, "prompt is 3, expected the name of a column"),
    ],
)
def test_a_mapping_that_lacks_or_misspells_something_is_refused(mapping, expected):
    with pytest.raises(InputError, match=f"--columns: .*{expected}"):
        columns_of(mapping)


def test_the_same_mapping_as_a_file_and_as_strings(tmp_path):
    path = tmp_path / "mapping.yaml"
    path.write_text(
        'prompt: q\nresponses: [a, b]\njoin: "\\n"\npreference: {column: vote, first: 1, second: 2, tie: 0}\n'
    )
    strings = ["prompt=q", "responses=[a, b]", 'join="\\n"', "preference.column=vote"]
    codes = ["preference.first=1", "preference.second=2", "preference.tie=0"]
    expected = columns_of({**TWO, "join": "\n", "preference": CODES})
    assert parse_columns([str(path)]) == parse_columns([*strings, *codes]) == expected
    assert parse_columns([str(path), "preference.tie=5"]) == columns_of(
        {**TWO, "join": "\n", "preference": {**CODES, "tie": 5}}
    )
    assert parse_columns([]) is None
    with pytest.raises(InputError, match="no such file"):
        parse_columns(["mapping.yml"])
    with pytest.raises(InputError, match="not YAML"):
        parse_columns(["prompt=[q"])
    with pytest.raises(InputError, match="a value already"):
        parse_columns(["prompt=q", "prompt.column=r"])


def test_the_command_reads_its_columns_and_refuses_what_it_cannot_learn_from(tmp_path, model_folder, files, capsys):
    path, out = files / "votes.jsonl", tmp_path / "rm"
    rows = [{"q": q, "a": ["x", "y", "z"], "vote": [1, 0, 2], "stars": [1, 2, 3]} for q in "abcdefgh"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["reward-model", "--model", str(model_folder), "--data", str(path), "--epochs", "1", "--out", str(out)]
    vote = [f"preference.{name}={value}" for name, value in CODES.items()]
    assert run_command([*command, "--columns", "prompt=q", "responses=a", *vote]) == 0
    assert json.loads((out / "summary.json").read_text())["rows_used"] == 8  # questions, each of three pairs
    again = stored(out)[1].columns  # what a resumed run is given
    assert parse_columns(again) == columns_of({"prompt": "q", "responses": "a", "preference": CODES})
    command[-1] = str(tmp_path / "stars")
    assert run_command([*command, "--columns", "prompt=q", "responses=a", "ratings=stars"]) == 0
    assert json.loads((tmp_path / "stars" / "summary.json").read_text())["learned_from"] == "squared"
    capsys.readouterr()
    command[-1] = str(tmp_path / "starz")
    assert run_command([*command, "--columns", "prompt=q", "responses=a", "ratings=starz"]) == 2
    assert "no column 'starz'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"responses": ()}, "no response"),
        ({"pairs": ()}, "nothing is said"),
        ({"pairs": (Pair(1, 0, 1.0),)}, "lower index first"),
        ({"pairs": (Pair(0, 1, 1.0), Pair(0, 1, 0.0))}, "each once"),
        ({"pairs": (Pair(0, 2, 1.0),)}, "below 2"),
        ({"pairs": (Pair(0, 1, 1.1),)}, "0 to 1"),
        ({"pairs": (Pair(0, 1, 1.0, -1.0),)}, "negative"),
        ({"choice": 1}, "1 was chosen"),
        ({"ratings": {"good": (1.0,)}}, "expected 2 finite"),
        ({"ratings": {"good": (1.0, float("nan"))}}, "expected 2 finite"),
        ({"votes": {"p1": 0.0, "p2": 1.0}}, "mean 0.500"),
    ],
)
def test_a_question_whose_parts_contradict_each_other_cannot_be_made(parts, expected):
    sound = {"prompt": "q", "responses": ("a", "b"), "pairs": (Pair(0, 1, 1.0),)}
    assert Question(**sound).best == 0
    with pytest.raises(ValueError, match=expected):
        Question(**{**sound, **parts})
