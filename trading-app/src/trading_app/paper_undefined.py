"""Why a figure of the performance is not defined, in the engine's words or in ours. Pure."""

from __future__ import annotations

from typing import Final

from trading_app.paper_answers import Performance

DAYS_MIN: Final = 10
"""Below so many daily returns the engine gives no figure of a year."""
TOO_SHORT: Final = f"Not defined yet: it takes {DAYS_MIN} daily returns"
_OF_A_YEAR: Final = {
    "cagr": "Not defined: nothing was left to return on",
    "volatility": "Not defined: too few returns",
    "sharpe": "Not defined: the daily returns do not differ",
    "sortino": "Not defined: no daily return was below its target",
    "calmar": "Not defined: there was no drawdown, or nothing was left to return on",
}
_OF_TRIPS: Final = {
    "win_rate": "Not defined: every round trip broke even",
    "profit_factor": "Not defined: no round trip has ended with a loss",
    "expectancy": "Not defined",
}
_ELSE: Final = "Not known: no day has an equity that is known"


def undefined(found: Performance, figure: str) -> str:
    """Say why ``figure`` is None."""
    if said := found.undefined.get(figure):
        return said
    if figure in _OF_A_YEAR:
        return TOO_SHORT if found.days < DAYS_MIN else _OF_A_YEAR[figure]
    if figure in _OF_TRIPS:
        if not found.round_trips:
            return "Not defined: no round trip, from flat to flat, has ended yet"
        return _OF_TRIPS[figure]
    return _ELSE
