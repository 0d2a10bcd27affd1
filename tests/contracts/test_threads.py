"""GOMP_SPINCOUNT: bounded before torch is imported, the user's value wins, and a seed's bits stay the same."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tutelage

ROOT = Path(__file__).parents[2]
WATCHED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")

AT_TORCH = """
import os, sys
class AtTorch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("at torch:", os.environ.get("GOMP_SPINCOUNT"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, AtTorch())
"""
"""What a process prints when torch is first imported, where it ends."""


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in WATCHED}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**inherited, "PYTHONPATH": str(ROOT / "src"), **environment},
        timeout=300,
        check=True,
    )


COMMANDS = {
    "a run": ("sft", "--help"),
    "a verb beside runs": ("chat", "--help"),
    "of a rank": ("ppo", "--help"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_bounds_the_spinning_before_torch_is_imported(command):
    run = "import runpy; runpy.run_module('tutelage.cli', run_name='__main__', alter_sys=True)"
    ranks = {"RANK": "0", "WORLD_SIZE": "1"} if command[0] == "ppo" else {}
    told = python(f"{AT_TORCH}\nsys.argv = ['tutelage', *sys.argv[1:]]\n{run}", *command, **ranks).stdout
    assert told == f"at torch: {tutelage.SPIN_COUNT}\n"


def test_the_package_and_the_processes_started_from_it_have_the_bound():
    child = f"{AT_TORCH}\nimport torch"
    code = f"import tutelage, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    assert python(code).stdout == f"at torch: {tutelage.SPIN_COUNT}\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, str(tutelage.SPIN_COUNT)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, "None"),
        ({"OMP_WAIT_POLICY": "passive"}, "None"),
    ],
)
def test_the_value_of_the_user_wins(given, expected):
    assert python(f"{AT_TORCH}\nimport tutelage, torch", **given).stdout == f"at torch: {expected}\n"


def test_torchs_own_openmp_reads_the_bound():
    """Not only the variable: what the library says that it took, loaded after the package as torch loads it."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    found = sorted(Path(spec.origin).parent.glob("lib/libgomp*.so*"))
    if not found:
        pytest.skip("this torch does not bring GNU OpenMP")
    load = f"import tutelage, ctypes; ctypes.CDLL({str(found[0])!r})"
    assert f"GOMP_SPINCOUNT = '{tutelage.SPIN_COUNT}'" in python(load, OMP_DISPLAY_ENV="verbose").stderr


LEARNS = """
import hashlib, tutelage, torch
from tutelage.formulas.likelihood import action_log_probs
torch.manual_seed(0)
torch.set_num_threads(2)
layers = torch.nn.Sequential(torch.nn.Linear(64, 512), torch.nn.GELU(), torch.nn.LayerNorm(512))
layers.append(torch.nn.Linear(512, 512))
optimizer, x, actions = torch.optim.AdamW(layers.parameters(), 1e-3), torch.randn(256, 64), torch.randint(512, (256,))
for _ in range(2):
    optimizer.zero_grad()
    (-action_log_probs(layers(x), actions).mean()).backward()
    optimizer.step()
print(hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in layers.parameters())).hexdigest())
"""


@pytest.mark.slow
def test_a_seeds_bits_do_not_change_with_two_threads():
    """Fifteen times the bound; GNU OpenMP's own, 300,000, would take minutes on a machine with other work."""
    hashes = {python(LEARNS, **given).stdout for given in ({}, {"GOMP_SPINCOUNT": "30000"})}
    assert len(hashes) == 1 and len(hashes.pop()) == 65
