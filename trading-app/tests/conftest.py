"""Stand-ins that the tests share: a sidecar that answers what it is told, and free ports."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from trade_telemetry import PublisherStats, RefusalReason
from trade_telemetry.testing import RecordingPublisher
from trading_app.desk import Desk
from trading_app.sidecar_answers import Benchmarks, History, Summary
from trading_app.sidecar_client import Away

NOW_S = 1_790_000_000.0


class PretendSidecar:
    """Answers from memory; ``answer`` and ``past`` may be changed between two looks."""

    def __init__(self) -> None:
        self.answer: Summary | Away[Summary] = summary()
        self.past: History | Away[History] = life({})
        self.found: Benchmarks | Away[Benchmarks] = Benchmarks(now_s=NOW_S)

    def summary(self) -> Summary | Away[Summary]:
        return self.answer

    def history(self) -> History | Away[History]:
        return self.past

    def benchmarks(self) -> Benchmarks | Away[Benchmarks]:
        return self.found

    def leave(self, reason: str = "nothing answers at http://127.0.0.1:8001") -> None:
        last = self.answer.last if isinstance(self.answer, Away) else self.answer
        self.answer = Away(reason, NOW_S - 60, last, NOW_S - 60 if last else None)
        past = self.past.last if isinstance(self.past, Away) else self.past
        self.past = Away(reason, NOW_S - 60, past, NOW_S - 60)
        found = self.found.last if isinstance(self.found, Away) else self.found
        self.found = Away(reason, NOW_S - 60, found, NOW_S - 60)


def summary(**changes: object) -> Summary:
    """What a healthy sidecar without any trade answers, with changes."""
    body: dict[str, object] = {
        "now_s": NOW_S,
        "started_s": NOW_S - 3600,
        "status": "ok",
        "trades": {"buy": 0, "sell": 0},
        "volume": {"buy": 0, "sell": 0},
    }
    return Summary.model_validate(body | changes)


def life(totals: dict[float, tuple[int, int]], **changes: object) -> History:
    """A history with these totals (buys, sells) at seconds after NOW_S, and its fields changed.

    A buy has a volume of 0.5, a sell of 2; each trade is 1 to 10 ms old; half the time is busy.
    """
    samples = [
        {
            "at_s": NOW_S + after_s,
            "trades_buy": buys,
            "trades_sell": sells,
            "volume_buy": buys * 0.5,
            "volume_sell": sells * 2.0,
            "age_counts": (0, buys + sells, 0),
            "busy_s": 500 + after_s / 2,
        }
        for after_s, (buys, sells) in totals.items()
    ]
    body = {
        "now_s": NOW_S,
        "started_s": NOW_S - 3600,
        "age_bounds_s": (0.001, 0.01),
        "samples": samples,
    }
    return History.model_validate(body | changes)


def publisher_stats(**changes: object) -> PublisherStats:
    """What a healthy publisher with a journal file says, with changes."""
    figures: dict[str, object] = {
        "source": "trading-app",
        "epoch": 1,
        "published": 9,
        "sent": 9,
        "acknowledged": 9,
        "waiting": 0,
        "capacity": 65_536,
        "refused": dict.fromkeys(RefusalReason, 0),
        "overwritten": 0,
        "leftover": 0,
        "connected": True,
        "tracked": True,
        "durable": True,
        "errors": 0,
        "problem": None,
    }
    return msgspec.convert(figures | changes, PublisherStats)


@pytest.fixture
def make_stats() -> Callable[..., PublisherStats]:
    return publisher_stats


@pytest.fixture
def make_life() -> Callable[..., History]:
    return life


@pytest.fixture
def make_summary() -> Callable[..., Summary]:
    return summary


@pytest.fixture
def now_s() -> float:
    return NOW_S


@pytest.fixture
def sidecar() -> PretendSidecar:
    return PretendSidecar()


@pytest.fixture
def publisher() -> RecordingPublisher:
    return RecordingPublisher(source="trading-app", clock=lambda: NOW_S)


@pytest.fixture
def desk(publisher: RecordingPublisher, sidecar: PretendSidecar) -> Desk:
    return Desk(publisher, sidecar, "http://127.0.0.1:8001", clock=lambda: NOW_S)


@pytest.fixture
def free_port() -> Callable[[], int]:
    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find


@pytest.fixture
def clean_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A working directory without ``.env``, and none of our keys in the environment."""
    from trading_app.settings import Settings  # noqa: PLC0415

    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], object]:
    """Ask again until the answer is true; fails after 20 s."""

    def wait(ask: Callable[[], object]) -> object:
        end_s = time.monotonic() + 20
        while time.monotonic() < end_s:
            answer = ask()
            if answer:
                return answer
            time.sleep(0.05)
        raise AssertionError("it did not happen within 20 s")

    return wait
