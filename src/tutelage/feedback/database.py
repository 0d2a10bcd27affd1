"""Opening the database and its transactions: SQLite by default, PostgreSQL for teams, one contract.

Writers take turns. On SQLite a transaction that writes begins with BEGIN IMMEDIATE; on PostgreSQL it locks the one row
of `head` first. Every event is hashed together with the one before, so two writers could not go side by side anyway.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event, insert, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from tutelage.data.errors import InputError
from tutelage.feedback import schema
from tutelage.feedback.asking import Refused
from tutelage.feedback.chain import START

BUSY_SECONDS = 30  # how long a writer waits for another process's
NETWORKED = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs", "lustre"}
OPENING = 730_416_001  # advisory lock of PostgreSQL while tables are made


class Database:
    """An engine with two kinds of transaction. Thread-safe; one per process and store."""

    def __init__(self, url: str | Path) -> None:
        self.url = database_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._turn = threading.Lock()  # in order of arrival; SQLite's own waiting sleeps and is unfair
        self.engine = _engine(self.url)
        if self.sqlite:
            prepare(Path(str(self.url.database)))
            event.listen(self.engine, "connect", _settings)
            event.listen(self.engine, "begin", _begin)
        try:
            with self.explained():
                self._prepare_tables()
        except BaseException:
            self.engine.dispose()
            raise

    @property
    def place(self) -> str:
        """The file, or the URL without its password."""
        return str(self.url.database) if self.sqlite else self.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the database."""
        level = {} if self.sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.explained(), self.engine.connect() as connection:
            yield connection.execution_options(**level)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """All of it or nothing; durable when it ends."""
        with self.explained(), self._turn, self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def explained(self) -> Iterator[None]:
        """The database's own troubles in one sentence."""
        try:
            yield
        except OperationalError as error:
            raise Refused(f"{self.place} could not be used: {_first_line(error)}. {_advice(error, self)}") from error
        except DBAPIError as error:
            if "file is not a database" in str(error.orig):
                raise InputError(f"{self.place} is no SQLite database. Give another path.") from error
            if self.sqlite and "malformed" in str(error.orig):
                raise InputError(f"{self.place} is damaged ({error.orig}). Take a copy from before.") from error
            raise

    def forget(self) -> None:
        """After an erasure: empties SQLite's write-ahead log, which still holds the old pages."""
        if self.sqlite:
            with self.explained(), self._turn, self.engine.connect() as connection:
                connection.execution_options(outside=True).exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self.engine.dispose()

    def _prepare_tables(self) -> None:
        with self.reading() as connection:
            found = version_of(connection)
        if found == schema.VERSION:
            return
        with self.writing() as connection:
            if not self.sqlite:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({OPENING})"))
            found = version_of(connection)  # another process may have been faster
            if found is None:
                create(connection)
            elif found != schema.VERSION:
                from tutelage.feedback.migrations.upgrading import upgrade

                upgrade(connection, found, self.place)


def create(connection: Connection) -> None:
    """All tables of the newest version, and the end of an empty chain."""
    if sqlalchemy.inspect(connection).has_table("event"):
        raise InputError("the database has a table `event`, but not by tutelage. Give the store a database of its own.")
    schema.metadata.create_all(connection)
    for each in schema.TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(each)
    connection.execute(insert(schema.head).values(one=1, seq=0, hash=START))
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{schema.VERSION}')")


def version_of(connection: Connection) -> str | None:
    """The migration that the database is at; None where there are no tables yet."""
    if not sqlalchemy.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def database_url(given: str | Path) -> URL:
    """A path is a SQLite file, postgresql:// the server behind it; InputError for anything else."""
    told = str(given)
    if "://" not in told:
        return URL.create("sqlite", database=str(Path(told).expanduser().absolute()))
    try:
        url = make_url(told)
    except ArgumentError as error:
        raise InputError(f"{told!r} is no database. Give a path, or postgresql://user@host:port/name.") from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return URL.create("sqlite", database=str(Path(url.database).absolute()))
    raise InputError(f"{told!r} cannot hold a store. Give the path of a file, or postgresql://user@host:port/name.")


def prepare(path: Path) -> None:
    """The folder of a SQLite file, and a warning where its locks cannot be relied on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent} could not be made: {error.strerror}. Give another path.") from error
    if path.is_dir():
        raise InputError(f"{path} is a folder. Give the path of a file, for instance {path / 'feedback.db'}.")
    kind = file_system(path.parent)
    if kind in NETWORKED:
        warnings.warn(
            f"{path} lies on {kind}, where SQLite's locks are not reliable and labels may be lost. "
            "Use a local disk, or PostgreSQL (--store postgresql://…).",
            stacklevel=2,
        )


def file_system(folder: Path, mounts: str = "/proc/mounts") -> str | None:
    """Its kind as the kernel names it, of the longest mount that holds the folder; None where that is not told."""
    try:
        lines = [line.split() for line in Path(mounts).read_text().splitlines()]
    except OSError:
        return None
    here = folder.resolve()
    holding = [(len(each[1]), each[2]) for each in lines if here.is_relative_to(each[1].replace("\\040", " "))]
    return max(holding)[1] if holding else None


def _engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            return sqlalchemy.create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
        return sqlalchemy.create_engine(url, pool_size=10, max_overflow=40, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise InputError(f"{url.get_backend_name()} needs psycopg. Run: pip install 'tutelage[postgres]'") from error
    except SQLAlchemyError as error:
        raise InputError(f"{url.render_as_string()} could not be opened: {error}.") from error


def _settings(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # the driver would otherwise begin transactions of its own, too late
    for each in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {each}").close()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("outside"):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]


def _advice(error: DBAPIError, database: Database) -> str:
    if "locked" in str(error.orig):
        return f"Another process has been writing for {BUSY_SECONDS} s; try again, or find and end it."
    if database.sqlite:
        return "Is the path right, may it be written, and is the disk not full?"
    return "Is the server running, and are host, port, user and password right?"
