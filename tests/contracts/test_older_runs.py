"""Runs and a feedback store of tutelage 0.1.0 open for ever, and the names of 0.1.0 stay valid.

tests/fixtures/runs-0.1.0 was recorded by 0.1.0 and is never recorded again (its README.md). doctor, report and studio
open every run of it; only `resume` may refuse one, in one line. names.json holds the flags, diseases, metric keys,
summary keys and store columns of 0.1.0: there may be more of them today, none may be missing.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from tests.labelling import Command
from tests.tiny_families import saved

from tutelage.cli import run_command

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "fixtures" / "runs-0.1.0"
NAMES = json.loads((RECORDED / "names.json").read_text(encoding="utf-8"))
RUNS = {  # run -> the stage whose curves and samples are looked at
    "christiano": "preferences",
    "demo": "ppo",
    "loop": "seed-0-round-2-ppo",
    "ppo": "",
    "ppo-unfinished": "",
    "reward-model": "",
    "sft": "",
    "tamer": None,  # no curve of a metric
}
FOUND = {  # what the doctor of 0.1.0 said: (exit code, diseases)
    "christiano": (0, set()),
    "demo": (1, {"truncation storm"}),
    "loop": (0, set()),
    "ppo": (1, {"truncation storm"}),
    "ppo-unfinished": (1, {"truncation storm"}),
    "reward-model": (0, set()),
    "sft": (3, set()),
    "tamer": (3, set()),
}
TINY = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
JUDGE = """
def by_fives(prompts, responses):
    return [sum(ord(letter) % 5 - 2 for letter in response) / 2 for response in responses]
"""


def copied(to: Path) -> Path:
    """The recorded runs as they were left: databases and checkpoints unpacked."""
    shutil.copytree(RECORDED, to)
    for packed in to.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    return to


@pytest.fixture
def runs(tmp_path, monkeypatch) -> Path:
    """A copy of the recorded runs, in a folder in which nothing else is."""
    found = copied(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return found


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_recorded_run_is_looked_at():
    assert {each.name for each in RECORDED.iterdir() if each.is_dir()} == {*RUNS, "labels"} == {*FOUND, "labels"}


# --- doctor, report, studio


@pytest.mark.parametrize("name", RUNS)
def test_the_doctor_reads_it(name, runs, capsys):
    code = run_command(["doctor", str(runs / name), "--json"])
    [row] = json.loads(capsys.readouterr().out)
    state = json.loads((runs / name / "state.json").read_text())
    assert row["outcome"]["status"] == state["status"]
    assert (code, {each["disease"] for each in row["findings"]}) == FOUND[name]


@pytest.mark.parametrize("name", RUNS)
def test_its_report_is_written_again(name, runs, capsys):
    assert run_command(["report", str(runs / name)]) == 0, capsys.readouterr().err
    page = (runs / name / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!") and "</html>" in page
    stages = [runs / name, *sorted((runs / name).iterdir())]
    trained = [each for each in stages if (each / "events.jsonl").is_file()]
    assert all(each.name in page for each in trained), [each.name for each in trained]


class Visitor:
    """Somebody who came in by the link of `tutelage studio`."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        self.address = f"{parts.scheme}://{parts.netloc}"
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)
        headers = {"origin": self.address, "sec-fetch-site": "same-origin", "content-type": "application/json"}
        token = json.dumps({"token": parse_qs(parts.query)["t"][0]}).encode()
        self.opener.open(urllib.request.Request(f"{self.address}/api/enter", token, headers), timeout=60).close()

    def page(self, path: str) -> str:
        """HTTPError where it is not shown."""
        with self.opener.open(f"{self.address}{path}", timeout=60) as answer:
            return answer.read().decode()

    def asked(self, path: str, **params: str | int) -> dict:
        return json.loads(self.page(f"/api/look/{path}?{urlencode(params)}"))


@pytest.fixture(scope="module")
def visitor(tmp_path_factory) -> Iterator[Visitor]:
    root = tmp_path_factory.mktemp("studio")
    studio = Command(str(copied(root / "runs")), "--keep", str(root / "keep"), verb="studio")
    try:
        yield Visitor(studio.link)
    finally:
        studio.kill()


@pytest.mark.slow
def test_the_studio_lists_every_run_without_trouble(visitor):
    listed = {row["id"]: row for row in visitor.asked("runs")["runs"]}
    assert listed.keys() == RUNS.keys()
    assert {name: row["trouble"] for name, row in listed.items()} == dict.fromkeys(RUNS, "")
    for page in ("runs", "curves", "samples", "doctor", "frontier", "lineage"):
        assert "proof" in visitor.page(f"/look/{page}")
    kinds = {each["kind"] for each in visitor.asked("lineage")["nodes"]}
    assert kinds, "no label leads to a model"


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_the_studio_shows_its_curves_samples_and_findings(visitor, name):
    stage = {"stage": RUNS[name]} if RUNS[name] else {}
    curves = visitor.asked("curves", run=name, **stage)
    assert curves["trouble"] == ""
    if RUNS[name] is not None:
        recorded = rows(RECORDED / name / RUNS[name] / "events.jsonl")
        assert curves["rows"] == len(recorded)
        numbers = {key for key, value in recorded[-1].items() if isinstance(value, float)} - {"seconds"}
        assert numbers <= curves["series"].keys()
    steps = visitor.asked("steps", run=name, **stage)
    for step, count in steps["steps"][:1]:
        samples = visitor.asked("samples", run=name, step=step, **stage)
        assert samples["count"] == count and samples["samples"][0]["texts"]
    assert {each["disease"] for each in visitor.asked("doctor", run=name)["findings"]} == FOUND[name][1]
    assert visitor.asked("frontier", run=name)["trouble"] == ""
    assert visitor.asked("settings", run=name)["troubles"] == [""]


# --- resume: the one command that may refuse


@pytest.mark.parametrize("name", RUNS)
def test_resume_goes_on_or_refuses_in_one_line(name, runs, capsys):
    """The unfinished one is refused: its model and its prompts are not here."""
    before = (runs / name / "events.jsonl").read_bytes() if (runs / name / "events.jsonl").exists() else b""
    code = run_command(["resume", str(runs / name)])
    said = capsys.readouterr()
    assert (code == 0 and name != "ppo-unfinished") or is_refusal(code, said.err), said
    after = (runs / name / "events.jsonl").read_bytes() if (runs / name / "events.jsonl").exists() else b""
    assert after == before  # nothing that was recorded is lost
    assert code == 0 or "was begun by an earlier version of tutelage, which had no " in said.err


@pytest.mark.slow
def test_an_unfinished_run_whose_inputs_are_there_goes_on_or_is_refused_in_one_line(runs, capsys):
    saved("llama", runs.parent / "tiny", **TINY, num_key_value_heads=1)
    prompts = [{"prompt": f"{a}{b} "} for a in "abcdefgh" for b in "abcdefgh"][:24]
    (runs.parent / "prompts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in prompts))
    (runs.parent / "judge.py").write_text(JUDGE)
    path = runs / "ppo-unfinished"
    before = rows(path / "events.jsonl")
    code = run_command(["resume", str(path)])
    said = capsys.readouterr().err
    if code == 0:  # with the versions that recorded it
        after = rows(path / "events.jsonl")
        assert [each["step"] for each in after] == [0, 1, 2, 3, 4] and after[:3] == before[:3]
        assert json.loads((path / "state.json").read_text())["status"] == "finished"
    else:
        assert is_refusal(code, said), said
        assert rows(path / "events.jsonl")[:3] == before[:3]


def is_refusal(code: int, said: str) -> bool:
    lines = [line for line in said.splitlines() if line.strip()]
    return code == 2 and len(lines) == 1 and lines[0].startswith("tutelage: ") and "Traceback" not in said


# --- the store


def test_the_store_opens_and_its_labels_are_counted_and_exported(runs, capsys):
    store = str(runs / "labels")
    assert run_command(["feedback", "verify", store]) == 0, capsys.readouterr()
    capsys.readouterr()
    assert run_command(["feedback", "stats", store, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kinds = {"edit": 1, "good": 2, "pair": 5, "ranking": 2, "rating": 1, "rules": 1}
    assert found["by_kind"] == kinds and found["labels"] == {"counted": 12} and found["labellers"] == 2
    assert (found["retracted"], found["skips"], found["flags"], found["snapshots"]) == (
        1,
        {"unclear": 1},
        {"harmful": 1},
        1,
    )
    out = runs / "labels.jsonl"
    assert run_command(["feedback", "export", store, "--out", str(out)]) == 0
    verdicts = [row["verdict"] for row in rows(out)]
    for field, count in (("choice", 5), ("ranking", 2), ("ratings", 3), ("rules", 1), ("edits", 1)):
        assert sum(bool(verdict.get(field)) for verdict in verdicts) == count, field
    assert run_command(["feedback", "export", store, "--format", "dpo", "--out", str(runs / "dpo.jsonl")]) == 0
    assert rows(runs / "dpo.jsonl")[0].keys() == {"prompt", "chosen", "rejected"}
    capsys.readouterr()
    again = str(runs / "again.db")
    assert run_command(["feedback", "import", again, str(out)]) == 0
    assert "12 labels added" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["christiano", "loop"])
def test_the_store_of_a_run_opens(name, runs, capsys):
    assert run_command(["feedback", "verify", str(runs / name)]) == 0, capsys.readouterr()
    assert "nothing lost" in capsys.readouterr().out


# --- names


def flags_of(verb: str, capsys) -> set[str]:
    """Every flag that `--help` lists, aliases included."""
    with pytest.raises(SystemExit) as stopped:
        run_command([*verb.split(), "--help"])
    assert stopped.value.code == 0
    return set(re.findall(r"(?:^[│|]? *|, )(--[a-z][a-z0-9.-]*)", capsys.readouterr().out, flags=re.M))


@pytest.mark.parametrize("verb", NAMES["flags"])
def test_every_flag_of_the_verb_is_still_there(verb, capsys):
    recorded = set(NAMES["flags"][verb])
    assert recorded and not recorded - flags_of(verb, capsys)


def test_every_disease_is_still_known():
    """docs/doctor.md lists exactly those that the doctor knows (tests/docs)."""
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert not set(NAMES["diseases"]) - set(re.findall(r"^### (.+)$", page, flags=re.M))


def test_every_metric_is_still_documented():
    assert not set(NAMES["metrics"]) - documented_metrics()


def documented_metrics() -> set[str]:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.slow
def test_every_key_is_still_written(runs, monkeypatch):
    """The keys of events.jsonl, samples.jsonl and summary.json of the commands that recorded three of the runs."""
    here = runs.parent
    saved("llama", here / "tiny", **TINY, num_key_value_heads=1)
    write = {
        "demonstrations": [{"prompt": f"a{b} ", "completion": f"{b}a !"} for b in "abcdefghijklmnop"],
        "pairs": [{"prompt": f"{a}{b} ", "chosen": "a !", "rejected": f"b{a}"} for a in "abcdefgh" for b in "ab"],
        "prompts": [{"prompt": f"a{b} "} for b in "abcdefgh"],
    }
    for name, content in write.items():
        (here / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    commands = {
        "sft": ["--data", "demonstrations.jsonl", "--steps", "1"],
        "reward-model": ["--data", "pairs.jsonl", "--epochs", "0.2"],
        "ppo": ["--data", "prompts.jsonl", "--steps", "1", "--trajectories", "4", "--max-new-tokens", "4"],
    }
    commands["ppo"] += ["--reward", "new/reward-model/model"]
    for name, arguments in commands.items():
        out = here / "new" / name
        assert run_command([name, "--model", "tiny", *arguments, "--out", str(out)]) == 0
        assert not keys_of(runs / name) - keys_of(out)


def keys_of(run: Path) -> set[tuple[str, str]]:
    """(file, key); the summary of a run of PPO repeats its last step, in which not everything is measured."""
    found = {("summary.json", key) for key in json.loads((run / "summary.json").read_text())}
    for name in ("events.jsonl", "samples.jsonl"):
        if (run / name).exists():
            found |= {(name, key) for row in rows(run / name) for key in row}
    return found


def test_every_table_and_column_of_the_store_is_still_there(tmp_path, capsys):
    record = {"prompt": "p", "chosen": "a", "rejected": "b"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(record) + "\n")
    assert run_command(["feedback", "import", str(tmp_path / "new.db"), str(tmp_path / "pairs.jsonl")]) == 0
    columns = columns_of(tmp_path / "new.db")
    recorded = NAMES["store"]
    assert recorded.keys() <= columns.keys()
    missing = [(table, name) for table in recorded for name in recorded[table] if name not in columns[table]]
    assert not missing


def columns_of(path: Path) -> dict[str, list[str]]:
    """table -> columns."""
    database = sqlite3.connect(path)
    try:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        return {
            name: sorted(row[1] for row in database.execute(f"pragma table_info('{name}')"))
            for name in sorted(tables)
            if not name.startswith("sqlite_")
        }
    finally:
        database.close()
