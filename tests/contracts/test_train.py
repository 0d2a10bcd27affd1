"""The seams of training: an algorithm, an environment and an engine of somebody else's go through `train`."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tests.reinforce
import torch
from tests.conftest import letters_tokenizer, llama_config
from tests.reinforce import REINFORCE, ReinforceConfig
from tests.resuming import COMMANDS, kind_of_run
from transformers import LlamaForCausalLM

from tutelage.algorithms.algorithm import Algorithm, LearnsFrom
from tutelage.algorithms.ppo import PPO, PPOConfig
from tutelage.algorithms.sft import SFT, SFTConfig
from tutelage.cli import parsed
from tutelage.commands.verbs import VERBS, verb_of
from tutelage.data.errors import InputError
from tutelage.data.helpdesk import world
from tutelage.data.tokens import Codec
from tutelage.execution.learner import LocalLearner
from tutelage.execution.native import NativeSampler, SamplingSettings
from tutelage.execution.together import TogetherSampler
from tutelage.policies.language import LanguagePolicy
from tutelage.recipes.demo import DemoConfig, loaded, sft_stage
from tutelage.rewards import helpdesk
from tutelage.rewards.language import TextScore
from tutelage.runs.files import read_lines
from tutelage.runs.outcome import outcome_of
from tutelage.runs.run import Run
from tutelage.training.callbacks import Callbacks
from tutelage.training.control import ControlModels
from tutelage.training.engine import LOCAL, Engine
from tutelage.training.episode_keys import prompt_keys
from tutelage.training.models import critic_of, language_models
from tutelage.training.speaker import Speaker, encoded
from tutelage.training.train import train
from tutelage.trajectory import Task

DESK = DemoConfig(width=64, layers=2, demonstrations=1500, sft=SFTConfig(steps=150, batch_size=32, learning_rate=3e-3))


def tiny_speaker(engine=LOCAL):
    torch.manual_seed(0)
    codec = Codec(letters_tokenizer(pad_token="<eos>"))
    return Speaker(LanguagePolicy(LlamaForCausalLM(llama_config()).eval()), codec, SamplingSettings(5), engine=engine)


def count_of_a(prompts, responses):
    return [float(response.count("a")) for response in responses]


def tiny_task(speaker, prompts=("ab ", "cd ", "e ")):
    return Task(speaker.environment(list(prompts)), TextScore(count_of_a, speaker.codec))


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A small policy of the helpdesk, trained on demonstrations through `train`."""
    run = Run.create(tmp_path_factory.mktemp("desk") / "run", DESK)
    stage = run.stage("sft")
    stage.mark_finished(sft_stage(DESK, run, stage))
    return run


def reinforce_desk(desk, folder, config, *, resume=False, killed_at=None):
    speaker = loaded(DESK, desk, "sft")
    gold = TextScore(helpdesk.gold, speaker.codec, "the gold score")

    def score(batch):
        if batch.keys[0].step == killed_at:
            raise KeyboardInterrupt
        return gold(batch)

    run = Run.create(folder, config, resume=resume, checkpoint_seconds=0.0)
    run.skip_preflight = killed_at is not None or resume
    task = Task(speaker.environment(world.prompts("labels", 512, 5)), score)
    train(REINFORCE, config, task, language_models(speaker), LOCAL, run)
    return read_lines(run.path / "events.jsonl"), speaker.policy.model.state_dict()


def test_an_algorithm_of_sixty_lines():
    assert len(Path(tests.reinforce.__file__).read_text().splitlines()) <= 60


@pytest.mark.slow
def test_a_reinforce_with_a_group_baseline_learns_the_helpdesk(desk, tmp_path):
    events, _ = reinforce_desk(desk, tmp_path / "run", ReinforceConfig(steps=16, trajectories=128))
    scores = np.array([event["score"] for event in events])
    assert scores[-4:].mean() > scores[:4].mean() + 0.1, scores
    assert (tmp_path / "run" / "model" / "config.json").exists()
    checks = json.loads((tmp_path / "run" / "preflight.json").read_text())["findings"]
    assert len(checks) >= 15 and all(each["passed"] is not False for each in checks)


@pytest.mark.slow
def test_and_resumes_to_the_bit(desk, tmp_path):
    config = ReinforceConfig(steps=4, trajectories=16)
    whole, weights = reinforce_desk(desk, tmp_path / "whole", config, killed_at=-1)
    with pytest.raises(KeyboardInterrupt):
        reinforce_desk(desk, tmp_path / "killed", config, killed_at=2)
    resumed, again = reinforce_desk(desk, tmp_path / "killed", config, resume=True)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert [event["score"] for event in resumed] == [event["score"] for event in whole]


def test_a_step_is_prompts_times_samples_side_by_side():
    config = ReinforceConfig(trajectories=12, samples=4, seed=3)
    steps = [prompt_keys(6, config, step) for step in range(4)]
    for keys in steps:
        prompts = [key.prompt for key in keys]
        assert prompts == [prompts[4 * group] for group in range(3) for _ in range(4)]
        assert [key.sample for key in keys] == list(range(12))
    groups = [keys[4 * group].prompt for keys in steps for group in range(3)]
    assert sorted(groups[:6]) == sorted(groups[6:]) == list(range(6)), "each prompt once an epoch"


class Counting:
    """An engine of somebody else's: it counts what is asked of it."""

    def __init__(self) -> None:
        self.made, self.used = Counter(), Counter()
        self.engine = Engine(
            partial_of(self, "learner", LocalLearner),
            partial_of(self, "text sampler", NativeSampler),
            partial_of(self, "control sampler", TogetherSampler),
        )


def partial_of(counting, kind, make):
    def made(*arguments, **settings):
        counting.made[kind] += 1
        product = make(*arguments, **settings)
        for name in ("update", "sample"):
            method = getattr(product, name, None)
            if method is not None:
                setattr(product, name, count_calls(counting, kind, method))
        return product

    return made


def count_calls(counting, kind, method):
    def called(*arguments, **settings):
        counting.used[kind] += 1
        return method(*arguments, **settings)

    return called


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_an_engine_that_is_handed_in_is_used_everywhere(name, tmp_path, monkeypatch):
    """What trains and what samples in a command or a recipe comes from the run's engine, all of it."""
    words = kind_of_run(name, tmp_path)
    verb = verb_of(words)
    job_class, function = VERBS[verb].load()
    counting = Counting()
    learners, samplers = count_instances(monkeypatch, LocalLearner), count_instances(monkeypatch, NativeSampler)
    command = parsed(verb, job_class, [*words[len(verb.split()) :], "--out", str(tmp_path / "run")])
    run = Run.create(command.place.out, command.job, verb=verb)
    run.engine = counting.engine
    function(command.job, run)
    assert counting.made["learner"] == len(learners) > 0 and counting.used["learner"] > 0
    assert counting.made["text sampler"] == len(samplers)
    still = dict.fromkeys(("sft", "reward-model", "dpo", "kto"), "")
    acts = {**still, "recipe christiano": "control sampler"}.get(name, "text sampler")
    assert not acts or counting.used[acts] > 0


def count_instances(monkeypatch, kind):
    made, begin = [], kind.__init__

    def noted(self, *arguments, **settings):
        made.append(self)
        begin(self, *arguments, **settings)

    monkeypatch.setattr(kind, "__init__", noted)
    return made


def nothing(config, task, models, sampler, learner, run):
    return 0


NEEDS_PAIRS = Algorithm("dpo", nothing, lambda config, task: 1, learns_from=LearnsFrom.PAIRS, reference=True)
PLAIN = ReinforceConfig(steps=1, trajectories=8, samples=4)


@dataclass(frozen=True)
class WithoutLength:
    prompts: list

    def episode(self, key):
        raise AssertionError("not reached")


class WithoutPublish:
    def sample(self, environment, keys):
        raise AssertionError("not reached")


class Fewer(NativeSampler):
    def sample(self, environment, keys):
        return super().sample(environment, keys[1:])


class Reversed(NativeSampler):
    def sample(self, environment, keys):
        return super().sample(environment, keys[::-1])


class Silent(NativeSampler):
    def sample(self, environment, keys):
        return None


FAULTS = {
    "pairs": (NEEDS_PAIRS, PLAIN, {}, {}, "dpo learns from pairs: Judgements .*; it was given a Task of prompts"),
    "demonstrations": (SFT, SFTConfig(), {}, {}, "sft learns from demonstrations.*; it was given a Task of prompts"),
    "no critic": (PPO, PPOConfig(steps=1, trajectories=4), {}, {}, "ppo needs a critic"),
    "one sample": (REINFORCE, replace(PLAIN, samples=1), {}, {}, "samples is 1, expected 2 or more"),
    "uneven": (REINFORCE, replace(PLAIN, trajectories=10), {}, {}, "trajectories 10 and samples 4.*multiple"),
    "settings": (REINFORCE, SimpleNamespace(steps=1), {}, {}, "SimpleNamespace lacks learning_rate, .*reinforce need"),
    "no length": (
        REINFORCE,
        PLAIN,
        {"environment": WithoutLength([])},
        {},
        "a WithoutLength without __len__",
    ),
    "learner": (REINFORCE, PLAIN, {}, {"make_learner": lambda *a, **s: object()}, "lacks update, state, restore"),
    "sampler": (REINFORCE, PLAIN, {}, {"make_text_sampler": lambda *a: WithoutPublish()}, "lacks publish"),
    "fewer episodes": (REINFORCE, PLAIN, {}, {"make_text_sampler": Fewer}, "Fewer gave 7 episodes for 8 keys"),
    "other episodes": (REINFORCE, PLAIN, {}, {"make_text_sampler": Reversed}, "other keys than the 8 given"),
    "no batch": (REINFORCE, PLAIN, {}, {"make_text_sampler": Silent}, "Silent gave NoneType; expected a .*Batch"),
    "samples": (REINFORCE, replace(PLAIN, samples=None), {}, {}, "samples is None; reinforce expects a whole number"),
    "trajectories": (REINFORCE, replace(PLAIN, trajectories=8.0), {}, {}, "trajectories is 8.0; .*a whole number"),
    "rate": (REINFORCE, replace(PLAIN, learning_rate=-1.0), {}, {}, "learning_rate is -1.0; .*a number, 0 or more"),
    "score": (REINFORCE, PLAIN, {"score": None}, {}, "the task's score is None; expected a function"),
    "keys": (REINFORCE, PLAIN, {"keys": None}, {}, "the task's keys is None; expected a function"),
    "score of texts": (REINFORCE, PLAIN, {"score": count_of_a}, {}, "with a batch alone: .*TextScore"),
    "score a list": (
        REINFORCE,
        PLAIN,
        {"score": lambda batch: [1.0]},
        {},
        "score gave list; expected a tensor of shape",
    ),
    "score [B]": (REINFORCE, PLAIN, {"score": lambda batch: torch.ones(len(batch))}, {}, r"score gave \(8,\)"),
    "factory": (
        REINFORCE,
        PLAIN,
        {},
        {"make_learner": lambda groups: None},
        "make_learner is called with 1 arguments and",
    ),
    "updates": (
        replace(REINFORCE, total_updates=lambda config, task: None),
        PLAIN,
        {},
        {},
        "total_updates of reinforce",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_one_sentence_before_anything_is_written(fault, tmp_path):
    algorithm, config, task_changes, factories, says = FAULTS[fault]
    speaker = tiny_speaker()
    run = Run.create(tmp_path / "run", {})
    before = sorted(each.name for each in run.path.iterdir())
    task, engine = replace(tiny_task(speaker), **task_changes), replace(LOCAL, **factories)
    with pytest.raises(InputError, match=says) as error:
        train(algorithm, config, task, language_models(speaker), engine, run)
    assert "\n" not in str(error.value)
    assert sorted(each.name for each in run.path.iterdir()) == before


@pytest.mark.parametrize("place", ["algorithm", "models", "engine", "run", "callbacks"])
@pytest.mark.parametrize("given", [None, "runs/x"])
def test_an_argument_of_another_type_is_named(place, given, tmp_path):
    speaker = tiny_speaker()
    arguments = {
        "algorithm": REINFORCE,
        "config": PLAIN,
        "task": tiny_task(speaker),
        "models": language_models(speaker),
        "engine": LOCAL,
        "run": Run.create(tmp_path / "run", {}),
        "callbacks": Callbacks(),
    }
    with pytest.raises(InputError, match=rf"in the place of its {place}; expected an object of tutelage\."):
        train(**{**arguments, place: given})


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("no more")])
def test_from_python_too_the_state_says_how_a_run_ended(error, tmp_path):
    """state.json went on saying "running"."""

    def score(batch):
        if batch.keys[0].step == 1:
            raise error
        return torch.zeros(batch.mask_BT.shape)

    speaker, run = tiny_speaker(), Run.create(tmp_path / "run", {})
    run.skip_preflight = True
    task = Task(speaker.environment(["ab ", "cd "]), score)
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        train(REINFORCE, replace(PLAIN, steps=3), task, language_models(speaker), LOCAL, run, Callbacks(probes=0))
    outcome = outcome_of(run.path)
    assert outcome.step == 1
    assert outcome.status == ("interrupted" if error is KeyboardInterrupt else "crashed")
    assert outcome.message == ("" if error is KeyboardInterrupt else "no more")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"look": 3}, r"look is 3 \(.*\); expected a function of \(step, batch, score_BT\), or None"),
        ({"look": lambda step, batch: None}, r"look is <function .*too many positional arguments\); expected"),
        ({"demonstrations": ["a"]}, r"demonstrations are \['a'\]; expected a tutelage.trajectory.Batch"),
        ({"probes": -1}, "probes is -1; expected a whole number, 0 or more"),
        ({"probes": "four"}, "probes is 'four'"),
    ],
)
def test_malformed_callbacks_are_refused_where_they_are_made(given, says):
    with pytest.raises(InputError, match=says):
        Callbacks(**given)


@pytest.mark.parametrize("returned", ["text", 3, [3], {"prompt": "ab"}])
def test_a_look_that_returns_no_samples_is_named(returned, tmp_path):
    speaker, run = tiny_speaker(), Run.create(tmp_path / "run", {})
    run.skip_preflight = True
    callbacks = Callbacks(lambda step, batch, score_BT: returned, probes=0)
    with pytest.raises(InputError, match=r"the callbacks' look returned .*expected .*a list of mappings"):
        train(REINFORCE, PLAIN, tiny_task(speaker), language_models(speaker), LOCAL, run, callbacks)


def test_models_of_control_do_not_speak(tmp_path):
    speaker = tiny_speaker()
    run, models = Run.create(tmp_path / "run", {}), ControlModels(speaker.policy)
    with pytest.raises(InputError, match=r"ControlModels act in .* episodes and horizon; Language has no episodes"):
        train(REINFORCE, PLAIN, tiny_task(speaker), models, LOCAL, run)


def test_a_page_that_returns_nothing_loses_nothing(tmp_path):
    speaker, run = tiny_speaker(), Run.create(tmp_path / "run", {})
    algorithm = replace(REINFORCE, page=lambda *given: None)
    with pytest.raises(InputError, match="the page of reinforce returned None; expected after how many steps"):
        train(algorithm, PLAIN, tiny_task(speaker), language_models(speaker), LOCAL, run)
    assert (run.path / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"page": None}, "page is None"),
        ({"total_updates": 3}, "total_updates is 3"),
        ({"learns_from": "pairs"}, "PAIRS"),
    ],
)
def test_an_algorithm_of_wrong_parts_cannot_be_made(changes, says):
    with pytest.raises(InputError, match=f"reinforce: .*{says}"):
        replace(REINFORCE, **changes)


def test_an_engine_without_a_factory_is_refused_where_it_is_made():
    with pytest.raises(InputError, match="the engine's make_text_sampler is None"):
        replace(LOCAL, make_text_sampler=None)


def test_prompts_given_as_rows_and_rows_as_prompts(tmp_path):
    speaker = tiny_speaker()
    rows = encoded(speaker.codec, [("ab ", "cd")])
    with pytest.raises(InputError, match=r"reinforce learns from episodes.*; it was given a Batch of demonstrations"):
        train(REINFORCE, PLAIN, rows, language_models(speaker), LOCAL, Run.create(tmp_path / "run", {}))


def test_what_an_algorithm_does_not_need_it_does_not_get(tmp_path):
    given = {}

    def page(config, task, models, sampler, learner, run):
        given.update(critic=models.critic, reference=models.reference, groups=set(learner.parameters))
        return 0

    speaker = tiny_speaker()
    models = language_models(speaker, critic_of(speaker.policy, None))
    run = Run.create(tmp_path / "run", {})
    run.skip_preflight = True
    train(replace(REINFORCE, page=page), PLAIN, tiny_task(speaker), models, LOCAL, run)
    assert given == {"critic": None, "reference": None, "groups": {"policy"}}
    config = PPOConfig(steps=1, trajectories=4)
    run = Run.create(tmp_path / "ppo", {})
    run.skip_preflight = True
    train(replace(PPO, page=page), config, tiny_task(speaker), models, LOCAL, run)
    assert given["critic"] is not None and given["reference"] is not None and given["groups"] == {"policy", "value"}
