"""Run by Alembic: migrates the connection that it was handed, within that one's transaction.

Opens nothing by itself, so that it works on whatever ``Database`` has opened.
"""

from __future__ import annotations

from alembic import context

from market_engine.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
