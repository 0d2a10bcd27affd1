"""Run by alembic: the migrations on the connection, and in the transaction, that opening the store has begun."""

from __future__ import annotations

from alembic import context

from tutelage.feedback import schema

context.configure(connection=context.config.attributes["connection"], target_metadata=schema.metadata)
with context.begin_transaction():
    context.run_migrations()
