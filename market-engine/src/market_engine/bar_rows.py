"""Closed bars as rows of the store, and back: nothing is lost on the way."""

from __future__ import annotations

import msgspec

from market_engine.analytics.bars import Bar
from market_engine.analytics.symbol import ClosedBar, SymbolMetrics
from market_engine.decimals import NANO, from_nano, to_nano
from market_engine.errors import StorageError
from market_engine.events import SECOND_NS
from market_engine.pipeline import BarOutput
from market_engine.storage.rows import BarRow

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SymbolMetrics)


def row_of(output: BarOutput) -> BarRow:
    """The row that keeps a bar with its metrics."""
    bar, metrics = output.closed
    return BarRow(
        output.venue,
        metrics.symbol,
        bar.start_ns,
        bar.span_ns // SECOND_NS,
        from_nano(bar.open_nano),
        from_nano(bar.high_nano),
        from_nano(bar.low_nano),
        from_nano(bar.close_nano),
        from_nano(bar.volume_nano),
        _notional_text(bar.notional),
        bar.trades,
        _encoder.encode(metrics),
    )


def bar_of(row: BarRow) -> ClosedBar:
    """The bar that a row keeps; raises StorageError where it is not one of ours."""
    try:
        metrics = _decoder.decode(row.metrics)
        open_, high, low, close = (
            to_nano(text or "") for text in (row.open, row.high, row.low, row.close)
        )
        notional = _notional_of(row.notional)
        volume_nano = to_nano(row.volume)
    except (msgspec.MsgspecError, ValueError) as error:
        raise StorageError(
            f"the stored bar of {row.symbol} at {row.bar_start_ns} cannot be read ({error}): "
            "restore the database from a copy, or delete that bar"
        ) from error
    if metrics.averages is None:
        raise StorageError(f"the stored bar of {row.symbol} at {row.bar_start_ns} has no averages")
    bar = Bar(
        row.bar_start_ns,
        row.span_s * SECOND_NS,
        open_,
        high,
        low,
        close,
        volume_nano,
        notional,
        row.trades,
        metrics.averages,
    )
    return ClosedBar(bar, metrics)


def _notional_text(notional: int) -> str:
    """Σpq, kept in 10⁻¹⁸, as decimal text."""
    whole, fraction = divmod(notional, NANO * NANO)
    return f"{whole}.{fraction:018d}".rstrip("0").rstrip(".")


def _notional_of(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(18, "0"))
