"""The verbs of the command line: what each does, and where its settings and its function are."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verb:
    """A verb that leaves a run. load: its settings and (job, run) -> summary; out: where runs go by default."""

    says: str
    load: Callable[[], tuple[type, Callable[[Any, Any], dict[str, Any]]]]
    out: str


@dataclass(frozen=True)
class Aside:
    """A verb that leaves no run of its own. module: its `main(arguments)` returns the exit code; "" for one below."""

    says: str
    module: str = ""


def _recipe(module: str, job_class: str, function: str) -> Callable[[], tuple[type, Callable[..., Any]]]:
    """Loaded when it is asked for: settings and function of one file in recipes/ or commands/."""

    def load() -> tuple[type, Callable[..., Any]]:
        loaded = importlib.import_module(f"tutelage.{module}")
        return getattr(loaded, job_class), getattr(loaded, function)

    return load


VERBS = {
    "demo": Verb(
        "the whole loop on the helpdesk that ships with tutelage",
        _recipe("recipes.demo", "DemoConfig", "demo"),
        "runs/demo",
    ),
    "sft": Verb("fine-tune a model on demonstrations", _recipe("commands.sft", "SFTJob", "sft_job"), "runs/sft"),
    "reward-model": Verb(
        "train a reward model on what people said",
        _recipe("commands.reward_model", "RewardModelJob", "reward_model_job"),
        "runs/reward-model",
    ),
    "ppo": Verb("optimise a policy against a reward", _recipe("commands.ppo", "PPOJob", "ppo_job"), "runs/ppo"),
    "ppo-ptx": Verb(
        "PPO that keeps a text likely, too (InstructGPT)",
        _recipe("commands.ppo_ptx", "PPOPTXJob", "ppo_ptx_job"),
        "runs/ppo-ptx",
    ),
    "a2c": Verb(
        "advantage actor-critic with a KL in the loss (GopherCite)",
        _recipe("commands.a2c", "A2CJob", "a2c_job"),
        "runs/a2c",
    ),
    "nlpo": Verb(
        "PPO that samples under a mask from an earlier policy (RL4LMs)",
        _recipe("commands.nlpo", "NLPOJob", "nlpo_job"),
        "runs/nlpo",
    ),
    "rloo": Verb(
        "REINFORCE with a leave-one-out baseline", _recipe("commands.rloo", "RLOOJob", "rloo_job"), "runs/rloo"
    ),
    "grpo": Verb(
        "replies compared within their group, without a critic",
        _recipe("commands.grpo", "GRPOJob", "grpo_job"),
        "runs/grpo",
    ),
    "dpo": Verb("learn from pairs without a reward model", _recipe("commands.dpo", "DPOJob", "dpo_job"), "runs/dpo"),
    "kto": Verb(
        "learn from single replies that are good or bad", _recipe("commands.kto", "KTOJob", "kto_job"), "runs/kto"
    ),
    "online-dpo": Verb(
        "learn from pairs of the policy's own replies",
        _recipe("commands.online_dpo", "OnlineDPOJob", "online_dpo_job"),
        "runs/online-dpo",
    ),
    "expert-iteration": Verb(
        "fine-tune on the best of the policy's own replies, again and again",
        _recipe("commands.expert_iteration", "ExpertIterationJob", "expert_iteration_job"),
        "runs/expert-iteration",
    ),
    "best-of-n": Verb(
        "sample n replies a prompt and keep the best",
        _recipe("commands.best_of_n", "BestOfNJob", "best_of_n_job"),
        "runs/best-of-n",
    ),
    "evaluate": Verb(
        "compare a policy with a baseline by one judge",
        _recipe("commands.evaluate_policies", "EvaluateJob", "evaluate_job"),
        "runs/evaluate",
    ),
    "evaluate policies": Verb(
        "compare two policies by several judges",
        _recipe("commands.evaluate_policies", "PoliciesJob", "policies_job"),
        "runs/evaluate-policies",
    ),
    "evaluate reward-model": Verb(
        "measure reward models by what people said",
        _recipe("commands.evaluate_reward_models", "RewardModelsJob", "reward_models_job"),
        "runs/evaluate-reward-model",
    ),
    "evaluate learning-curve": Verb(
        "tell what more labels would bring",
        _recipe("commands.evaluate_learning_curve", "LearningCurveJob", "learning_curve_job"),
        "runs/learning-curve",
    ),
    "loop": Verb(
        "rounds of asking, reward model and PPO; with --live while people answer",
        _recipe("commands.loop", "LoopConfig", "loop"),
        "runs/loop",
    ),
    "overoptimise": Verb(
        "gold against proxy as a policy is optimised too far",
        _recipe("recipes.overoptimise", "OveroptimiseConfig", "overoptimise"),
        "runs/overoptimise",
    ),
    "compare": Verb(
        "ten algorithms from one start, at an equal budget",
        _recipe("recipes.compare", "CompareConfig", "compare"),
        "runs/compare",
    ),
    "recipe christiano": Verb(
        "Christiano 2017: a policy from preferences over clips",
        _recipe("recipes.christiano", "ChristianoConfig", "christiano"),
        "runs/christiano",
    ),
    "frontier": Verb(
        "reward mix, KL budget and rule breaks: which objective to take",
        _recipe("recipes.frontier", "FrontierConfig", "frontier"),
        "runs/frontier",
    ),
    "recipe assistant": Verb(
        "InstructGPT and Bai 2022 in small: a chat model made more helpful",
        _recipe("recipes.assistant", "AssistantConfig", "assistant"),
        "runs/assistant",
    ),
    "recipe sentiment": Verb(
        "Ziegler 2019 in small: positive stories",
        _recipe("recipes.sentiment", "SentimentConfig", "sentiment"),
        "runs/sentiment",
    ),
    "recipe tamer": Verb(
        "Knox & Stone 2008: games taught by hand", _recipe("recipes.tamer", "TamerConfig", "tamer_recipe"), "runs/tamer"
    ),
}
OF_STAGES = {
    "demo",
    "loop",
    "overoptimise",
    "frontier",
    "recipe assistant",
    "recipe christiano",
    "recipe sentiment",
    "recipe tamer",
}
"""Verbs of which a stage reads the files of those before it."""
ASIDES = {
    "resume": Aside("continue a run that was interrupted or killed: tutelage resume RUN"),
    "verify-resume": Aside("replay a run from its checkpoints and compare to the bit: tutelage verify-resume RUN"),
    "chat": Aside("talk to a model: tutelage chat MODEL", "tutelage.commands.chat"),
    "correspondence": Aside(
        "one reply as states, actions, rewards, returns, advantages: tutelage correspondence MODEL PROMPT",
        "tutelage.commands.correspondence",
    ),
    "doctor": Aside("say what went wrong in runs, and what to do: tutelage doctor RUN", "tutelage.commands.doctor"),
    "report": Aside("write the report of a run again: tutelage report RUN", "tutelage.commands.report"),
    "feedback": Aside("verify, export, import or count labels: tutelage feedback verify", "tutelage.commands.feedback"),
    "studio": Aside("look at runs and talk to their models: tutelage studio RUNS", "tutelage.commands.studio"),
    "tamer": Aside("teach an agent a game by two keys: tutelage tamer tetris", "tutelage.commands.tamer"),
    "label": Aside("ask people on a page: tutelage label FILE (or --from-run RUN)", "tutelage.commands.label"),
}


def verb_of(arguments: list[str]) -> str:
    """One word, or two where verbs share the first and no flag follows it."""
    shared = {name.split()[0] for name in VERBS if " " in name}
    second = arguments[1:2] if arguments[0] in shared else []
    return " ".join([arguments[0], *(each for each in second if not each.startswith("-"))])


def closest(arguments: list[str]) -> str:
    """The verb that was probably meant, as a question, or nothing. Verbs have one word or two."""
    known = [*VERBS, *ASIDES]
    words = [each.lower() for each in arguments[:2] if not each.startswith("-")]
    family = [f"`tutelage {each}`" for each in known if each.split()[0] == words[0]]
    if len(words) == 2:
        found = difflib.get_close_matches(" ".join(words), known, n=1, cutoff=0.8)
    else:
        found = [] if family else difflib.get_close_matches(words[0], known, n=1)
    if not found and family:
        return f"Did you mean one of {', '.join(family)}? "
    found = found or difflib.get_close_matches(words[0], known, n=1)
    return f"Did you mean `tutelage {found[0]}`? " if found else ""


def overview() -> str:
    lines = ["tutelage: reinforcement learning from human feedback, the whole loop", ""]
    lines += [f"  tutelage {name:24s} {verb.says}" for name, verb in VERBS.items()]
    lines += [f"  tutelage {name:24s} {aside.says}" for name, aside in ASIDES.items()]
    return "\n".join([*lines, "", "tutelage VERB --help tells the flags of a verb."])
