"""What a publisher says of itself."""

from __future__ import annotations

import msgspec

from trade_telemetry.reasons import RefusalReason


class PublisherStats(msgspec.Struct, frozen=True):
    """Where a publisher's trades are: ``published = acknowledged + waiting``; refused are apart.

    These are of the present ``epoch``, but ``refused`` and ``overwritten`` of all that this
    publisher had; what waits of others is in ``leftover``.

    ``acknowledged`` ones are settled: committed by the sidecar, in its totals or counted as lost.
    ``sent`` is the send cursor: it goes back when something was lost on the way. ``overwritten``
    trades were dropped for newer ones before they were settled. ``leftover`` trades of earlier
    lives wait besides. ``durable`` says that a journal file is in use, ``problem`` in a sentence
    what is wrong, or None. Of a publisher that is not ``tracked``, ``acknowledged`` means handed to
    ZeroMQ: whether they arrived, nobody knows.
    """

    source: str
    epoch: int
    published: int
    sent: int
    acknowledged: int
    waiting: int
    capacity: int
    refused: dict[RefusalReason, int]
    overwritten: int
    leftover: int
    connected: bool
    tracked: bool
    durable: bool
    errors: int
    problem: str | None
