"""What the live Binance client is told, and what it counts. Knows no socket."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from market_engine.errors import FeedError
from market_engine.feeds.binance_parser import SYMBOL_FORM, TradeStream

STREAMS_MAX = 1_024
"""The venue's limit for one connection."""


@dataclass(frozen=True, slots=True)
class BinanceConfig:
    """Settings of one client; the defaults keep within the venue's published limits."""

    stream_url: str = "wss://stream.binance.com:9443/stream"
    rest_url: str = "https://api.binance.com"
    trade_stream: TradeStream = "aggTrade"
    quotes: bool = True
    uses_environment_proxy: bool = True

    rotate_after_s: float = 23.5 * 3600
    """A connection is replaced at this age: the venue ends it after 24 hours."""
    overlap_s_min: float = 1.0
    """The old connection is read for at least so long beside the new one."""
    overlap_s_max: float = 10.0
    """And at most so long, if the new one stays silent or the old one lags."""
    silence_s: float = 60.0
    """A connection that brings nothing at all for so long is replaced."""
    connect_timeout_s: float = 10.0
    close_timeout_s: float = 0.5
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0

    backoff_base_s: float = 0.5
    backoff_cap_s: float = 60.0
    attempts_max: int = 300
    attempts_window_s: float = 300.0
    messages_per_s_max: float = 4.0
    """The venue allows 5, and a pong is one."""

    frames_queued_max: int = 1_024
    """Frames of one connection that were received and not parsed."""
    events_queued_max: int = 20_000
    """Events that were not emitted; when so many wait, the sockets are not read."""
    tick_s: float = 1.0

    rest_timeout_s: float = 10.0
    rest_attempts_max: int = 6
    """For one page, before its gap is given up."""
    rest_wait_s_max: float = 300.0
    """A venue that wants us to wait longer has refused."""
    rest_weight_max: int = 4_800
    """Of the 6,000 that the venue allows a minute: above this we pause."""
    rest_weight_pause_s: float = 20.0
    page_trades_max: int = 1_000
    gaps_queued_max: int = 1_024
    gap_trades_max: int = 1_000_000
    """Of a longer gap only the newest are fetched."""
    catch_up_after_s: float = 10.0
    """A symbol whose trades do not show within so long after a reconnection whether any were
    missed is asked for by REST."""


@dataclass(slots=True)
class BinanceStats:
    """Counts since the start; a snapshot belongs to who asked for it."""

    attempts: int = 0
    """To connect."""
    connections: int = 0
    """Attempts that succeeded."""
    open: int = 0
    """Connections now."""
    rotations: int = 0
    """Connections replaced before they ended."""
    frames: int = 0
    trades: int = 0
    """Given, those that were fetched afterwards included."""
    overlap_dropped: int = 0
    """Given by two connections, and passed on once."""
    duplicates_dropped: int = 0
    """Given twice otherwise."""
    gaps: int = 0
    """Stretches of ids that the stream left out."""
    backfilled: int = 0
    """Trades fetched afterwards."""
    backfill_failed: int = 0
    """Trades that cannot be had."""
    rest_requests: int = 0
    rejected: int = 0
    """Frames, or trades from REST, that cannot be used."""
    queued: int = 0
    """Events that wait to be emitted now."""
    stalls: int = 0
    """Times that reading stopped, because too many events waited."""


def venue_of(config: BinanceConfig) -> str:
    """Trades and aggregated trades have ids of their own, so they are two venues."""
    return "binance" if config.trade_stream == "aggTrade" else "binance-trades"


def streams_of(symbols: Sequence[str], config: BinanceConfig) -> tuple[str, ...]:
    """The venue's names of the streams, trades first; FeedError for what it would refuse."""
    for symbol in symbols:
        if not SYMBOL_FORM.fullmatch(symbol):
            raise FeedError(f"{symbol!r} is not a symbol like BTCUSDT")
    if not symbols or len(set(symbols)) < len(symbols):
        raise FeedError("name at least one symbol, and none twice")
    kinds = [config.trade_stream, *(["bookTicker"] if config.quotes else [])]
    streams = tuple(f"{symbol.lower()}@{kind}" for kind in kinds for symbol in symbols)
    if len(streams) > STREAMS_MAX:
        raise FeedError(
            f"{len(symbols)} symbols need {len(streams)} streams, and the venue allows"
            f" {STREAMS_MAX} on one connection: take fewer symbols, or leave the quotes out"
        )
    return streams
