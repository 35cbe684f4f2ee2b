"""Round trips: flat to flat, net of fees, against a brute force that cuts fills into pieces."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from market_engine.paper.account import PortfolioAccount
from market_engine.paper.model import BookName, Evidence, EvidenceKind, Fill, Portfolio
from market_engine.paper.round_trips import RoundTrip, RoundTrips

ONE = 10**9
EVIDENCE = Evidence(EvidenceKind.PRINT, 0, 0, 1, 1, 0)


def a_fill(number, symbol, side, price_nano, qty_nano, fee) -> Fill:
    return Fill(
        number, BookName.NEUTRAL, "main", f"o{number}", number, 1, symbol, side, price_nano,
        qty_nano, Decimal(fee), False, number * ONE, EVIDENCE,
    )  # fmt: skip


def trips(*fills) -> tuple[RoundTrips, list[RoundTrip | None]]:
    """Of (symbol, side, price, quantity, fee) in whole units."""
    found = RoundTrips()
    given_back = [
        found.add(a_fill(number, symbol, side, price * ONE, qty * ONE, fee))
        for number, (symbol, side, price, qty, fee) in enumerate(fills, 1)
    ]
    return found, given_back


def unit_by_unit(fills):
    """Every fill in pieces of one nano, each with its part of the fee; exact fractions."""
    running: dict[str, dict] = {}
    ended = []
    for fill in fills:
        step = 1 if fill.side == "buy" else -1
        for _ in range(fill.qty_nano):
            trip = running.setdefault(
                fill.symbol,
                {"opened": fill.filled_ns, "side": fill.side, "held": 0, "most": 0,
                 "profit": Fraction(0), "fees": Fraction(0), "fills": set()},
            )  # fmt: skip
            trip["held"] += step
            trip["most"] = max(trip["most"], abs(trip["held"]))
            part = Fraction(fill.fee) / fill.qty_nano
            trip["fees"] += part
            trip["profit"] -= step * Fraction(fill.price_nano, 10**18) + part
            trip["fills"].add(fill.number)
            if not trip["held"]:
                ended.append((fill, running.pop(fill.symbol)))
    return ended


def test_a_trip_runs_from_flat_to_flat_and_is_net_of_fees():
    found, given_back = trips(
        ("BTC", "buy", 100, 2, 1), ("BTC", "buy", 110, 1, 1), ("BTC", "sell", 120, 3, 2)
    )
    trip = RoundTrip("BTC", ONE, 3 * ONE, "buy", 3 * ONE, Decimal(46), Decimal(4), 3)
    assert given_back == [None, None, trip]
    assert list(found.ended) == [trip]


def test_a_short_trip_gains_when_it_is_bought_back_lower():
    found, _ = trips(("BTC", "sell", 100, 2, 1), ("BTC", "buy", 90, 2, 1))
    assert list(found.ended) == [
        RoundTrip("BTC", ONE, 2 * ONE, "sell", 2 * ONE, Decimal(18), Decimal(2), 2)
    ]


def test_a_flip_ends_one_trip_and_begins_the_next_and_divides_its_fee_between_them():
    _, given_back = trips(
        ("BTC", "buy", 100, 1, 1), ("BTC", "sell", 110, 4, 8), ("BTC", "buy", 110, 3, 1)
    )
    first = RoundTrip("BTC", ONE, 2 * ONE, "buy", ONE, Decimal(7), Decimal(3), 2)
    second = RoundTrip("BTC", 2 * ONE, 3 * ONE, "sell", 3 * ONE, Decimal(-7), Decimal(7), 2)
    assert given_back == [None, first, second]


def test_a_trip_that_is_open_is_not_counted():
    found, _ = trips(("BTC", "buy", 100, 2, 1), ("BTC", "sell", 110, 1, 1))
    assert list(found.ended) == []


def test_trips_of_two_symbols_run_apart():
    found, _ = trips(
        ("BTC", "buy", 100, 1, 0), ("ETH", "sell", 10, 1, 0),
        ("ETH", "buy", 8, 1, 0), ("BTC", "sell", 101, 1, 0),
    )  # fmt: skip
    assert [(trip.symbol, trip.profit) for trip in found.ended] == [("ETH", 2), ("BTC", 1)]


pieces = st.lists(
    st.tuples(
        st.sampled_from(["BTC", "ETH"]), st.sampled_from(["buy", "sell"]),
        st.integers(1, 10**12), st.integers(1, 7), st.integers(-(10**6), 10**12),
    ),
    max_size=40,
)  # fmt: skip


@settings(max_examples=150)
@given(pieces)
def test_trips_are_those_of_a_brute_force_that_cuts_fills_into_single_units(drawn):
    fills = [
        a_fill(number, symbol, side, price, qty, Decimal(fee).scaleb(-18))
        for number, (symbol, side, price, qty, fee) in enumerate(drawn, 1)
    ]
    found = RoundTrips()
    for fill in fills:
        found.add(fill)
    expected = unit_by_unit(fills)
    assert len(found.ended) == len(expected)
    for trip, (last, brute) in zip(found.ended, expected, strict=True):
        assert (trip.symbol, trip.closed_ns) == (last.symbol, last.filled_ns)
        assert (trip.opened_ns, trip.side) == (brute["opened"], brute["side"])
        assert (trip.qty_nano, trip.fills) == (brute["most"], len(brute["fills"]))
        # a fee is divided at both ends of a trip, each time rounded once to 18 places
        assert abs(Fraction(trip.fees) - brute["fees"]) <= Fraction(1, 10**18)
        assert Fraction(trip.profit) + Fraction(trip.fees) == brute["profit"] + brute["fees"]


@given(pieces)
def test_the_profit_of_all_trips_is_that_of_the_ledger_once_flat(drawn):
    fills = [
        a_fill(number, symbol, side, price, qty, Decimal(fee).scaleb(-18))
        for number, (symbol, side, price, qty, fee) in enumerate(drawn, 1)
    ]
    account, found = PortfolioAccount(Portfolio("main", "USDT", Decimal(100), 0)), RoundTrips()
    account.open()
    for fill in fills:
        account.fill(fill)
        found.add(fill)
    for symbol, position in list(account.positions.items()):
        if position.qty_nano:
            side = "sell" if position.qty_nano > 0 else "buy"
            last = a_fill(99, symbol, side, 7 * ONE + 1, abs(position.qty_nano), "0.1")
            account.fill(last)
            found.add(last)
    profit = sum((Fraction(trip.profit) for trip in found.ended), Fraction(0))
    assert profit == Fraction(account.equity()) - 100
    assert profit == Fraction(account.realised) - Fraction(account.fees)
