"""The recording publisher behaves as the real one; one suite runs against both."""

from __future__ import annotations

import pytest

from trade_telemetry import InvalidTradeError, Publisher, RefusalReason
from trade_telemetry.testing import RecordingPublisher


@pytest.fixture(params=["real", "recording"])
def away(request, free_address):
    """A publisher with room for two whose sidecar is away."""
    if request.param == "real":
        publisher = Publisher(free_address, source="test", capacity=2)
    else:
        publisher = RecordingPublisher(source="test", capacity=2, connected=False)
    yield publisher
    publisher.close(timeout_s=0)


def test_it_numbers_accepted_trades_and_refuses_past_its_capacity(away):
    assert away.publish("buy", 1) == 1
    assert away.publish("sell", 2, symbol="A", price=1.5) == 2
    assert away.publish("buy", 3) == 0
    assert away.last_refusal == RefusalReason.RING_FULL


def test_it_raises_for_a_bad_argument(away):
    with pytest.raises(InvalidTradeError):
        away.publish("buy", -1)


def test_its_figures_account_for_every_trade(away):
    for _ in range(3):
        away.publish("buy", 1)
    stats = away.stats()
    assert (stats.source, stats.published, stats.sent, stats.waiting) == ("test", 2, 0, 2)
    assert stats.capacity == 2
    assert stats.refused == {RefusalReason.RING_FULL: 1, RefusalReason.CLOSED: 0}
    assert not stats.connected


def test_it_closes_once_says_what_remained_and_then_refuses(away):
    away.publish("buy", 1)
    assert away.close(timeout_s=0) == 1
    assert away.publish("buy", 1) == 0
    assert away.last_refusal == RefusalReason.CLOSED


def test_the_recording_publisher_shows_what_was_published():
    with RecordingPublisher(clock=lambda: 1_790_000_000.0) as publisher:
        publisher.publish("buy", 3, symbol="BTCUSDT")
    (trade,) = publisher.trades
    assert (trade.side, trade.qty, trade.symbol, trade.ts) == ("buy", 3, "BTCUSDT", 1_790_000_000)


def test_trades_wait_until_the_pretended_sidecar_comes():
    publisher = RecordingPublisher(connected=False)
    publisher.publish("buy", 1)
    assert publisher.stats().waiting == 1
    publisher.connected = True
    assert publisher.stats().waiting == 0
