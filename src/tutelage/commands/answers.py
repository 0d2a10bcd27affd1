"""What people answered, as data: `--data` may name a labelling project, and learns from exactly what is there now."""

from __future__ import annotations

from pathlib import Path

from tutelage.data.errors import InputError
from tutelage.execution.ranks import is_main_rank, rank_0_decides, refuse_without_rank_0, wait_for_all_ranks
from tutelage.feedback.exports import export
from tutelage.feedback.store import Store
from tutelage.runs.files import write_json
from tutelage.runs.run import Run

FILE = "feedback.db"


def frozen(source: str, run: Run, name: str = "labels") -> str:
    """The source itself; of a project's folder, a feedback.db or a database's URL a file of its labels.

    The labels are frozen in the store as a snapshot, and the run keeps them (NAME.jsonl) with the snapshot's name
    (NAME.json): so it is known from both sides which labels made which model, and a resumed run reads the same ones.
    """
    place = store_of(source)
    if place is None:
        return source
    path = run.path / f"{name}.jsonl"
    refuse_without_rank_0("training on the labels of a store")
    if rank_0_decides(path.exists()):
        return str(path)
    if not is_main_rank():
        wait_for_all_ranks()
        return str(path)
    with Store.open(place) as store:
        taken = store.snapshot()
        labels = store.snapshot_labels(taken.id)
        if not labels:
            raise InputError(
                f"{source}: nobody has answered anything there yet. Label first: tutelage label --project."
            )
        where = {"store": store.place, "snapshot": taken.id, "sha256": taken.sha256, "labels": len(labels)}
        write_json(run.path / f"{name}.json", where)
        told = export(labels, "records", path, {}, False)
    wait_for_all_ranks()
    print(f"{source}: {told}; snapshot {taken.id}")
    return str(path)


def store_of(source: str) -> str | None:
    """Where the store is, if the source is one."""
    if source.startswith(("postgresql://", "postgresql+psycopg://")):
        return source
    path = Path(source).expanduser()
    path = path / FILE if path.is_dir() else path
    return str(path) if path.name.endswith(".db") and path.is_file() else None
