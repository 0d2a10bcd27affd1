"""Looking at runs: files that grow, are cut back or damaged; rows, curves, samples, findings, lineage over HTTP."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests import watched

from tutelage.feedback.store import Store
from tutelage.studio.app import application
from tutelage.studio.look.curves import BUCKETS, Shelf, curves
from tutelage.studio.look.lines import Events, Lines, peeked
from tutelage.studio.look.routes import PAGES, Looking, plotly_name
from tutelage.studio.look.runs import Index
from tutelage.studio.look.samples import Samples
from tutelage.studio.look.series import thinned
from tutelage.studio.project import Project, Settings
from tutelage.studio.sessions import Sessions

HOST = "127.0.0.1:8766"
HOSTILE = "<img src=x onerror=alert(1)> [go](javascript:alert(1)) \u202etxt.exe ![b](http://beacon.example/x.png)"


def fresh(path: Path) -> Events:
    found = Events(path)
    found.refresh()
    return found


# --- files that another machine writes


def test_a_half_written_line_waits_until_it_is_whole(tmp_path):
    path = tmp_path / "events.jsonl"
    whole = json.dumps({"step": 1, "score": 2.5}) + "\n"
    path.write_text('{"step": 0, "score": 1}\n' + whole[:9])
    events = fresh(path)
    assert events.rows == 1 and events.broken == 0
    with path.open("a") as file:
        file.write(whole[9:])
    events.refresh()
    assert list(events.columns["score"]) == [1.0, 2.5] and events.trouble == ""


def test_every_cut_of_a_growing_file_is_read_once_and_in_order(tmp_path):
    path = tmp_path / "events.jsonl"
    content = "".join(json.dumps({"step": step, "score": step / 7}) + "\n" for step in range(40)).encode()
    events = Events(path)
    for end in range(0, len(content) + 1, 13):
        path.write_bytes(content[:end])
        events.refresh()
    path.write_bytes(content)
    events.refresh()
    assert list(events.columns["step"]) == list(range(40)) and events.broken == 0


def test_a_run_that_was_cut_back_and_went_on_is_read_anew(tmp_path):
    """By a resume: shorter, and then longer than it was, with other numbers."""
    path = tmp_path / "events.jsonl"
    watched.write_lines(path, [{"step": step, "score": 0.0} for step in range(10)])
    events = fresh(path)
    version = events.version
    watched.write_lines(path, [{"step": step, "score": float(step > 4)} for step in range(20)])
    events.refresh()
    assert events.rows == 20 and sum(events.columns["score"]) == 15 and events.version > version


def test_a_metric_that_comes_later_and_one_that_is_none_leave_gaps(tmp_path):
    path = tmp_path / "events.jsonl"
    rows = ['{"step": 0, "a": 1}', '{"step": 1, "a": NaN, "b": true}', '{"step": 2, "b": 1e999, "c": 3}']
    path.write_text("\n".join([*rows, '{"step": 3, "a": 1' + "0" * 400 + "}", ""]))
    events = fresh(path)
    assert events.rows == 4 and events.broken == 0
    assert [math.isnan(value) for value in events.columns["a"]] == [False, True, True, True]
    assert [math.isnan(value) for value in events.columns["c"]] == [True, True, False, True]
    assert "b" not in events.columns


def test_damage_is_told_by_its_line_and_the_rest_is_read(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"step": 0, "a": 1}\n\xff\xfe\n[1]\n' + b"[" * 100_000 + b'\n{"step": 1, "a": 2}\n')
    events = fresh(path)
    assert events.rows == 2 and events.broken == 3 and "line 2" in events.trouble


def test_a_line_without_end_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("tutelage.studio.look.lines.LONGEST", 1000)
    monkeypatch.setattr("tutelage.studio.look.lines.AT_ONCE", 256)
    path = tmp_path / "events.jsonl"
    path.write_text('{"step": 0}\n' + "x" * 5000)
    lines = Lines(path)
    assert lines.new()[1] == [b'{"step": 0}'] and "longer than any row" in lines.trouble


@pytest.mark.parametrize("count", [3, 700])
def test_a_peek_has_the_first_and_the_last_row_and_no_more_than_asked(tmp_path, count):
    path = tmp_path / "events.jsonl"
    watched.write_lines(path, [{**watched.event(step), "pad": "x" * 300} for step in range(count)])
    rows, damaged = peeked(path, 24)
    steps = [row["step"] for row in rows]
    assert steps[0] == 0 and steps[-1] == count - 1 and steps == sorted(steps) and not damaged
    assert len(steps) <= 25 and (count == 3 or max(np.diff(steps)) < 2 * count / 24 + 20)


# --- few points for many


def test_thinning_by_hand():
    """Eight points, one bucket: first, lowest, highest, last."""
    x, y = thinned(np.arange(8.0), np.array([1.0, 5.0, 2.0, -3.0, 2.0, 4.0, 0.0, 3.0]), 1)
    assert x.tolist() == [0, 1, 3, 7] and y.tolist() == [1, 5, -3, 3]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400), st.integers(1, 20))
def test_thinning_keeps_order_ends_and_extremes(values, buckets):
    x, y = thinned(np.arange(float(len(values))), np.array(values), buckets)
    assert len(x) <= max(4 * buckets, 1) and (np.diff(x) > 0).all()
    assert y.min() == min(values) and y.max() == max(values) and y[0] == values[0] and y[-1] == values[-1]
    assert all(values[int(at)] == value for at, value in zip(x, y))


def test_a_spike_of_one_step_in_a_hundred_thousand_is_sent(tmp_path):
    path = watched.finished(tmp_path / "run", 2)
    watched.write_lines(
        path / "events.jsonl", [{"step": s, "score": 9.0 if s == 61_803 else 0.0} for s in range(100_000)]
    )
    index = Index(tmp_path)
    series = curves(Shelf(), index.folder("run"), None, -1)["series"]["score"]
    assert len(series["x"]) <= 4 * BUCKETS and (61_803, 9.0) in zip(series["x"], series["y"])


# --- over HTTP


@pytest.fixture
def runs(tmp_path):
    root = tmp_path / "runs"
    watched.finished(root / "ppo-a")
    watched.finished(root / "exp" / "ppo-b", lift=0.5, settings={"seed": 3})
    watched.going(root / "going")
    watched.pipeline(root / "demo")
    watched.broken(root / "bad")
    return root


@pytest.fixture
def browser(tmp_path, runs):
    with Store.open(tmp_path / "keep" / "feedback.db") as store:
        yield client_of(tmp_path / "keep", runs, store)


def client_of(keep: Path, runs: Path, store: Store) -> TestClient:
    """Somebody with a session."""
    sessions = Sessions(keep / "sessions.json")
    project = Project(keep, keep / "feedback.db", Settings(title="runs"), also=Looking(runs).add, opens="look/runs")
    client = TestClient(application(project, store, sessions, frozenset({HOST})), base_url=f"http://{HOST}")
    token = sessions.link(store.labeller("ann"), "ann")
    origin = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
    assert client.post("/api/enter", json={"token": token}, headers=origin).status_code == 200
    return client


def asked(browser: TestClient, path: str, **params) -> dict:
    answer = browser.get(f"/api/look/{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def tree(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))}


def test_every_run_has_a_row_and_what_is_broken_is_told_in_it(browser, runs):
    rows = {row["id"]: row for row in asked(browser, "runs")["runs"]}
    assert rows.keys() == {
        "ppo-a",
        "exp/ppo-b",
        "going",
        "demo",
        *(f"bad/{name}" for name in watched.broken(runs / "bad")),
    }
    troubles = {
        name: rows[f"bad/{name}"]["trouble"] for name in ("cut", "foreign", "without-config", "garbage", "no-state")
    }
    for name, says in zip(
        troubles, ("state.json", "config.json", "config.json is missing", "no rows", "state.json is missing")
    ):
        assert says in troubles[name], name
        assert str(runs) not in troubles[name]
    assert not rows["ppo-a"]["trouble"] and rows["ppo-a"]["status"] == "finished"
    assert rows["demo"]["stage"] == "ppo" and rows["demo"]["win_rate"] == 0.82
    assert rows["going"]["step"] == 11 and rows["going"]["steps"] == 40 and rows["going"]["line"]["metric"] == "score"


def test_nothing_in_a_run_folder_is_written(browser, runs):
    before = tree(runs)
    for run in [row["id"] for row in asked(browser, "runs")["runs"]]:
        for path in ("curves", "steps", "doctor", "frontier"):
            asked(browser, path, run=run)
    asked(browser, "lineage")
    assert tree(runs) == before


def test_an_unchanged_folder_and_unchanged_curves_are_not_sent_again(browser, runs):
    mark = asked(browser, "runs")["mark"]
    assert asked(browser, "runs", mark=mark).keys() == {"mark", "unchanged", "now"}
    version = asked(browser, "curves", run="going")["version"]
    assert asked(browser, "curves", run="going", known=version)["unchanged"]
    with (runs / "going" / "events.jsonl").open("a") as file:
        file.write("\n" + json.dumps(watched.event(13)) + "\n")
    assert asked(browser, "runs", mark=mark)["runs"]
    now = asked(browser, "curves", run="going", known=version)
    assert now["rows"] == 13 and "line 13" in now["trouble"]  # what had been half a line


def test_a_run_that_begins_later_appears(browser, runs):
    watched.finished(runs / "later")
    assert asked(browser, "curves", run="later")["rows"] == 30


@pytest.mark.parametrize("run", ["nobody", "../keep", "/etc", "ppo-a/../ppo-a", "bad", ""])
def test_a_run_that_there_is_not_is_refused(browser, run):
    for path in ("curves", "steps", "doctor", "frontier", "samples"):
        answer = browser.get(f"/api/look/{path}", params={"run": run, "step": 0})
        assert answer.status_code == 404 and "no run" in answer.json()["says"]


def test_a_stranger_sees_nothing(browser, runs):
    stranger = TestClient(browser.app, base_url=f"http://{HOST}")
    for path in ("runs", "curves?run=ppo-a", "lineage"):
        assert stranger.get(f"/api/look/{path}").status_code == 401
    for page in PAGES:
        shell = stranger.get(f"/look/{page}")
        assert shell.status_code == 200 and "null</script>" in shell.text and "proof" not in shell.text
        assert "script-src 'self'" in shell.headers["content-security-policy"]
    assert stranger.get("/look/nothing").status_code == 404


def test_plotly_comes_out_of_its_own_package(browser):
    answer = browser.get(plotly_name())
    assert answer.headers["content-type"].startswith("text/javascript") and b"plotly.js v" in answer.content[:200]
    assert browser.get("/look/plotly-0.0.js").status_code == 404
    assert plotly_name() in browser.get("/look/curves").text and plotly_name() not in browser.get("/look/runs").text


def test_settings_of_two_runs_differ_where_they_do(browser):
    found = asked(browser, "settings", run=["ppo-a", "exp/ppo-b", "bad/foreign"])
    assert found["troubles"][0] == "" and found["troubles"][2].startswith("config.json is no JSON object")
    both = asked(browser, "settings", run=["ppo-a", "exp/ppo-b"])
    assert [(row["name"], row["values"]) for row in both["rows"] if row["differs"]] == [("seed", [None, "3"])]


def test_samples_of_a_step_with_the_numbers_of_their_tokens(browser):
    assert asked(browser, "steps", run="ppo-a")["steps"][:2] == [[0, 3], [2, 3]]
    found = asked(browser, "samples", run="ppo-a", step=4)
    assert found["count"] == 3 and found["samples"][1]["numbers"]["score"] == 0.4
    tokens = found["samples"][1]["tokens"]
    assert tokens["pieces"] == watched.PIECES and tokens["columns"]["reward"] == [0.0] * 9 + [0.4]
    hits = asked(browser, "search", run="ppo-a", words="NUMBER 2 of STEP 6")["hits"]
    assert [(hit["step"], hit["place"]) for hit in hits] == [(6, 2)]


def test_hostile_samples_are_made_safe_and_columns_that_do_not_fit_are_left_out(browser, runs):
    row = {"step": 1, "prompt": HOSTILE, "response": HOSTILE, "score": float("nan"), "tokens": ["a", HOSTILE]}
    columns = {"value": [1.0], "reward": [1e999, "x"], "advantage": "all", "log_ratio_nats": None}
    (runs / "ppo-a" / "samples.jsonl").write_text(json.dumps({**row, **columns}) + "\n[]\n")
    [sample] = asked(browser, "samples", run="ppo-a", step=1)["samples"]
    assert sample["numbers"] == {} and sample["tokens"]["columns"] == {"reward": [None, None]}
    shown = json.dumps(sample["texts"])
    assert (
        "<img" not in sample["texts"][0]["html"] and "href" not in shown and "⟨U+202E⟩" in sample["texts"][0]["plain"]
    )
    assert "⟨U+202E⟩" in sample["tokens"]["pieces"][1]
    for path, more in (("steps", {}), ("samples", {"step": 1}), ("search", {"words": "go"})):
        trouble = asked(browser, path, run="ppo-a", **more)["trouble"]
        assert trouble == "1 line is no row of samples.jsonl, the first is line 2."


def test_samples_that_cannot_be_read_are_told_and_so_is_when_they_can_be_again(browser, runs):
    path = runs / "ppo-a" / "samples.jsonl"
    content, asks = path.read_bytes(), (("samples", {"step": 2}), ("search", {"words": "lamp"}), ("steps", {}))
    assert asked(browser, "samples", run="ppo-a", step=2)["trouble"] == ""
    path.unlink()
    path.mkdir()
    for name, more in asks:
        assert asked(browser, name, run="ppo-a", **more)["trouble"] == (
            "samples.jsonl could not be read: Is a directory."
        )
    path.rmdir()
    assert asked(browser, "samples", run="ppo-a", step=2)["trouble"].startswith("samples.jsonl could not be read: No")
    path.write_bytes(content)
    for name, more in asks:
        assert asked(browser, name, run="ppo-a", **more)["trouble"] == ""


def test_samples_that_change_between_finding_and_reading_them_are_told(tmp_path):
    path = tmp_path / "samples.jsonl"
    watched.write_lines(path, [watched.sample(0, number) for number in range(3)])
    samples = Samples(path)
    samples.refresh()
    path.write_bytes(path.read_bytes()[:-9])
    assert len(samples.rows(0, 0, 9)) == 2 and samples.trouble.endswith(
        "was changed while it was looked at: look again."
    )


def test_the_doctor_tells_what_it_finds_or_why_it_could_not_look(browser, runs):
    watched.steep(runs / "ppo-a")
    found = asked(browser, "doctor", run="ppo-a")
    assert "KL runaway" in [each["disease"] for each in found["findings"]]
    assert all(each["remedy"] and each["causes"] and each["evidence"] for each in found["findings"])
    trouble = asked(browser, "doctor", run="bad/cut")["trouble"]
    assert trouble.startswith("state.json is not JSON") and str(runs) not in trouble


def test_the_walk_ends_where_the_events_end(browser):
    [walk] = asked(browser, "frontier", run="demo")["walks"]
    last = watched.event(19)
    assert walk["stage"] == "ppo" and walk["step"][-1] == 19
    assert walk["kl"][-1] == pytest.approx(last["kl_nats_per_sequence"], rel=1e-4)
    assert walk["judges"]["gold_score"][-1] == pytest.approx(last["gold_score"], rel=1e-4)


def test_foreign_summaries_are_left_out_of_the_frontier(browser, runs):
    whole = {
        name: [0.0, 1.0] for name in ("sqrt_kl", "gold", "gold_low", "gold_high", "proxy", "proxy_low", "proxy_high")
    }
    curve = {"method": "PPO", "labels": 100, "width": 64, **whole}
    rows = [{"name": "a", "kind": "fixed weight", "weight": 1, "budget": None, "pareto_optimal": True, "kl_nats": 2.0}]
    rows[0] |= {f"{axis}_{end}": 0.5 for axis in ("pleased", "broken") for end in ("mean", "low", "high", "fraction")}
    summary = {"curves": [curve, {**curve, "gold": [1]}, 3], "objectives": [*rows, {"name": "b"}], "frontier": "x"}
    watched.write(runs / "ppo-a" / "summary.json", {**summary, "best_name": "a", "keep_breaks_under": 0.02})
    found = asked(browser, "frontier", run="ppo-a")
    assert len(found["curves"]) == 1 and found["optimal"] == []
    assert [row["name"] for row in found["objectives"]["rows"]] == ["a"] and found["objectives"]["limit"] == 0.02


# --- lineage


def edges(browser: TestClient) -> set[tuple[str, str, str]]:
    return {(each["from"], each["to"], each["by"]) for each in asked(browser, "lineage")["edges"]}


def test_stages_of_a_pipeline_are_joined(browser):
    found = edges(browser)
    assert ("demo//labels", "demo//reward-model", "stage") in found
    assert ("demo//reward-model", "demo//ppo", "stage") in found and ("demo//sft", "demo//ppo", "stage") in found


def test_a_run_is_found_by_the_paths_in_anothers_settings_also_where_both_were_moved(browser, runs):
    models = {"rm": "LlamaForSequenceClassification", "sft": "LlamaForCausalLM"}
    for name, architecture in models.items():
        watched.finished(runs / name)
        watched.write(runs / name / "model" / "config.json", {"architectures": [architecture]})
    settings = {"reward": "/home/somebody/else/runs/rm/model", "model": "runs/sft/model", "data": "prompts.jsonl"}
    watched.finished(runs / "policy", settings=settings)
    found = edges(browser)
    assert ("rm//", "policy//", "reward") in found and ("sft//", "policy//", "model") in found
    assert ("elsewhere//prompts.jsonl", "policy//", "data") in found
    kinds = {node["id"]: node["kind"] for node in asked(browser, "lineage")["nodes"]}
    assert kinds["rm//"] == "reward model" and kinds["policy//"] == "policy"


def test_a_reward_model_is_joined_to_the_very_labels_of_its_snapshot(browser, runs):
    from tests.contracts.test_studio import question

    stage = "seed-0-round-1"
    for part, architecture in (("reward-model", "LlamaForSequenceClassification"), ("ppo", "LlamaForCausalLM")):
        watched.write(runs / "loop" / f"{stage}-{part}" / "state.json", {"status": "finished", "name": part})
        watched.write(runs / "loop" / f"{stage}-{part}" / "model" / "config.json", {"architectures": [architecture]})
    watched.write(runs / "loop" / "state.json", {"status": "finished", "name": "loop"})
    with Store.open(runs / "loop" / "feedback.db") as store:
        store.ask([question(number) for number in range(3)])
        for name, count in (("ann", 2), ("bob", 1)):
            labeller = store.labeller(name)
            for each in store.claim(labeller, count):
                store.answer(labeller, each.id, each.lease, each.id, {"choice": each.shown[0].id})
        snapshot = store.snapshot()
        store.undo(store.labeller("bob"), "undo")
    model = runs / "loop" / f"{stage}-reward-model" / "model"
    watched.write(model / "feedback.json", {"snapshot": snapshot.id, "store": "feedback.db"})
    name = f"loop//snapshot//{snapshot.id}"
    found = edges(browser)
    assert {(name, f"loop//{stage}-reward-model", "learned from"), ("loop//store", name, "frozen")} <= found
    assert (f"loop//{stage}-reward-model", f"loop//{stage}-ppo", "stage") in found
    [node] = [each for each in asked(browser, "lineage")["nodes"] if each["id"] == name]
    assert node["people"] == {"ann": 2, "bob": 1} and node["taken_back"] == 1 and node["numbers"] == {"labels": 3}


@pytest.mark.parametrize("content", [b"not a database", b""])
def test_a_store_that_is_none_is_told_in_its_node(browser, runs, content):
    (runs / "demo" / "feedback.db").write_bytes(content)
    [node] = [each for each in asked(browser, "lineage")["nodes"] if each["id"] == "demo//store"]
    assert "could not be read" in node["trouble"]


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are POSIX's")
def test_names_that_cannot_be_asked_for_are_left_out(browser, runs):
    watched.finished(Path(os.fsdecode(os.fsencode(str(runs)) + b"/odd-\xff")))
    watched.finished(runs / "line\nbreak")
    watched.finished(runs / "<b>bold & %7B")
    ids = [row["id"] for row in asked(browser, "runs")["runs"]]
    assert "<b>bold & %7B" in ids and not any("odd" in each or "break" in each for each in ids)
    assert asked(browser, "curves", run="<b>bold & %7B")["rows"] == 30


def test_the_end_of_a_run_is_told_in_its_row_and_in_full_on_its_page(browser, runs):
    watched.crashed(runs / "crashed")
    row = next(row for row in asked(browser, "runs")["runs"] if row["id"] == "crashed")
    assert row["status"] == "crashed" and row["stopped_by"] == "IndexError"
    assert row["ended"] == "The run ended at step 3 with IndexError: list index out of range."
    found = asked(browser, "ending", run="crashed")
    assert found["traceback"][-1] == "IndexError: list index out of range" and "ppo: 3/30" in found["log"]
    assert asked(browser, "doctor", run="crashed")["missing"].startswith("the run ended at step 3")
    old = asked(browser, "ending", run="ppo-a")
    assert old["status"] == "finished" and old["log"] == [] and old["ended"] == ""


def test_of_a_long_log_the_end_is_sent_in_whole_lines(browser, runs):
    lines = [f"line {number} \u202e" for number in range(20_000)]
    (runs / "ppo-a" / "log.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = asked(browser, "ending", run="ppo-a")
    assert found["log_left_out"] and 1000 < len(found["log"]) < 20_000
    assert found["log"][-1].startswith("line 19999") and all(each.startswith("line ") for each in found["log"])
    assert "\u202e" not in json.dumps(found["log"], ensure_ascii=False)


def test_replies_to_the_same_prompts_are_kept_apart(browser, runs):
    watched.probed(runs / "probed")
    found = asked(browser, "steps", run="probed")
    assert found["probe_steps"] == [[0, 2], [10, 2], [20, 2], [29, 2]] and found["steps"][0] == [0, 3]
    same = asked(browser, "samples", run="probed", step=10, probe=1)
    assert same["count"] == 2 and same["samples"][0]["prompt"]["plain"] == "Customer: Where is my order?"
    assert "probe" not in same["samples"][0]["numbers"]
    assert asked(browser, "samples", run="probed", step=10)["count"] == 3
