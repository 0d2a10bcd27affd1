"""The house rules, read from the source: which room may import which, and how much a page may hold.

The same rules in words: docs/tour.md. No exceptions are kept here; when a page outgrows its budget, it is divided.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tutelage

PACKAGE = Path(tutelage.__file__).parent
ORDER = [
    ["formulas"], ["trajectory"], ["data"], ["models"], ["environments", "policies", "rewards"], ["feedback"],
    ["execution"], ["runs"], ["algorithms"], ["evaluation"], ["doctor"], ["training"], ["report"], ["recipes"],
    ["studio"], ["commands"], ["cli"],
]  # fmt: skip
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
CONCRETE = {"environments", "policies", "rewards"}
BLIND = ("formulas", "trajectory", "runs", "doctor", "algorithms/ppo")  # below the waist: know no concrete task
THIRD_PARTY = {"formulas": {"torch", "numpy", "scipy"}, "trajectory": {"torch", "numpy"}}
EMPTY_NAMES = {"utils", "util", "common", "core", "helpers", "misc", "base"}
LINES, FUNCTION_LINES, ARGUMENTS, NESTING, SETTINGS = 600, 60, 7, 3, 20
BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

PAGES = sorted(PACKAGE.rglob("*.py"))
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PACKAGE)))


def place(page: Path) -> str:
    return str(page.relative_to(PACKAGE).with_suffix(""))


def room(page: Path) -> str:
    return place(page).split("/")[0]


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)
            if node.module == "tutelage":
                yield from (f"tutelage.{alias.name}" for alias in node.names)


def nesting(node: ast.AST, depth: int = 0) -> int:
    """The deepest block inside a function; an elif is as deep as its if."""
    deepest = depth
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, (*FUNCTIONS, ast.ClassDef)):
                continue
            is_elif = isinstance(node, ast.If) and name == "orelse" and len(value) == 1 and isinstance(child, ast.If)
            deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not is_elif)))
    return deepest


@pages
def test_imports_go_left_to_right(page):
    here = room(page)
    for name in imports(ast.parse(page.read_text())):
        first, *rest = name.split(".")
        if first == "tutelage" and rest and rest[0] in RANK and rest[0] != here and here in RANK:
            assert RANK[rest[0]] < RANK[here], f"{here} must not import {rest[0]}"
            blind = any(place(page).startswith(each) for each in BLIND)
            assert not (blind and rest[0] in CONCRETE), f"{place(page)} must not know {rest[0]}"
        if here in THIRD_PARTY and first != "tutelage":
            assert first in THIRD_PARTY[here] | sys.stdlib_module_names, f"{here} must not import {first}"


@pages
def test_a_page_fits_in_the_head(page):
    source = page.read_text()
    assert source.count("\n") <= LINES
    assert not EMPTY_NAMES & set(place(page).split("/")), "a name that says nothing"
    for node in ast.walk(ast.parse(source)):
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global state"
        if isinstance(node, FUNCTIONS):
            assert node.end_lineno - node.lineno < FUNCTION_LINES, node.name
            arguments = [each.arg for each in (*node.args.args, *node.args.kwonlyargs)]
            assert len([each for each in arguments if each not in ("self", "cls")]) <= ARGUMENTS, node.name
            assert nesting(node) <= NESTING, node.name


@pages
def test_every_page_belongs_to_a_room_and_says_what_it_is(page):
    assert room(page) in {*RANK, "__init__"}
    assert ast.get_docstring(ast.parse(page.read_text())), "a page begins by saying what it is"


@pytest.mark.parametrize("folder", sorted({page.parent for page in PAGES} - {PACKAGE}), ids=lambda each: each.name)
def test_every_room_says_what_enters_and_what_leaves(folder):
    door = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert door
    if folder.parent == PACKAGE:
        for line in ("Enters:", "Leaves:", "May import:", "Guarded by:"):
            assert line in door, line


def settings_classes() -> list[ast.ClassDef]:
    trees = (ast.parse(page.read_text()) for page in PAGES)
    classes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    return [node for node in classes if node.name.endswith(("Config", "Job", "Settings"))]


@pytest.mark.parametrize("settings", settings_classes(), ids=lambda each: each.name)
def test_settings_are_frozen_and_few(settings):
    fields = [node.target.id for node in settings.body if isinstance(node, ast.AnnAssign)]
    assert len(fields) <= SETTINGS
    assert any("frozen=True" in ast.unparse(each) for each in settings.decorator_list)


def test_the_waist_does_not_ask_what_kind_of_task_it_is():
    """No branch on language or control below the waist."""
    for name in ("formulas", "trajectory", "runs", "algorithms/ppo"):
        for page in (each for each in PAGES if place(each).startswith(name)):
            for node in ast.walk(ast.parse(page.read_text())):
                if isinstance(node, (ast.If, ast.IfExp)):
                    asked = ast.unparse(node.test).lower()
                    assert not any(word in asked for word in ("language", "control", "token_id", "tokenizer")), asked


def names_in(tree: ast.AST) -> Iterator[str]:
    """Dotted attributes, imported names and whole string constants: what a reference can be made of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pages
def test_kernels_for_cpus_stay_in_their_folder(page):
    """oneDNN's operators and recordings of torch.jit; other pages go through models/kernels.py."""
    if place(page).startswith("execution/cpu/"):
        return
    for name in names_in(ast.parse(page.read_text())):
        assert "mkldnn" not in name and not name.startswith(("torch.jit", "torch.fx")), name
        assert not name.startswith("tutelage.execution.cpu"), name


@pages
def test_data_holds_no_neural_network(page):
    """data/ reads files and tokens; networks are loaded in models/."""
    if room(page) != "data":
        return
    for name in names_in(ast.parse(page.read_text())):
        assert not name.startswith(("torch.nn", "nn.", "peft", "transformers.models")), name
        assert not name.rpartition(".")[2].startswith(("AutoModel", "PreTrainedModel")), name


def test_the_path_of_a_step_is_short():
    """From `tutelage ppo` to the weights, as docs/tour.md walks it."""
    tour = (Path(__file__).parents[2] / "docs" / "tour.md").read_text(encoding="utf-8")
    section = tour.split("## One PPO step")[1].split("Beside the path")[0]
    path = sorted(set(re.findall(r"\(\.\./src/tutelage/([\w/]+\.py)\)", section)))
    lines = sum(len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) for name in path)
    assert len(path) <= 18 and lines <= 2800, f"{len(path)} files, {lines} lines"
    assert {"cli.py", "commands/ppo.py", "training/train.py", "algorithms/ppo.py", "execution/learner.py"} <= set(path)


def imported_modules(page: Path) -> set[Path]:
    """Pages of the package that a page imports, inside functions, too."""
    found = set()
    for node in ast.walk(ast.parse(page.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "tutelage":
            inside = PACKAGE.joinpath(*str(node.module).split(".")[1:])
            modules = [inside / f"{alias.name}.py" for alias in node.names]
            found |= {each if each.exists() else inside.with_suffix(".py") for each in modules}
    return {each for each in found if each.exists()}


def test_the_ppo_command_imports_neither_doctor_nor_feedback():
    """What it imports is what a reader of the command may have to open."""
    reached, waiting = set(), [PACKAGE / "commands" / "ppo.py"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += imported_modules(page)
    rooms = {room(page) for page in reached}
    assert not rooms & {"doctor", "report", "recipes", "studio"}, rooms
    assert [place(page) for page in reached if room(page) == "feedback"] == ["feedback/people"]
    lines = sum(len(page.read_text(encoding="utf-8").splitlines()) for page in reached)
    assert len(reached) <= 79 and lines <= 10_200, f"{len(reached)} files, {lines} lines"
