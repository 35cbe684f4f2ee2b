"""The edge to the paper desk of the market-engine: portfolios, orders, fills, the kill switch.

Questions are asked as ``MarketClient`` asks them: an answer is kept for half a second. A command
waits at most two seconds, and says whether it was refused, or is not known to have been done. It
never raises into a page, and knows no page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from trading_app.market_answers import ProblemAnswer
from trading_app.market_client import (
    COMMAND_S,
    TIMEOUT_S,
    Failed,
    MarketClient,
    Query,
    Refused,
    is_refused,
)
from trading_app.paper_answers import (
    Cancelled,
    EquityHistory,
    Fills,
    Order,
    Orders,
    Performance,
    PortfolioNow,
    Portfolios,
    PortfolioShape,
    Preview,
    TradingState,
)
from trading_app.paper_ended import Ended, Found
from trading_app.sidecar_answers import Answer
from trading_app.sidecar_client import Away

LISTED_MAX: Final = 100
NOT_STORED: Final = "not_stored"
"""What the desk says where it could store nothing: nothing was done, but for a trading state."""
_AnswerT = TypeVar("_AnswerT", bound=Answer)
Body = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Done(Generic[_AnswerT]):
    """A command was done; not ``is_new``: it had been done before, and this is how it is now."""

    answer: _AnswerT
    is_new: bool = True


class PaperClient(MarketClient):
    """Ask the paper desk of one market-engine, and tell it; any thread may call.

    A command that did not reach anybody is ``Away``: it is certain that it was not done. One whose
    answer did not come in time is ``Failed``: that is not known, and it may be sent again.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(url, clock=clock)
        self._ended = Ended()

    def portfolios(self) -> Portfolios | Away[Portfolios] | Refused:
        """List every portfolio."""
        return self._get(Portfolios, "/portfolios", {})

    def portfolio(self, name: str) -> PortfolioNow | Away[PortfolioNow] | Refused:
        """Say where a portfolio stands."""
        return self._get(PortfolioNow, "/portfolio", {"portfolio": name})

    def equity(self, name: str, window: str) -> EquityHistory | Away[EquityHistory] | Refused:
        """Give its snapshots of a window: 1h, 1d, 7d or all."""
        query = {"portfolio": name, "window": window}
        return self._get(EquityHistory, "/portfolio/history", query)

    def performance(self, name: str) -> Performance | Away[Performance] | Refused:
        """Give its performance over all days."""
        return self._get(Performance, "/portfolio/performance", {"portfolio": name})

    def orders(
        self, name: str, state: str, limit: int = LISTED_MAX, before: int | None = None
    ) -> Orders | Away[Orders] | Refused:
        """Give its newest orders, those with a number below ``before``; ``state``: open or all."""
        query: Query = {"portfolio": name, "state": state, "limit": limit}
        if before is not None:
            query = {**query, "before": before}
        return self._get(Orders, "/orders", query)

    def order(self, name: str, client_order_id: str) -> Order | Away[Order] | Refused:
        """Give one order as it is now."""
        path = f"/orders/{quote(client_order_id, safe='')}"
        return self._get(Order, path, {"portfolio": name})

    def ended(self, name: str) -> Found:
        """Give its orders that ended last, as far as it is known to this client."""
        return self._ended.look(self, name)

    def fills(self, name: str) -> Fills | Away[Fills] | Refused:
        """Give its newest fills in the neutral book."""
        return self._get(Fills, "/fills", {"portfolio": name, "limit": LISTED_MAX})

    def trading_state(self) -> TradingState | Away[TradingState] | Refused:
        """Say what the desk lets through."""
        return self._get(TradingState, "/trading-state", {})

    def preview(self, order: Body) -> Preview | Away[Preview] | Refused | Failed:
        """Say what an order would cost now, within the time of a redraw; nothing is kept."""
        if resting := self._resting():
            return Away(resting.reason, resting.since_s, None, None)
        answer = self._send(Preview, "POST", "/orders/preview", order, timeout_s=TIMEOUT_S)
        return answer.answer if isinstance(answer, Done) else answer

    def make(
        self, portfolio: Body
    ) -> Done[PortfolioShape] | Away[PortfolioShape] | Refused | Failed:
        """Make a portfolio; the same once more changes nothing."""
        return self._told(PortfolioShape, "POST", "/portfolio/init", portfolio)

    def place(self, order: Body) -> Done[Order] | Away[Order] | Refused | Failed:
        """Send an order; with the same ``client_order_id`` it is one, however often it is sent."""
        return self._told(Order, "POST", "/orders", order)

    def cancel(
        self, name: str, client_order_id: str
    ) -> Done[Order] | Away[Order] | Refused | Failed:
        """Cancel an order."""
        path = f"/orders/{quote(client_order_id, safe='')}?portfolio={quote(name, safe='')}"
        return self._told(Order, "DELETE", path, None)

    def cancel_all(self, name: str) -> Done[Cancelled] | Away[Cancelled] | Refused | Failed:
        """Cancel every open order of a portfolio."""
        return self._told(Cancelled, "DELETE", f"/orders?portfolio={quote(name, safe='')}", None)

    def set_state(
        self, state: str, reason: str
    ) -> Done[TradingState] | Away[TradingState] | Refused | Failed:
        """Say what the desk shall let through: active, reducing, halted or flatten."""
        return self._told(
            TradingState, "POST", "/trading-state", {"state": state, "reason": reason}
        )

    def _told(
        self, kind: type[_AnswerT], method: str, path: str, body: Body | None
    ) -> Done[_AnswerT] | Away[_AnswerT] | Refused | Failed:
        """Send a command; what was answered before it holds no longer."""
        answer = self._send(kind, method, path, body, timeout_s=COMMAND_S)
        with self._lock:
            for kept in self._kept.values():
                kept.due_s = 0.0
        return answer

    def _send(
        self, kind: type[_AnswerT], method: str, path: str, body: Body | None, *, timeout_s: float
    ) -> Done[_AnswerT] | Away[_AnswerT] | Refused | Failed:
        try:
            response = self._http.request(method, path, json=body, timeout=timeout_s)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = f"nothing answers at {self.url}"
            self._rest(reason, refused=is_refused(error))
            return Away(reason, self._clock(), None, None)
        except httpx.HTTPError as error:
            return Failed(_words(error, self.url, timeout_s))
        with self._lock:
            self._trouble = None
        return _read(kind, response, self.url)


def _read(
    kind: type[_AnswerT], response: httpx.Response, url: str
) -> Done[_AnswerT] | Refused | Failed:
    """Read an answer; what is not the desk's own is no answer."""
    try:
        if response.is_success:
            answer = kind.model_validate_json(response.content)
            return Done(answer, response.status_code != httpx.codes.OK)
        problem = ProblemAnswer.model_validate_json(response.content).error
    except ValidationError:
        return Failed(f"{url} answered {response.status_code} in words that this desk cannot read")
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR and problem.code != NOT_STORED:
        return Failed(problem.message)
    return Refused(problem.code, problem.message)


def _words(error: httpx.HTTPError, url: str, timeout_s: float) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"{url} took longer than {timeout_s:g} s"
    return f"{url}: {error}"
