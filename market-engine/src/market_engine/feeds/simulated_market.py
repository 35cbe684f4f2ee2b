"""A seeded market: raw frames as the venue would send them, and any trade of it again by its id.

The trades of a symbol, their ids and times follow from the seed, the symbol and the time at which
the market began. It must not know the time that it is, faults, or who reads.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from market_engine.errors import SettingsError
from market_engine.events import MS_NS, SECOND_NS
from market_engine.feeds.simulated_block import Row, Stretch, make_rows
from market_engine.feeds.simulated_plan import (
    MINUTES,
    DayPlan,
    PlanConfig,
    Regime,
    make_plan,
    make_regime,
)
from market_engine.feeds.simulated_profiles import (
    SESSION_FROM_MINUTE,
    SESSION_TO_MINUTE,
    SYMBOLS,
    Profile,
    profile_of,
)
from market_engine.feeds.simulated_wire import Encoder

MINUTE_NS: Final = 60 * SECOND_NS
DAY_NS: Final = MINUTES * MINUTE_NS
SECONDS_FROM_EVENTS_A_DAY: Final = 6_000_000
"""A livelier market is made second by second, so that none of its stretches grows large."""
PLANS_MAX: Final = 3
"""Days a symbol that are kept."""

Frame = tuple[int, bytes]
"""When it is received (ns), and the frame."""

_Made = TypeVar("_Made")


class MarketConfig(msgspec.Struct, frozen=True):
    """A market; the same one gives the same frames."""

    start_ns: int
    """When it begins; the first trade at or after it has the first id."""
    seed: int = 1
    symbols: tuple[str, ...] = SYMBOLS
    events_a_day: int = 2_000_000
    """Over all symbols; half of them are trades, half are quotes."""
    plan: PlanConfig | None = None
    """None: the day around the clock, with quiet stretches."""
    first_ids: Mapping[str, int] = {}
    """1 where a symbol is left out."""


class _Symbol:
    """One symbol: its plans, and where its ids are in them."""

    def __init__(self, config: MarketConfig, place: int, trades_a_day: int) -> None:
        self.profile = profile_of(config.symbols[place])
        self.encoder = Encoder(self.profile)
        self.place = place
        self.trades_a_day = trades_a_day
        self.plans: dict[int, DayPlan] = {}
        self.shift = 0
        """What to add to a trade's number since the first day to have its id."""


class SimulatedMarket:
    """Frames of ``aggTrade`` and ``bookTicker`` in the venue's combined-stream form.

    Raises SettingsError for symbols named twice or none, and for fewer than one event.
    """

    def __init__(self, config: MarketConfig) -> None:
        if not config.symbols or len(set(config.symbols)) < len(config.symbols):
            raise SettingsError("symbols: name at least one, and each once")
        if config.events_a_day < 2:
            raise SettingsError("events_a_day: at least 2")
        self.config = config
        self.symbols = config.symbols
        self._plan = config.plan or PlanConfig(config.seed)
        self._parts = 60 if config.events_a_day >= SECONDS_FROM_EVENTS_A_DAY else 1
        self.stretch_ns = MINUTE_NS // self._parts
        self._first_day = config.start_ns // DAY_NS
        self._regimes: dict[int, Regime] = {}
        self._symbols = self._make_symbols()
        self._places = {symbol: place for place, symbol in enumerate(config.symbols)}
        for symbol in self._symbols:
            before = self._number_at(symbol, config.start_ns)
            symbol.shift = config.first_ids.get(symbol.profile.symbol, 1) - before

    def rows(self, from_ns: int) -> Iterator[tuple[int, list[Row]]]:
        """Stretch by stretch, without end: when it ends, and its rows, by receipt.

        Rows of trades before ``from_ns``, and their quotes, are left out.
        """
        start_ns = max(from_ns, self.config.start_ns)
        at_ns = start_ns - start_ns % self.stretch_ns
        while True:
            rows = [row for symbol in self._symbols for row in self._stretch(symbol, at_ns)]
            if at_ns < start_ns:
                wanted = {row[1:3] for row in rows if row[3] and row[8] * MS_NS >= start_ns}
                rows = [row for row in rows if (row[1], row[2] | 1) in wanted]
            rows.sort()
            at_ns += self.stretch_ns
            yield at_ns, rows

    def frames(self, from_ns: int | None = None) -> Iterator[Frame]:
        """Every frame from a time (or the beginning) on, in order of receipt, without end."""
        for _, rows in self.rows(self.config.start_ns if from_ns is None else from_ns):
            for row in rows:
                yield row[0], self.encode(row)

    def backfill(self, symbol: str, first_id: int, last_id: int) -> Iterator[Frame]:
        """The frames of trades by id, both ends included; ids from before the start have none."""
        state = self._symbols[self._places[symbol]]
        trade_id = max(first_id, self.config.first_ids.get(symbol, 1))
        while trade_id <= last_id:
            at_ns = self._find(state, trade_id - state.shift)
            for row in self._stretch(state, at_ns):
                if row[3] and trade_id <= row[4] <= last_id:
                    yield row[0], self.encode(row)
                    trade_id = row[4] + 1

    def next_id(self, symbol: str, at_ns: int) -> int:
        """The id of the first trade at or after a time."""
        state = self._symbols[self._places[symbol]]
        return self._number_at(state, max(at_ns, self.config.start_ns)) + state.shift

    def is_open(self, symbol: str, at_ns: int) -> bool:
        """Whether the symbol's market is open; always, unless equities keep their sessions."""
        state = self._symbols[self._places[symbol]]
        day, within_ns = divmod(at_ns, DAY_NS)
        minute = within_ns // MINUTE_NS
        in_session = SESSION_FROM_MINUTE <= minute < SESSION_TO_MINUTE
        return not self._has_session(state.profile) or (_is_weekday(day) and in_session)

    def encode(self, row: Row) -> bytes:
        """A row as the frame that the venue would send."""
        return self._symbols[row[1]].encoder.encode(row)

    def _make_symbols(self) -> list[_Symbol]:
        shares = [profile_of(symbol).share for symbol in self.config.symbols]
        trades = self.config.events_a_day / 2 / sum(shares)
        return [
            _Symbol(self.config, place, max(1, round(trades * share)))
            for place, share in enumerate(shares)
        ]

    def _has_session(self, profile: Profile) -> bool:
        return self._plan.with_sessions and profile.is_equity

    def _trades_before(self, symbol: _Symbol, day: int) -> int:
        """From the first day on, up to the beginning of a day."""
        if not self._has_session(symbol.profile):
            return (day - self._first_day) * symbol.trades_a_day
        return (_weekdays_before(day) - _weekdays_before(self._first_day)) * symbol.trades_a_day

    def _number_at(self, symbol: _Symbol, at_ns: int) -> int:
        """How many trades there are before a time, from the first day on."""
        start_ns = at_ns - at_ns % self.stretch_ns
        rows = self._stretch(symbol, start_ns) if at_ns > start_ns else []
        earlier = sum(row[3] and row[8] * MS_NS < at_ns for row in rows)
        return self._first_of(symbol, start_ns) + earlier

    def _first_of(self, symbol: _Symbol, start_ns: int) -> int:
        day, minute, part = self._split(start_ns)
        number = self._trades_before(symbol, day)
        if self._has_session(symbol.profile) and not _is_weekday(day):
            return number
        before = self._day(symbol, day).before
        count = before[minute + 1] - before[minute]
        return number + before[minute] + count * part // self._parts

    def _find(self, symbol: _Symbol, number: int) -> int:
        """When the stretch begins that holds a trade."""
        order, within = divmod(number, symbol.trades_a_day)
        day = self._first_day + order
        if self._has_session(symbol.profile):
            day = _nth_weekday(_weekdays_before(self._first_day) + order)
        before = self._day(symbol, day).before
        minute = bisect_right(before, within) - 1
        count, rest = before[minute + 1] - before[minute], within - before[minute]
        part = ((rest + 1) * self._parts - 1) // count
        return day * DAY_NS + minute * MINUTE_NS + part * self.stretch_ns

    def _split(self, at_ns: int) -> tuple[int, int, int]:
        day, within_ns = divmod(at_ns, DAY_NS)
        minute, rest_ns = divmod(within_ns, MINUTE_NS)
        return day, minute, rest_ns // self.stretch_ns

    def _stretch(self, symbol: _Symbol, start_ns: int) -> list[Row]:
        day, minute, part = self._split(start_ns)
        first = self._first_of(symbol, start_ns)
        trades = self._first_of(symbol, start_ns + self.stretch_ns) - first
        if not trades:
            return []
        plan, parts = self._day(symbol, day), self._parts
        low, high = plan.bounds[minute], plan.bounds[minute + 1]
        key = f"{self._plan.seed}/{symbol.profile.symbol}/{day}/{minute}/{part}"
        stretch = Stretch(
            key=key,
            place=symbol.place,
            start_ms=start_ns // MS_NS,
            span_ms=self.stretch_ns // MS_NS,
            first_id=first + symbol.shift,
            trades=trades,
            low=low + (high - low) * part / parts,
            high=low + (high - low) * (part + 1) / parts,
            noise=plan.noise[minute] / parts**0.5,
            stress=plan.stress[minute],
        )
        return make_rows(symbol.profile, stretch)

    def _day(self, symbol: _Symbol, day: int) -> DayPlan:
        plan = symbol.plans.get(day)
        if plan is None:
            plan = make_plan(
                self._plan, symbol.profile, day, symbol.trades_a_day, self._regime(day)
            )
            _keep(symbol.plans, day, plan)
        return plan

    def _regime(self, day: int) -> Regime:
        regime = self._regimes.get(day)
        if regime is None:
            regime = make_regime(self._plan.seed, day)
            _keep(self._regimes, day, regime)
        return regime


def _keep(kept: dict[int, _Made], day: int, made: _Made) -> None:
    if len(kept) >= PLANS_MAX:
        del kept[next(iter(kept))]
    kept[day] = made


def _is_weekday(day: int) -> bool:
    """Of a day since 1970, which began on a Thursday."""
    return (day + 3) % 7 < 5


def _weekdays_before(day: int) -> int:
    weeks, rest = divmod(day + 3, 7)
    return weeks * 5 + min(rest, 5)


def _nth_weekday(number: int) -> int:
    weeks, rest = divmod(number, 5)
    return weeks * 7 + rest - 3
