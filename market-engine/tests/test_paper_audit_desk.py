"""What the real desk fills in random markets, over restarts too, passes the audit; the command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random

import msgspec
import pytest

from market_engine.audit_command import audit as audit_command
from market_engine.audit_command import audit_files
from market_engine.commands import generate
from market_engine.errors import StorageError
from market_engine.events import MS_NS, Event, Quote, Side, Trade
from market_engine.feeds.recordings import Recording
from market_engine.paper.audit import Audit, audit, read_desk
from market_engine.paper.desk import PaperDesk
from market_engine.paper.errors import PaperError
from market_engine.paper.model import (
    Limits,
    Model,
    NewOrder,
    OrderType,
    Portfolio,
    TimeInForce,
    TradingState,
)
from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database

NANO = 10**9
START_NS = 86_400 * NANO - 30 * NANO
"""Half a minute before midnight, so that days end."""
LIMITS = Limits(None, None, None, None, Decimal("0.03"), None)
SYMBOLS = ("AUSDT", "BUSDT")
Step = tuple[object, ...]
SEEDS = range(12)
STEPS = 250


def model_of(chance: Random) -> Model:
    return Model(
        slippage=chance.choice([Decimal(0), Decimal("0.001234567")]),
        latency_ms=chance.choice([0, 0, 1, 500]),
        stale_ms=chance.choice([2_000, 10_000]),
    )


def event_of(chance: Random, price: int, *, has_quotes: bool) -> Step:
    kinds = ["quote", "quote", "quote", "trade", "trade", "backfilled"]
    kind = chance.choice(kinds if has_quotes else kinds[3:])
    wait_ms = chance.choice([0, 0, 1, 50, 200, 900, 900, 3_000])
    symbol = 0 if has_quotes else 1
    return kind, symbol, price + chance.choice([-1, 0, 0, 0, 1]), chance.randint(1, 4), wait_ms


def order_of(chance: Random, price: int) -> Step:
    kind = chance.choice([*OrderType, OrderType.LIMIT])
    limit = price + chance.randint(-2, 2) if "limit" in kind else None
    stop = price + chance.randint(-2, 2) if "stop" in kind else None
    force = chance.choice([*TimeInForce, TimeInForce.GTC, TimeInForce.GTC])
    is_resting = limit is not None and force in (TimeInForce.GTC, TimeInForce.DAY)
    return (
        "order", chance.choice([0, 0, 1]), chance.choice(["buy", "sell"]), kind,
        chance.randint(1, 6), limit, stop, force, is_resting and chance.random() < 0.2,
        chance.random() < 0.25,
    )  # fmt: skip


def steps_of(chance: Random) -> Iterator[Step]:
    """Mostly the market, in one symbol with quotes and one without; then what a user does."""
    price = 100
    for _ in range(STEPS):
        price = min(103, max(97, price + chance.choice([-1, 0, 0, 0, 1])))
        what = chance.random()
        if what < 0.6:
            yield event_of(chance, price, has_quotes=chance.random() < 0.8)
        elif what < 0.94:
            yield order_of(chance, price)
        elif what < 0.97:
            yield "cancel", chance.randint(1, 80)
        elif what < 0.985:
            yield ("restart",)
        elif what < 0.99:
            yield ("flatten",)
        else:
            yield ("reducing",) if chance.random() < 0.5 else ("halted",)
            for _ in range(chance.randint(1, 6)):
                yield event_of(chance, price, has_quotes=chance.random() < 0.8)
        if what >= 0.985:
            yield ("active",) if chance.random() < 0.5 else ("restart",)
            yield ("active",)


class Story:
    """A desk on a file, and all that it saw."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.url = f"sqlite:///{folder / 'desk.db'}"
        self.seen: list[Event] = []
        self.now_ns, self.orders, self.trades = START_NS, 0, 0
        self._begin()
        portfolio = Portfolio("main", "USDT", Decimal(100_000), START_NS, limits=LIMITS)
        self.desk.create(msgspec.structs.replace(portfolio, model=model))

    def _begin(self) -> None:
        self.database = Database(self.url)
        self.desk = PaperDesk(DeskStore(self.database), dict.fromkeys(SYMBOLS, "crypto"))

    def step(self, step: Sequence[object]) -> None:
        if step[0] in ("quote", "trade", "backfilled"):
            self._event(*step)  # type: ignore[arg-type]
        elif step[0] == "order":
            self._order(*step[1:])  # type: ignore[arg-type]
        elif step[0] == "cancel":
            self._cancel(f"o{step[1]}")
        elif step[0] == "restart":
            self.database.close()
            self._begin()
        else:
            self.desk.set_state(TradingState(str(step[0])), "")

    def _event(self, kind: str, symbol: int, price: int, size: int, wait_ms: int) -> None:
        self.now_ns += wait_ms * MS_NS
        at_ns, name = self.now_ns, SYMBOLS[symbol]
        event: Quote | Trade
        aggressor: Side = "buy" if (price + size + wait_ms) % 2 else "sell"
        if kind == "quote":
            sizes = size * NANO, (price + 1) * NANO, (5 - size) * NANO
            event = Quote("x", name, price * NANO, *sizes, at_ns, at_ns)
        else:
            self.trades += 1
            event = Trade(
                "x", name, price * NANO, size * NANO, aggressor, self.trades, at_ns, at_ns,
                backfilled=kind == "backfilled",
            )  # fmt: skip
        self.seen.append(event)
        self.desk.take([event], at_ns)

    def _order(  # noqa: PLR0917 - as it was drawn
        self, symbol: int, side: str, kind: OrderType, qty: int, limit: int | None,
        stop: int | None, force: TimeInForce, post_only: object, reduce_only: object,
    ) -> None:  # fmt: skip
        self.orders += 1
        self.desk.submit(
            NewOrder(
                "main", f"o{self.orders}", SYMBOLS[symbol], side, kind, qty * NANO,  # type: ignore[arg-type]
                limit and limit * NANO, stop and stop * NANO, force, bool(post_only),
                bool(reduce_only),
            )
        )  # fmt: skip

    def _cancel(self, name: str) -> None:
        with contextlib.suppress(PaperError):  # unknown, or closed
            self.desk.cancel("main", name)

    def audit(self) -> Audit:
        return audit(read_desk(DeskStore(self.database)), [self.seen])


def test_whatever_the_desk_fills_is_justified_by_the_stream(tmp_path: Path) -> None:
    fills = 0
    for seed in SEEDS:
        chance, folder = Random(seed), tmp_path / str(seed)
        folder.mkdir()
        story = Story(folder, model_of(chance))
        for step in steps_of(chance):
            story.step(step)
        found = story.audit()
        story.database.close()
        assert found.findings == (), seed
        fills += found.fills
    assert fills > 40 * len(SEEDS)


def recorded(folder: Path) -> tuple[Path, str, int]:
    """A recording, a desk that traded on it, and how many fills it made in all books."""
    file, url = folder / "hour.frames", f"sqlite:///{folder / 'desk.db'}"
    generate(file, 4_000, 0.2, 5)
    database = Database(url)
    desk = PaperDesk(DeskStore(database), {"BTCUSDT": "crypto"})
    desk.create(Portfolio("main", "USDT", Decimal(10_000_000), 0, limits=LIMITS))
    for number, (at_ns, step) in enumerate(Recording([file]).steps(), 1):
        desk.take([each for each in step if isinstance(each, Quote | Trade)], at_ns)
        if number % 50 == 0:
            desk.submit(
                NewOrder("main", f"o{number}", "BTCUSDT", "buy" if number % 100 else "sell",
                         OrderType.MARKET, NANO // 100)
            )  # fmt: skip
    fills = read_desk(DeskStore(database)).fills
    database.close()
    return file, url, len(fills)


def test_the_command_passes_a_sound_desk_and_ends_with_status_1_on_another_market(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, url, fills = recorded(tmp_path)
    assert fills > 30
    capsys.readouterr()
    audit_command([file], url)
    assert f"audit passed: {fills} fills of " in capsys.readouterr().out
    other = tmp_path / "other.frames"
    generate(other, 4_000, 0.2, 6)
    with pytest.raises(SystemExit) as ended:
        audit_command([other], url)
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert out.count("the stream has no") == fills
    assert f"audit failed: {fills} findings" in out


def test_a_portfolio_that_is_not_there_is_told(tmp_path: Path) -> None:
    file, url, _ = recorded(tmp_path)
    with pytest.raises(StorageError, match="no portfolio 'other'"):
        audit_files([file], url, "other")
