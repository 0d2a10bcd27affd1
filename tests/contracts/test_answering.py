"""Who answers: every labeller goes through the store, answers what it is asked, and makes nothing up."""

import json
import threading
import time
from functools import partial

import httpx2 as httpx
import numpy as np
import pytest

from tutelage.data.errors import InputError
from tutelage.data.records import Candidate, Context
from tutelage.feedback.answering import HumanLabeller, ModelLabeller, NoVerdict, Panel
from tutelage.feedback.asking import Asking
from tutelage.feedback.judges import Endpoint
from tutelage.feedback.labellers import SyntheticLabeller, length, panel
from tutelage.feedback.store import Store


def asking(number: int, first: str = "yes", second: str = "no, not at all") -> Asking:
    candidates = (Candidate(id=f"{number}-a", text=first), Candidate(id=f"{number}-b", text=second))
    return Asking(Context(prompt=f"question {number}?"), candidates, name=f"q{number:03d}")


def shortest(prompts: list[str], responses: list[str]) -> list[float]:
    return [-length(each) for each in responses]


def prefers_longer(prompt: str, first: str, second: str) -> float:
    return float(len(first) > len(second))


def prefers_the_first(prompt: str, first: str, second: str) -> float:
    return 1.0


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "feedback.db") as opened:
        yield opened


def people() -> HumanLabeller:
    return HumanLabeller(patience_s=0.0, says=lambda missing: None, poll_s=0.01)


@pytest.mark.parametrize(
    "labeller",
    [Panel(panel(shortest)), ModelLabeller("judge", prefers_longer), people()],
    ids=["synthetic", "model", "human"],
)
def test_every_labeller_says_how_many_questions_have_their_answers(store, labeller):
    names = store.ask([asking(number) for number in range(6)])
    if labeller.kind == "human":
        answer_by_hand(store, 6)
    assert labeller.answer(store, names) == 6
    labels = store.labels()
    assert {each.question for each in labels} == set(names)
    assert {each.comparison.verdict.rater_kind for each in labels} == {labeller.kind}
    assert not store.verify()


def answer_by_hand(store: Store, count: int) -> None:
    person = store.labeller("ada")
    for number in range(count):
        (given,) = store.claim(person)
        store.answer(person, given.id, given.lease, f"key-{number}", {"choice": given.shown[0].id})


@pytest.mark.slow
def test_a_rehearsal_says_the_same_in_pieces_as_at_once(tmp_path):
    said = []
    for pieces in (1, 5):
        with Store.open(tmp_path / f"{pieces}.db") as store:
            names = store.ask([asking(number) for number in range(20)])
            labeller = Panel(panel(shortest), seed=3)
            for piece in np.array_split(np.array(names), pieces):
                labeller.answer(store, piece.tolist())
            labeller.answer(store, names)  # again: nothing is left to say
            verdicts = {each.question: each.comparison.verdict for each in store.labels()}
            said.append({name: (each.choice, each.shown) for name, each in verdicts.items()})
    assert said[0] == said[1] and len(said[0]) == 20


@pytest.mark.slow
def test_both_sides_are_shown_as_often():
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder, Store.open(f"{folder}/feedback.db") as store:
        names = store.ask([asking(number) for number in range(200)])
        Panel((SyntheticLabeller("always left", shortest, sharpness=0.0, first_bias=50.0),)).answer(store, names)
        first = [each.comparison.verdict.choice.endswith("-a") for each in store.labels()]
        assert 70 <= sum(first) <= 130


def test_who_tires_errs_more():
    fresh = SyntheticLabeller("ada", shortest, sharpness=4.0, tires_after=50.0)
    rng = np.random.default_rng(0)

    def right(labeller: SyntheticLabeller) -> float:
        return np.mean([labeller.choose("?", ["one", "one two"], rng) == 0 for _ in range(3000)])

    assert right(fresh) > 0.97
    assert fresh.tired(50).sharpness == 2.0
    assert right(fresh.tired(200)) == pytest.approx(1 / (1 + np.exp(-0.25)), abs=0.04)


def test_a_model_that_prefers_a_place_says_tie(store):
    names = store.ask([asking(0)])
    ModelLabeller("left", prefers_the_first).answer(store, names)
    (label,) = store.labels()
    assert label.comparison.verdict.ranking and label.comparison.best is None


def test_a_judge_without_a_verdict_is_no_label(store):
    def mumbles(prompt: str, first: str, second: str) -> float:
        raise NoVerdict("it said 'hm'")

    names = store.ask([asking(0)])
    assert ModelLabeller("mumbler", mumbles).answer(store, names) == 0
    assert store.labels() == [] and store.open_questions() == names


def test_waiting_ends_when_the_last_answer_is_there(store):
    names = store.ask([asking(number) for number in range(3)])
    said = []
    waits = HumanLabeller(patience_s=30.0, says=said.append, poll_s=0.05)
    thread = threading.Thread(target=lambda: (time.sleep(0.3), answer_by_hand(store, 3)))
    thread.start()
    assert waits.answer(store, names) == 3
    thread.join()
    assert said == [3]


def test_a_skipped_question_is_not_waited_for(store):
    names = store.ask([asking(number) for number in range(3)])
    person = store.labeller("ada")
    (given,) = store.claim(person)
    store.skip(person, given.id, given.lease, "skip", "unclear")
    assert store.skipped() == names[:1]
    answer_by_hand(store, 2)
    assert HumanLabeller(says=lambda missing: None, poll_s=0.01).answer(store, names) == 2
    assert store.open_questions() == names[:1]  # somebody else may still answer it


def test_patience_ends_and_what_was_answered_stays(store):
    names = store.ask([asking(number) for number in range(3)])
    answer_by_hand(store, 1)
    assert HumanLabeller(patience_s=0.1, says=lambda missing: None, poll_s=0.02).answer(store, names) == 1


def served(reply, seen: list, request: httpx.Request) -> httpx.Response:
    seen.append(json.loads(request.content))
    return reply(len(seen)) if callable(reply) else reply


def completion(text: str) -> httpx.Response:
    return httpx.Response(200, json={"choices": [{"message": {"content": text}}]})


@pytest.mark.parametrize(("said", "expected"), [("A", 1.0), (" B.", 0.0), ("T", 0.5), ("**A** is better", 1.0)])
def test_an_endpoint_is_asked_in_openais_words(said, expected, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    seen = []
    transport = httpx.MockTransport(partial(served, completion(said), seen))
    judge = Endpoint("http://judge.invalid/v1/", "small", transport=transport)
    assert judge("How?", "so", "thus") == expected
    (body,) = seen
    assert body["model"] == "small" and "How?" in body["messages"][0]["content"]


@pytest.mark.parametrize("said", ["", "Both are fine", "Absolutely", "{}"])
def test_words_that_are_no_letter_are_no_verdict(said):
    judge = Endpoint("http://judge.invalid/v1", "small", transport=httpx.MockTransport(lambda _: completion(said)))
    with pytest.raises(NoVerdict, match="expected A, B or T"):
        judge("?", "a", "b")


def test_a_judge_that_fails_for_a_while_is_asked_again(monkeypatch):
    monkeypatch.setattr("tutelage.feedback.judges.AGAIN_AFTER_S", (0.0, 0.0, 0.0))
    seen = []
    reply = lambda count: httpx.Response(503) if count < 3 else completion("B")  # noqa: E731
    judge = Endpoint("http://judge.invalid/v1", "small", transport=httpx.MockTransport(partial(served, reply, seen)))
    assert judge("?", "a", "b") == 0.0 and len(seen) == 3


@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_judge_that_cannot_be_asked_stops_the_run(status, monkeypatch):
    monkeypatch.setattr("tutelage.feedback.judges.AGAIN_AFTER_S", (0.0,))
    judge = Endpoint(
        "http://judge.invalid/v1", "small", transport=httpx.MockTransport(lambda _: httpx.Response(status))
    )
    with pytest.raises(InputError, match="cannot be asked"):
        judge("?", "a", "b")
