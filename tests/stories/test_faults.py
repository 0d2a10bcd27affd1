"""Diseases planted on the helpdesk are named, and healthy runs beside them left alone.

A part of `benchmarks/doctor.py` in three minutes; all of it, on unseen seeds and settings, is in tests/prove.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "doctor.py"
PLANTED = ("KL is dear", "reward times 40", "cold sampler", "limit of 12 tokens", "first one wins", "one clicks")
HEALTHY = ("as it is", "honest labels", "panel again")


def figures(folder, *flags):
    """The last line of the benchmark's, and all of it for a failure's sake. One thread: sums have one order then."""
    one = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, str(BENCHMARK), str(folder), *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=one, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_planted_diseases_are_named_and_healthy_runs_are_left_alone(tmp_path):
    told, all_of_it = figures(tmp_path, "--base", "small", "--seeds", "0", "--runs", ",".join([*PLANTED, *HEALTHY]))
    found = told["small"]
    assert (found["diseased"], found["healthy"]) == (len(PLANTED), len(HEALTHY))
    missed = (1 - found["recall"]) * found["diseased"]  # another processor's sums make other runs: one may be unclear
    assert missed < 1.5 and found["healthy_alarmed"] == 0, all_of_it
