"""Killed at any moment and resumed, a run is to the bit the run that was never killed (design §4.13).

`TUTELAGE_KILL_RUNS` sets how many runs a command is killed in (10); each is killed five times at random instants.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest
from tests.launcher import Launcher
from tests.resuming import BUTTONS, COMMANDS, differences, kind_of_run

RUNS = int(os.environ.get("TUTELAGE_KILL_RUNS", "10"))
KILLS = 5


@pytest.fixture(scope="module")
def launcher():
    found = Launcher()
    yield found
    found.close()


@pytest.mark.prove
@pytest.mark.parametrize("name", [*COMMANDS, BUTTONS])
def test_killed_at_random_instants(launcher, name, tmp_path_factory):
    root = tmp_path_factory.mktemp(name)
    command = kind_of_run(name, root)
    whole = root / "whole"
    began = time.monotonic()
    assert launcher.run([*command, "--out", str(whole)], log=root / "whole.log") == 0, (root / "whole.log").read_text()
    seconds = time.monotonic() - began
    chance = random.Random(name)
    killed = 0
    for number in range(RUNS):
        out, log = root / f"run-{number}", root / f"run-{number}.log"
        arguments = [*command, "--out", str(out)]
        for _ in range(KILLS):
            process = launcher.start(arguments, log=log)
            time.sleep(chance.uniform(0.0, 0.6) * seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            ended = launcher.wait()
            assert ended in (0, -signal.SIGKILL), log.read_text()
            killed += ended != 0
            if (out / "config.json").exists():
                arguments = ["resume", str(out)]
        assert launcher.run(arguments, log=log) == 0, log.read_text()
        assert not differences(whole, out), differences(whole, out)
    print(f"{name}: {RUNS} runs, {killed} kills, undisturbed {seconds:.1f} s")
    assert killed >= RUNS * 2


@pytest.mark.prove
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_operation_of_the_disk(launcher, when, tmp_path_factory):
    root = tmp_path_factory.mktemp(when)
    command = kind_of_run("ppo", root)
    whole = root / "whole"
    assert launcher.run([*command, "--out", str(whole)]) == 0
    for number in range(1000):
        out, log = root / f"at-{number}", root / f"at-{number}.log"
        ended = launcher.run([*command, "--out", str(out)], (number, when), log)
        if ended == 0:
            break  # there are no more operations
        assert ended == -signal.SIGKILL, log.read_text()
        again = ["resume", str(out)] if (out / "config.json").exists() else [*command, "--out", str(out)]
        assert launcher.run(again, log=log) == 0, log.read_text()
        assert not differences(whole, out), (number, differences(whole, out))
    assert number > 30
    print(f"{number} operations, killed {when} each")
