"""What the documents say is there, is there: links, lines of code, verbs, metrics, columns, samples."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from tutelage.algorithms.dpo import DPOConfig
from tutelage.algorithms.expert_iteration import ExpertIterationConfig
from tutelage.algorithms.kto import KTOConfig
from tutelage.algorithms.online_dpo import OnlineDPOConfig
from tutelage.algorithms.ppo import PPOConfig
from tutelage.cli import parsed, run_command
from tutelage.commands.verbs import ASIDES, VERBS, verb_of
from tutelage.data.columns import Coding, Columns, Number, Picking, parse_columns
from tutelage.data.files import READERS
from tutelage.data.questions import Pair, Question
from tutelage.data.records import Candidate, Comparison, Context, Record, Verdict
from tutelage.doctor.diagnosis import AFTER_DEPLOYMENT, DISEASES
from tutelage.evaluation import win_rates
from tutelage.evaluation.label_counts import Point, curve
from tutelage.evaluation.reward_models import report
from tutelage.evaluation.verdicts import Answers, among_people
from tutelage.evaluation.win_rates import Judgements, Replies, agreements, by_scores
from tutelage.runs.files import read_lines

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCE = ROOT / "src" / "tutelage"
NOT_METRICS = {"step", "seconds"}


def text(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_line_of_the_correspondence_is_in_its_file():
    rows = [line for line in text("correspondence.md").splitlines() if line.endswith(".py` |")]
    assert len(rows) > 15
    for row in rows:
        *_, line, name, _ = (cell.strip() for cell in re.split(r"(?<!\\)\|", row))
        source = (SOURCE / name.strip("`")).read_text(encoding="utf-8")
        assert line.strip("`").replace("\\|", "|") in source, row


def test_every_verb_is_in_the_readme_or_the_documents():
    everything = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in (*VERBS, *ASIDES):
        assert f"tutelage {name}" in everything, name


def test_every_check_of_the_preflight_is_documented(model_folder, files):
    command = ["ppo", "--data", str(files / "prompts.jsonl"), "--reward", f"{__name__}:length", "--steps", "1"]
    out = str(files / "out")
    assert run_command([*command, "--model", str(model_folder), "--max-new-tokens", "4", "--out", out]) == 0
    found = [each["name"] for each in json.loads((files / "out" / "preflight.json").read_text())["findings"]]
    assert found == re.findall(r"^\| `([a-z -]+)` \|", text("preflight.md"), flags=re.M)


def documented_metrics() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", text("metrics.md"), flags=re.M))


def test_every_metric_is_documented(model_folder, files):
    out, model = files / "out", str(model_folder)
    quick = ["--max-new-tokens", "4", "--steps", "1", "--trajectories", "4"]
    for number, command in enumerate(
        (
            ["sft", "--data", str(files / "demonstrations.jsonl"), "--steps", "1"],
            ["reward-model", "--data", str(files / "comparisons.jsonl"), "--epochs", "0.1"],
            ["ppo", "--data", str(files / "prompts.jsonl"), "--reward", f"{__name__}:length", *quick],
            ["dpo", "--data", str(files / "comparisons.jsonl"), "--steps", "1"],
            ["kto", "--data", str(files / "comparisons.jsonl"), "--steps", "1"],
            ["online-dpo", "--data", str(files / "prompts.jsonl"), "--reward", f"{__name__}:length", *quick],
            ["expert-iteration", "--data", str(files / "prompts.jsonl"), "--reward", f"{__name__}:length", *quick],
        )
    ):
        assert run_command([*command, "--model", model, "--out", str(out / str(number))]) == 0
        for event in read_lines(out / str(number) / "events.jsonl"):
            assert event.keys() <= documented_metrics(), event.keys() - documented_metrics()


def length(prompts, responses):
    return [float(len(response)) for response in responses]


def test_every_disease_and_every_threshold_is_documented():
    page = text("doctor.md")
    everything = (*DISEASES, AFTER_DEPLOYMENT)
    assert re.findall(r"^### (.+)$", page, flags=re.M) == [each.name for each in everything]
    for each in everything:
        pages = {each.examine.__module__, *(EVIDENCE.get(each.name, ()))}
        part = page.split(f"### {each.name}\n")[1].split("\n### ")[0]
        for module in map(importlib.import_module, pages):
            for name, value in vars(module).items():
                if name.isupper() and isinstance(value, (int, float)) and f"\n{name} =" in source_of(module):
                    assert f"`{name} = {value:g}`" in part.replace("\n  ", " "), (each.name, name, value)


EVIDENCE = {
    "reward hacking": ["tutelage.doctor.witness"],
    "KL penalty too strong": ["tutelage.doctor.learning"],
    "learning rate too low": ["tutelage.doctor.learning"],
}


def source_of(module) -> str:
    return "\n" + Path(module.__file__).read_text(encoding="utf-8")


def test_every_flag_that_the_doctor_names_exists(capsys):
    known = set()
    for verb in ("ppo", "reward-model", "demo"):
        with pytest.raises(SystemExit):
            run_command([verb, "--help"])
        known |= set(re.findall(r"--[a-z][a-z.-]+", capsys.readouterr().out))
    pages = "".join(page.read_text(encoding="utf-8") for page in (SOURCE / "doctor").glob("*.py"))
    named = set(re.findall(r"--[a-z][a-z-]+", pages + text("doctor.md"))) | {
        f"--{name}".replace("_", "-") for name in re.findall(r'stage\.flag\("(\w+)"\)', pages)
    }
    assert not named - known - {"--json", "--deployed"}, named - known


def test_metrics_say_unit_reduction_and_what_to_do():
    rows = [line for line in text("metrics.md").splitlines() if line.startswith("| `")]
    for row in rows:
        assert len(re.split(r"(?<!\\)\|", row)) == 8, row


@pytest.mark.parametrize("record", [Context, Candidate, Verdict, Comparison], ids=lambda record: record.__name__)
def test_every_field_of_a_comparison_is_documented(record: type[Record]):
    for name in record.model_fields:
        assert re.search(rf"\b{name}\b", text("schema.md")), name


def test_every_key_of_the_summaries_is_documented():
    pages = ("recipes/demo", "recipes/sentiment", "commands/sft", "commands/best_of_n", "commands/reward_model")
    pages += ("commands/dpo", "commands/kto", "commands/preference_data")
    source = "".join((SOURCE / f"{name}.py").read_text() for name in pages)
    keys = set()
    for function in (
        "summarise",
        "sft_job",
        "reward_model_job",
        "best_of_n_job",
        "dpo_job",
        "kto_job",
        "load_material",
    ):
        for body in re.findall(rf"^def {function}\(.*?(?=^def |\Z)", source, flags=re.M | re.S):
            keys |= set(re.findall(r'^\s+"(\w+)":', body, flags=re.M)) | set(re.findall(r'\.row\("(\w+)"\)', body))
    assert len(keys) >= 30
    undocumented = {key for key in keys if not re.search(rf"\b{key}\b", text("schema.md"))}
    assert not undocumented - {"accuracy", "dropped_why"}


def keys_within(found) -> set[str]:
    """Of all mappings inside, but for names that the data give (axes of ratings)."""
    if isinstance(found, dict):
        inner = {name: each for name, each in found.items() if name != "ratings" or not isinstance(each, dict)}
        rated = list(found["ratings"].values()) if isinstance(found.get("ratings"), dict) else []
        return set(found).union(*map(keys_within, [*inner.values(), *rated]))
    return set().union(*map(keys_within, found)) if isinstance(found, list) else set()


def evaluations() -> list[dict]:
    """What the evaluations of reward models, policies and label counts leave, of a little of everything."""
    votes = [{"x": 1.0, "y": 1.0}, {"x": 1.0, "y": 0.0}]
    pairs = (Pair(0, 1, 1.0), Pair(0, 2, 1.0))
    questions = [
        *(
            Question(f"v{i}", ("a", "bb"), (Pair(0, 1, sum(each.values()) / 2),), votes=each)
            for i, each in enumerate(votes)
        ),
        *(Question(f"q{i}", ("aa", "b", "c"), pairs, 0, columns={"kind": i}) for i in range(2)),
        *(Question(f"r{i}", ("a", "b"), ratings={"good": (float(i), 1.0), "grade": (float(i), 2.0)}) for i in range(2)),
    ]
    generator = np.random.default_rng(0)
    told = report(questions, [generator.normal(size=len(each.responses)) for each in questions], by="kind")
    replies = Replies(["q", "r", "s"], ["a", "bb", "c"], ["aaa", "b", "c"])
    seen = np.array([1.0, 0.0, 0.5])
    judges = [Judgements("x", seen, seen, seen), by_scores("y", seen, 1 - seen)]
    longer = Replies(["q", "r"], ["aa", "bb"], ["a", "b"])
    always_longer = win_rates.row(by_scores("z", seen[:2], seen[1:]), longer)
    rows = [*(win_rates.row(each, replies) for each in judges), always_longer]
    answers = Answers(replies, judges[0], {"ann": {0: [1.0], 1: [0.0]}, "bob": {0: [1.0], 1: [1.0]}}, 0)
    points = [
        Point(count, seed, np.repeat([1.0, 0.0], [70 + count // 10 + seed, 30 - count // 10 - seed]), np.arange(100))
        for count in (50, 100, 200)
        for seed in (0, 1)
    ]
    curves = [curve(points), curve(points[:2])]
    return [told, *rows, among_people(answers), *agreements(judges), *curves]


def test_every_key_of_an_evaluation_is_documented():
    keys = keys_within(evaluations())
    assert {"area_under_curve", "rank_correlation", "calibration_error_repaired", "not_fitted", "fit", "kappa"} <= keys
    assert {
        "accuracy_unanimous",
        "not_length_controlled",
        "swapped_win_rate",
        "human_ceiling",
        "within_prompts",
    } <= keys
    ends = ("_low", "_high", "_n")
    undocumented = {key for key in keys if not key.endswith(ends) and not re.search(rf"`{key}`", text("schema.md"))}
    assert not undocumented


COMMANDS = re.findall(r"^tutelage (.+)$", text("evaluation.md"), flags=re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_documented_evaluation_is_understood(command):
    arguments = command.split()
    name = verb_of(arguments)
    job_class, _ = VERBS[name].load()
    assert isinstance(parsed(name, job_class, arguments[2:]).job, job_class)


def test_every_kind_of_file_is_documented():
    for suffix in READERS:
        assert f"`{suffix}`" in text("data.md") or suffix in text("data.md"), suffix


def test_every_name_of_a_mapping_and_field_of_a_question_is_documented():
    page = text("data.md")
    for each in (*dataclasses.fields(Columns), *dataclasses.fields(Question)):
        assert re.search(rf"^\| .*`{each.name}`.* \|", page, flags=re.M), each.name
    for each in (*dataclasses.fields(Coding), *dataclasses.fields(Picking), *dataclasses.fields(Number), *Pair._fields):
        assert re.search(rf"\b{each if isinstance(each, str) else each.name}\b", page), each


MAPPINGS = re.findall(r"```yaml\n(.*?)```", text("data.md"), flags=re.S)


@pytest.mark.parametrize("mapping", MAPPINGS, ids=range(len(MAPPINGS)))
def test_every_documented_mapping_is_one(mapping, tmp_path):
    """Read with real data where they lie beside the repository: tests/contracts/test_real_labels.py."""
    (tmp_path / "mapping.yaml").write_text(mapping)
    columns = parse_columns([str(tmp_path / "mapping.yaml")])
    assert columns and (columns.preference or columns.ranking or columns.ratings)


def test_every_ppo_setting_has_its_row_for_those_from_trl():
    here = text("from-trl.md")
    own = {"parity_tolerance_nats"}  # has no counterpart
    for each in dataclasses.fields(PPOConfig):
        assert each.name in own or f"`{each.name}`" in here, each.name


@pytest.mark.parametrize(
    "settings", [DPOConfig, KTOConfig, OnlineDPOConfig, ExpertIterationConfig], ids=lambda each: each.__name__
)
def test_every_setting_of_an_algorithm_is_documented(settings):
    rows = " ".join(re.findall(r"^\| (`.+?) \|", text("algorithms.md"), flags=re.M))
    for each in dataclasses.fields(settings):
        assert f"`{each.name}`" in rows, each.name


def samples() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.S)):
            found.append((f"{page.stem}-{number}", code))
    return found


@pytest.mark.parametrize("code", [code for _, code in samples()], ids=[name for name, _ in samples()])
def test_samples_run(code, words_folder, tmp_path, monkeypatch, capsys):
    """With steps cut down to three; everything else as it is printed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "sft").mkdir(parents=True)
    (tmp_path / "runs" / "sft" / "model").symlink_to(words_folder)
    rows = [
        {"prompt": f"{word} ", "chosen": "sorry please", "rejected": "no"}
        for word in ["Where", "It", "Can", "my", "is"]
    ]
    (tmp_path / "comparisons.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 2))
    short = code.replace("steps=100", "steps=3").replace("steps: int = 100", "steps: int = 3")
    exec(compile(short, "sample", "exec", dont_inherit=True), {"__name__": "sample"})
    without_a_run = ("tutelage.training.stepwise", "tutelage.evaluation", "tutelage.feedback")
    assert any((tmp_path / "runs").glob("*/summary.json")) or any(name in code for name in without_a_run)


def test_the_first_screen_of_the_readme_says_what_one_needs():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    first = "\n".join(lines[:60])
    for part in ("make demo", "make test", "docs/demo.png", "win_rate_ppo_over_sft"):
        assert part in first, part
    assert (ROOT / "docs" / "demo.png").stat().st_size > 10_000
