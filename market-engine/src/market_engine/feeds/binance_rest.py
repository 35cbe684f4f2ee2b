"""Past trades by id, from Binance's REST endpoint: pages, limits, and a venue that errs or lies.

Yields raw trades as messages, in rising order of their ids, never one that was not asked for; what
they are worth is for the parser to judge. Knows no event and no connection.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from typing import Final

import httpx
import msgspec

from market_engine.errors import FeedError
from market_engine.feeds.backoff import Backoff
from market_engine.feeds.binance_config import BinanceConfig, BinanceStats
from market_engine.feeds.binance_messages import (
    AggTradeMessage,
    Count,
    SingleTradeMessage,
    TradeMessage,
)

BODY_BYTES_MAX: Final = 2**20
"""A thousand trades are about 150,000 bytes."""
_WAIT_STATUSES: Final = frozenset({418, 429})


class _AggRow(msgspec.Struct, gc=False):
    trade_id: Count = msgspec.field(name="a")
    price: str = msgspec.field(name="p")
    qty: str = msgspec.field(name="q")
    time: Count = msgspec.field(name="T")
    is_buyer_maker: bool = msgspec.field(name="m")


class _SingleRow(msgspec.Struct, rename="camel", gc=False):
    price: str
    qty: str
    time: Count
    is_buyer_maker: bool
    trade_id: Count = msgspec.field(name="id")


_AGG_ROWS: Final = msgspec.json.Decoder(list[_AggRow])
_SINGLE_ROWS: Final = msgspec.json.Decoder(list[_SingleRow])


class _TryAgainError(Exception):
    """It may work later, after ``wait_s`` if that is known."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class TradeHistory:
    """Pages of past trades; one request at a time, and none while the venue asks us to wait."""

    def __init__(
        self,
        config: BinanceConfig,
        stats: BinanceStats,
        client: httpx.AsyncClient,
        backoff: Backoff,
    ) -> None:
        self._config = config
        self._stats = stats
        self._client = client
        self._backoff = backoff
        self._not_before_s = 0.0
        self._one_at_a_time = asyncio.Lock()
        is_agg = config.trade_stream == "aggTrade"
        path = "aggTrades" if is_agg else "historicalTrades"
        self._url = f"{config.rest_url.rstrip('/')}/api/v3/{path}"

    async def pages(self, symbol: str, first: int, last: int) -> AsyncIterator[list[TradeMessage]]:
        """Trades ``first`` to ``last`` as far as the venue has them, page by page.

        Raises FeedError, which says why, when a page cannot be had; those before it were given.
        """
        while first <= last:
            limit = min(self._config.page_trades_max, last - first + 1)
            page = await self._page(symbol, first, limit)
            if not page:
                raise FeedError(f"the venue has no trades of {symbol} from id {first} on")
            yield [trade for trade in page if trade.trade_id <= last]
            first = page[-1].trade_id + 1

    async def newest(self, symbol: str, first: int) -> list[TradeMessage]:
        """One page from ``first`` on, or nothing when there are none yet; raises FeedError."""
        return await self._page(symbol, first, self._config.page_trades_max, may_be_empty=True)

    async def _page(
        self, symbol: str, first: int, limit: int, *, may_be_empty: bool = False
    ) -> list[TradeMessage]:
        async with self._one_at_a_time:
            self._backoff.reset()
            return await self._try(symbol, first, limit, may_be_empty=may_be_empty)

    async def _try(
        self, symbol: str, first: int, limit: int, *, may_be_empty: bool
    ) -> list[TradeMessage]:
        why = ""
        for _ in range(self._config.rest_attempts_max):
            await asyncio.sleep(max(0.0, self._not_before_s - time.monotonic()))
            try:
                page = await self._ask(symbol, first, limit)
            except _TryAgainError as error:
                why = str(error)
                self._wait(error.wait_s, why)
                continue
            if page or may_be_empty:
                return page
            self._wait(None, why)  # the endpoint may be behind the stream
        if not why:
            return []
        raise FeedError(f"{why}, {self._config.rest_attempts_max} times")

    def _wait(self, wait_s: float | None, why: str) -> None:
        """Ask for nothing until then; FeedError when the venue wants more than we wait."""
        if wait_s is not None and wait_s > self._config.rest_wait_s_max:
            raise FeedError(f"{why}, and the venue wants us to wait for {wait_s:.0f} s")
        pause_s = self._backoff.next_s() if wait_s is None else wait_s
        self._not_before_s = max(self._not_before_s, time.monotonic() + pause_s)

    async def _ask(self, symbol: str, first: int, limit: int) -> list[TradeMessage]:
        self._stats.rest_requests += 1
        query: dict[str, str | int] = {"symbol": symbol, "fromId": first, "limit": limit}
        try:
            async with (
                asyncio.timeout(self._config.rest_timeout_s),
                self._client.stream("GET", self._url, params=query) as response,
            ):
                self._heed_weight(response)
                body = await _read_body(response)
        except TimeoutError:
            raise _TryAgainError("no answer in time") from None
        except httpx.HTTPError as error:
            raise _TryAgainError(f"{type(error).__name__} {error}".strip()) from None
        _check_status(response, body)
        return _sound_page(self._decode(symbol, body), first)

    def _heed_weight(self, response: httpx.Response) -> None:
        used = response.headers.get("x-mbx-used-weight-1m", "")
        if used.isascii() and used.isdigit() and int(used[:9]) >= self._config.rest_weight_max:
            pause_s = self._config.rest_weight_pause_s
            self._not_before_s = max(self._not_before_s, time.monotonic() + pause_s)

    def _decode(self, symbol: str, body: bytes) -> list[TradeMessage]:
        try:
            if self._config.trade_stream == "aggTrade":
                return [
                    AggTradeMessage(
                        "aggTrade",
                        symbol,
                        row.trade_id,
                        row.price,
                        row.qty,
                        row.time,
                        row.is_buyer_maker,
                    )
                    for row in _AGG_ROWS.decode(body)
                ]
            return [
                SingleTradeMessage(
                    "trade",
                    symbol,
                    row.trade_id,
                    row.price,
                    row.qty,
                    row.time,
                    row.is_buyer_maker,
                )
                for row in _SINGLE_ROWS.decode(body)
            ]
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _TryAgainError(f"the answer is no list of trades: {error}") from None


async def _read_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for part in response.aiter_bytes():
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise _TryAgainError(f"the answer is longer than {BODY_BYTES_MAX} bytes")
    return bytes(body)


def _check_status(response: httpx.Response, body: bytes) -> None:
    status = response.status_code
    if status == httpx.codes.OK:
        return
    why = f"HTTP {status} {body[:100].decode(errors='replace')}".strip()
    if status in _WAIT_STATUSES:
        raise _TryAgainError(why, retry_after_s(response.headers.get("retry-after", "")))
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.REQUEST_TIMEOUT:
        raise _TryAgainError(why)
    raise FeedError(why)


def retry_after_s(text: str) -> float | None:
    """The seconds of a ``Retry-After`` header; None where it gives no number of them."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _sound_page(page: list[TradeMessage], first: int) -> list[TradeMessage]:
    before = first - 1
    for trade in page:
        if trade.trade_id <= before:
            raise _TryAgainError(f"the answer to id {first} has id {trade.trade_id} out of place")
        before = trade.trade_id
    return page
