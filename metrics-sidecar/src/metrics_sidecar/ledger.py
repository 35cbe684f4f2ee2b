"""The ledger: what each message does to the totals and the sequences. Pure: no clock, no socket.

``Ledger`` is changed by one thread. What it shows and acknowledges is what was committed, never
more; snapshots never change, and any thread may read them.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from metrics_sidecar.benchmarks import Benchmarks
from metrics_sidecar.epoch import Epoch
from metrics_sidecar.epochs import Epochs, ImplausibleError
from metrics_sidecar.notices import Notice
from metrics_sidecar.publishers import Publishers
from metrics_sidecar.rows import (
    TOTALS,
    Key,
    ServiceCounter,
    encode_row,
    read_rows,
)
from metrics_sidecar.snapshot import Counts, Parts, Snapshot
from metrics_sidecar.tallies import Tallies
from trade_telemetry.messages import (
    STAMP_MAX,
    Acknowledgement,
    Batch,
    Beat,
    Benchmark,
    BenchmarkStatus,
    LossReason,
    Message,
    RejectReason,
    Skip,
    Trade,
    one_by_one,
)


class Ledger:
    """Counts messages, each exactly once (see Snapshot).

    ``rows`` are those of a state that was kept; none are a new one. ``incarnation`` names the
    start of a sidecar in acknowledgements: random, unless it is given. Raises LedgerRowsError for
    rows that make no sense.

    A commit: write ``changes()``, then call ``committed()``; from then on ``snapshot()`` and
    ``acknowledgements()`` tell of it. What happens in between belongs to the next one.
    """

    def __init__(
        self, rows: Mapping[str, bytes] | None = None, *, incarnation: int | None = None
    ) -> None:
        state = read_rows(rows or {})
        self._incarnation = incarnation or secrets.randbelow(STAMP_MAX) + 1
        self._tallies = Tallies(state)
        self._publishers = Publishers(state.publishers)
        self._epochs = Epochs(state, self._publishers)
        self._live = self._epochs.live
        self._benchmarks = Benchmarks(state)
        self._counts = Counts.of(state.totals)
        self._parts = Parts(
            self._counts, self._tallies, self._publishers, self._epochs, self._benchmarks
        )
        self._written_totals = b""
        self._pending: dict[str, bytes | None] = {}
        self._pending_acknowledgements: dict[Key, Acknowledgement] = {}
        self._acknowledgements: dict[Key, Acknowledgement] = {}
        self._pending_mark = self._committed_mark = self._mark()
        self._pending_snapshot = self._snapshot = self._parts.snapshot()
        if rows:  # what was read is committed
            self.changes()
            self.committed()

    @property
    def uncommitted(self) -> int:
        """Messages taken in and epochs settled that no ``committed()`` has covered."""
        return self._mark() - self._committed_mark

    def take(self, message: Message, now_s: float) -> None:
        """Take in any message; ``now_s`` is in unix seconds, here and below."""
        if isinstance(message, Trade):
            self.apply(message, now_s)
        elif isinstance(message, Batch):
            self.apply_batch(message, now_s)
        elif isinstance(message, Beat):
            self.beat(message, now_s)
        elif isinstance(message, Skip):
            self.skip(message, now_s)
        else:
            self.note_benchmark(message)

    def apply(self, trade: Trade, now_s: float) -> None:
        """Count a trade if it is the next of its epoch; one without stamps as it comes."""
        self._counts.received += 1
        source, number, seq = trade.src, trade.epoch, trade.seq
        if source is None or number is None or seq is None:
            self._counts.untracked += 1
            self._tallies.count(trade, now_s)
            return
        epoch = self._live.get((source, number))
        if epoch is None or seq != epoch.last + 1:
            epoch = self._find_next((source, number), seq, now_s, RejectReason.STAMP)
            if epoch is None:
                return
        publisher = epoch.publisher
        if seq > epoch.head:  # then head was last, and seq is one above
            if publisher.published >= STAMP_MAX:
                self._counts.rejected[RejectReason.STAMP] += 1
                return
            publisher.published += 1
            epoch.head = seq
        epoch.last = seq
        epoch.last_seen_s = now_s
        if not epoch.touched:
            self._epochs.touch(epoch, now_s)
        self._tallies.count(trade, now_s)
        publisher.applied += 1

    def apply_plain(self, trades: Sequence[Trade], now_s: float) -> None:
        """Count trades without stamps, as ``apply`` would one by one."""
        self._counts.received += len(trades)
        self._counts.untracked += len(trades)
        self._tallies.count_all(trades, now_s)

    def apply_batch(self, batch: Batch, now_s: float) -> None:
        """Count its trades, each as a message of its own; as ``apply`` would one by one."""
        epoch = self._live.get((batch.src, batch.epoch))
        last = batch.last
        if (
            epoch is None
            or batch.seq != epoch.last + 1
            or epoch.publisher.published + last - epoch.head > STAMP_MAX
        ):
            for trade in one_by_one(batch):
                self.apply(trade, now_s)
            return
        count = len(batch.trades)
        self._counts.received += count
        epoch.raise_head(last)
        epoch.last = last
        self._epochs.touch(epoch, now_s)
        self._tallies.count_batch(batch, now_s)
        epoch.publisher.applied += count

    def reject(self, reason: RejectReason, count: int = 1) -> None:
        """Count messages that were not counted as anything else."""
        self._counts.received += count
        self._counts.rejected[reason] += count

    def reject_stamped(
        self, reason: RejectReason, stamps: tuple[str, int, int], now_s: float
    ) -> None:
        """Count a rejected trade: lost if it is the next of its epoch, so that successors may come.

        One that came before is a duplicate, one above a hole a gap; it is not counted as rejected.
        """
        self._counts.received += 1
        source, number, seq = stamps
        epoch = self._find_next((source, number), seq, now_s, reason)
        if epoch is None:
            return
        self._counts.rejected[reason] += 1
        epoch.lose(seq, LossReason.REJECTED)

    def skip(self, skip: Skip, now_s: float) -> None:
        """Take in, in its place in the sequence, that events will never come."""
        self._counts.received += 1
        key = (skip.src, skip.epoch)
        try:
            self._epochs.check(key, skip.last)
        except ImplausibleError:
            self._counts.rejected[RejectReason.SKIP] += 1
            return
        epoch = self._find(key, now_s)
        if epoch is None:
            return
        if skip.first > epoch.last + 1:
            self._note_gap(epoch)
            return
        self._counts.skips += 1
        if skip.last > epoch.last:
            epoch.lose(skip.last, skip.reason)

    def beat(self, beat: Beat, now_s: float) -> None:
        """Take in what a publisher says of an epoch; it opens the epoch if nobody else did."""
        self._counts.received += 1
        key = (beat.src, beat.epoch)
        try:
            self._epochs.check(key, beat.head, beat.refused)
        except ImplausibleError:
            self._counts.rejected[RejectReason.BEAT] += 1
            return
        epoch = self._find(key, now_s, beat.since)
        if epoch is None:
            return
        self._counts.beats += 1
        self._epochs.take_beat(epoch, beat)

    def note_benchmark(self, message: Benchmark | BenchmarkStatus) -> None:
        """Keep what a benchmark says of itself; it is in no total of trades."""
        self._counts.received += 1
        self._counts.benchmarks += 1
        forgotten = self._benchmarks.take(message)
        self.note(ServiceCounter.BENCHMARK_TESTS_FORGOTTEN, forgotten)

    def listened(self, seconds: float) -> None:
        """Time passed while listening; settles what was silent for long. Once a second will do."""
        self._epochs.listened(seconds)

    def take_notices(self) -> list[Notice]:
        """What a person should hear of, and was not told yet."""
        return self._epochs.notices.take()

    def note(self, counter: ServiceCounter, amount: float) -> None:
        """Add to what the sidecar counts of itself."""
        self._counts.service[counter] += amount

    def changes(self) -> dict[str, bytes | None]:
        """The rows to write for all that happened since the last ``committed()``; None deletes.

        Called again before ``committed()``, it gives the same rows or more.
        """
        touched = self._epochs.take_touched()
        for epoch in touched:
            self._pending_acknowledgements[epoch.key] = self._acknowledgement(epoch)
        changed = (
            self._tallies.changes()
            | self._epochs.changes(touched)
            | self._publishers.changes()
            | self._benchmarks.changes()
        )
        totals = encode_row(self._parts.totals_row())
        if totals != self._written_totals:
            self._written_totals = changed[TOTALS] = totals
        self._pending.update(changed)
        self._pending_mark = self._mark()
        self._pending_snapshot = self._parts.snapshot()
        return dict(self._pending)

    def rows(self) -> dict[str, bytes]:
        """All rows, for a state that must be written anew: at least what ``changes()`` gave."""
        rows = self._tallies.rows() | self._epochs.rows() | self._publishers.rows()
        return {TOTALS: encode_row(self._parts.totals_row())} | rows | self._benchmarks.rows()

    def committed(self) -> None:
        """Note that what ``changes()`` gave last is durable."""
        self._pending = {}
        self._acknowledgements.update(self._pending_acknowledgements)
        self._pending_acknowledgements = {}
        self._committed_mark = self._pending_mark
        self._snapshot = self._pending_snapshot

    def acknowledgements(self) -> list[tuple[str, Acknowledgement]]:
        """By source, one for each epoch heard in what was committed since the last call."""
        acknowledgements = [(key[0], each) for key, each in self._acknowledgements.items()]
        self._acknowledgements = {}
        return acknowledgements

    def snapshot(self) -> Snapshot:
        """What was counted up to the last commit."""
        return self._snapshot

    def _mark(self) -> int:
        return self._counts.received + self._epochs.settled

    def _find(self, key: Key, now_s: float, since_s: float | None = None) -> Epoch | None:
        """The epoch of a message, touched; None if it has no place, and then it is counted here."""
        epoch = self._live.get(key)
        if epoch is None:
            if not self._epochs.may_open(key, since_s or 0.0):
                if since_s is None:
                    self._counts.gaps += 1  # it will come again, after a beat that says since when
                else:
                    self._counts.turned_away += 1
                return None
            epoch = self._epochs.open(key, now_s)
            if epoch is None:
                self._counts.turned_away += 1
                return None
        self._epochs.touch(epoch, now_s)
        return epoch

    def _find_next(
        self, key: Key, seq: int, now_s: float, implausible: RejectReason
    ) -> Epoch | None:
        """The epoch whose next event this is; None if it is not, and then it is counted here."""
        try:
            self._epochs.check(key, seq)
        except ImplausibleError:
            self._counts.rejected[implausible] += 1
            return None
        epoch = self._find(key, now_s)
        if epoch is None or seq == epoch.last + 1:
            return epoch
        if seq <= epoch.last:
            self._counts.duplicates += 1
            epoch.publisher.duplicates += 1
        else:
            self._note_gap(epoch)
        return None

    def _note_gap(self, epoch: Epoch) -> None:
        self._counts.gaps += 1
        epoch.publisher.gaps += 1
        epoch.gap = True

    def _acknowledgement(self, epoch: Epoch) -> Acknowledgement:
        return Acknowledgement(
            self._incarnation, epoch.number, epoch.last, epoch.head, epoch.beat, epoch.gap
        )
