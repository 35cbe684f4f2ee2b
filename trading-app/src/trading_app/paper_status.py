"""The first lines of Portfolio and Orders: where do I stand, what is let through? Pure."""

from __future__ import annotations

from typing import Final, TypeVar

from trading_app.formats import age, plural
from trading_app.market_client import Refused
from trading_app.market_look import shown
from trading_app.paper_answers import PortfolioNow, Portfolios, TradingState
from trading_app.paper_formats import STATE_WORDS, amount, money, profit
from trading_app.sidecar_answers import Answer
from trading_app.sidecar_client import Away
from trading_app.status import STALE_AFTER_S, State, Status

UNKNOWN_PORTFOLIO: Final = "unknown_portfolio"
START: Final = "Start it: `make apps-up` starts everything, and this page comes to life by itself"
_WAITING: Final = frozenset({"halted", "reducing"})
"""The states in which open orders wait, all or those that would not reduce a position."""
_STATES: Final[dict[str, State]] = {"active": "live"}
_AnswerT = TypeVar("_AnswerT", bound=Answer)


def without_answer(answer: Away[_AnswerT] | Refused, now_s: float, what: str) -> Status:
    """Say why ``what`` is not known now, and what is shown in its place."""
    if isinstance(answer, Refused):
        if answer.code == UNKNOWN_PORTFOLIO:
            return Status("waiting", "there is no such portfolio yet", "Make one: it takes a click")
        return Status(
            "away", f"this market-engine has no paper desk: {answer.message}", "Update it"
        )
    if answer.last is not None and now_s - answer.since_s < STALE_AFTER_S:
        return Status("waiting", f"the market-engine answers late: {answer.reason}")
    cure = answer.reason if answer.answers else START
    if answer.last is None or answer.last_s is None:
        return Status("away", f"the paper desk does not answer: {what} not known", cure)
    old = age(now_s - answer.last_s)
    return Status("away", f"the paper desk does not answer: {what} as of {old}", cure)


def portfolio_status(answer: PortfolioNow | Away[PortfolioNow] | Refused, now_s: float) -> Status:
    """Say where a portfolio stands at ``now_s`` (unix seconds)."""
    if not isinstance(answer, PortfolioNow):
        return without_answer(answer, now_s, "your figures")
    if answer.residue:
        return Status(
            "broken",
            f"{amount(answer.residue)} {answer.portfolio.currency} cannot be explained",
            "This is a defect of the ledger: press Halt on the page Orders, "
            "then docs/operations.md#portfolioresidue",
        )
    unpriced = [held.symbol for held in answer.positions if held.qty and held.price is None]
    if answer.equity is None or unpriced:
        names = ", ".join(unpriced[:3]) or "a position"
        return Status("waiting", f"equity is not known: {names} has no price yet")
    old = [held.symbol for held in answer.positions if held.qty and held.is_stale]
    if old:
        names = ", ".join(old[:3])
        return Status(
            "stale",
            f"{_standing(answer)}, with an old price of {names}",
            "The page Market says why",
        )
    return Status("live", _standing(answer))


def _standing(now: PortfolioNow) -> str:
    unit = f" {now.portfolio.currency}".rstrip()
    today = f", {profit(now.day_profit)} today" if now.day_profit is not None else ""
    return f"{money(now.equity)}{unit}: {profit(now.profit)} in all{today}"


def no_portfolio(answer: Portfolios | Away[Portfolios] | Refused, now_s: float) -> Status:
    """Say why there is no portfolio to look at."""
    if not isinstance(answer, Portfolios):
        return without_answer(answer, now_s, "your figures")
    return Status("waiting", "there is no portfolio yet", "Make one below: it takes a click")


def _waiting(everyone: Portfolios | Away[Portfolios] | Refused) -> str:
    """Count the orders of all portfolios that wait for the desk to be active."""
    found = shown(everyone)
    count = sum(each.open_orders for each in found.portfolios) if found else 0
    if not count:
        return "" if found is None else " · no order waits"
    waits = "waits" if count == 1 else "wait"
    return f" · {plural(count, 'open order')} of all portfolios {waits}: Cancel all, or Active"


def orders_status(
    state: TradingState | Away[TradingState] | Refused,
    portfolio: PortfolioNow | Away[PortfolioNow] | Refused | None,
    everyone: Portfolios | Away[Portfolios] | Refused,
    now_s: float,
) -> Status:
    """Say what the desk lets through, and how many orders are open: all that must wait, or here."""
    if not isinstance(state, TradingState):
        return without_answer(state, now_s, "your orders")
    found = shown(portfolio) if portfolio is not None else None
    opened = f" · {plural(found.open_orders, 'open order')}" if found else ""
    if state.state in _WAITING:
        opened = _waiting(everyone)
    words = f"{STATE_WORDS.get(state.state, state.state)}{opened}"
    reason = f"Because: {state.reason}" if state.reason and state.state != "active" else ""
    look = _STATES.get(state.state, "stale")
    return Status(look, words, reason, "" if look == "live" else state.state)
