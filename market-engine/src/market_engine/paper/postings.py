"""The double entry: lines that add up to 0, and what lines that were stored add up to.

Pure functions. They know no market.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal, DecimalException
from typing import NamedTuple

from market_engine.paper.errors import LedgerError
from market_engine.paper.model import Account, Fill, Portfolio, Posting
from market_engine.paper.money import ZERO, add, subtract
from market_engine.paper.positions import Change, Position


class Amount(NamedTuple):
    """What is posted where."""

    account: Account
    symbol: str
    amount: Decimal


class Posted:
    """Stored postings of one portfolio, added up in their own signs."""

    def __init__(self, portfolio: str, postings: Iterable[Posting]) -> None:
        self.transaction = 0
        """The highest."""
        self._balances: dict[tuple[Account, str], Decimal] = defaultdict(lambda: ZERO)
        for posting in postings:
            check_owner(portfolio, posting.portfolio)
            key = posting.account, posting.symbol
            self._balances[key] = add(self._balances[key], posting.amount)
            self.transaction = max(self.transaction, posting.transaction)

    def balance(self, account: Account, symbol: str = "") -> Decimal:
        """Of an account; 0 where nothing was posted."""
        return self._balances.get((account, symbol), ZERO)

    def gaps(
        self, balance: Decimal, positions: Mapping[str, Position], fees: Decimal
    ) -> Iterator[Decimal]:
        """By how much accounts differ from what the portfolio and its fills say, in one order.

        Not cash and realised: the identity has them.
        """
        yield add(self.balance(Account.CAPITAL), balance)
        yield subtract(self.balance(Account.FEES), fees)
        for symbol, position in positions.items():
            yield subtract(self.balance(Account.POSITION, symbol), position.cost)
        for (account, symbol), amount in self._balances.items():
            is_known = symbol in positions if account is Account.POSITION else not symbol
            if not is_known:
                yield amount


def opening(portfolio: Portfolio) -> list[Posting]:
    """What a portfolio begins with, as its first transaction."""
    amounts = (
        Amount(Account.CASH, "", portfolio.balance),
        Amount(Account.CAPITAL, "", subtract(ZERO, portfolio.balance)),
    )
    first = Posting(portfolio.name, 1, 0, Account.CASH, "", ZERO, portfolio.created_ns, 0)
    return _balanced(first, amounts)


def of_fill(fill: Fill, change: Change, transaction: int) -> list[Posting]:
    """What a fill does; raises LedgerError unless it adds up to 0, to the last digit."""
    first = Posting(
        fill.portfolio, transaction, 0, Account.CASH, "", ZERO, fill.filled_ns, fill.number
    )
    try:
        amounts = (
            Amount(Account.CASH, "", subtract(change.cash_change, fill.fee)),
            Amount(Account.POSITION, fill.symbol, change.cost_change),
            Amount(Account.REALISED, "", subtract(ZERO, change.realised_change)),
            Amount(Account.FEES, "", fill.fee),
        )
        return _balanced(first, amounts)
    except DecimalException as error:
        message = f"fill {fill.number} cannot be posted to the last digit: {error!r}"
        raise LedgerError(message) from error


def check_owner(portfolio: str, found: str) -> None:
    """Raise LedgerError for a record of another portfolio."""
    if found != portfolio:
        message = f"a record of {found[:40]!r} is not of the account of {portfolio}"
        raise LedgerError(message)


def _balanced(like: Posting, amounts: Iterable[Amount]) -> list[Posting]:
    """Lines of the transaction of ``like``, numbered from 1; those of 0 are left out."""
    name, transaction, at_ns, number = (
        like.portfolio,
        like.transaction,
        like.at_ns,
        like.fill_number,
    )
    postings: list[Posting] = []
    total = ZERO
    for account, symbol, amount in amounts:
        if amount:
            total = add(total, amount)
            line = len(postings) + 1
            postings.append(
                Posting(name, transaction, line, account, symbol, amount, at_ns, number)
            )
    if total:
        message = f"transaction {transaction} of {name} is out of balance by {total}"
        raise LedgerError(message)
    return postings
