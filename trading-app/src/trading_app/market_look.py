"""One look at a market: what the answers say of the chosen symbol, and how old that is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from trading_app.market_answers import (
    FeedHealth,
    Replay,
    Source,
    SymbolFeed,
    Symbols,
    SymbolSummary,
)
from trading_app.market_client import Refused
from trading_app.sidecar_answers import Answer
from trading_app.sidecar_client import Away
from trading_app.status import STALE_AFTER_S

_AnswerT = TypeVar("_AnswerT", bound=Answer)


def shown(answer: _AnswerT | Away[_AnswerT] | Refused) -> _AnswerT | None:
    """Give what can be shown: the answer, or the last one before the engine went away."""
    if isinstance(answer, Away):
        return answer.last
    return None if isinstance(answer, Refused) else answer


def trouble(answer: _AnswerT | Away[_AnswerT] | Refused) -> str:
    """Say why there is no answer of now; "" when there is."""
    if isinstance(answer, Away):
        return answer.reason
    return answer.message if isinstance(answer, Refused) else ""


def is_old(answer: Answer | Away[_AnswerT] | Refused, now_s: float) -> bool:
    """Whether what is shown is greyed: the engine has been away for longer than a moment."""
    return isinstance(answer, Away) and now_s - answer.since_s >= STALE_AFTER_S


@dataclass(frozen=True, slots=True)
class Look:
    """Everything the page's first line rests on, of one moment (``now_s``, unix seconds)."""

    source: Source
    symbol: str | None
    now_s: float
    symbols: Symbols | Away[Symbols] | Refused
    health: FeedHealth | Away[FeedHealth] | Refused
    replay: Replay | Away[Replay] | Refused

    @property
    def away(self) -> Away[Symbols] | None:
        """Why the engine does not answer, if it does not."""
        return self.symbols if isinstance(self.symbols, Away) else None

    @property
    def summary(self) -> SymbolSummary | None:
        """The chosen symbol, None where the market does not have it."""
        found = shown(self.symbols)
        return next((s for s in found.symbols if s.symbol == self.symbol), None) if found else None

    @property
    def feed(self) -> SymbolFeed | None:
        """The health of the chosen symbol, None where it is not known."""
        found = shown(self.health)
        return next((s for s in found.symbols if s.symbol == self.symbol), None) if found else None

    @property
    def market_ms(self) -> float:
        """What time it is in the market, in ms since 1970: a recording has a time of its own."""
        health = shown(self.health)
        if self.source == "replay":
            received_ms = health.received_ms if health else None
            replay = shown(self.replay)
            return received_ms or (replay.at_ms if replay else None) or 0
        if health is None or isinstance(self.health, Away):
            return self.now_s * 1000
        return float(health.now_ms)
