"""The desk's records as rows of their tables, and back: the same values, to the last digit."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import singledispatch
from typing import Any, Final

import msgspec
from sqlalchemy import Row

from market_engine.decimals import NANO, from_nano
from market_engine.paper.model import (
    Account,
    BookName,
    Evidence,
    Fill,
    Limits,
    Mark,
    Model,
    NewOrder,
    Order,
    OrderState,
    Portfolio,
    PositionRow,
    Posting,
    Record,
    Snapshot,
    StateChange,
    TradingState,
)
from market_engine.paper.money import text
from market_engine.paper.reasons import Denial, Why

RowValues = tuple[object, ...]
_encode: Final[Callable[[object], bytes]] = msgspec.json.Encoder(decimal_format="string").encode
_asked: Final = msgspec.json.Decoder(NewOrder)
_evidence: Final = msgspec.json.Decoder(Evidence)
_limits: Final = msgspec.json.Decoder(Limits)
_model: Final = msgspec.json.Decoder(Model)
_marks: Final = msgspec.json.Decoder(dict[str, Mark])


@singledispatch
def row_of(record: Record) -> RowValues:
    """All columns of the record's table, in its order."""
    raise TypeError(type(record))


@row_of.register
def _(record: Portfolio) -> RowValues:
    return (
        record.name, record.currency, text(record.balance), record.created_ns, record.annual_days,
        _json(record.limits), _json(record.model),
    )  # fmt: skip


@row_of.register
def _(record: Order) -> RowValues:
    asked = record.asked
    return (
        asked.portfolio, record.number, asked.client_order_id, asked.symbol, _json(asked),
        str(record.state), str(record.why), record.detail, record.submitted_ns,
        record.accepted_wall_ns,
        None if record.collar_nano is None else from_nano(record.collar_nano),
        from_nano(record.filled_nano), record.triggered_ns, record.closed_ns,
        ",".join(record.open_books),
    )  # fmt: skip


@row_of.register
def _(record: Fill) -> RowValues:
    return (
        str(record.book), record.order_number, record.order_fill, record.number, record.portfolio,
        record.client_order_id, record.symbol, record.side, from_nano(record.price_nano),
        from_nano(record.qty_nano), text(record.fee), int(record.is_maker), record.filled_ns,
        _json(record.evidence),
    )  # fmt: skip


@row_of.register
def _(record: Posting) -> RowValues:
    return (
        record.portfolio, record.transaction, record.line, str(record.account), record.symbol,
        text(record.amount), record.at_ns, record.fill_number,
    )  # fmt: skip


@row_of.register
def _(record: PositionRow) -> RowValues:
    return (
        record.portfolio, record.symbol, from_nano(record.qty_nano), text(record.cost),
        text(record.realised),
    )  # fmt: skip


@row_of.register
def _(record: Snapshot) -> RowValues:
    return (
        record.portfolio, record.number, record.at_ns, record.transaction, text(record.cash),
        text(record.realised), text(record.fees), _text(record.unrealised), _text(record.equity),
        _text(record.peak), record.max_drawdown, _json(record.marks),
    )  # fmt: skip


@row_of.register
def _(record: StateChange) -> RowValues:
    reason = record.reason.encode(errors="replace").decode()  # what is in force must be stored
    return (record.number, str(record.state), record.at_ns, reason)


def portfolio_of(row: Row[Any]) -> Portfolio:
    """The portfolio of a row."""
    return Portfolio(
        row.name, row.currency, Decimal(row.balance), row.created_ns, row.annual_days,
        _limits.decode(row.limits), _model.decode(row.model),
    )  # fmt: skip


def order_of(row: Row[Any]) -> Order:
    """The order of a row."""
    state = OrderState(row.state)
    return Order(
        _asked.decode(row.asked), row.number, state,
        Denial(row.why) if state is OrderState.DENIED else Why(row.why),
        row.submitted_ns, row.accepted_wall_ns,
        None if row.collar is None else _nano(row.collar),
        _nano(row.filled), row.detail, row.triggered_ns, row.closed_ns,
        tuple(BookName(name) for name in row.open_books.split(",") if name),
    )  # fmt: skip


def fill_of(row: Row[Any]) -> Fill:
    """The fill of a row."""
    return Fill(
        row.number, BookName(row.book), row.portfolio, row.client_order_id, row.order_number,
        row.order_fill, row.symbol, row.side, _nano(row.price), _nano(row.qty),
        Decimal(row.fee), bool(row.is_maker), row.filled_ns, _evidence.decode(row.evidence),
    )  # fmt: skip


def posting_of(row: Row[Any]) -> Posting:
    """The posting of a row."""
    return Posting(
        row.portfolio, row.transaction_number, row.line, Account(row.account), row.symbol,
        Decimal(row.amount), row.at_ns, row.fill_number,
    )  # fmt: skip


def position_of(row: Row[Any]) -> PositionRow:
    """The position of a row."""
    return PositionRow(
        row.portfolio, row.symbol, _nano(row.qty), Decimal(row.cost), Decimal(row.realised)
    )


def snapshot_of(row: Row[Any]) -> Snapshot:
    """The snapshot of a row."""
    return Snapshot(
        row.portfolio, row.number, row.at_ns, row.transaction_number, Decimal(row.cash),
        Decimal(row.realised), Decimal(row.fees), _decimal(row.unrealised), _decimal(row.equity),
        _decimal(row.peak), row.max_drawdown, _marks.decode(row.marks),
    )  # fmt: skip


def state_of(row: Row[Any]) -> StateChange:
    """The trading state of a row."""
    return StateChange(row.number, TradingState(row.state), row.at_ns, row.reason)


def _json(value: object) -> str:
    return _encode(value).decode()


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else text(amount)


def _decimal(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def _nano(written: str) -> int:
    """What ``from_nano`` wrote, however large: the API's limit of digits is not the desk's."""
    try:
        above, below = Decimal(written).as_integer_ratio()
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"{written[:40]!r} is not a number of billionths") from error
    nano, rest = divmod(above * NANO, below)
    if rest:
        raise ValueError(f"{written[:40]!r} is not a whole number of billionths")
    return nano
