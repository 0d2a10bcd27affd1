"""Playing with the models of runs: replies, the blind arena and its labels, best of n, an opinion, refusals."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil

import pytest
import torch
from starlette.testclient import TestClient
from tests import watched
from tests.conftest import letters_tokenizer, llama_config
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from tutelage.data.tokens import Codec
from tutelage.feedback.store import Store
from tutelage.rewards.language import RewardModel
from tutelage.studio.app import application
from tutelage.studio.look.routes import Looking
from tutelage.studio.play.models import template_of
from tutelage.studio.play.routes import Playing, parts
from tutelage.studio.project import Project, Settings
from tutelage.studio.sessions import Sessions

HOST = "127.0.0.1:8766"
SAMPLED = {"temperature": 1.0, "max_new_tokens": 6}
NAMES = ("one//", "two//")


class Player:
    """Somebody at the page, and the store behind it."""

    def __init__(self, folder) -> None:
        self.store = Store.open(folder / "keep" / "feedback.db", chance=random.Random(1))
        sessions = Sessions(folder / "keep" / "sessions.json")
        self.playing = Playing(Looking(folder / "runs"), self.store, "cpu")
        project = Project(folder / "keep", folder / "keep" / "feedback.db", Settings(), also=self.playing.add)
        app = application(project, self.store, sessions, frozenset({HOST}))
        self.client = TestClient(app, base_url=f"http://{HOST}")
        token = sessions.link(self.store.labeller("ann"), "ann")
        self.proof = self.post("/api/enter", {"token": token}).json()["proof"]

    def post(self, path: str, body: dict):
        headers = {"origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
        headers["x-tutelage-proof"] = getattr(self, "proof", "")
        return self.client.post(path, json=body, headers=headers)

    def play(self, path: str, body: dict) -> dict:
        answer = self.post(f"/api/play/{path}", body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def player(tmp_path, tiny_llama, tiny_classifier, monkeypatch):
    seeds = itertools.count()  # of replies: else two of them may be the same once in a while
    monkeypatch.setattr("tutelage.studio.play.routes.secrets.randbelow", lambda below: next(seeds) % below)
    runs = tmp_path / "runs"
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        LlamaForCausalLM(llama_config()).save_pretrained(watched.finished(runs / name) / "model")
        letters_tokenizer().save_pretrained(runs / name / "model")
    codec = Codec(letters_tokenizer(pad_token="<bos>"))
    RewardModel(tiny_classifier).save(watched.finished(runs / "judge") / "model", codec)
    found = Player(tmp_path)
    yield found
    assert found.store.verify() == []
    found.store.close()


def test_the_models_of_runs_are_offered_with_prompts_of_theirs(player):
    found = player.client.get("/api/play/models").json()
    kinds = {each["id"]: each["kind"] for each in found["models"]}
    assert kinds == {"one//": "policy", "two//": "policy", "judge//": "reward model"}
    assert found["prompts"][0].startswith("Customer: My lamp number 0 of step 0") and len(found["prompts"]) == 12
    assert found["template"].startswith("Customer: ") and found["template"].endswith("{message}\nAgent:")


def test_what_stands_around_every_message_is_found():
    prompts = [f"Customer: {what}\nAgent:" for what in ("my lamp broke", "my kettle is late", "no radio came")]
    assert template_of(prompts) == "Customer: {message}\nAgent:"
    assert template_of(["one", "two", "three"]) == "" and template_of(prompts[:2]) == ""


def test_a_policy_replies_and_its_words_are_made_safe(player):
    said = [{"role": "user", "content": "abc "}]
    found = player.play("reply", {"model": "one//", "said": said, **SAMPLED})
    tokens = re.findall("<[a-z]+>|.", found["said"])  # a special token's name is of several letters
    assert found.keys() == {"said", "html", "plain"} and len(tokens) <= 6


def test_a_talk_goes_on_with_what_was_said(player):
    said = [
        {"role": "user", "content": "ab "},
        {"role": "assistant", "content": "cd"},
        {"role": "user", "content": "ef "},
    ]
    assert "said" in player.play("reply", {"model": "one//", "said": said, **SAMPLED})


def test_the_arena_is_blind_until_it_is_judged_and_its_answers_are_labels(player):
    question = player.play("meet", {"models": ["two//", "one//"], "prompt": "abc ", **SAMPLED})
    told = json.dumps(question)
    assert not any(name in told for name in (*NAMES, "policy", "temperature")) and len(question["shown"]) == 2
    assert player.client.get("/api/play/standing").json() == {"standing": []}
    act = {"assignment": question["id"], "lease": question["lease"], "key": "k1"}
    verdict = {"choice": question["shown"][1]["id"]}
    found = player.play("judge", {**act, "verdict": verdict})
    assert sorted(found["models"]) == sorted(NAMES)
    [label] = player.store.labels()
    chosen = label.comparison.candidates[label.comparison.chosen()]
    assert chosen.policy == found["models"][1] and chosen.text.strip() == question["shown"][1]["plain"].strip()
    assert chosen.sampler["temperature"] == 1.0 and label.comparison.context.prompt == "abc "
    [row] = found["standing"]
    assert row["answers"] == 1 and row["won"] + row["lost"] == 1
    assert (row["won"] == 1) == (row["first"] == found["models"][1])
    assert player.play("judge", {**act, "verdict": verdict})["standing"] == found["standing"]  # sent twice, once kept


def test_the_desk_does_not_ask_what_the_arena_asks(player):
    player.play("meet", {"models": list(NAMES), "prompt": "abc ", **SAMPLED})
    other = Store.open(player.store.place)
    assert other.claim(other.labeller("bob"), 5, ["pair"]) == []
    other.close()


def test_ties_count_half_and_both_bad_too(player):
    verdicts = ({"tie": True}, {"no_choice": "all bad"})
    for number, verdict in enumerate(verdicts):
        question = player.play("meet", {"models": list(NAMES), "prompt": "abc ", **SAMPLED})
        act = {"assignment": question["id"], "lease": question["lease"], "key": f"k{number}"}
        found = player.play("judge", {**act, "verdict": verdict})
    [row] = found["standing"]
    assert (row["rate"], row["tied"], row["bad"], row["answers"]) == (0.5, 1, 1, 2) and row["low"] < 0.5 < row["high"]


def test_the_best_of_n_comes_first_and_its_score_is_the_reward_models(player):
    body = {"model": "one//", "reward": "judge//", "prompt": "abc ", "n": 6, **SAMPLED}
    found = player.play("best", body)
    scores = [each["score"] for each in found["replies"]]
    assert len(scores) == 6 and scores == sorted(scores, reverse=True)
    assert found["mean"] == pytest.approx(sum(scores) / 6, abs=1e-4)
    assert found["kl_nats_at_most"] == pytest.approx(0.9585, abs=1e-4)  # log 6 − 5/6
    top = found["replies"][0]
    path = player.playing.model("judge//", "reward model")
    [again] = player.playing.bench.scores(path, "abc ", "", [top["plain"]])
    assert again == pytest.approx(top["score"], abs=1e-4) or "⟨" in top["plain"]


def test_an_opinion_of_a_text_and_of_its_beginnings(player):
    found = player.play("opinion", {"reward": "judge//", "prompt": "abc ", "reply": "def gh  ij"})
    assert found["words"] == ["def", " gh", "  ij"] and len(found["scores"]) == 3
    assert found["scores"][-1] == found["score"]
    shorter = player.play("opinion", {"reward": "judge//", "prompt": "abc ", "reply": "def gh"})
    assert shorter["score"] == pytest.approx(found["scores"][1], abs=1e-5)


def test_words_come_with_the_blanks_before_them():
    assert parts(" a  b\nc") == [" a", "  b", "\nc"] and "".join(parts("x  y ")) == "x  y "


@pytest.mark.parametrize(
    "model", ["judge//", "nobody//", "../keep//", "one//ppo", "/etc", "one", "//", "one//../../keep"]
)
def test_only_policies_of_the_folder_are_asked(player, model):
    body = {"model": model, "said": [{"role": "user", "content": "a"}], **SAMPLED}
    assert player.post("/api/play/reply", body).status_code == 404


def test_what_cannot_be_done_is_said_in_a_sentence(player, tmp_path):
    said = [{"role": "user", "content": "a" * 200}]
    answer = player.post("/api/play/reply", {"model": "one//", "said": said, **SAMPLED})
    assert answer.status_code == 422 and "context" in answer.json()["says"]
    alike = player.post("/api/play/meet", {"models": ["one//", "one//"], "prompt": "a", **SAMPLED})
    assert alike.status_code == 422 and "two different" in alike.json()["says"]
    shutil.rmtree(tmp_path / "runs" / "two" / "model")
    watched.write(tmp_path / "runs" / "two" / "model" / "config.json", {"architectures": ["LlamaForCausalLM"]})
    broken = player.post("/api/play/reply", {"model": "two//", "said": said[:1], **SAMPLED})
    assert broken.status_code == 422 and "could be loaded" in broken.json()["says"]
    for wrong in ({"temperature": 0}, {"max_new_tokens": 10_000}, {"top_p": 0}, {"extra": 1}):
        body = {"model": "one//", "said": [{"role": "user", "content": "a"}], **SAMPLED, **wrong}
        assert player.post("/api/play/reply", body).status_code == 422


def test_nothing_is_computed_without_a_proof_that_the_page_sent_it(player):
    player.proof = "wrong"
    body = {"model": "one//", "said": [{"role": "user", "content": "a"}], **SAMPLED}
    assert player.post("/api/play/reply", body).status_code == 401


def test_a_model_that_was_trained_again_is_loaded_again(player, tmp_path):
    body = {"reward": "judge//", "prompt": "abc ", "reply": "def"}
    before = player.play("opinion", body)["score"]
    folder = tmp_path / "runs" / "judge" / "model"
    shutil.rmtree(folder)
    torch.manual_seed(9)
    other = LlamaForSequenceClassification(llama_config(num_labels=1)).eval()
    RewardModel(other).save(folder, Codec(letters_tokenizer(pad_token="<bos>")))
    assert player.play("opinion", body)["score"] != before
