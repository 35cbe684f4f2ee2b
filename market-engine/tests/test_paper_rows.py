"""Rows: what was written is read again to the last digit, however large it is."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_engine.paper.model import (
    BookName,
    Evidence,
    EvidenceKind,
    Fill,
    NewOrder,
    Order,
    OrderState,
    OrderType,
    PositionRow,
)
from market_engine.paper.reasons import Why
from market_engine.paper.rows import fill_of, order_of, position_of, row_of

ORDER = (
    "portfolio number client_order_id symbol asked state why detail submitted_ns accepted_wall_ns "
    "collar filled triggered_ns closed_ns open_books"
)
FILL = (
    "book order_number order_fill number portfolio client_order_id symbol side price qty fee "
    "is_maker filled_ns evidence"
)
POSITION = "portfolio symbol qty cost realised"
NANOS = st.one_of(st.integers(0, 10**30), st.integers(0, 10**9))
ASKED = NewOrder("main", "a", "BTCUSDT", "buy", OrderType.MARKET, 10**9)
EVIDENCE = Evidence(EvidenceKind.PRINT, 1, 1, 10**11, 10**9, 0, 1)


def read(columns: str, values: tuple[object, ...]) -> Any:
    """A row as the store would give it back."""
    return cast(Any, SimpleNamespace(**dict(zip(columns.split(), values, strict=True))))


@given(st.none() | NANOS, NANOS)
def test_an_order_comes_back_from_its_row(collar_nano: int | None, filled_nano: int) -> None:
    order = Order(ASKED, 1, OrderState.WORKING, Why.PRICE, 1, 1, collar_nano, filled_nano)
    assert order_of(read(ORDER, row_of(order))) == order


@given(NANOS, NANOS)
def test_a_fill_comes_back_from_its_row(price_nano: int, qty_nano: int) -> None:
    fill = Fill(
        1, BookName.NEUTRAL, "main", "a", 1, 1, "BTCUSDT", "buy", price_nano, qty_nano,
        Decimal("0.1"), False, 1, EVIDENCE,
    )  # fmt: skip
    assert fill_of(read(FILL, row_of(fill))) == fill


@given(st.integers(-(10**30), 10**30))
def test_a_position_comes_back_from_its_row(qty_nano: int) -> None:
    row = PositionRow("main", "BTCUSDT", qty_nano, Decimal(1), Decimal(0))
    assert position_of(read(POSITION, row_of(row))) == row


@pytest.mark.parametrize("qty", ["0.0000000001", "x", "", "NaN", "Infinity"])
def test_what_is_no_number_of_billionths_is_refused(qty: str) -> None:
    with pytest.raises(ValueError, match="billionths"):
        position_of(read(POSITION, ("main", "BTCUSDT", qty, "1", "0")))
