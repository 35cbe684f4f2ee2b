"""The edge to the market-engine's HTTP: a market, its health and its replay, or why there is none.

All browser sessions share one client: an answer is kept for half a second, and while the engine
does not answer it is asked once a second only. It never raises into a page, and knows no page.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar, cast
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from trading_app.market_answers import (
    FeedHealth,
    History,
    MarketTrades,
    Metrics,
    ProblemAnswer,
    Quoted,
    Recordings,
    Replay,
    Source,
    Symbols,
)
from trading_app.sidecar_answers import Answer
from trading_app.sidecar_client import Away
from trading_app.status import STALE_AFTER_S

CONNECT_S: Final = 0.2
TIMEOUT_S: Final = 0.4
"""Of a whole answer: a redraw waits for one at most, because the others then do not ask."""
COMMAND_S: Final = 2.0
"""Of an answer to a click."""
KEEP_S: Final = 0.5
REST_S: Final = 1.0
ANSWERS_MAX: Final = 128
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_AnswerT = TypeVar("_AnswerT", bound=Answer)
Query = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine is there and refuses: ``code`` for us, ``message`` for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A command had no answer: whether it was done is not known."""

    reason: str


class _UnusableAnswerError(Exception):
    """An answer came that is not the engine's, or not in time."""


@dataclass(slots=True)
class _Kept(Generic[_AnswerT]):
    """What was answered last at one address, and the last good answer with its time."""

    lock: threading.Lock
    answer: _AnswerT | Away[_AnswerT] | Refused | None = None
    due_s: float = 0.0
    good: _AnswerT | None = None
    good_s: float | None = None


class MarketClient:
    """Ask one market-engine; any thread may call. A question waits at most half a second.

    ``url`` has no slash at the end. ``clock`` gives unix seconds.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        timeout = httpx.Timeout(TIMEOUT_S, connect=CONNECT_S)
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=False)
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, ...], _Kept[Answer]] = OrderedDict()
        self._rest_until_s = 0.0
        self._trouble: Away[Answer] | None = None
        self._is_refused = False

    def symbols(self, source: Source) -> Symbols | Away[Symbols] | Refused:
        """Give the symbols of a market, with their prices and states."""
        return self._get(Symbols, "/symbols", {"source": source})

    def quoted(self, source: Source, symbol: str) -> Quoted | Away[Quoted] | Refused:
        """Give the best bid and ask of a symbol."""
        return self._get(Quoted, f"/symbols/{quote(symbol, safe='')}/price", {"source": source})

    def history(
        self, source: Source, symbol: str, window: str, points: int
    ) -> History | Away[History] | Refused:
        """Give at most so many bars of a window: 5m, 15m, 1h, 6h or 24h."""
        query: Query = {"source": source, "window": window, "points": points}
        return self._get(History, f"/symbols/{quote(symbol, safe='')}/history", query)

    def trades(
        self, source: Source, symbol: str, limit: int
    ) -> MarketTrades | Away[MarketTrades] | Refused:
        """Give the newest trades of a symbol, at most so many."""
        query: Query = {"source": source, "limit": limit}
        return self._get(MarketTrades, f"/symbols/{quote(symbol, safe='')}/trades", query)

    def metrics(self, source: Source, symbol: str) -> Metrics | Away[Metrics] | Refused:
        """Give the metrics of one symbol."""
        return self._get(Metrics, "/api/metrics/latest", {"source": source, "symbol": symbol})

    def health(self, source: Source) -> FeedHealth | Away[FeedHealth] | Refused:
        """Give the health of a market's feed."""
        return self._get(FeedHealth, "/api/feed/health", {"source": source})

    def recordings(self) -> Recordings | Away[Recordings] | Refused:
        """Give the recordings that can be replayed."""
        return self._get(Recordings, "/api/recordings", {})

    def replay(self) -> Replay | Away[Replay] | Refused:
        """Say where the replay is."""
        return self._get(Replay, "/api/replay", {})

    def start_replay(self, file: str, speed: float | None) -> Refused | Failed | None:
        """Replay a recording by its name, in place of the one that runs; None when it was done."""
        return self._tell("POST", {"file": file, "speed": speed})

    def change_replay(self, change: Mapping[str, object]) -> Refused | Failed | None:
        """Change what is named: ``paused``, ``speed`` or ``seek_ms``; None when it was done."""
        return self._tell("PATCH", change)

    def end_replay(self) -> Refused | Failed | None:
        """End the replay; its market is gone. None when it was done."""
        return self._tell("DELETE", None)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _get(
        self, kind: type[_AnswerT], path: str, query: Query
    ) -> _AnswerT | Away[_AnswerT] | Refused:
        kept = cast("_Kept[_AnswerT]", self._place(path, query))  # a path has one kind of answer
        with kept.lock:
            if kept.answer is None or time.monotonic() >= kept.due_s:
                kept.answer = self._ask(kept, kind, path, query)
                kept.due_s = time.monotonic() + KEEP_S
            return kept.answer

    def _place(self, path: str, query: Query) -> _Kept[Answer]:
        """Find where an address's answer is kept; the one not asked for longest makes room."""
        key = (path, *map(str, query.values()))
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(threading.Lock())
            self._kept.move_to_end(key)
            if len(self._kept) > ANSWERS_MAX:
                self._kept.popitem(last=False)
        return kept

    def _ask(
        self, kept: _Kept[_AnswerT], kind: type[_AnswerT], path: str, query: Query
    ) -> _AnswerT | Away[_AnswerT] | Refused:
        if resting := self._resting():
            return self._away(kept, resting.reason)
        try:
            status, body = self._fetch(path, query)
            if status != httpx.codes.OK:
                return self._refused(kept, status, body)
            kept.good = kind.model_validate_json(body)
        except httpx.HTTPError as error:
            self._rest(_explain(error, self.url, TIMEOUT_S), refused=is_refused(error))
            return self._away(kept, _explain(error, self.url, TIMEOUT_S))
        except (_UnusableAnswerError, ValidationError) as error:
            return self._away(kept, _explain(error, self.url, TIMEOUT_S))
        kept.good_s, self._trouble = self._clock(), None
        return kept.good

    def _refused(self, kept: _Kept[_AnswerT], status: int, body: bytes) -> Away[_AnswerT] | Refused:
        problem = _problem(body)
        if problem is None:
            raise _UnusableAnswerError(f"answered {status}")
        self._trouble = None
        if status == httpx.codes.SERVICE_UNAVAILABLE:
            return self._away(kept, problem.message, answers=True)
        return problem

    def _fetch(self, path: str, query: Query) -> tuple[int, bytes]:
        """Fetch within the timeout, however slowly the answer drips."""
        end_s, body = time.monotonic() + TIMEOUT_S, bytearray()
        with self._http.stream("GET", path, params=dict(query)) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise _UnusableAnswerError(f"{path} answered without end")
                if time.monotonic() > end_s:
                    raise httpx.ReadTimeout("too slow")
        return response.status_code, bytes(body)

    def _resting(self) -> Away[Answer] | None:
        """Give the reason why it is not asked at this moment, if there is one."""
        with self._lock:
            return self._trouble if time.monotonic() < self._rest_until_s else None

    @property
    def is_gone(self) -> bool:
        """Whether nobody listens there, or none has answered for longer than a moment."""
        with self._lock:
            away = self._trouble
            return away is not None and (
                self._is_refused or self._clock() - away.since_s >= STALE_AFTER_S
            )

    def _rest(self, reason: str, *, refused: bool = False) -> None:
        """Ask nothing for a moment: it is not there (``refused``), or hangs."""
        with self._lock:
            # a trouble of long ago, after which nobody asked, is not the beginning of this one
            lasts = time.monotonic() - self._rest_until_s < STALE_AFTER_S
            since_s = self._trouble.since_s if self._trouble and lasts else self._clock()
            self._trouble, self._is_refused = Away(reason, since_s, None, None), refused
            self._rest_until_s = time.monotonic() + REST_S

    def _away(self, kept: _Kept[_AnswerT], reason: str, *, answers: bool = False) -> Away[_AnswerT]:
        since_s = kept.answer.since_s if isinstance(kept.answer, Away) else self._clock()
        return Away(reason, since_s, kept.good, kept.good_s, answers)

    def _tell(self, method: str, body: Mapping[str, object] | None) -> Refused | Failed | None:
        """Send a command; what the replay and its market answered before holds no longer."""
        try:
            response = self._http.request(
                method, "/api/replay", json=body, timeout=httpx.Timeout(COMMAND_S)
            )
        except httpx.HTTPError as error:
            return Failed(_explain(error, self.url, COMMAND_S))
        with self._lock:
            self._kept = OrderedDict(
                (key, kept) for key, kept in self._kept.items() if not _is_of_replay(key)
            )
        if response.is_success:
            return None
        return _problem(response.content) or Failed(f"{self.url} answered {response.status_code}")


def is_refused(error: Exception) -> bool:
    """Whether nothing listens there; a connection that takes too long may be served yet."""
    return isinstance(error, httpx.ConnectError)


def _is_of_replay(key: tuple[str, ...]) -> bool:
    return key[0] == "/api/replay" or "replay" in key[1:]


def _problem(body: bytes) -> Refused | None:
    """Read the engine's own words, if these are."""
    try:
        problem = ProblemAnswer.model_validate_json(body).error
    except ValidationError:
        return None
    return Refused(problem.code, problem.message)


def _explain(error: Exception, url: str, timeout_s: float) -> str:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return f"nothing answers at {url}"
    if isinstance(error, httpx.TimeoutException):
        return f"{url} took longer than {timeout_s * 1000:.0f} ms"
    if isinstance(error, ValidationError):
        return f"{url} is not a market-engine of this version: {error.errors()[0]['msg']}"
    return f"{url}: {error}"
