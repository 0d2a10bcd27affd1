"""Settings and mappings of columns, a little wrong: refused with a message, or each of them taken as it was written."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import yaml
from tests.fuzz.fuzzing import outcome
from tests.fuzz.mutations import damaged, mutated

from tutelage.commands.verbs import VERBS
from tutelage.data.columns import parse_columns
from tutelage.data.errors import InputError
from tutelage.runs.run import as_plain
from tutelage.runs.settings import overridden, read_settings, unset

SHARE, WHOLE, READ_AT_LEAST = 300, 3_000, 0.3
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "ppo": [{"model": "m", "data": "d", "reward": "r", "top_p": 0.9, "steps": 7, "kl-target-nats": 2, "seed": 3}],
    "reward-model": [{"model": "m", "data": "d", "columns": ["prompt=q"], "epochs": "1e-1", "bootstrap": True}],
    "loop": [{"rounds": 2, "ppo": {"steps": 3, "learning_rate": 1e-4}, "labeller": "human", "wait_s": 2.5}],
    "overoptimise": [{"labels": [10, 20], "quick": True, "sft": {"steps": 5}}],
}
MAPPINGS = [
    {"prompt": "q", "responses": ["a", "b"], "preference": {"column": "v", "first": 1, "second": 2, "tie": [0, "x"]}},
    {"prompt": ["q", "r"], "responses": "a", "ratings": {"good": {"scale": [1, 7], "values": {"bad": 1, "fine": 7}}}},
    {"tree": "prompt", "responses": "replies", "ranking": "rank", "roles": {"boss": "system"}, "form": "text"},
    {"prompt": "q", "responses": ["a", "b"], "choice": {"column": "best", "codes": ["A", "B"]}, "margin": "m"},
]


def written(rng: random.Random, value: Any) -> bytes:
    text = yaml.safe_dump(value, allow_unicode=rng.random() < 0.5, sort_keys=False)
    data = text.encode("utf-8", "surrogatepass")
    return damaged(rng, data)[0] if rng.random() < 0.25 else data


def settings_fuzzed(count: int, seed: int, folder: Any) -> Counter[str]:
    told: Counter[str] = Counter()
    defaults = {name: unset(VERBS[name].load()[0]) for name in SETTINGS}
    for number in range(count):
        name = list(SETTINGS)[number % len(SETTINGS)]
        rng = random.Random(f"{seed} {number}")
        path = folder / "settings.yaml"
        path.write_bytes(written(rng, mutated(rng, SETTINGS[name]).rows[0]))
        found, refused = outcome(
            lambda path=path, name=name: overridden(defaults[name], read_settings(str(path)), str(path)), ["--config"]
        )
        told["refused" if refused else "read"] += 1
        if not refused:
            everything = flat(as_plain(found))
            for key, value in flat(yaml.safe_load(path.read_bytes())):
                assert any(same(key, value, *each) for each in everything), (key, value, path.read_bytes())
    return told


def flat(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """(name, value) of every setting, whatever its group."""
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in flat(each, str(key))]
    return [(name.replace("-", "_"), value)]


def same(key: str, wanted: Any, name: str, found: Any) -> bool:
    """As the type that the setting has: 1e-1, written as a text, is 0.1."""
    if key != name:
        return False
    if isinstance(found, list):
        return isinstance(wanted, list) and len(wanted) == len(found) and all(map(equal, wanted, found))
    return equal(wanted, found)


def equal(wanted: Any, found: Any) -> bool:
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return wanted == found if isinstance(wanted, int) else float(wanted) == float(found)
    return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)


def mappings_fuzzed(count: int, seed: int, folder: Any) -> Counter[str]:
    told: Counter[str] = Counter()
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        path = folder / "mapping.yaml"
        path.write_bytes(written(rng, mutated(rng, [MAPPINGS[number % len(MAPPINGS)]]).rows[0]))
        found, refused = outcome(lambda path=path: parse_columns([str(path)]), ["--columns"])
        told["refused" if refused else "read"] += 1
        if not refused:
            assert found is not None
            assert {"prompt", "tree"} & set(yaml.safe_load(path.read_bytes())), "a mapping without a prompt was taken"
    return told


@pytest.mark.slow
@pytest.mark.parametrize("fuzzed", [settings_fuzzed, mappings_fuzzed])
def test_some(fuzzed, tmp_path):
    told = fuzzed(SHARE, 0, tmp_path)
    assert told["refused"] and told["read"] >= READ_AT_LEAST * told.total(), told


@pytest.mark.prove
@pytest.mark.parametrize("fuzzed", [settings_fuzzed, mappings_fuzzed])
def test_many(fuzzed, tmp_path):
    told = fuzzed(WHOLE, 1, tmp_path)
    print(fuzzed.__name__, dict(told))
    assert told["refused"] and told["read"] >= READ_AT_LEAST * told.total(), told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [1]\nb: *x", "reference"),
        ("a: &x [*x]", "reference"),
        ("steps: 1\nsteps: 2", "twice"),
        ("steps: 2.7", "steps"),
        ("steps: true", "steps"),
        ("learning_rate: .nan", "not a number"),
        ("model: 3", "string"),
        ("skip: !!python/object/apply:os.system [ls]", "YAML"),
        ("steps: " + "9" * 5000, "YAML"),
        ("a: " + "[" * 5000, "YAML"),
        ("when: 2026-13-45", "YAML"),
        ("steps: 3 # " + "x" * 1_100_000, "bytes"),
        ("\x00", "YAML"),
    ],
)
def test_what_yaml_can_do_to_its_reader(text, expected, tmp_path):
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(InputError, match=expected) as caught:
        overridden(unset(VERBS["ppo"].load()[0]), read_settings(str(tmp_path / "settings.yaml")), "settings.yaml")
    assert len(str(caught.value)) < 1500


def test_references_upon_references_are_no_bomb(tmp_path):
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    for read in (read_settings, lambda name: parse_columns([name])):
        with pytest.raises(InputError, match="reference"):
            read(str(tmp_path / "bomb.yaml"))
