"""The page's server over HTTP: who is let in, what is refused, what an answer becomes, what is never told."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from tests.desk import ORIGIN, SECRETS, Clock, Desk, question

from tutelage.cli import run_command
from tutelage.data.files import ReadReport
from tutelage.data.pairs import pairs
from tutelage.report.sanitise import LONGEST, plain, sanitised
from tutelage.studio import live
from tutelage.studio.api import MOST
from tutelage.studio.files import STATIC, Files
from tutelage.studio.limits import Limit
from tutelage.studio.project import Settings
from tutelage.studio.sessions import SESSION_SECONDS, Sessions

SCRIPT = f"{Files().root}/main.js"


@pytest.fixture
def desk(tmp_path):
    found = Desk(tmp_path, Clock())
    found.store.ask([question(i) for i in range(30)])
    yield found
    assert found.store.verify() == []
    found.store.close()


def test_an_answer_becomes_a_label_and_the_same_key_is_one_answer(desk):
    ann = desk.browser()
    given = ann.claim()[0]
    first = ann.answer(given, times={"shown_at": desk.clock.now - 3, "answered_at": desk.clock.now}).json()
    again = ann.answer(given).json()
    assert first["state"] == "counted" and not first["repeated"]
    assert again == {**first, "repeated": True}
    [label] = desk.store.labels()
    chosen = label.comparison.candidates[label.comparison.chosen()]
    assert chosen.text == given["shown"][0]["plain"] and label.comparison.verdict.shown_at == desk.clock.now - 3


def test_undo_gives_the_question_again_with_what_was_said(desk):
    ann = desk.browser()
    given = ann.claim()[0]
    ann.answer(given, verdict={"choice": given["shown"][1]["id"], "strength": 1 / 3, "notes": "shorter"})
    again = ann.post("undo", {"key": "key-2"}).json()["assignment"]
    assert desk.store.labels() == []
    assert again["id"] == given["id"] and again["shown"] == given["shown"] and again["lease"] != given["lease"]
    said = again["returned"]
    assert said["choice"] == given["shown"][1]["id"] and said["notes"] == "shorter"
    assert ann.post("undo", {"key": "key-3"}).status_code == 422  # nothing is left to undo


def test_skip_flag_extend_and_progress(desk):
    ann = desk.browser()
    first, second = ann.claim(2)
    act = {"assignment": first["id"], "lease": first["lease"]}
    assert ann.post("flag", {**act, "key": "f", "flag": "leak", "note": "says its name"}).json()["state"] == "flagged"
    assert ann.post("skip", {**act, "key": "s", "reason": "cannot judge"}).json()["state"] == "skipped"
    held = {"held": [{"assignment": each["id"], "lease": each["lease"]} for each in (first, second)]}
    assert ann.post("extend", held).json() == {"gone": [first["id"]]}
    ann.answer(second)
    progress = ann.client.get("/api/progress").json()
    assert progress["answered"] == 1 and progress["asked"] == 30


def test_a_withdrawn_question_leaves_the_screen_and_its_answer_is_kept(desk):
    ann = desk.browser()
    given = ann.claim()[0]
    assert desk.store.withdraw(["asked-by-name-0"], "the policy moved on") == 1
    held = {"held": [{"assignment": given["id"], "lease": given["lease"]}]}
    assert ann.post("extend", held).json() == {"gone": [given["id"]]}
    assert ann.answer(given).json()["state"] == "withdrawn"


def test_an_answer_after_its_lease_is_kept_as_late(desk):
    desk.store.withdraw([f"asked-by-name-{i}" for i in range(1, 30)], "one is enough here")
    ann, bob = desk.browser("ann"), desk.browser("bob")
    [given] = ann.claim()
    assert bob.claim() == []
    desk.clock.now += 901
    [taken] = bob.claim()
    assert bob.answer(taken).json()["state"] == "counted"
    assert ann.answer(given).json()["state"] == "late"
    assert [each.state for each in desk.store.labels()] == ["counted", "late"]


# --- who is let in


def test_a_link_works_once(desk, caplog):
    stranger = desk.browser(None)
    token = desk.sessions.link(desk.store.labeller("ann"), "ann")
    assert stranger.post("enter", {"token": token}).status_code == 200
    other = desk.browser(None)
    assert other.post("enter", {"token": token}).status_code == 403
    assert "a wrong link" in caplog.text and token not in caplog.text


def test_a_link_grows_old(desk):
    token = desk.sessions.link(desk.store.labeller("ann"), "ann")
    desk.clock.now += 3601
    assert desk.browser(None).post("enter", {"token": token}).status_code == 403


def test_a_flood_of_wrong_links_closes_the_door_and_is_logged(desk, caplog):
    stranger = desk.browser(None)
    codes = [stranger.post("enter", {"token": f"guess-{i}"}).status_code for i in range(40)]
    assert codes[:5] == [403] * 5 and set(codes[5:]) == {429}
    assert "a flood of wrong links" in caplog.text
    assert len(caplog.records) < 40  # the flood does not fill the log either


def test_a_session_is_kept_as_a_hash_and_survives_the_server(desk, tmp_path):
    ann = desk.browser()
    cookie = ann.client.cookies["tutelage-8765"]
    kept = (tmp_path / "sessions.json").read_text()
    assert cookie not in kept and (tmp_path / "sessions.json").stat().st_mode & 0o077 == 0
    again = Sessions(tmp_path / "sessions.json", desk.clock)
    assert again.of(cookie) is not None and again.proof(cookie) == ann.proof
    desk.clock.now += SESSION_SECONDS + 1
    assert again.of(cookie) is None


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(desk):
    stranger = desk.browser(None)
    token = desk.sessions.link(desk.store.labeller("ann"), "ann")
    header = stranger.post("enter", {"token": token}).headers["set-cookie"].lower()
    assert "httponly" in header and "samesite=lax" in header and "path=/" in header


def test_whoever_leaves_is_out(desk):
    ann = desk.browser()
    cookie = ann.client.cookies["tutelage-8765"]
    assert ann.post("leave", {}).status_code == 204
    ann.client.cookies.set("tutelage-8765", cookie)
    assert ann.post("claim", {"count": 1}).status_code == 401  # a replayed cookie


# --- what is refused


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": None, "sec-fetch-site": "cross-site"},
        {"origin": "null", "sec-fetch-site": None},
        {"origin": None, "sec-fetch-site": None},
        {"origin": "http://127.0.0.1:9999", "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "same-site"},
        {"x-tutelage-proof": None},
        {"x-tutelage-proof": "0" * 64},
        {"host": "rebound.example:8765"},
        {"host": "127.0.0.1:9999"},
    ],
    ids=str,
)
def test_what_another_site_sends_changes_nothing(desk, caplog, headers):
    ann = desk.browser()
    given = ann.claim()[0]
    before = desk.store.wait(0, 0)
    act = {"assignment": given["id"], "lease": given["lease"], "key": "k", "verdict": {"tie": True}}
    for path, body in (("claim", {"count": 1}), ("answer", act), ("undo", {"key": "u"})):
        assert ann.post(path, body, **headers).status_code in (401, 403, 421), path
    assert desk.store.wait(0, 0) == before and "refused POST" in caplog.text


def test_another_site_can_neither_read_nor_enter(desk):
    ann = desk.browser()
    for path in ("/api/progress", SCRIPT, "/"):
        found = ann.client.get(path, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"})
        assert found.status_code == 403, path
    assert (
        ann.client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
    )
    token = desk.sessions.link(desk.store.labeller("eve"), "eve")
    assert ann.post("enter", {"token": token}, origin="https://evil.example").status_code == 403
    assert desk.sessions.enter(token)  # and the link is not used up


def test_nothing_changes_by_reading(desk):
    ann = desk.browser()
    for path in ("claim", "answer", "skip", "flag", "undo", "extend", "enter", "leave"):
        assert ann.client.get(f"/api/{path}").status_code == 405, path


def test_without_a_session_there_is_nothing(desk):
    stranger = desk.browser(None)
    assert 'id="settings">null</script>' in stranger.client.get("/").text
    assert stranger.client.get("/api/progress").status_code == 401
    assert stranger.post("claim", {"count": 1}).status_code == 401


def test_somebody_elses_assignment_and_guessed_ones_are_refused_and_logged(desk, caplog):
    ann, eve = desk.browser("ann"), desk.browser("eve")
    given = ann.claim()[0]
    assert eve.answer(given).status_code == 403
    assert eve.answer({**given, "id": "guessed-id"}).status_code == 404
    assert ann.answer({**given, "lease": "guessed-lease"}).status_code == 409
    assert ann.answer(given, verdict={"choice": "canonical-one-0"}).status_code == 422
    assert "somebody else's" in caplog.text and "no assignment" in caplog.text
    assert desk.store.labels() == []


def test_who_answers_is_known_from_the_session_alone(desk):
    eve = desk.browser("eve")
    given = eve.claim()[0]
    assert eve.answer(given, labeller=desk.store.labeller("ann")).status_code == 422
    assert desk.store.labels() == []


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"count": 1e99}', b'{"count": "1; DROP TABLE"}', b"\xff\xfe", b"[" * 60_000]
)
def test_a_body_that_is_none_is_refused(desk, body):
    ann = desk.browser()
    headers = {"origin": ORIGIN, "x-tutelage-proof": ann.proof, "content-type": "application/json"}
    assert ann.client.post("/api/claim", content=body, headers=headers).status_code in (400, 422)


@pytest.mark.parametrize("key", ["\ud800", "", "x" * 300, "a\nb", "\x00"])
def test_an_odd_key_is_refused(desk, key):
    ann = desk.browser()
    given = ann.claim()[0]
    body = {"assignment": given["id"], "lease": given["lease"], "key": key, "verdict": {"tie": True}}
    headers = {"origin": ORIGIN, "x-tutelage-proof": ann.proof, "content-type": "application/json"}
    assert ann.client.post("/api/answer", content=json.dumps(body), headers=headers).status_code == 422


def test_a_note_of_half_letters_and_zeros_is_kept(desk):
    ann = desk.browser()
    given = ann.claim()[0]
    verdict = {"tie": True, "notes": "half \ud83d, zero \x00, whole 😀"}
    body = {"assignment": given["id"], "lease": given["lease"], "key": "k", "verdict": verdict}
    headers = {"origin": ORIGIN, "x-tutelage-proof": ann.proof, "content-type": "application/json"}
    assert ann.client.post("/api/answer", content=json.dumps(body), headers=headers).status_code == 200
    again = ann.post("undo", {"key": "u"}).json()["assignment"]
    assert again["returned"]["notes"] == "half ?, zero \x00, whole 😀"


def test_a_long_body_is_refused_whatever_its_header_claims(desk):
    ann = desk.browser()
    headers = {"origin": ORIGIN, "x-tutelage-proof": ann.proof, "content-type": "application/json"}
    assert ann.client.post("/api/claim", content=b"x" * 70_000, headers=headers).status_code == 413

    def pieces():
        for _ in range(70):
            yield b"x" * 1000

    assert ann.client.post("/api/claim", content=pieces(), headers=headers).status_code in (400, 413)


@pytest.mark.slow
def test_fast_answers_are_kept_and_marked(desk, caplog):
    desk.store.ask([question(i) for i in range(30, 150)])
    ann = desk.browser()
    for number in range(122):
        assert ann.answer(ann.claim()[0], key=f"k{number}").json()["state"] == "counted"
    assert len(desk.store.labels()) == 122 and "kept, and marked" in caplog.text


def test_files_outside_the_package_cannot_be_asked_for(desk):
    ann = desk.browser()
    for path in ("../app.py", "..%2fapp.py", "%2e%2e/app.py", "/etc/passwd", "nothing.js"):
        assert ann.client.get(f"{Files().root}/{path}").status_code == 404, path
    assert "immutable" in ann.client.get(SCRIPT).headers["cache-control"]


def test_every_answer_carries_the_policy(desk):
    ann = desk.browser()
    found = [ann.client.get(path) for path in ("/", SCRIPT, "/api/progress", "/nothing")]
    found += [ann.post("claim", {"count": 1}), ann.post("claim", {}, origin="https://evil.example")]
    for each in found:
        policy = each.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy and "http" not in policy.replace("report-uri /api", "")
        assert each.headers["x-content-type-options"] == "nosniff"
        assert each.headers["referrer-policy"] == "no-referrer" and "permissions-policy" in each.headers


# --- what is never told


def test_nothing_tells_who_wrote_an_answer(desk):
    """Neither pages nor interface nor headers hold a policy, a score, a sampler, a candidate's own id or its order."""
    ann = desk.browser()
    given = ann.claim(MOST)
    told = [
        ann.client.get("/"),
        ann.post("claim", {"count": MOST}),
        ann.answer(given[0]),
        ann.post("undo", {"key": "u"}),
    ]
    told += [ann.client.get("/api/progress"), ann.answer({**given[1], "lease": "wrong"}), ann.post("nothing", {})]
    for each in told:
        everything = each.text + str(each.headers) + str(each.url)
        assert not [secret for secret in SECRETS if secret in everything]
    allowed = {"id", "lease", "kind", "form", "guideline", "context", "shown", "returned"}
    assert all(each.keys() == allowed and each["shown"][0].keys() == {"id", "html", "plain"} for each in given)


def test_the_order_on_the_screen_is_drawn_anew_and_kept(desk):
    desk.store.ask([question(i) for i in range(30, 230)])
    first = []
    for number in range(20):
        ann = desk.browser(f"labeller {number}")
        given = ann.claim(MOST)
        assert [each["shown"] for each in ann.claim(MOST)] == [each["shown"] for each in given]
        first += [each["shown"][0]["plain"].startswith("one") for each in given]
    ids = {shown["id"] for each in given for shown in each["shown"]}
    assert len(ids) == 2 * len(given)
    assert 0.35 < sum(first) / len(first) < 0.65


def test_the_live_panel_shows_what_moved_and_no_policy(tmp_path):
    assert live.read(tmp_path) is None
    given = {
        "round": 1,
        "policy": "policy-nine",
        "says": "a\u202eb",
        "win_rate": 0.6,
        "wins": [{"name": "x", "value": 1}],
    }
    (tmp_path / "live.json").write_text(json.dumps(given))
    shown = live.read(tmp_path)
    assert shown and shown["win_rate"] == 0.6 and "policy-nine" not in json.dumps(shown) and "U+202E" in shown["says"]
    for broken in ("{", "[]", '{"win_rate": 7}', '{"kl_nats": NaN}'):
        (tmp_path / "live.json").write_text(broken)
        assert live.read(tmp_path) is None


# --- what a model writes


def test_unseen_letters_are_shown_and_emoji_stay_whole():
    assert plain("a\u202eb\u200bc\ufeff") == "a⟨U+202E⟩b⟨U+200B⟩c⟨U+FEFF⟩"
    assert plain("half \ud83d") == "half ⟨U+D83D⟩"  # half of a letter, which no browser could be sent
    assert plain("pay\u200dpal") == "pay⟨U+200D⟩pal"
    assert plain("👩\u200d👩\u200d👧 می\u200cخواهم") == "👩\u200d👩\u200d👧 می\u200cخواهم"
    assert plain("tabs\tand\nlines\r\n") == "tabs\tand\nlines\r\n"


@pytest.mark.parametrize("depth", [3, 19, 20, 25, 5000])
@pytest.mark.parametrize("mark", [">", "- "])
def test_a_deep_text_loses_no_word(mark, depth):
    assert "kept" in sanitised(mark * depth + " kept", LONGEST)


def test_the_sanitiser_leaves_only_inert_tags():
    hostile = "<script>x</script> [a](javascript:x) ![b](http://e/x.png) <http://e> | <img src=x onerror=y> `</code>`"
    html = sanitised(hostile)
    assert not re.search(r"<(script|img|a|iframe|style|svg|link)\b", html) and not re.search(r"<\w+\s", html)


def test_a_long_text_is_cut_with_a_note():
    assert len(sanitised("x" * 1_000_000)) < LONGEST + 100 and "more characters" in sanitised("x" * 1_000_000)


# --- what is served


def test_pages_fetch_from_nowhere_else_and_are_small():
    """No address of another server in scripts, styles or templates; together 80 kB of scripts, compressed."""
    import gzip

    found = [*STATIC.rglob("*.*"), *(STATIC.parent / "templates").glob("*.html")]
    for each in found:
        text = each.read_text(encoding="utf-8")
        assert not re.search(r"(https?:)?//[a-z0-9]|@import|url\(", text.replace("// ", "")), each.name
        assert text.count("\n") <= 250, each.name
    scripts = b"".join(each.content for path, each in Files().by_path.items() if path.endswith(".js"))
    assert len(gzip.compress(scripts)) < 80_000


def test_a_kind_of_question_is_a_page_and_a_script_of_that_name(desk):
    from tutelage.studio import pages

    for kind in pages.found():
        assert (STATIC / "pages" / f"{kind}.js").exists()
        assert desk.browser().load()["pages"][kind] == pages.found()[kind].settings(Settings())


@pytest.mark.slow
def test_the_way_to_the_page_loads_no_torch():
    heavy = "[m for m in ('torch', 'transformers', 'numpy', 'pandas') if m in sys.modules]"
    code = f"import sys, tutelage.cli, tutelage.commands.label; print({heavy})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_limit_counts_within_its_seconds():
    clock = Clock()
    limit = Limit(2, 60.0, clock)
    assert [limit.over("a"), limit.over("a"), limit.over("a"), limit.over("b")] == [False, False, True, False]
    clock.now += 61
    assert not limit.full("a") and not limit.over("a")


def test_every_key_and_every_field_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "labelling.md").read_text(encoding="utf-8")
    scripts = "".join(
        (STATIC / name).read_text(encoding="utf-8") for name in ("main.js", "pages/pair.js", "pages/clip.js")
    )
    keys = re.findall(r'"([^"]+)"', " ".join(re.findall(r"keys: \[((?:\"[^\"]*\"(?:, )?)*)\]", scripts)))
    printed = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowDown": "↓", " ": "Space"}
    assert len(keys) >= 15
    for key in keys:
        assert f"`{printed.get(key, key.upper())}`" in page, key
    fields = [each.name for each in dataclasses.fields(Settings)]
    for name in (*fields, *live.Live.model_fields, *live.Win.model_fields):
        assert f"`{name}`" in page, name


# --- the command


def test_pairs_are_read_in_every_documented_shape(tmp_path):
    talk = [{"role": "user", "content": "Hi"}]
    rows = [
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "responses": ["a", "b"]},
        {"prompt": "p", "response_a": "a", "response_b": "b"},
        {"prompt": "p", "completion_a": "a", "completion_b": "b"},
        {"prompt": talk, "responses": ["a", "b"]},
        {
            "chosen": [*talk, {"role": "assistant", "content": "a"}],
            "rejected": [*talk, {"role": "assistant", "content": "b"}],
        },
        {"chosen": "\n\nHuman: Hi\n\nAssistant: a", "rejected": "\n\nHuman: Hi\n\nAssistant: b"},
        {"chosen": "The sky is a", "rejected": "The sky is b"},
        {"context": {"prompt": "p"}, "candidates": [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}], "verdict": {}},
        {"prompt": "p", "chosen": "same", "rejected": " same"},
        {"prompt": "p", "chosen": "a", "rejected": ""},
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = ReadReport()
    found = list(pairs(str(tmp_path / "pairs.jsonl"), report))
    assert [tuple((each.text or "").strip() for each in asked.candidates) for asked in found] == [("a", "b")] * 9
    assert report.dropped == {"with two equal replies": 1, "with an empty reply": 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say what to label"),
        (["pairs.jsonl", "--project", "here"], "in one way"),
        (["nothing.jsonl"], "does not exist"),
        (["wrong.jsonl"], "line 1"),
        (["--from-run", "."], "asks people nothing"),
        (["--project", "pairs.jsonl"], "is a file"),
        (["pairs.jsonl", "--host", "0.0.0.0"], "without accounts"),
        (["pairs.jsonl", "--host", "example.org"], "without accounts"),
        (["pairs.jsonl", "--port", "99999"], "--port"),
        (["pairs.jsonl", "--guideline", "nothing.md"], "cannot be read"),
        (["--project", "odd"], "project.json"),
        (["pairs.jsonl", "--store", "mysql://x"], "mysql"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_cannot_be_labelled_is_one_clear_error(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    (tmp_path / "wrong.jsonl").write_text('{"question": "p"}\n')
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "project.json").write_text('{"scale": "fourteen"}')
    assert run_command(["label", *arguments, "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert says in said and said.startswith("tutelage: ") and said.count("\n") == 1


def test_a_port_that_is_taken_is_said_so(tmp_path, monkeypatch, capsys):
    from tutelage.studio.server import bound

    (tmp_path / "pairs.jsonl").write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    with bound("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        assert run_command(["label", str(tmp_path / "pairs.jsonl"), "--port", port, "--no-browser"]) == 2
    assert "something else is listening there" in capsys.readouterr().err


def test_httpx_speaks_to_the_application_itself(desk):
    """No test client in between that would be kinder than a browser: a host that is not ours gets nothing."""
    transport = httpx2.ASGITransport(app=desk.app)
    import anyio

    async def ask():
        async with httpx2.AsyncClient(transport=transport, base_url="http://rebound.example") as client:
            return await client.get("/")

    assert anyio.run(ask).status_code == 421


@pytest.fixture(autouse=True)
def heard(caplog):
    caplog.set_level(logging.WARNING, "tutelage.studio")
