"""A venue on loopback that speaks Binance's protocol, and is as rude as a test's script says.

Each connection plays the next script; past the last one, it says nothing. A trade is a function of
its symbol and id, so that a test knows what must come out without keeping a book.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import websockets
from websockets.asyncio.server import Server, ServerConnection, serve

from market_engine.events import MS_NS

TIME_MS = 1_633_998_500_000
Json = dict[str, Any]


def price(trade_id: int) -> str:
    return f"{100 + trade_id % 40}.25000000"


def agg_row(trade_id: int) -> Json:
    return {
        "a": trade_id, "p": price(trade_id), "q": "0.50000000", "f": trade_id, "l": trade_id,
        "T": TIME_MS + trade_id, "m": trade_id % 2 == 0, "M": True,
    }  # fmt: skip


def single_row(trade_id: int) -> Json:
    return {
        "id": trade_id, "price": price(trade_id), "qty": "0.50000000", "quoteQty": "1",
        "time": TIME_MS + trade_id, "isBuyerMaker": trade_id % 2 == 0, "isBestMatch": True,
    }  # fmt: skip


def frame(symbol: str, trade_id: int, kind: str = "aggTrade") -> str:
    row = agg_row(trade_id)
    if kind == "trade":
        row["t"] = row.pop("a")
    data = {"e": kind, "E": row["T"], "s": symbol, **row}
    stream = f"{symbol.lower()}@{kind}"
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":"))


def quote_frame(symbol: str, bid: int) -> str:
    data = {"u": bid, "s": symbol, "b": str(bid), "B": "1", "a": str(bid + 1), "A": "2"}
    return json.dumps({"stream": f"{symbol.lower()}@bookTicker", "data": data})


@dataclass
class Reply:
    """What the REST endpoint answers; ``hangs``: nothing at all; ``drips``: a byte at a time."""

    body: bytes = b"[]"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hangs: bool = False
    drips: bool = False
    cut: int = 0
    """So many bytes are missing at the end when it hangs up."""


def rows(ids: Iterable[int], row: Callable[[int], Json] = agg_row, **options: Any) -> Reply:
    return Reply(json.dumps([row(trade_id) for trade_id in ids]).encode(), **options)


def honest(last: int, first: int = 0) -> Callable[[Json], Reply]:
    """A REST endpoint that has the trades from ``first`` to ``last``."""

    def answer(query: Json) -> Reply:
        start = max(int(query["fromId"]), first)
        row = single_row if query["path"].endswith("historicalTrades") else agg_row
        return rows(range(start, min(start + int(query["limit"]), last + 1)), row)

    return answer


class Session:
    """One websocket connection, as its script plays it."""

    def __init__(self, venue: RudeVenue, socket: ServerConnection, number: int) -> None:
        self.venue = venue
        self.socket = socket
        self.number = number
        self.streams: list[str] = []

    async def trade(self, symbol: str, *ids: int, kind: str = "aggTrade") -> None:
        for trade_id in ids:
            await self.socket.send(frame(symbol, trade_id, kind))

    async def send(self, message: str | bytes) -> None:
        await self.socket.send(message)

    async def half_frame(self) -> None:
        """The beginning of a frame, and then the end of the connection."""
        payload = frame("BTCUSDT", 1).encode()
        self.socket.transport.write(bytes([0x81, 126, *len(payload).to_bytes(2, "big")]))
        self.socket.transport.write(payload[:50])
        await self.drop()

    async def drop(self) -> None:
        """End TCP without a word."""
        self.socket.transport.close()
        await self.closed()

    async def closed(self) -> None:
        """Until the client, or ourselves, ended it."""
        await self.socket.wait_closed()

    async def connections(self, number: int) -> None:
        """Until so many connections were made."""
        while len(self.venue.sessions) < number:
            await asyncio.sleep(0.005)

    async def told(self, what: str) -> None:
        """Until the test says so."""
        while what not in self.venue.told:
            await asyncio.sleep(0.005)


Script = Callable[[Session], Awaitable[None]]


class RudeVenue:
    """A websocket server and an HTTP server in a thread of their own; use it in ``with``."""

    def __init__(
        self,
        *scripts: Script,
        rest: Callable[[Json], Reply] | None = None,
        refusals: Sequence[int] = (),
    ) -> None:
        self.scripts = scripts
        self.rest = rest or (lambda query: Reply())
        self.refusals = list(refusals)
        self.refusal_headers: dict[str, str] = {}
        self.sessions: list[Session] = []
        self.attempts_s: list[float] = []
        self.queries: list[Json] = []
        self.asked_s: list[float] = []
        self.told: set[str] = set()
        self.errors: list[BaseException] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), daemon=True)

    def __enter__(self) -> RudeVenue:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        assert not self._thread.is_alive()
        assert not self.errors, self.errors

    def tell(self, what: str) -> None:
        """Let scripts go on that wait for this."""
        self.told.add(what)

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server: Server = await serve(
            self._connected, "127.0.0.1", 0, process_request=self._admit,
            ping_interval=None, close_timeout=0.2, compression=None,
        )  # fmt: skip
        http = await asyncio.start_server(self._asked, "127.0.0.1", 0)
        self.stream_url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/stream"
        self.rest_url = f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stop.wait()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self.sessions:
            session.socket.transport.abort()
        server.close()
        http.close()
        await server.wait_closed()

    def _admit(self, socket: ServerConnection, _request: Any) -> Any:
        self.attempts_s.append(time.monotonic())
        if not self.refusals:
            return None
        response = socket.respond(HTTPStatus(self.refusals.pop(0)), "go away\n")
        for name, value in self.refusal_headers.items():
            response.headers[name] = value
        return response

    async def _connected(self, socket: ServerConnection) -> None:
        session = Session(self, socket, len(self.sessions) + 1)
        assert socket.request is not None
        query = dict(parse_qsl(urlsplit(socket.request.path).query))
        session.streams = query["streams"].split("/")
        self.sessions.append(session)
        try:
            if session.number <= len(self.scripts):
                await self.scripts[session.number - 1](session)
            await session.closed()
        except websockets.ConnectionClosed:
            pass  # the client left first
        except Exception as error:  # noqa: BLE001 - shown when the venue closes
            self.errors.append(error)

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = urlsplit(head.split(b" ")[1].decode())
            query = {"path": target.path, **dict(parse_qsl(target.query))}
            self.queries.append(query)
            self.asked_s.append(time.monotonic())
            await self._answer(self.rest(query), writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left first
        finally:
            writer.close()

    async def _answer(self, reply: Reply, writer: asyncio.StreamWriter) -> None:
        if reply.hangs:
            await self._stop.wait()
        lines = [
            f"HTTP/1.1 {reply.status} Whatever", f"Content-Length: {len(reply.body)}",
            "Connection: close", *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]  # fmt: skip
        writer.write("\r\n".join([*lines, "", ""]).encode())
        for place in range(len(reply.body)) if reply.drips else ():
            writer.write(reply.body[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(reply.body[: len(reply.body) - reply.cut])
        await writer.drain()


def time_ns(trade_id: int) -> int:
    return (TIME_MS + trade_id) * MS_NS
