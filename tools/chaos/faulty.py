"""Faults of the product, put in on purpose: the chaos must fail with each of them.

Each is a wrapper around a named function of an actor. Nothing else of the actor changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from chaos.points import patch
from trade_telemetry.messages import Batch, Trade, one_by_one

if TYPE_CHECKING:
    from metrics_sidecar.store_durable import DurableStore
    from metrics_sidecar.tallies import Tallies

EVERY_EVENTS: Final = 500


def _ack_before_commit() -> None:
    """What is committed goes to the disk one commit later than it is acknowledged."""

    def late(commit: Callable[..., None]) -> Callable[..., None]:
        kept: dict[str, bytes | None] = {}

        def commit_the_last(store: DurableStore, changes: Mapping[str, bytes | None]) -> None:
            before = dict(kept)
            kept.clear()
            kept.update(changes)
            commit(store, before)

        return commit_the_last

    patch("metrics_sidecar.store_durable:DurableStore.commit", late)


def _offsets_apart() -> None:
    """Totals first, offsets in a second transaction, which the next commit brings."""

    def apart(commit: Callable[..., None]) -> Callable[..., None]:
        kept: dict[str, bytes | None] = {}

        def commit_twice(store: DurableStore, changes: Mapping[str, bytes | None]) -> None:
            if kept:
                commit(store, dict(kept))
            kept.clear()
            kept.update({key: value for key, value in changes.items() if _is_offset(key)})
            commit(store, {key: value for key, value in changes.items() if not _is_offset(key)})

        return commit_twice

    patch("metrics_sidecar.store_durable:DurableStore.commit", apart)


def _is_offset(key: str) -> bool:
    return key.startswith(("epoch/", "spent/"))


class _Anything(int):
    """A checksum that is equal to every other."""

    __hash__ = int.__hash__

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False


def _no_crc() -> None:
    """Every slot of a journal is taken for sound."""
    patch(
        "trade_telemetry.journal_slots:crc32", lambda crc32: lambda *data: _Anything(crc32(*data))
    )


def _drop_one_in_ledger() -> None:
    """One trade in 500 is taken as applied, and is in no total."""

    def dropping(count: Callable[..., None]) -> Callable[..., None]:
        passings = 0

        def count_most(*arguments: object) -> None:
            nonlocal passings
            passings += 1
            if passings % EVERY_EVENTS:
                count(*arguments)

        return count_most

    patch("metrics_sidecar.tallies:Tallies.count", dropping)
    _count_one_by_one()


def _count_one_by_one() -> None:
    """What is put into ``count`` meets the trades of batches, and plain ones, too."""

    def one_after_another(_: Callable[..., None]) -> Callable[..., None]:
        def count_batch(tallies: Tallies, batch: Batch, now_s: float) -> None:
            for trade in one_by_one(batch):
                tallies.count(trade, now_s)

        return count_batch

    def each(_: Callable[..., None]) -> Callable[..., None]:
        def count_all(tallies: Tallies, trades: Sequence[Trade], now_s: float) -> None:
            for trade in trades:
                tallies.count(trade, now_s)

        return count_all

    patch("metrics_sidecar.tallies:Tallies.count_batch", one_after_another)
    patch("metrics_sidecar.tallies:Tallies.count_all", each)


def _swap_one_in_ledger() -> None:
    """One trade in 500 is in no total, and the one before it twice: every count is right."""

    def swapping(count: Callable[..., None]) -> Callable[..., None]:
        passings = 0
        before: tuple[object, ...] = ()

        def count_another(tallies: object, *trade: object) -> None:
            nonlocal passings, before
            passings += 1
            count(tallies, *(trade if passings % EVERY_EVENTS else before))
            before = trade

        return count_another

    patch("metrics_sidecar.tallies:Tallies.count", swapping)
    _count_one_by_one()


def _drop_one_in_ring() -> None:
    """One trade in 500 is accepted, and the one before it is kept in its place."""

    def dropping(pack_numbers: Callable[..., bytes]) -> Callable[..., bytes]:
        before: tuple[float, ...] = ()

        def pack_most(seq: int, *trade: float) -> bytes:
            nonlocal before
            kept = before if seq % EVERY_EVENTS == 0 else trade
            before = trade
            return pack_numbers(seq, *kept)

        return pack_most

    patch("trade_telemetry.publisher:_pack_numbers", dropping)


FAULTS: Final[dict[str, tuple[str, Callable[[], None]]]] = {
    "ack-before-commit": ("sidecar", _ack_before_commit),
    "offsets-apart": ("sidecar", _offsets_apart),
    "no-crc": ("bot", _no_crc),
    "drop-one-ledger": ("sidecar", _drop_one_in_ledger),
    "swap-one-ledger": ("sidecar", _swap_one_in_ledger),
    "drop-one-ring": ("bot", _drop_one_in_ring),
}
"""By name: whose fault it is, and what puts it in."""


def install(actor: str, name: str | None) -> None:
    """Put a fault into this process if it is its own."""
    if name is not None and FAULTS[name][0] == actor:
        FAULTS[name][1]()
