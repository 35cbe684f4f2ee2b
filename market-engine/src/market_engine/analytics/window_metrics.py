"""The metrics of one window, from the summary of its trades. Undefined is None, never 0."""

from __future__ import annotations

import math

import msgspec

from market_engine.analytics.summary import Summary
from market_engine.decimals import NANO


class WindowMetrics(msgspec.Struct, frozen=True, gc=False):
    """Over (moment − window, moment], by event time; prices and quantities in billionths."""

    window_s: int
    complete: bool
    """Whether the window was watched from its beginning to its end."""
    trades: int
    volume_nano: int
    vwap: float | None
    """Σpq/Σq."""
    high_nano: int | None
    low_nano: int | None
    last_nano: int | None
    volatility: float | None
    """Realised, a year of 31,536,000 s; None until the window is complete, and over an outage."""
    vwap_deviation: float | None
    """(last − VWAP)/σ, σ² = Σq(p − VWAP)²/Σq; None where σ is 0."""
    drawdown: float | None
    """The largest fall from a price to a later one, as a fraction from −1 to 0."""

    @property
    def range_nano(self) -> int | None:
        """High minus low."""
        if self.high_nano is None or self.low_nano is None:
            return None
        return self.high_nano - self.low_nano


def window_metrics(
    window_s: int, found: Summary | None, volatility: float | None, *, complete: bool
) -> WindowMetrics:
    """What a summary says; without trades there is no price, and the volume is 0."""
    if found is None:
        return WindowMetrics(
            window_s, complete, 0, 0, None, None, None, None, volatility, None, None
        )
    return WindowMetrics(
        window_s,
        complete,
        found.trades,
        found.qty_nano,
        found.notional / (found.qty_nano * NANO),
        found.high_nano,
        found.low_nano,
        found.last_nano,
        volatility,
        _deviation(found),
        found.drawdown,
    )


def _deviation(found: Summary) -> float | None:
    """In integers up to the root, so that nothing cancels.

    With S = Σq: σ = √(S·Σp²q − (Σpq)²)/S, and P − VWAP = (PS − Σpq)/S.
    """
    spread = found.square * found.qty_nano - found.notional * found.notional
    if not spread:
        return None
    return (found.last_nano * found.qty_nano - found.notional) / math.sqrt(spread)
