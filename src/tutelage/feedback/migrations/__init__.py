"""How a store of an older version becomes one of the present: alembic's scripts, run by `upgrading`."""
