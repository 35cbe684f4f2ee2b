"""One connection to Binance's streams: opened, subscribed, read, closed. Knows no trade."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from market_engine.errors import FeedError
from market_engine.feeds.binance_config import BinanceConfig
from market_engine.feeds.binance_parser import FRAME_BYTES_MAX
from market_engine.feeds.binance_rest import retry_after_s

URL_STREAMS_MAX: Final = 100
"""More streams than that are subscribed to by messages: an address may not be of any length."""
MESSAGE_BYTES_MAX: Final = 4 * FRAME_BYTES_MAX
"""A longer message ends the connection; one between the two limits is only rejected."""
_REFUSALS: Final = frozenset({400, 401, 404, 451})


class RefusedError(FeedError):
    """The venue answered, and will not serve us however often we ask."""


class UnreachableError(FeedError):
    """No connection now; ``wait_s`` is what the venue asks for, 0 if it says nothing."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Connection:
    """An open connection; its times are those of the loop's clock."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.opened_s = asyncio.get_running_loop().time()
        self.last_frame_s = self.opened_s
        self.has_delivered = False
        self.is_silent = False
        self.ended = asyncio.Event()
        self.to_replace = asyncio.Event()
        """Set when another connection has to take its place."""
        self.why = ""
        """Why it has to be replaced, or how it ended."""

    @property
    def is_ended(self) -> bool:
        """Whether it brings nothing more."""
        return self.ended.is_set()

    def replace(self, why: str) -> None:
        """Ask for another connection in place of this one."""
        self.why = self.why or why
        self.to_replace.set()

    async def read(
        self, take: Callable[[Connection, bytes], bool], room: Callable[[], Awaitable[None]]
    ) -> None:
        """Hand over each frame until the connection ends, and what was received before as well.

        ``take`` says whether there is room for more; if not, ``room`` is awaited before the next
        frame is read. Meanwhile frames pile up in the socket, and then at the venue, and pings are
        not answered: who blocks for a minute is disconnected, and fetches what it missed.
        """
        try:
            while True:
                if not take(self, await self._socket.recv(decode=False)):
                    await room()
        except ConnectionClosed as closed:
            self.why = self.why or str(closed)[:200]
        finally:
            self.ended.set()
            self.to_replace.set()

    async def subscribe(self, streams: Sequence[str], messages_per_s_max: float) -> None:
        """Ask for more streams, slowly enough for the venue."""
        for number, start in enumerate(range(0, len(streams), URL_STREAMS_MAX), start=1):
            await asyncio.sleep(1 / messages_per_s_max)
            params = streams[start : start + URL_STREAMS_MAX]
            request = {"method": "SUBSCRIBE", "params": params, "id": number}
            await self._socket.send(msgspec.json.encode(request).decode())

    async def close(self) -> None:
        """Say good-bye, for a bounded time; what has arrived can still be read."""
        await self._socket.close()


async def open_connection(config: BinanceConfig, streams: Sequence[str]) -> Connection:
    """Connect and ask for the streams; UnreachableError or RefusedError where that fails."""
    url = f"{config.stream_url}?streams={'/'.join(streams[:URL_STREAMS_MAX])}"
    try:
        socket = await connect(
            url,
            open_timeout=config.connect_timeout_s,
            close_timeout=config.close_timeout_s,
            ping_interval=config.ping_interval_s,
            ping_timeout=config.ping_timeout_s,
            max_size=MESSAGE_BYTES_MAX,
            max_queue=config.frames_queued_max,
            compression=None,  # small frames: it would cost more time than it saves
            proxy=True if config.uses_environment_proxy else None,
        )
    except InvalidStatus as refused:
        raise _refusal(refused) from None
    except (InvalidURI, ValueError) as error:
        raise RefusedError(f"stream_url {config.stream_url!r} cannot be used: {error}") from None
    except (OSError, WebSocketException, EOFError) as error:
        raise UnreachableError(f"{type(error).__name__} {error}"[:200].strip()) from None
    connection = Connection(socket)
    try:
        await connection.subscribe(streams[URL_STREAMS_MAX:], config.messages_per_s_max)
    except ConnectionClosed as closed:
        raise UnreachableError(str(closed)[:200]) from None
    except asyncio.CancelledError:
        await connection.close()
        raise
    return connection


def _refusal(refused: InvalidStatus) -> FeedError:
    status = refused.response.status_code
    if status in _REFUSALS:
        return RefusedError(
            f"the venue refuses with HTTP {status}: set stream_url to an address that serves you"
        )
    wait_s = retry_after_s(refused.response.headers.get("Retry-After", ""))
    return UnreachableError(f"HTTP {status}", wait_s or 0.0)
