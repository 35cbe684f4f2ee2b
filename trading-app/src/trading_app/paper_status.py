"""The first lines of Portfolio and Orders: where do I stand, what is let through? Pure."""

from __future__ import annotations

from typing import Final, TypeVar

from trading_app.formats import age, number, plural
from trading_app.market_client import Refused
from trading_app.market_look import is_old, shown
from trading_app.paper_answers import PortfolioNow, Portfolios, PortfolioSummary, TradingState
from trading_app.paper_formats import STATE_WORDS, amount, money, profit
from trading_app.sidecar_answers import Answer
from trading_app.sidecar_client import Away
from trading_app.status import STALE_AFTER_S, State, Status

UNKNOWN_PORTFOLIO: Final = "unknown_portfolio"
NAMED_MAX: Final = 3
START: Final = "Start it: `make apps-up` starts everything, and this page comes to life by itself"
_NOBODY: Final = "nothing answers"
"""How the client's reason begins where nothing listens; else something hangs, or is another."""
NOT_STORED: Final = "not stored yet: what is new in it would be gone after a crash"
_WAITING: Final = frozenset({"halted", "reducing"})
"""The states in which open orders wait, all or those that would not reduce a position."""
_STATES: Final[dict[str, State]] = {"active": "live"}
_AnswerT = TypeVar("_AnswerT", bound=Answer)


def as_of(answer: _AnswerT | Away[_AnswerT] | Refused, now_s: float) -> str:
    """Say how old what is shown is, where it is greyed; "" else."""
    if not isinstance(answer, Away) or answer.last_s is None or not is_old(answer, now_s):
        return ""
    return f"as of {age(now_s - answer.last_s)}"


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
    cure = START if answer.reason.startswith(_NOBODY) else f"Because: {answer.reason.rstrip('.')}"
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
    standing = _priced(answer)
    if answer.is_stored:
        return standing
    cure = "The desk cannot store now: `/health` of the market-engine says why"
    state: State = "stale" if standing.state == "live" else standing.state
    return Status(state, f"{standing.words} · {NOT_STORED}", cure)


def _priced(answer: PortfolioNow) -> Status:
    """Say what it is worth, and whether that rests on a price of now."""
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


def _waiting(
    everyone: Portfolios | Away[Portfolios] | Refused, here: PortfolioNow | None
) -> tuple[str, str]:
    """Say whose orders wait for the desk to be active, and what can be done about them."""
    found = shown(everyone)
    if found is None:
        return "", ""
    opened = [each for each in found.portfolios if each.open_orders]
    if not opened:
        return " · no order waits", ""
    count = sum(each.open_orders for each in opened)
    waits = "waits" if count == 1 else "wait"
    names = ", ".join(f"{number(each.open_orders)} in {each.name}" for each in opened[:NAMED_MAX])
    more = f" and {plural(len(opened) - NAMED_MAX, 'other')}" if opened[NAMED_MAX:] else ""
    words = f" · {plural(count, 'open order')} of all portfolios {waits}: {names}{more}"
    return words, _cancelling(opened, here)


def _cancelling(opened: list[PortfolioSummary], here: PortfolioNow | None) -> str:
    """Say what Cancel all is for: it is for the chosen portfolio alone."""
    name = here.portfolio.name if here else None
    if any(each.name == name for each in opened):
        return f"Cancel all cancels those of {name}"
    return f"Cancel all is for one portfolio: choose {opened[0].name}"


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
    cancelling = ""
    if state.state in _WAITING:
        opened, cancelling = _waiting(everyone, found)
    words = f"{STATE_WORDS.get(state.state, state.state)}{opened}"
    reason = f"Because: {state.reason}" if state.reason and state.state != "active" else ""
    look = _STATES.get(state.state, "stale")
    cure = " · ".join(filter(None, (reason, cancelling)))
    return Status(look, words, cure, "" if look == "live" else state.state)
