"""From what somebody filled in to a trade, or to the list of what is wrong with it. Pure.

The limits are those of ``trade_telemetry.messages.check_trade``, the one definition of a trade.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from trade_telemetry import InvalidTradeError, Trade
from trade_telemetry.messages import check_trade

_DECIMAL: Final = re.compile(
    r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?\Z", re.ASCII
)
_ECHO_CHARACTERS_MAX: Final = 40
_GOOD: Final = {"side": "buy", "qty": 1.0, "symbol": None, "price": None}


@dataclass(frozen=True, slots=True)
class Ticket:
    """The raw values of one ticket: text from a form, or numbers from a widget or JSON."""

    side: object
    qty: object
    symbol: object = None
    price: object = None


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field, in words that fit after its name."""

    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.field} {self.problem}"


def parse_text(ticket: Ticket, now_s: float) -> Trade | list[Problem]:
    """Do as ``parse`` for the text of a form: empty is missing, and it may be a number."""
    values = (ticket.side, _to_number(ticket.qty), _to_none(ticket.symbol))
    return parse(Ticket(*values, _to_number(ticket.price)), now_s)


def parse(ticket: Ticket, now_s: float) -> Trade | list[Problem]:
    """Return the trade of a ticket at ``now_s`` (unix seconds), or each field's problem."""
    found = (_problem(field, ticket, now_s) for field in _GOOD)
    problems = [problem for problem in found if problem is not None]
    if problems:
        return problems
    values: dict[str, Any] = {field: getattr(ticket, field) for field in _GOOD}
    return check_trade(**values, ts=now_s, now_s=now_s)


def _problem(field: str, ticket: Ticket, now_s: float) -> Problem | None:
    """Say what the contract says of one field, the others being good."""
    value = getattr(ticket, field)
    if value is None and field == "qty":
        return Problem("qty", "is missing: give a number, 0 or more")
    values: dict[str, Any] = {**_GOOD, field: value}
    try:
        check_trade(**values, ts=now_s, now_s=now_s)
    except InvalidTradeError as error:
        return Problem(field, _shorten(error.problem))
    return None


def _to_number(value: object) -> object:
    """Make a number of text that is one; leave anything else for the contract to refuse."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    return float(text) if _DECIMAL.match(text) else text


def _to_none(value: object) -> object:
    if not isinstance(value, str):
        return value
    return value.strip() or None


def _shorten(problem: str) -> str:
    """Cut a sentence so that it does not echo back a whole page of nonsense."""
    head, separator, value = problem.rpartition("not ")
    if separator and len(value) > _ECHO_CHARACTERS_MAX:
        return f"{head}{separator}{value[:_ECHO_CHARACTERS_MAX]}…"
    return problem
