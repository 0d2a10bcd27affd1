"""How many answers a question wants, said for a project that is there already: open questions follow, aloud."""

from __future__ import annotations

import json
import threading

from tutelage.feedback.store import Store
from tutelage.studio.project import ask, chosen, with_settings


def opened(folder, **given):
    """What `tutelage label pairs.jsonl` asks."""
    project = with_settings(chosen(str(folder / "pairs.jsonl"), None, None, None), **given)
    project.folder.mkdir(exist_ok=True)
    with Store.open(project.store) as store:
        ask(project, store, threading.Event(), threading.Event())
    return project


def pairs(folder, *names):
    rows = [{"prompt": name, "chosen": "a", "rejected": "b"} for name in names]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def answered(project, name):
    with Store.open(project.store) as store:
        person = store.labeller(name)
        [given] = store.claim(person)
        store.answer(person, given.id, given.lease, "k", {"tie": True})


def wants(project):
    with Store.open(project.store) as store:
        counts = store.stats()["questions"]
        assert store.verify() == []
        return counts["wanted"], counts["open"]


def test_wanted_on_an_existing_project_holds_for_its_open_questions(tmp_path, capsys):
    pairs(tmp_path, "p1", "p2", "p3")
    project = opened(tmp_path)
    answered(project, "ann")
    capsys.readouterr()
    assert wants(project) == (3, 2)
    opened(tmp_path, wanted=2)
    said = capsys.readouterr().out
    assert "2 open questions want 2 answers" in said and "1 questions are decided by fewer than 2 answers" in said
    assert wants(project) == (5, 2)
    opened(tmp_path)  # nothing is said, nothing changes
    assert wants(project) == (5, 2)


def test_wanted_in_project_json_does_too(tmp_path, capsys):
    pairs(tmp_path, "p1", "p2")
    project = opened(tmp_path)
    (project.folder / "project.json").write_text('{"wanted": 3}')
    opened(tmp_path)
    assert wants(project) == (6, 2) and "2 open questions want 3 answers" in capsys.readouterr().out
    opened(tmp_path, wanted=1)
    assert wants(project) == (2, 2) and "want 1 answers" in capsys.readouterr().out
