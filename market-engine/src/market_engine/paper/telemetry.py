"""Every fill of the ledger as a trade of the telemetry: once, in the order of their numbers.

Reads the store and publishes; never touches the desk. A fill is handed over when its sequence is in
the publisher's journal file, which outlives this process: with the fill that the file began with,
its head says after any end where to go on.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from market_engine.decimals import NANO
from market_engine.errors import MarketError, StorageError
from market_engine.events import SECOND_NS
from market_engine.paper.kept_file import bring_back, keep_file
from market_engine.paper.model import Fill
from market_engine.paper.store import DeskStore
from market_engine.paper.telemetry_store import TelemetryEpoch, TelemetryStore
from market_engine.storage.database import Database
from trade_telemetry import Publisher
from trade_telemetry.journal_inspect import inspect

SOURCE: Final = "paper-desk"
LOOK_S: Final = 1.0
"""How often the ledger is looked at where nobody says that fills came."""
SAVE_S: Final = 10.0
"""How often it is kept how far the telemetry has come, for a journal file that gets damaged."""
SAVE_AT_LAST_S: Final = 2.0
"""For so long this is tried at the end."""
SAVE_AGAIN_S: Final = 0.1
PAGE_FILLS: Final = 500
_SYMBOL: Final = re.compile(r"[A-Za-z0-9._:/-]{1,24}")


class TelemetryFigures(msgspec.Struct, frozen=True):
    """How far the telemetry is; ``fills − published − waiting`` is 0, or there is a defect."""

    fills: int
    """Of the ledger since ever."""
    published: int
    """Of them, handed over in all lives; the present one's by the publisher's own count, so that a
    residue can be seen."""
    waiting: int
    """Of them, not handed over yet: those above the newest that was."""


class TelemetryUnreadyError(MarketError):
    """Nothing can be handed over now without the danger of doing so twice."""


class FillTelemetry:
    """A thread that hands fills over; ``start`` once, ``stop`` once. Any thread may ``wake``."""

    def __init__(
        self,
        store: DeskStore,
        epochs: TelemetryStore,
        open_publisher: Callable[[], Publisher],
        journal_dir: Path,
    ) -> None:
        self.problem: str | None = None
        """Why nothing is handed over now."""
        self.errors = 0
        """Defects that the thread survived."""
        self._store = store
        self._epochs = epochs
        self._open_publisher = open_publisher
        self._journal_dir = journal_dir
        self._log = structlog.get_logger("paper-desk")
        self._publisher: Publisher | None = None
        self._turn = threading.Lock()  # the cursor moves together with the publisher's count
        self._life = TelemetryEpoch(0, 0, 1, 0)
        self._cursor = 0
        self._before = 0  # handed over in earlier lives
        self._saved_s = 0.0
        self._close_s = 0.0
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fill-telemetry", daemon=True)

    def start(self) -> None:
        """Begin; what cannot be had yet (the store, the journal) is tried again each second."""
        self._thread.start()

    def wake(self) -> None:
        """Fills were stored. Returns at once."""
        self._woken.set()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Hand over what is stored by now, and end; waits so long at most for the sidecar."""
        self._close_s = timeout_s
        self._stopping.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join()

    def figures(self) -> TelemetryFigures:
        """Now. Raises StorageError.

        While nothing is handed over, as of what is kept of the last life: what it published beyond
        that still counts as waiting.
        """
        with self._turn:
            publisher, cursor, before = self._publisher, self._cursor, self._before
            stats = None if publisher is None else publisher.stats()
            is_known = stats is not None and stats.epoch == self._life.epoch
        if stats is not None and is_known:
            fills, waiting = self._epochs.counts(cursor)
            return TelemetryFigures(fills, before + stats.published, waiting)
        last = self._epochs.last() if publisher is None else None
        fills, waiting = self._epochs.counts(cursor if last is None else last.through_fill)
        return TelemetryFigures(fills, fills - waiting, waiting)

    def _run(self) -> None:
        while True:
            is_last = self._stopping.is_set()
            self._woken.clear()
            self._try()
            if is_last:
                break
            self._woken.wait(LOOK_S)
        self._close()

    def _try(self) -> None:
        try:
            if self._publisher is None:
                if not self._store.last_numbers()[1]:
                    self._tell(None)
                    return  # a publisher that has nothing to say yet is not opened
                self._open()
            self._hand_over()
            self._save()
        except (StorageError, TelemetryUnreadyError) as error:
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - the thread must survive; counted, and logged once
            self.errors += 1
            self._tell(f"a defect: {error!r}")

    def _tell(self, problem: str | None) -> None:
        if problem is not None and self.problem is None:
            self._log.error("fills are not handed to the telemetry", reason=problem)
        self.problem = problem

    def _open(self) -> None:
        """Learn and keep how far the last life came; only then begin one, which ends its file."""
        last = self._ended_life()
        cursor = last.through_fill
        publisher = self._open_publisher()
        try:
            stats = publisher.stats()
            if not stats.durable:
                raise TelemetryUnreadyError(stats.problem or "the telemetry has no journal file")
            life = TelemetryEpoch(last.number + 1, stats.epoch, cursor + 1, cursor)
            before = self._epochs.count_through(cursor)
            self._epochs.write(life)
        except BaseException:
            publisher.close(0)
            raise
        with self._turn:
            self._life, self._cursor, self._before = life, cursor, before
            self._publisher = publisher

    def _ended_life(self) -> TelemetryEpoch:
        """The last life, with all that it published; kept before anything else is done."""
        last = self._epochs.last()
        if last is None:
            return self._life
        published = self._head(last.epoch)
        if not published:
            return last
        through = self._epochs.nth_fill(last.first_fill, published)
        if through is None:
            raise TelemetryUnreadyError(
                f"the journal in {self._journal_dir} has {published} fills since number "
                f"{last.first_fill}, the ledger has fewer: use another MARKET_TELEMETRY_JOURNAL_DIR"
            )
        if through > last.through_fill:
            last = msgspec.structs.replace(last, through_fill=through)
            self._epochs.write(last)
        return last

    def _head(self, epoch: int) -> int:
        """How many were published in an epoch, as its file says; 0 where that is gone."""
        try:
            bring_back(self._journal_dir)
            records = inspect(self._journal_dir)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise TelemetryUnreadyError(f"the journal cannot be read: {error}") from error
        found = [each for each in records if each.source == SOURCE and each.epoch == epoch]
        if any(each.locked for each in found):
            message = f"another process publishes from {self._journal_dir}: end it"
            raise TelemetryUnreadyError(message)
        for damaged in (each for each in found if each.problem):
            self._log.error("a journal is damaged", file=damaged.file, reason=damaged.problem)
        return max((each.head for each in found), default=0)

    def _hand_over(self) -> None:
        """All that is stored; less where the publisher has no room: that is tried again."""
        publisher = self._publisher
        if publisher is not None and publisher.epoch != self._life.epoch:
            with self._turn:
                self._begin_anew(publisher)
        while True:
            fills = self._store.fills_after(self._cursor, PAGE_FILLS)
            for fill in fills:
                if not self._publish(fill):
                    self._tell("the sidecar is not there, and the journal is full: start it")
                    return
            if len(fills) < PAGE_FILLS:
                self._tell(None)
                return

    def _publish(self, fill: Fill) -> bool:
        publisher = self._publisher
        if publisher is None:
            return False
        is_named = _SYMBOL.fullmatch(fill.symbol) is not None
        with self._turn:
            sequence = publisher.publish(
                fill.side,
                fill.qty_nano / NANO,
                min(fill.filled_ns / SECOND_NS, time.time()),
                symbol=fill.symbol if is_named else None,
                price=fill.price_nano / NANO if fill.price_nano > 0 else None,
            )
            if sequence:
                self._cursor = fill.number
            if publisher.epoch != self._life.epoch:
                self._begin_anew(publisher)
        return bool(sequence)

    def _begin_anew(self, publisher: Publisher) -> None:
        """The publisher lost its file, and goes on in another with what it still had."""
        stats = publisher.stats()
        first = self._cursor + 1
        if stats.published:
            first = self._epochs.nth_fill_back(self._cursor, stats.published) or 1
        life = TelemetryEpoch(self._life.number + 1, stats.epoch, first, self._cursor)
        self._epochs.write(life)
        self._before = self._epochs.count_through(first - 1)
        self._life = life

    def _save(self, *, at_once: bool = False) -> None:
        now_s = time.monotonic()
        if self._life.through_fill == self._cursor or self._publisher is None:
            return
        if at_once or now_s >= self._saved_s + SAVE_S:
            life = msgspec.structs.replace(self._life, through_fill=self._cursor)
            self._epochs.write(life)
            self._life, self._saved_s = life, now_s

    def _close(self) -> None:
        """Keep how far we came before the publisher deletes its file, or else keep the file."""
        publisher = self._publisher
        if publisher is None:
            return
        kept = None if self._save_at_last() else keep_file(self._journal_dir, publisher.epoch)
        publisher.close(self._close_s)
        if kept is not None:
            bring_back(self._journal_dir)

    def _save_at_last(self) -> bool:
        deadline_s = time.monotonic() + SAVE_AT_LAST_S
        while True:
            try:
                self._save(at_once=True)
            except StorageError as error:
                if time.monotonic() >= deadline_s:
                    self._log.error("how far the telemetry came is not kept", reason=str(error))
                    return False
                time.sleep(SAVE_AGAIN_S)
            else:
                return True


def fill_telemetry(database: Database, address: str, journal_dir: Path) -> FillTelemetry:
    """To the sidecar at an address such as ``tcp://127.0.0.1:5555``; nothing is opened yet."""
    return FillTelemetry(
        DeskStore(database),
        TelemetryStore(database),
        lambda: Publisher(address, source=SOURCE, journal_dir=journal_dir),
        journal_dir,
    )
