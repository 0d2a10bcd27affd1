"""Questions that are asked of one person for a purpose of their own, and those that warn before they are shown.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"
branch_labels, depends_on = None, None


def upgrade() -> None:
    for name in ("purpose", "about", "person", "warning"):
        op.add_column("question", sa.Column(name, sa.Text(), nullable=True))
    op.create_index("ix_question_person", "question", ["person", "purpose"])
