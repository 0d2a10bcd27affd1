"""The command line: a verb, its flags, its function. Flags come from the settings; errors say what to do."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, TypeVar

import tyro

from tutelage import __version__
from tutelage.commands import resume as resuming
from tutelage.commands.labelling_page import labelling_page
from tutelage.commands.verbs import ASIDES, OF_STAGES, VERBS, closest, overview, verb_of
from tutelage.data.errors import InputError
from tutelage.execution.ranks import is_main_rank, rank, rank_0_decides, refuse_without_rank_0
from tutelage.runs.files import CHECKPOINT_SECONDS
from tutelage.runs.limits import refuse_impossible_numbers
from tutelage.runs.settings import config_file, overridden, read_settings, unset
from tutelage.runs.terminal import hide_library_warnings, hush, run_until_pipe_closes
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
    dry_run: bool = False
    """Say what memory and time it takes, by two steps whose result is thrown away: ppo, sft, reward-model."""
    on_disease: Literal["warn", "stop", "best", "off"] = "warn"
    """What the doctor does that looks at the run as it goes: say what it finds; also end the run where going on is a
    waste; or go back to the best checkpoint then and end there; or nothing."""


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
    if place.dry_run:
        return importlib.import_module("tutelage.commands.dry_run").main(name, job, place)
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


def continue_run(name: str, job: Any, path: Path) -> int:
    return carry_out(name, job, Place(out=str(path), resume=True))


def resume(path: Path) -> int:
    return resuming.resume(path, continue_run)


ON_RUNS: dict[str, Callable[[Path], int]] = {"resume": resume, "verify-resume": resuming.verify_resume}

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


if __name__ == "__main__":
    main()
