"""The command line: a verb, its flags, its function. Flags come from the settings; errors say what to do."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro

from tutelage import __version__
from tutelage.data.errors import InputError
from tutelage.data.secrets import MASK
from tutelage.execution.ranks import is_main_rank, rank, rank_0_decides, refuse_without_rank_0
from tutelage.runs.files import entry, read_json, write_json
from tutelage.runs.limits import refuse_impossible_numbers
from tutelage.runs.settings import CHECKPOINT_SECONDS, config_file, overridden, read_settings
from tutelage.runs.terminal import hide_library_warnings, run_until_pipe_closes
from tutelage.runs.trackers import tracker

if TYPE_CHECKING:  # it brings torch, for which whoever opens a page or asks for help should not wait
    from tutelage.runs.run import Run


@dataclass(frozen=True)
class Place:
    """Where the run goes."""

    out: str
    """Folder of the run; one that holds something is refused."""
    config: str | None = None
    """YAML file of settings, by the names of the flags; flags on the command line win."""
    resume: bool = False
    """Continue the run in --out from its last checkpoint, to the bit as if it had never stopped."""
    overwrite: bool = False
    """Replace the run in --out."""
    track: tuple[str, ...] = ()
    """Also send events to: tensorboard, wandb, trackio."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """At least so long between checkpoints; longer where writing one takes more than 3 % of that. 0: at every step."""
    skip_preflight: bool = False
    """Begin PPO without checking first whether sampler, learner, reference, reward and tokenizer fit together."""
    on_disease: Literal["warn", "stop", "best", "off"] = "warn"
    """What the doctor does that looks at the run as it goes: say what it finds; also end the run where going on is a
    waste; or go back to the best checkpoint then and end there; or nothing."""


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
    "recipe sentiment": Verb(
        "Ziegler 2019 in small: positive stories",
        _recipe("recipes.sentiment", "SentimentConfig", "sentiment"),
        "runs/sentiment",
    ),
    "recipe tamer": Verb(
        "Knox & Stone 2008: games taught by hand", _recipe("recipes.tamer", "TamerConfig", "tamer_recipe"), "runs/tamer"
    ),
}
OF_STAGES = {"demo", "loop", "overoptimise", "frontier", "recipe christiano", "recipe sentiment", "recipe tamer"}
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


def main(arguments: list[str] | None = None) -> None:
    """The `tutelage` command; exits 0, 2 where what was given cannot be used, 130 where it was interrupted, 141 where
    nobody reads its output any more (`tutelage --help | head -1`), as a command does that SIGPIPE ends."""
    hide_library_warnings()
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run_until_pipe_closes(lambda: run_command(given)))


def run_command(arguments: list[str]) -> int:
    try:
        return dispatch(arguments)
    except InputError as error:
        print(f"tutelage: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tutelage: interrupted before a run was begun; nothing was written.", file=sys.stderr)
        return 130


def hush() -> None:
    """Quiet transformers, where a verb has loaded it."""
    if "transformers" in sys.modules:
        importlib.import_module("tutelage.models.pretrained").hush()


def dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"tutelage {__version__}")
        return 0
    if arguments[0] in (*ASIDES.keys() - {"resume"},) and not is_main_rank():
        raise InputError(f"`tutelage {arguments[0]}` is work of one process, and RANK is {rank()} here. Unset RANK.")
    if arguments[0] in ON_RUNS:
        if len(arguments) != 2 or arguments[1].startswith("-"):
            raise InputError(f"tutelage {arguments[0]} takes one run folder: tutelage {arguments[0]} runs/demo")
        return ON_RUNS[arguments[0]](Path(arguments[1]))
    if arguments[0] in ASIDES:
        aside = importlib.import_module(ASIDES[arguments[0]].module)
        hush()
        return aside.main(arguments[1:])
    name = verb_of(arguments)
    if name not in VERBS:
        raise InputError(
            f"there is no `tutelage {name}`. {closest(arguments)}There are: {', '.join([*VERBS, *ASIDES])}."
        )
    return perform(name, arguments[len(name.split()) :])


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


def perform(name: str, arguments: list[str]) -> int:
    """Parse, run, report. A run that is interrupted leaves a folder that says where."""
    job_class, _ = VERBS[name].load()
    command = parsed(name, job_class, arguments)
    return carry_out(name, command.job, command.place)


def carry_out(name: str, job: Any, place: Place) -> int:
    """On a rank other than 0 nothing is printed but the error that ends it, with the number of the rank."""
    if is_main_rank():
        return carry_out_here(name, job, place)
    if name in OF_STAGES:
        refuse_without_rank_0(f"`tutelage {name}`, a run of several stages,")
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            return carry_out_here(name, job, place)
    except InputError as error:
        raise InputError(f"rank {rank()}: {error}") from error


def carry_out_here(name: str, job: Any, place: Place) -> int:
    from tutelage.doctor.returning import returned
    from tutelage.doctor.watching import KEPT, Diseased, Watch
    from tutelage.runs.log import OutputLog
    from tutelage.runs.run import Run

    hush()
    refuse_impossible_numbers(job)
    refuse_impossible_numbers(place)
    run = Run.create(
        place.out,
        job,
        resume=place.resume,
        overwrite=place.overwrite,
        verb=name,
        checkpoint_seconds=place.checkpoint_seconds,
    )
    if run.finished:
        if is_main_rank():
            print(f"{run.path} is finished: nothing to resume. Its report: {write_report(run.path)}")
        return 0
    run.skip_preflight = place.skip_preflight
    run.watch = Watch(place.on_disease)
    run.checkpoints = dataclasses.replace(run.checkpoints, keep=KEPT if place.on_disease == "best" else 2)
    log = OutputLog(run.path, f"tutelage {name}" + (" --resume" if place.resume else ""))
    try:
        run.trackers = tuple(tracker(each, run.path) for each in place.track)
        with labelling_page(job, run.path):
            run.mark_finished(VERBS[name].load()[1](job, run))
    except KeyboardInterrupt:
        run.claim.settle()
        run.interrupted()
        print(f"tutelage: interrupted at {run.where}. {run.path} is usable. {how_to_resume(run)}", file=sys.stderr)
        return 130
    except BaseException as error:
        if isinstance(error, (InputError, BrokenPipeError)) and not run.claim.settled:
            run.claim.withdraw()  # nothing was computed yet: a corrected command begins where this one did
            raise
        run.claim.settle()
        run.interrupted(error)
        log.say_error(error)
        if place.on_disease != "best" or not isinstance(error, Diseased) or not rank_0_decides(returned(error)):
            raise
    else:
        if is_main_rank():
            say(run)
        return 0
    finally:
        for each in run.trackers:
            each.close()
        log.end()
    return carry_out(name, job, dataclasses.replace(place, resume=True, overwrite=False))


@contextmanager
def labelling_page(job: Any, path: Path) -> Iterator[None]:
    """The page beside a run that asks people, in a process of its own, so that no answer waits for training."""
    asking = getattr(job, "asking", job)
    if getattr(asking, "labeller", "") != "human" or getattr(asking, "without_page", False) or not is_main_rank():
        yield
        return
    program = [sys.executable, "-c", "from tutelage.cli import main; main()"]
    page = subprocess.Popen([*program, "label", "--from-run", str(path), "--port", "0"])  # another page may be open
    try:
        yield
    finally:
        page.terminate()
        page.wait(timeout=10)


def write_report(path: Path) -> Path:
    """Loaded when it is needed: the page of a person who waits comes a second sooner."""
    from tutelage.report.page import write

    return write(path)


def how_to_resume(run: Run) -> str:
    return f"`tutelage resume {run.path}`, or the same command with --resume, continues from its last checkpoint."


def say(run: Run) -> None:
    """The numbers of the summary, then where the report is."""
    for key, value in run.summary.items():
        if isinstance(value, (int, float, str)):
            print(f"  {key:34s} {value:.4g}" if isinstance(value, float) else f"  {key:34s} {value}")
    print(f"report: {write_report(run.path)}")


def stored(path: Path) -> tuple[str, Any]:
    """(verb, job) of a run, from its config.json."""
    config = read_json(path / "config.json")
    name = config.get("verb")
    if not isinstance(name, str) or name not in VERBS:
        raise InputError(f"{path} was not begun by a verb of tutelage, so it cannot be resumed from here.")
    job_class, _ = VERBS[name].load()
    settings = entry(path / "config.json", config, "settings", dict)
    return name, overridden(unset(job_class), settings, str(path / "config.json"))


@contextmanager
def where_begun(path: Path) -> Iterator[Path]:
    """In the folder that the run's command was given in, where it still exists: its settings hold paths and modules
    that are relative to it. Gives the path of the run from there."""
    here = Path.cwd()
    before = read_json(path / "config.json").get("working_directory")
    if not isinstance(before, str) or not Path(before).is_dir() or Path(before) == here:
        yield path
        return
    whole = path.resolve()
    os.chdir(before)
    try:
        yield whole
    finally:
        os.chdir(here)


def resume(path: Path) -> int:
    """Continues a run where its last checkpoint left it."""
    with where_begun(path.expanduser()) as found:
        return resume_here(found)


def resume_here(path: Path) -> int:
    name, job = stored(path)
    if MASK in (path / "config.json").read_text(encoding="utf-8"):
        raise InputError(
            f"{path / 'config.json'} keeps no passwords and keys, and one of its settings had one ({MASK}): give the "
            "same command again with --resume."
        )
    return carry_out(name, job, Place(out=str(path), resume=True))


def verify_resume(path: Path) -> int:
    """Replays every stage from its last checkpoint but one, on a copy, and compares the states that it arrives at."""
    with where_begun(path.expanduser()) as found:
        return verify_resume_here(found)


def verify_resume_here(path: Path) -> int:
    from tutelage.runs.checkpoints import Checkpoints

    name, job = stored(path)
    hush()
    stages = [each for each in (path, *sorted(path.iterdir())) if Checkpoints(each / "checkpoints").steps()]
    if not stages:
        raise InputError(f"{path} has no checkpoint yet, so there is nothing to replay.")
    same = [replayed(name, job, path, stage) for stage in stages]
    return 0 if all(same) else 1


def replayed(name: str, job: Any, path: Path, stage: Path) -> bool:
    """Whether this stage, resumed one checkpoint earlier, arrives at the same bits."""
    from tutelage.runs.checkpoints import Checkpoints
    from tutelage.runs.run import Reached, Run

    *_, last = Checkpoints(stage / "checkpoints").steps()
    expected = Checkpoints(stage / "checkpoints").load(last).content
    inside = stage.relative_to(path)
    with tempfile.TemporaryDirectory(prefix="tutelage-replay-") as folder:
        copy = Path(folder) / "run"
        shutil.copytree(path, copy)
        shutil.rmtree(Checkpoints(copy / inside / "checkpoints").path(last))
        for each in {copy, copy / inside}:
            (each / "state.json").unlink()
            write_json(each / "state.json", {"status": "interrupted", "name": each.name, "tutelage": "run"})
        before = Checkpoints(copy / inside / "checkpoints").steps()
        run = Run.create(copy, job, resume=True, verb=name)
        run.until = (inside.name or copy.name, last)
        try:
            VERBS[name].load()[1](job, run)
            found = ""
        except Reached as reached:
            found = reached.content
    says = "the same to the bit" if found == expected else f"DIFFERENT: {found[:12]} is not {expected[:12]}"
    print(f"{stage}: step {before[-1] if before else 0} to {last}: {says}")
    return found == expected


ON_RUNS: dict[str, Callable[[Path], int]] = {"resume": resume, "verify-resume": verify_resume}

J = TypeVar("J")


@dataclass(frozen=True)
class Command(Generic[J]):
    """A job and its place; neither shows in the names of the flags."""

    job: Annotated[J, tyro.conf.arg(name="")]
    place: Annotated[Place, tyro.conf.arg(name="")]


def parsed(name: str, job_class: type, arguments: list[str]) -> Command[Any]:
    """Defaults, then the YAML file of --config, then flags. A flag that is wrong ends the program with code 2."""
    default = unset(job_class)
    source = config_file(arguments)
    if source is not None:
        default = overridden(default, read_settings(source), source)
    return tyro.cli(
        Command[job_class],
        args=arguments,
        default=Command(default, Place(out=VERBS[name].out)),
        prog=f"tutelage {name}",
        description=job_class.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def unset(job_class: type) -> Any:
    """An instance whose required fields are still to be given."""
    required = [
        each.name
        for each in dataclasses.fields(job_class)
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    ]
    return job_class(**dict.fromkeys(required, tyro.MISSING))


if __name__ == "__main__":
    main()
