"""A store under any order of commits, ends, kills, damage, loss, older copies and full disks.

The model remembers every state that was ever committed. A loaded state is the last of them after a
kill, one of them after the files were set back, and nothing only when that was told.
"""

from __future__ import annotations

import resource
import shutil
import signal
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from metrics_sidecar.store import (
    StateDamagedError,
    StateUnavailableError,
    Store,
    open_store,
)
from metrics_sidecar.store_copy import backup, restore

Rows = dict[str, bytes]
KEYS = st.sampled_from([f"row/{number}" for number in range(8)])
VALUES = st.one_of(st.none(), st.binary(max_size=40), st.integers(1, 9_000).map(bytes))
CHANGES = st.dictionaries(KEYS, VALUES, max_size=6)
FILES = st.sampled_from(["ledger.db", "ledger.db-wal", "ledger.db-shm"])


class StoreLives(RuleBasedStateMachine):
    """``rows`` is what must be there; ``store`` is None between two lives."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.directory = self.root / "state"
        self.store: Store | None = None
        self.rows: Rows = {}
        self.history: list[Rows] = [{}]
        self.copies: list[tuple[Path, Rows]] = []
        self.certain = True

    @initialize()
    def first_life(self) -> None:
        self.begin()

    # ---- a life

    @precondition(lambda self: self.store is None)
    @rule()
    def begin(self) -> None:
        self.store = open_store(self.directory, lock_wait_s=0)
        rows = self.store.load()
        if self.store.set_aside:
            assert not self.certain
            assert rows == {}
        elif self.certain:
            assert rows == self.rows
        else:
            assert rows in self.history
        self.certain = True
        self.remember(rows)

    @precondition(lambda self: self.store is not None)
    @rule(changes=CHANGES)
    def commit(self, changes: dict[str, bytes | None]) -> None:
        assert self.store is not None
        after = {key: value for key, value in {**self.rows, **changes}.items() if value is not None}
        try:
            self.store.commit(changes)
        except StateDamagedError:
            assert not self.certain
            told = len(self.store.set_aside)
            self.store.rewrite(after)
            assert len(self.store.set_aside) <= told + 1
        self.certain = True  # a commit that returns has looked at the files
        self.remember(after)

    @precondition(lambda self: self.store is not None)
    @rule(changes=CHANGES, size_max_bytes=st.integers(0, 60_000))
    def commit_on_a_full_disk(self, changes: dict[str, bytes | None], size_max_bytes: int) -> None:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_max_bytes, limits[1]))
        try:
            self.commit(changes)
        except StateUnavailableError:
            pass
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)

    @precondition(lambda self: self.store is not None)
    @rule()
    def end(self) -> None:
        assert self.store is not None
        self.store.close()
        self.store = None

    @precondition(lambda self: self.store is not None)
    @rule()
    def kill(self) -> None:
        assert self.store is not None
        left = self.root / "left"
        shutil.copytree(self.directory, left) if self.directory.exists() else left.mkdir()
        self.store.close()
        self.store = None
        shutil.rmtree(self.directory, ignore_errors=True)
        left.rename(self.directory)

    # ---- copies

    @precondition(lambda self: self.certain)
    @rule()
    def save(self) -> None:
        copy = self.root / f"copy-{len(self.copies)}"
        assert backup(self.directory, copy).rows == self.rows
        self.copies.append((copy, self.rows))

    @precondition(lambda self: self.store is None and self.copies)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        copy, rows = data.draw(st.sampled_from(self.copies))
        assert restore(self.directory, copy).content.rows == rows
        self.certain = True
        self.remember(rows)

    # ---- harm: the state is uncertain from here on, and never made up

    @precondition(lambda self: self.copies)
    @rule(data=st.data())
    def replace_by_older_copy(self, data: st.DataObject) -> None:
        self.harm()
        copy, _ = data.draw(st.sampled_from(self.copies))
        self.directory.mkdir(exist_ok=True)
        shutil.copy(copy, self.root / "older")
        (self.root / "older").rename(self.directory / "ledger.db")
        for suffix in ("-wal", "-shm"):
            (self.directory / f"ledger.db{suffix}").unlink(missing_ok=True)

    @rule(name=FILES)
    def delete(self, name: str) -> None:
        self.harm()
        (self.directory / name).unlink(missing_ok=True)

    @rule()
    def delete_everything(self) -> None:
        self.harm()
        shutil.rmtree(self.directory, ignore_errors=True)

    @rule(name=st.sampled_from(["ledger.db", "ledger.db-wal"]), part=st.floats(0, 1))
    def truncate(self, name: str, part: float) -> None:
        self.harm()
        path = self.directory / name
        if path.exists():
            with path.open("r+b") as file:
                file.truncate(int(path.stat().st_size * part))

    @precondition(lambda self: self.store is None)
    @rule(name=FILES, part=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip(self, name: str, part: float, bit: int) -> None:
        self.harm()
        path = self.directory / name
        if path.exists() and path.stat().st_size:
            content = bytearray(path.read_bytes())
            content[int(len(content) * part)] ^= 1 << bit
            path.write_bytes(content)

    # ---- the model

    def harm(self) -> None:
        self.certain = False

    def remember(self, rows: Rows) -> None:
        self.rows = rows
        self.history.append(rows)

    @invariant()
    def the_sizes_can_always_be_asked(self) -> None:
        if self.store is not None:
            assert self.store.figures().size_bytes >= 0

    def teardown(self) -> None:
        if self.store is not None:
            self.store.close()
        shutil.rmtree(self.root)


StoreLives.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestStoreLives = StoreLives.TestCase
