"""What the page for playing asks. Everything that computes is a POST, and passes the same guard as an answer does."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import Field

from tutelage.data.errors import InputError
from tutelage.feedback.asking import Refused
from tutelage.feedback.store import Store
from tutelage.report.sanitise import plain
from tutelage.studio.api import Act, Body, session_of
from tutelage.studio.drawn import assignment, text
from tutelage.studio.look.routes import Looking, told
from tutelage.studio.members import may
from tutelage.studio.play import arena
from tutelage.studio.play.models import Bench, Drawing, asked_in, models_of, template_of
from tutelage.studio.security import Refusal

WORDS = 120  # of a text whose beginnings are scored
router = APIRouter(prefix="/api/play", dependencies=[may("look")])
Model = Annotated[str, Field(min_length=1, max_length=1000)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]
T = TypeVar("T")


class Turn(Body):
    role: Literal["user", "assistant", "system"]
    content: Annotated[str, Field(max_length=20_000)]


class Sampled(Body):
    temperature: Annotated[float, Field(ge=0.05, le=5.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    max_new_tokens: Annotated[int, Field(ge=1, le=512)] = 64
    template: Annotated[str, Field(max_length=2000)] = ""

    @property
    def drawing(self) -> Drawing:
        """A seed of its own each time: a person who asks again wants another reply."""
        return Drawing(self.temperature, self.top_p, self.max_new_tokens, secrets.randbelow(2**31), self.template)


class Reply(Sampled):
    model: Model
    said: Annotated[list[Turn], Field(min_length=1, max_length=60)]


class Meet(Sampled):
    models: Annotated[list[Model], Field(min_length=2, max_length=2)]
    prompt: Text


class Best(Sampled):
    model: Model
    reward: Model
    prompt: Text
    n: Annotated[int, Field(ge=2, le=64)] = 8


class Opinion(Body):
    reward: Model
    prompt: Annotated[str, Field(min_length=1, max_length=20_000)]
    reply: Text
    template: Annotated[str, Field(max_length=2000)] = ""


class Verdict(Act):
    verdict: dict[str, str | bool]


@dataclass
class Playing:
    """What the routes need: the runs, the store for the arena, the models."""

    looking: Looking
    store: Store
    device: str = "auto"
    bench: Bench = field(init=False)

    def __post_init__(self) -> None:
        self.bench = Bench(self.device)

    def add(self, app: FastAPI) -> None:
        """Puts the pages for looking and for playing into an application."""
        self.looking.add(app)
        app.state.playing = self
        app.include_router(router)

    def model(self, name: str, kind: str) -> Any:
        """The folder of a model by its id: one of those that the runs have, and no other path."""
        run, _, stage = name.rpartition("//")
        folder = self.looking.folder(run)
        known = {each["id"]: each["kind"] for each in models_of(folder)}
        if known.get(name) != kind:
            raise Refusal(404, f"{plain(name, 200)} is no {kind} of this folder.", "a model that there is not")
        return folder.stage(stage).path / "model"


def playing_of(request: Request) -> Playing:
    return request.app.state.playing


def done(act: Callable[[], T]) -> T:
    """What the models say; why they cannot, in a sentence."""
    try:
        return act()
    except Refused:
        raise
    except InputError as error:
        raise Refusal(422, plain(str(error), 600), "a model could not do it") from error


@router.get("/models")
def models(request: Request, run: Annotated[list[str] | None, Query(max_length=40)] = None) -> Response:
    """The models of these runs, or of all; prompts of the first of them, and what those have around their message."""
    looking = playing_of(request).looking
    folders = [looking.folder(each) for each in run] if run else looking.index.all()
    prompts = next((found for each in folders[:20] if (found := asked_in(looking.samples, each))), [])
    return told(
        {
            "models": [model for each in folders for model in models_of(each)],
            "prompts": [plain(each, 4000) for each in prompts],
            "template": plain(template_of(prompts), 1000),
        }
    )


@router.post("/reply")
def reply(request: Request, body: Reply) -> Response:
    """One reply of a policy to a talk."""
    playing = playing_of(request)
    path, said = playing.model(body.model, "policy"), [each.model_dump() for each in body.said]
    [found] = done(lambda: playing.bench.replies(path, said, body.drawing, 1))[1]
    return told({"said": found, **text(found)})


@router.post("/meet")
def meet(request: Request, body: Meet) -> Response:
    """Two replies as a question of the store; who wrote which is told by `judge` alone."""
    playing, said = playing_of(request), [{"role": "user", "content": body.prompt}]
    drawing = body.drawing
    if len(set(body.models)) < 2:
        raise Refusal(422, "The arena needs two different policies.", "one policy against itself")
    replies: dict[str, str] = {}
    prompt = body.prompt
    for name in sorted(body.models):
        path = playing.model(name, "policy")
        prompt, [replies[name]] = done(partial(playing.bench.replies, path, said, drawing, 1))
    given = arena.asked(playing.store, session_of(request).labeller, prompt, replies, drawing.row)
    return told(assignment(given, request.app.state.clips))


@router.post("/judge")
def judge(request: Request, body: Verdict) -> Response:
    """Keeps the answer; only then the names, and how the two stand."""
    store = playing_of(request).store
    labeller = session_of(request).labeller
    receipt = store.answer(labeller, body.assignment, body.lease, body.key, body.verdict)
    return told(
        {
            "models": [plain(each, 200) for each in arena.revealed(store, receipt.event, receipt.seq)],
            "standing": arena.standing(store.labels()),
        }
    )


@router.get("/standing")
def standing(request: Request) -> Response:
    return told({"standing": arena.standing(playing_of(request).store.labels())})


@router.post("/best")
def best(request: Request, body: Best) -> Response:
    """n replies, the one that the reward model likes best first."""
    from tutelage.formulas.best_of_n import kl_nats

    playing = playing_of(request)
    policy, reward = playing.model(body.model, "policy"), playing.model(body.reward, "reward model")
    said = [{"role": "user", "content": body.prompt}]
    found = done(lambda: playing.bench.replies(policy, said, body.drawing, body.n))[1]
    scores = done(lambda: playing.bench.scores(reward, body.prompt, body.template, found))
    rows = [{"score": number(score), **text(each)} for score, each in sorted(zip(scores, found), reverse=True)]
    return told({"replies": rows, "mean": number(sum(scores) / len(scores)), "kl_nats_at_most": kl_nats(body.n)})


@router.post("/opinion")
def opinion(request: Request, body: Opinion) -> Response:
    """The score of a text, and what it would be had the text ended after each of its words."""
    playing = playing_of(request)
    path = playing.model(body.reward, "reward model")
    words = parts(body.reply)
    ends = ["".join(words[: place + 1]) for place in range(min(len(words), WORDS))]
    scores = done(lambda: playing.bench.scores(path, body.prompt, body.template, [*ends, body.reply]))
    told_by: Mapping[str, Any] = {"words": [plain(each, 200) for each in words[: len(ends)]]}
    return told({"score": number(scores[-1]), "scores": [number(each) for each in scores[:-1]], **told_by})


def parts(written: str) -> list[str]:
    """Words, each with the blanks before it."""
    found: list[str] = []
    for letter in written:
        if not found or (letter.isspace() and not found[-1][-1:].isspace()):
            found.append(letter)
        else:
            found[-1] += letter
    return found


def number(value: float) -> float:
    return float(f"{value:.5g}")
