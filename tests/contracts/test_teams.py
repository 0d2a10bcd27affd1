"""Teams over HTTP: who may do what, what nobody sees, qualification, checks, decisions, leaving."""

from __future__ import annotations

import json

import pytest
from tests.desk import ORIGIN, SECRETS, Browser, Clock, Desk, question

from tutelage.data.records import Candidate, Context
from tutelage.feedback.asking import Asking, Check
from tutelage.studio.members import DAY_SECONDS
from tutelage.studio.project import Settings

ROLES = ("owner", "lead", "labeller", "viewer")


@pytest.fixture
def team(tmp_path):
    made = []

    def make(questions=None, **settings) -> Desk:
        desk = Desk(tmp_path, Clock(), Settings(**settings))
        desk.store.ask([question(i, wanted=3) for i in range(12)] if questions is None else questions)
        made.append(desk)
        return desk

    yield make
    for desk in made:
        assert desk.store.verify() == []
        desk.store.close()


def invited(desk: Desk, name: str, role: str, by: Browser | None = None) -> Browser:
    """Somebody who came by an invitation."""
    link = (by or desk.browser("owner")).post("team/invite", {"name": name, "role": role}).json()["link"]
    return entered(desk, link)


def entered(desk: Desk, link: str) -> Browser:
    came = desk.browser(None)
    answer = came.post("enter", {"token": link.partition("?t=")[2]})
    assert answer.status_code == 200, answer.text
    came.proof = answer.json()["proof"]
    return came


def gold(number: int, purpose: str, right: int = 0) -> Asking:
    candidates = tuple(Candidate(id=f"{purpose}{number}-{i}", text=f"{purpose} {number} {i}") for i in range(2))
    check = Check(purpose, right={"choice": candidates[right].id}, says="It is the one that answers.")
    return Asking(Context(prompt=f"{purpose} {number}?"), candidates, name=f"{purpose}-{number}", check=check)


def answers(browser: Browser, count: int, choose=lambda given: given["shown"][0]["id"]) -> list[dict]:
    done = []
    for _ in range(count):
        found = browser.claim()
        if not found:
            break
        key = f"key-{found[0]['id']}-{found[0]['lease']}"
        answer = browser.answer(found[0], key, verdict={"choice": choose(found[0])})
        assert answer.status_code == 200, answer.text
        done.append(answer.json())
    return done


def ending(words: str):
    return lambda given: next(each["id"] for each in given["shown"] if each["plain"].endswith(words))


def starting(words: str):
    return lambda given: next(each["id"] for each in given["shown"] if each["plain"].startswith(words))


# --- who may do what

ACTS = {
    "claim": ({"count": 1}, {"owner", "lead", "labeller"}),
    "team/invite": ({"name": "zoe", "role": "viewer"}, {"owner", "lead"}),
    "team/role": ({"labeller": "x", "role": "viewer"}, {"owner"}),
    "team/remove": ({"labeller": "x"}, {"owner", "lead"}),
    "team/pass": ({"labeller": "x"}, {"owner", "lead"}),
    "team/exclude": ({"labeller": "x", "excluded": True, "reason": "r"}, {"owner", "lead"}),
    "team/adjudicate": ({"questions": ["asked-by-name-1"]}, {"owner", "lead"}),
    "me/warned": ({"warned": True}, {"owner", "lead", "labeller"}),
    "talk/state": ({"talk": "0" * 32}, {"owner", "lead", "labeller"}),
    "answer": ({"assignment": "a", "lease": "l", "key": "k", "verdict": {}}, {"owner", "lead", "labeller"}),
    "skip": ({"assignment": "a", "lease": "l", "key": "k", "reason": "r"}, {"owner", "lead", "labeller"}),
    "flag": ({"assignment": "a", "lease": "l", "key": "k", "flag": "r"}, {"owner", "lead", "labeller"}),
    "undo": ({"key": "k"}, {"owner", "lead", "labeller"}),
    "extend": ({"held": []}, {"owner", "lead", "labeller"}),
}


@pytest.mark.parametrize("role", ROLES)
def test_every_act_asks_for_its_role(team, role):
    desk = team()
    who = invited(desk, f"a {role}", role)
    for path, (body, allowed) in ACTS.items():
        status = who.post(path, body).status_code
        assert (status != 403) == (role in allowed), (path, role, status)
    assert (who.client.get("/api/team").status_code == 200) == (role != "labeller")


def test_a_role_that_is_sent_is_not_believed(team):
    desk = team()
    viewer = invited(desk, "vera", "viewer")
    assert viewer.post("claim", {"count": 1, "role": "owner"}).status_code == 403
    assert viewer.post("claim", {"count": 1}, **{"x-role": "owner"}).status_code == 403
    assert viewer.post("me/exit", {}).status_code == 403
    lead = invited(desk, "leo", "lead")
    for role in ("owner", "lead"):  # nobody makes somebody more than they are
        assert lead.post("team/invite", {"name": f"new {role}", "role": role}).status_code == 403
    mine = lead.load()["labeller"]
    assert lead.post("team/role", {"labeller": mine, "role": "owner"}).status_code == 403


def test_a_lead_cannot_come_in_as_somebody_else(team):
    desk = team()
    owner, lead = desk.browser("owner"), invited(desk, "leo", "lead")
    invited(desk, "ann", "labeller")
    for name in ("ann", " ann ", "owner"):
        assert lead.post("team/invite", {"name": name, "role": "labeller"}).status_code == 422
    assert owner.post("team/invite", {"name": "ann", "role": "labeller"}).status_code == 200


def test_an_invitation_holds_once_and_not_for_ever(team, tmp_path):
    desk = team()
    owner = desk.browser("owner")
    link = owner.post("team/invite", {"name": "ann", "role": "labeller", "days": 2}).json()["link"]
    kept = (tmp_path / "team.json").read_text()
    assert link.partition("?t=")[2] not in kept
    entered(desk, link)
    again = desk.browser(None).post("enter", {"token": link.partition("?t=")[2]})
    assert again.status_code == 403
    late = owner.post("team/invite", {"name": "bob", "role": "labeller", "days": 2}).json()["link"]
    desk.clock.now += 3 * DAY_SECONDS
    assert desk.browser(None).post("enter", {"token": late.partition("?t=")[2]}).status_code == 403
    newer = owner.post("team/invite", {"name": "bob", "role": "labeller"}).json()["link"]
    newest = owner.post("team/invite", {"name": "bob", "role": "labeller"}).json()["link"]
    assert desk.browser(None).post("enter", {"token": newer.partition("?t=")[2]}).status_code == 403
    entered(desk, newest)


def test_members_outlive_the_server_and_a_removed_one_is_out(team, tmp_path):
    desk = team()
    ann = invited(desk, "ann", "labeller")
    again = Desk(tmp_path, desk.clock)
    back = Browser(again.browser(None).client)
    back.client.cookies = ann.client.cookies
    back.proof = ann.proof
    assert back.post("claim", {"count": 1}).status_code == 200
    assert back.client.get("/api/team").status_code == 403  # still a labeller, not an owner
    again.store.close()
    owner, mine = desk.browser("owner"), ann.load()["labeller"]
    assert owner.post("team/remove", {"labeller": mine}).status_code == 200
    assert ann.post("claim", {"count": 1}).status_code == 401


def test_a_team_file_that_somebody_deleted_makes_nobody_an_owner(team, tmp_path):
    desk = team()
    ann = invited(desk, "ann", "labeller")
    (tmp_path / "team.json").unlink()
    again = Desk(tmp_path, desk.clock)
    back = Browser(again.browser(None).client)
    back.client.cookies, back.proof = ann.client.cookies, ann.proof
    assert back.post("claim", {"count": 1}).status_code == 403
    assert back.client.get("/api/team").status_code == 403
    again.store.close()


def test_a_new_role_holds_from_the_next_request_on(team):
    desk = team()
    ann = invited(desk, "ann", "labeller")
    mine = ann.load()["labeller"]
    desk.browser("owner").post("team/role", {"labeller": mine, "role": "viewer"})
    assert ann.post("claim", {"count": 1}).status_code == 403
    assert ann.client.get("/api/team").status_code == 200


# --- what nobody sees


def test_a_labeller_sees_nobody_elses_answers_anywhere(team):
    desk = team([question(0, wanted=2)])
    ann, bob = invited(desk, "ann", "labeller"), invited(desk, "bob", "labeller")
    given = ann.claim()[0]
    said = {"choice": given["shown"][0]["id"], "notes": "the secret reason of ann"}
    event = ann.answer(given, "k", verdict=said).json()["event"]
    theirs = bob.claim()[0]
    seen = [json.dumps(theirs), bob.client.get("/").text, bob.client.get("/team").text]
    seen += [bob.client.get(f"/api/{path}").text for path in ("team", "me", "progress", "guideline")]
    seen.append(bob.post("undo", {"key": "u", "event": event}).text)
    seen.append(bob.answer(given, "k2").text)
    for text in seen:
        assert "secret reason" not in text and ann.load()["labeller"] not in text
    assert theirs["returned"] is None


def test_nobody_who_judges_is_told_policies_and_the_overview_names_no_people_to_viewers(team):
    desk = team([question(0, wanted=2)])
    ann = invited(desk, "ann of the hills", "labeller")
    for page in (json.dumps(ann.claim()), ann.client.get("/").text, ann.client.get("/api/me").text):
        assert not [secret for secret in SECRETS if secret in page]
    answers(ann, 1)
    viewer = invited(desk, "vera", "viewer")
    told = viewer.client.get("/api/team").text
    assert "ann of the hills" not in told and "canonical" not in told
    lead = invited(desk, "leo", "lead")
    assert "ann of the hills" in lead.client.get("/api/team").text


# --- qualification


def test_the_qualification_comes_first_is_told_and_stands(team):
    desk = team([*(gold(i, "qualification") for i in range(3)), question(7)], qualification="q.jsonl", pass_share=0.6)
    ann = invited(desk, "ann", "labeller")
    first = answers(ann, 1, ending(" 0"))[0]
    assert first["told"] == {"right": True, "says": "It is the one that answers."}
    assert ann.post("undo", {"key": "u"}).status_code == 422  # it was told what is right
    answers(ann, 2, ending(" 0"))
    assert ann.client.get("/api/me").json()["standing"] == {"total": 3, "answered": 3, "right": 3}
    assert ann.claim()[0]["context"][0]["plain"] == "Prompt 7?"
    assert desk.store.labels() == []  # nothing of it is learned from


def test_who_does_not_pass_waits_until_a_lead_says_otherwise(team):
    desk = team([*(gold(i, "qualification") for i in range(3)), question(7, wanted=2)], qualification="q.jsonl")
    bob = invited(desk, "bob", "labeller")
    assert [each["told"]["right"] for each in answers(bob, 5, ending(" 1"))] == [False] * 3
    told = bob.post("claim", {"count": 1}).json()
    assert told["assignments"] == [] and "0 of the 3" in told["says"]
    desk.browser("owner").post("team/pass", {"labeller": bob.load()["labeller"]})
    assert len(bob.claim()) == 1
    assert len(desk.browser("owner").claim()) == 1  # who owns the project is not examined


# --- checks


@pytest.mark.slow
def test_gold_repeats_and_swaps_are_mixed_in_and_never_learned_from(team):
    asked = [question(i) for i in range(80)] + [gold(i, "gold") for i in range(20)]
    desk = team(asked, repeat=0.1, swap=0.1, gold="g.jsonl", gold_share=0.1)
    ann = invited(desk, "ann", "labeller")
    answers(ann, 200, lambda given: max(given["shown"], key=lambda each: each["plain"])["id"])
    checks = desk.store.checks()
    counted = {
        purpose: [each.agrees for each in checks if each.purpose == purpose] for purpose in ("repeat", "swap", "gold")
    }
    assert all(6 <= len(found) <= 9 for found in counted.values()), counted
    assert all(counted["repeat"]) and all(counted["swap"])  # who judges by the texts is the same on both sides
    assert not any(counted["gold"])  # the last text is the longest, and the first is right
    assert len(desk.store.labels()) == 80 and desk.store.snapshot().label_ids == tuple(
        e.id for e in desk.store.labels()
    )


@pytest.mark.slow
def test_whoever_always_takes_the_left_is_seen_by_the_swaps(team):
    desk = team([question(i) for i in range(60)], repeat=0.2, swap=0.2)
    ann = invited(desk, "ann", "labeller")
    answers(ann, 200)
    checks = desk.store.checks()
    assert {each.agrees for each in checks if each.purpose == "repeat"} == {True}
    assert {each.agrees for each in checks if each.purpose == "swap"} == {False}


@pytest.mark.slow
def test_a_check_looks_like_any_other_question(team):
    desk = team(
        [question(i) for i in range(30)] + [gold(i, "gold") for i in range(5)], repeat=0.3, gold="g", gold_share=0.3
    )
    ann = invited(desk, "ann", "labeller")
    fields = set()
    for _ in range(40):
        found = ann.claim()
        if not found:
            break
        fields.add((tuple(sorted(found[0])), found[0]["kind"]))
        text = json.dumps(found)
        assert not any(word in text for word in ('"gold"', "repeat", '"right"', "check", "purpose")), text
        ann.answer(found[0], f"k{len(fields)}-{found[0]['id']}")
    assert len(fields) == 1


# --- decisions, exclusion


def test_what_people_answered_differently_is_decided_by_a_lead_as_blind_as_they_were(team):
    desk = team([question(0, wanted=2), question(1, wanted=2)])
    ann, bob = invited(desk, "ann", "labeller"), invited(desk, "bob", "labeller")
    answers(ann, 1, starting("one"))
    answers(bob, 1, starting("two"))
    answers(ann, 1, starting("one"))
    answers(bob, 1, starting("one"))
    lead = invited(desk, "leo", "lead")
    disputed = lead.client.get("/api/team").json()["disputed"]
    assert disputed == [{"question": "asked-by-name-0", "votes": [1, 1]}]
    assert lead.post("team/adjudicate", {"questions": ["asked-by-name-0"]}).json() == {"asked": 1}
    given = lead.claim()
    assert [each["context"][0]["plain"] for each in given] == ["Prompt 0?"]
    assert not [secret for secret in SECRETS if secret in json.dumps(given)]
    lead.answer(given[0], "d")
    assert lead.client.get("/api/team").json()["disputed"] == []
    assert len(desk.store.labels()) == 5 and ann.claim() == [] and bob.claim() == []


def test_one_persons_answers_are_left_out_and_taken_in_again(team):
    desk = team()
    ann = invited(desk, "ann", "labeller")
    answers(ann, 3)
    owner, body = desk.browser("owner"), {"labeller": ann.load()["labeller"], "reason": "answered unread"}
    assert owner.post("team/exclude", {**body, "excluded": True}).json() == {"changed": 3}
    assert desk.store.labels() == []
    assert owner.post("team/exclude", {**body, "excluded": False}).json() == {"changed": 3}
    assert len(desk.store.labels()) == 3


# --- welfare


def test_texts_that_may_distress_are_for_those_who_want_them_and_not_too_many(team):
    warned = [question(i, form={"warning": "violence"}) for i in range(10)]
    desk = team([*warned, question(50)], warned_an_hour=3)
    ann = invited(desk, "ann", "labeller")
    assert [each["form"] for each in ann.claim(5)] == [{}]
    assert ann.post("me/warned", {"warned": True}).json() == {"warned": True}
    seen = set()
    for _ in range(12):
        for each in ann.claim(1):
            seen.add(each["id"])
            ann.answer(each, f"k-{each['id']}")
    assert len(seen) == 4  # the plain one and three with a warning
    desk.clock.now += 3700
    ann.post("me/warned", {"warned": False})
    assert ann.claim(5) == []


def test_leaving_costs_nothing_and_gives_back_what_was_held(team):
    desk = team([question(i) for i in range(4)])
    ann = invited(desk, "ann", "labeller")
    answers(ann, 1)
    assert len(ann.claim(3)) == 3
    assert ann.post("me/exit", {}).json() == {"given_back": 3}
    assert ann.post("claim", {"count": 1}).status_code == 401
    assert len(desk.store.labels()) == 1 and desk.store.labels()[0].state == "counted"
    bob = invited(desk, "bob", "labeller")
    assert len(bob.claim(4)) == 3  # at once, not when leases run out


def test_nonsense_is_refused_in_one_sentence(team):
    desk = team()
    owner = desk.browser("owner")
    for path, body in (
        ("team/invite", {"name": "x" * 81, "role": "labeller"}),
        ("team/invite", {"name": "<b>\x00", "role": "labeller"}),
        ("team/invite", {"name": "ann", "role": "emperor"}),
        ("team/invite", {"name": "ann", "role": "viewer", "days": 1e9}),
        ("team/invite", {"name": "ann", "role": "viewer", "days": -1}),
        ("team/adjudicate", {"questions": []}),
        ("team/adjudicate", {"questions": ["no such question"]}),
        ("team/exclude", {"labeller": "x", "excluded": "perhaps", "reason": "r"}),
        ("team/pass", {"labeller": "nobody"}),
        ("talk/state", {"talk": "../../etc"}),
        ("talk/say", {"talk": "0" * 32, "turn": -1, "text": "x"}),
    ):
        answer = owner.post(path, body)
        assert answer.status_code in (404, 422) and len(answer.json()["says"]) < 300, (path, answer.text)
    big = owner.client.post("/api/team/invite", content=b"x" * 70_000, headers={"origin": ORIGIN})
    assert big.status_code == 413
    assert owner.client.get("/api/team").status_code == 200
