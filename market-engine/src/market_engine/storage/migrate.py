"""Brings a database to the newest version. Knows Alembic, and no table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from market_engine.errors import StorageError

MIGRATIONS_DIR: Final = Path(__file__).with_name("migrations")


def is_current(connection: Connection) -> bool:
    """Whether nothing is to be done; raises StorageError when the database is of a newer one."""
    scripts = ScriptDirectory(MIGRATIONS_DIR)
    version = MigrationContext.configure(connection).get_current_revision()
    if version is not None and version not in {each.revision for each in scripts.walk_revisions()}:
        raise StorageError(
            f"the database is of version {version}, which is newer than this market-engine "
            f"({scripts.get_current_head()}): update market-engine, or use another database"
        )
    return version == scripts.get_current_head()


def upgrade(connection: Connection) -> None:
    """Run every step that is missing, within the connection's transaction: all of them or none."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS_DIR).replace("%", "%%"))
    command.upgrade(config, "head")
