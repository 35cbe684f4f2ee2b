"""The edge to the sidecar's HTTP: what it has counted, or that it is away and why.

All browser sessions of the desk share one client; whoever asks first fetches, the others get the
same answer for half a second. It never raises into a page, and knows no page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import httpx
from pydantic import ValidationError

from trading_app.sidecar_answers import Answer, Benchmarks, History, Refusal, Summary

TIMEOUT_S: Final = 0.4
KEEP_S: Final = 0.5
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
_AnswerT = TypeVar("_AnswerT", bound=Answer)


@dataclass(frozen=True, slots=True)
class Away(Generic[_AnswerT]):
    """The sidecar gave no usable answer: why, since when (unix seconds), and its last one.

    ``answers`` means that it is there and says so itself: it is not ready.
    """

    reason: str
    since_s: float
    last: _AnswerT | None
    last_s: float | None
    answers: bool = False


class _UnusableAnswerError(Exception):
    """An answer came that is not the sidecar's."""


class _NotReadyError(Exception):
    """The sidecar says that it has no figures, and why."""


class SidecarClient:
    """Ask one sidecar; each call waits at most about a second, most of them not at all.

    ``url`` has no slash at the end. ``clock`` gives unix seconds, ``transport`` replaces the
    network in tests.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=url, timeout=TIMEOUT_S, trust_env=False, transport=transport
        )
        self._summary = _Source(self._http, "/api/summary", Summary, clock)
        self._history = _Source(self._http, "/api/history", History, clock)
        self._benchmarks = _Source(self._http, "/api/benchmarks", Benchmarks, clock)

    def summary(self) -> Summary | Away[Summary]:
        """Give the totals, at most half a second old."""
        return self._summary.get()

    def history(self) -> History | Away[History]:
        """Give the last minutes of the counters, at most half a second old."""
        return self._history.get()

    def benchmarks(self) -> Benchmarks | Away[Benchmarks]:
        """Give what benchmarks said of themselves, at most half a second old."""
        return self._benchmarks.get()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class _Source(Generic[_AnswerT]):
    """One address of the sidecar, fetched by one caller at a time and kept for a moment."""

    def __init__(
        self, http: httpx.Client, path: str, kind: type[_AnswerT], clock: Callable[[], float]
    ) -> None:
        self._http, self._path, self._kind, self._clock = http, path, kind, clock
        self._lock = threading.Lock()
        self._answer: _AnswerT | Away[_AnswerT] | None = None
        self._good: _AnswerT | None = None
        self._good_s: float | None = None
        self._due_s = 0.0

    def get(self) -> _AnswerT | Away[_AnswerT]:
        with self._lock:
            if self._answer is None or time.monotonic() >= self._due_s:
                self._answer = self._ask()
                self._due_s = time.monotonic() + KEEP_S
            return self._answer

    def _ask(self) -> _AnswerT | Away[_AnswerT]:
        try:
            self._good = self._kind.model_validate_json(self._fetch())
        except _NotReadyError as error:
            return self._away(str(error), answers=True)
        except (httpx.HTTPError, _UnusableAnswerError, ValidationError) as error:
            return self._away(_explain(error, str(self._http.base_url)))
        self._good_s = self._clock()
        return self._good

    def _fetch(self) -> bytes:
        body = bytearray()
        with self._http.stream("GET", self._path) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > ANSWER_BYTES_MAX:
                    raise _UnusableAnswerError(f"{self._path} answered without end")
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            _raise_not_ready(bytes(body))
        if response.status_code != httpx.codes.OK:
            raise _UnusableAnswerError(f"{self._path} answered {response.status_code}")
        return bytes(body)

    def _away(self, reason: str, *, answers: bool = False) -> Away[_AnswerT]:
        since_s = self._answer.since_s if isinstance(self._answer, Away) else self._clock()
        return Away(reason, since_s, self._good, self._good_s, answers)


def _raise_not_ready(body: bytes) -> None:
    """Raise with the reason that the sidecar gives; nothing happens when this is not its way."""
    try:
        reason = Refusal.model_validate_json(body).detail
    except ValidationError:
        return
    raise _NotReadyError(f"the sidecar is not ready: {reason}")


def _explain(error: Exception, url: str) -> str:
    if isinstance(error, httpx.ConnectError):
        return f"nothing answers at {url}"
    if isinstance(error, httpx.TimeoutException):
        return f"{url} took longer than {TIMEOUT_S * 1000:.0f} ms"
    if isinstance(error, ValidationError):
        return f"{url} is not a sidecar of this version: {error.errors()[0]['msg']}"
    return f"{url}: {error}"
