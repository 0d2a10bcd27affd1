"""Databases for the tests of the feedback store: a SQLite file each, or a schema each on the server that is given.

`TUTELAGE_TEST_POSTGRES` names it (postgresql://user@127.0.0.1:port/name); `.ci/run` starts one and sets it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy
from sqlalchemy.engine import make_url

BACKENDS = ("sqlite", "postgresql")


@contextmanager
def database(backend, folder) -> Iterator[str]:
    """The URL or path of an empty one."""
    if backend == "sqlite":
        yield str(folder / "feedback.db")
        return
    server = os.environ.get("TUTELAGE_TEST_POSTGRES")
    if not server:
        pytest.skip("no PostgreSQL: TUTELAGE_TEST_POSTGRES is not set (.ci/run installs and starts one, and sets it)")
    url, schema = make_url(server).set(drivername="postgresql+psycopg"), f"test_{secrets.token_hex(6)}"
    administrator = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    try:
        yield url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    finally:
        with administrator.connect() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        administrator.dispose()
