"""From nothing to the newest version, and never backwards in silence."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from storage_parts import messages, stored_rows, trade, url_of

from market_engine.errors import StorageError
from market_engine.storage.batches import BatchWriter
from market_engine.storage.database import Database
from market_engine.storage.desk_tables import metadata
from market_engine.storage.migrate import MIGRATIONS_DIR, is_current


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "market.db"


def version_of(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT version_num FROM alembic_version").fetchall()


def test_an_empty_file_becomes_a_database_of_the_newest_version(path):
    path.touch()
    with closing(Database(url_of(path))) as database, database.reading() as connection:
        assert is_current(connection)
    assert version_of(path) == [(ScriptDirectory(MIGRATIONS_DIR).get_current_head(),)]


def test_the_migrated_tables_are_those_that_the_code_uses(path):
    with closing(Database(url_of(path))) as database, database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_large_tables_are_stored_in_the_order_of_their_keys(path):
    with closing(Database(url_of(path))) as database, database.reading() as connection:
        found = connection.execute(text("SELECT name, sql FROM sqlite_schema WHERE type = 'table'"))
        without_rowid = {name for name, sql in found if sql.strip().endswith("WITHOUT ROWID")}
    assert without_rowid == {
        "trades", "candles", "aggregated_metrics", "faults",
        "portfolios", "orders", "fills", "ledger_entries", "positions", "portfolio_snapshots",
    }  # fmt: skip


def test_opening_it_again_changes_nothing(path):
    with closing(Database(url_of(path))) as database:
        BatchWriter(database).write(messages([trade(1)]))
        before = stored_rows(database)
    content = path.read_bytes()
    for _ in range(3):
        with closing(Database(url_of(path))) as database:
            assert stored_rows(database) == before
    assert path.read_bytes() == content


def test_a_database_of_a_newer_version_is_refused_with_the_cure(path):
    with closing(Database(url_of(path))):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    content = path.read_bytes()
    with pytest.raises(StorageError, match=r"9999, which is newer .*: update market-engine"):
        Database(url_of(path))
    assert path.read_bytes() == content


def test_a_migration_that_fails_leaves_nothing_behind(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE faults (mine TEXT)")  # the last one that is made
        connection.commit()
    with pytest.raises(StorageError, match="faults already exists"):
        Database(url_of(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("faults",)]


OPENER = """
import sys
from market_engine.storage.database import Database
sys.stdin.readline()
Database(sys.argv[1]).close()
"""


def test_processes_that_open_a_new_database_at_once_all_get_it(path):
    command = [sys.executable, "-c", OPENER, url_of(path)]
    openers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for opener in openers:
        opener.stdin.write(b"go\n")
        opener.stdin.close()
    assert [opener.wait(60) for opener in openers] == [0] * 4
    with closing(Database(url_of(path))) as database:
        database.check()


def test_importing_the_storage_opens_nothing(tmp_path):
    code = "import os, market_engine.storage.writer as _, market_engine.storage.retention as _"
    code += "; print(os.listdir())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout == b"[]\n"
