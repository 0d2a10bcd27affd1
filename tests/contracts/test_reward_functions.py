"""`module:function`: found in the current folder, and one clear sentence where it cannot be used."""

from __future__ import annotations

import sys

import pytest

from tutelage.cli import run_command
from tutelage.data.errors import InputError
from tutelage.rewards.functions import load_reward
from tutelage.rewards.language import TextScore

MODULES = {
    "good.py": "def score(prompts, responses):\n    return [1.0] * len(responses)\nLIMIT = 3\n",
    "raising.py": "x = 1\nraise ValueError('nope')\n",
    "exiting.py": "import sys\nsys.exit('usage: me')\n",
    "unfinished.py": "def score(prompts, responses:\n",
    "wanting.py": "import no_such_package\n",
    "alone.py": "def score(responses):\n    return [1.0] * len(responses)\n",
    "later.py": "async def score(prompts, responses):\n    return [1.0]\n",
    "beside.py": "def count(responses):\n    return [len(each) for each in responses]\n",
    "lazy.py": "def score(prompts, responses):\n    import beside\n    return beside.count(responses)\n",
    "json.py": "def score(prompts, responses):\n    return [0.0] * len(responses)\n",
    "folder/inner.py": "def score(prompts, responses):\n    return [2.0] * len(responses)\n",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(tmp_path))])
    known = set(sys.modules)
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in set(sys.modules) - known:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "values"), [("good:score", [1.0]), ("folder.inner:score", [2.0]), ("lazy:score", [3.0])]
)
def test_a_module_of_the_current_folder_is_found(here, name, values):
    assert list(load_reward(name)(["p"], ["abc"])) == values


def test_a_file_here_does_not_hide_an_installed_package_afterwards(here):
    load_reward("good:score")
    assert str(here) not in sys.path[:1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere:score", ["no nowhere.py in", "nowhere.py here"]),
        ("folder.absent:score", ["no folder/absent.py in"]),
        ("raising:score", ["ValueError", "raising.py, line 2", "nope"]),
        ("exiting:score", ["SystemExit", "exiting.py, line 2", "usage: me"]),
        ("unfinished:score", ["SyntaxError", "unfinished.py, line 1"]),
        ("wanting:score", ["no_such_package", "wanting.py, line 1"]),
        ("good:scoer", ["no function scoer", "Did you mean good:score?"]),
        ("good:LIMIT", ["LIMIT", "is a int, not a function", "score"]),
        ("alone:score", ["(prompts, responses)", "def score(prompts, responses)"]),
        ("later:score", ["async"]),
        ("good.py:score", ["Give good:score"]),
        ("folder/inner.py:score", ["Give folder.inner:score"]),
        ("/srv/rewards/good.py:score", ["Change to the folder /srv/rewards", "good:score"]),
        ("good:", ["module:function"]),
        (":score", ["module:function"]),
        ("a b:score", ["module:function"]),
        ("good:score:more", ["module:function"]),
        ("json:score", ["json.py has the name of a module", "Rename your file"]),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(here, name, expected):
    with pytest.raises(InputError) as refused:
        load_reward(name, "--judge")
    for part in (f"--judge {name}", *expected):
        assert part in str(refused.value), str(refused.value)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (None, "returned None (NoneType)"),
        (0.5, "returned 0.5 (float)"),
        ("12", "(str)"),
        ({"a": 1.0, "b": 2.0}, "(dict)"),
        (["good", "bad"], "(list); expected a list with one number"),
        ([1.0], "1 numbers for 2 responses"),
        ([[1.0, 2.0], [3.0, 4.0]], "(list); expected a list with one number"),
        ([1.0, float("inf")], "inf"),
    ],
)
def test_what_a_function_returns_is_checked(returned, expected):
    with pytest.raises(InputError) as refused:
        TextScore(lambda prompts, responses: returned, None, "mine:score").numbers(["p", "q"], ["a", "b"])
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    "command",
    [
        "best-of-n --model tiny-model --data prompts.jsonl --reward fine:score",
        "ppo --model tiny-model --data prompts.jsonl --reward fine:score --steps 1 --trajectories 4 --skip-preflight",
        "ppo --model tiny-model --data prompts.jsonl --reward fine:score --held-out-reward fine:score --stop-at-peak 4 "
        "--steps 1 --trajectories 4 --skip-preflight",
        "evaluate --model tiny-model --baseline tiny-model --data prompts.jsonl --reward fine:score",
        "evaluate policies tiny-model tiny-model --data prompts.jsonl --judge fine:score",
        "evaluate policies tiny-model tiny-model --data prompts.jsonl --judge fine:prefer",
    ],
)
def test_every_verb_that_takes_a_function_finds_it_here(files, model_folder, monkeypatch, command):
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in ("", str(files))])
    monkeypatch.delitem(sys.modules, "fine", raising=False)
    (files / "fine.py").write_text(
        "def score(prompts, responses):\n    return [float(len(each)) for each in responses]\n"
        "def prefer(prompts, firsts, seconds):\n    return [0.5] * len(prompts)\n"
    )
    assert run_command([*command.split(), "--max-new-tokens", "5", "--out", "run"]) == 0


def test_a_bare_module_is_asked_for_its_function(files, model_folder, monkeypatch, capsys):
    monkeypatch.chdir(files)
    (files / "fine.py").write_text("def score(prompts, responses):\n    return [1.0] * len(responses)\n")
    for given in ("fine", "fine.py"):
        command = ["best-of-n", "--model", "tiny-model", "--data", "prompts.jsonl", "--reward", given]
        assert run_command([*command, "--out", "run"]) == 2
        assert "--reward fine:FUNCTION" in capsys.readouterr().err
