"""``python tools/ledger_proof.py``: random fills through the ledger, its residue after every event.

Longs, shorts, flips, fees and rebates in five symbols at odd prices of nine digits. Beside the
account runs a second one in plain integers, which knows no cost basis; the two must agree to the
last digit after every event, and all postings of every fill must add up to 0.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable
from decimal import Context, Decimal
from typing import Final

from market_engine.paper.account import PortfolioAccount
from market_engine.paper.model import (
    Account,
    BookName,
    Evidence,
    EvidenceKind,
    Fill,
    Mark,
    Portfolio,
    Posting,
)
from market_engine.paper.money import PLACES, ZERO, add, fee, product

SYMBOLS: Final = ("AAPL", "BTCUSDT", "DOGEUSDT", "ETHUSDT", "TSLA")
RATES: Final = tuple(Decimal(rate) for rate in ("0.0005", "0.0002", "0.00073", "0", "-0.0001"))
"""Of fees; below 0 it is a rebate."""
UNPRICED: Final = Mark(None, "", 0, is_stale=True)
_EVIDENCE: Final = Evidence(EvidenceKind.PRINT, 0, 0, 1, 1, 0)
_WIDE: Final = Context(prec=200)


class ProofError(Exception):
    """The ledger is not exact."""


class RandomFills:
    """Fills and marks of one account; the same seed gives the same."""

    def __init__(self, seed: int, portfolio: Portfolio) -> None:
        self._random = random.Random(seed)  # noqa: S311 - it must be repeatable
        self._portfolio = portfolio
        self._number = 0
        self._held = dict.fromkeys(SYMBOLS, 0)

    def fill(self) -> Fill:
        """The next: any side, now and then just flat, now and then turned around."""
        draw = self._random
        symbol = draw.choice(SYMBOLS)
        held_nano = self._held[symbol]
        side, qty_nano = draw.choice(("buy", "sell")), draw.randrange(1, 10 ** draw.randint(1, 15))
        chance = draw.random()
        if held_nano and chance < 0.4:
            side = "sell" if held_nano > 0 else "buy"
            if chance < 0.1:
                qty_nano = abs(held_nano)
            elif chance < 0.2:
                qty_nano += abs(held_nano)
        self._held[symbol] += qty_nano if side == "buy" else -qty_nano
        price_nano = self.price_nano(symbol)
        paid = fee(product(price_nano, qty_nano), draw.choice(RATES))
        self._number += 1
        return Fill(
            self._number, BookName.NEUTRAL, self._portfolio.name, "proof", self._number, 1, symbol,
            "buy" if side == "buy" else "sell", price_nano, qty_nano, paid, False, self._number,
            _EVIDENCE,
        )  # fmt: skip

    def mark(self, symbol: str) -> Mark:
        """Of a symbol at another price; one in fifty is unpriced."""
        if self._random.random() < 0.02:
            return UNPRICED
        return Mark(self.price_nano(symbol), "bid", self._number, is_stale=False)

    def price_nano(self, symbol: str) -> int:
        """Around the symbol's own size, any of its nine digits."""
        size_nano: int = 10 ** (8 + 2 * SYMBOLS.index(symbol) % 7)
        return self._random.randrange(size_nano, 9 * size_nano)


class IntegerAccount:
    """Cash, fees and quantities, in integers alone."""

    def __init__(self, balance: Decimal) -> None:
        self.cash = units(balance)
        self.fees = 0
        self.held = dict.fromkeys(SYMBOLS, 0)
        self.prices: dict[str, int | None] = dict.fromkeys(SYMBOLS)

    def fill(self, fill: Fill) -> None:
        """Take a fill; what it opens or turns around is unpriced."""
        signed_nano = fill.qty_nano if fill.side == "buy" else -fill.qty_nano
        before_nano = self.held[fill.symbol]
        self.held[fill.symbol] += signed_nano
        if before_nano * self.held[fill.symbol] <= 0:
            self.prices[fill.symbol] = None
        self.cash -= signed_nano * fill.price_nano + units(fill.fee)
        self.fees += units(fill.fee)

    def equity(self) -> int | None:
        """In units of 10⁻¹⁸; None while something that is held has no price."""
        found = self.cash
        for symbol, held_nano in self.held.items():
            price_nano = self.prices[symbol]
            if held_nano and price_nano is None:
                return None
            found += held_nano * (price_nano or 0)
        return found


class Proof:
    """Both accounts, and what the postings came to."""

    def __init__(self, seed: int) -> None:
        portfolio = Portfolio("proof", "USDT", Decimal("1000000.000000001"), 0)
        self.account = PortfolioAccount(portfolio)
        self.events = 0
        self.flips = 0
        self.flats = 0
        self._fills = RandomFills(seed, portfolio)
        self._integers = IntegerAccount(portfolio.balance)
        self._posted: dict[tuple[Account, str], Decimal] = {}
        self._post(self.account.open())

    def step(self) -> tuple[Fill, list[Posting]]:
        """A fill, and the mark of its symbol after it; raises ProofError."""
        fill = self._fills.fill()
        before_nano = self.account.position_nano(fill.symbol)
        postings = self.account.fill(fill)
        self._integers.fill(fill)
        self._post(postings)
        after_nano = self.account.position_nano(fill.symbol)
        self.flips += before_nano * after_nano < 0
        self.flats += after_nano == 0
        integers = self._integers
        if units(self.account.cash) != integers.cash or units(self.account.fees) != integers.fees:
            raise ProofError(f"cash or fees are not exact after fill {fill.number}")
        self._check(fill)
        mark = self._fills.mark(fill.symbol)
        self.account.mark(fill.symbol, mark)
        integers.prices[fill.symbol] = mark.price_nano
        self._check(fill)
        return fill, postings

    def finish(self) -> None:
        """Compare the balances of all postings with the account; raises ProofError."""
        account, posted = self.account, self._posted
        expected = {
            (Account.CASH, ""): account.cash,
            (Account.CAPITAL, ""): account.portfolio.balance.copy_negate(),
            (Account.REALISED, ""): account.realised.copy_negate(),
            (Account.FEES, ""): account.fees,
        }
        for position in account.positions.values():
            expected[Account.POSITION, position.symbol] = position.cost
        if posted != expected:
            raise ProofError(f"the postings say {posted}, the account {expected}")

    def _post(self, postings: Iterable[Posting]) -> None:
        total = ZERO
        for posting in postings:
            key = posting.account, posting.symbol
            self._posted[key] = add(self._posted.get(key, ZERO), posting.amount)
            total = add(total, posting.amount)
        if total:
            raise ProofError(f"the postings add up to {total}")

    def _check(self, fill: Fill) -> None:
        self.events += 1
        account, integers = self.account, self._integers
        residue = account.residue()
        if residue:
            raise ProofError(f"the residue is {residue} after fill {fill.number}")
        equity, expected = account.equity(), integers.equity()
        if (None if equity is None else units(equity)) != expected:
            raise ProofError(f"the equity is {equity}, not {expected} units, at fill {fill.number}")


def units(amount: Decimal) -> int:
    """In units of 10⁻¹⁸; raises ProofError for a part of one."""
    scaled = _WIDE.scaleb(amount, PLACES)
    whole = int(scaled)
    if whole != scaled:
        raise ProofError(f"{amount} has more than {PLACES} places")
    return whole


def prove(fills: int, seed: int, progress: Callable[[int], None] = lambda _: None) -> Proof:
    """Run it; ``progress`` is called every 100,000 fills. Raises ProofError at the first fault."""
    proof = Proof(seed)
    for number in range(1, fills + 1):
        proof.step()
        if number % 100_000 == 0:
            progress(number)
    proof.finish()
    return proof


def main() -> int:
    """Print what was proved; 1 where it was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fills", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    began_s, began_cpu_s = time.monotonic(), time.process_time()

    def progress(done: int) -> None:
        print(f"{done:>12,} fills, {time.monotonic() - began_s:6.1f} s", flush=True)

    try:
        proof = prove(options.fills, options.seed, progress)
    except ProofError as error:
        print(f"NOT EXACT (seed {options.seed}): {error}", file=sys.stderr)
        return 1
    print(
        f"{options.fills:,} fills (seed {options.seed}): residue exactly 0 after each of "
        f"{proof.events:,} events; {proof.flips:,} flips, {proof.flats:,} times flat; "
        f"{time.monotonic() - began_s:.1f} s, of the processor "
        f"{time.process_time() - began_cpu_s:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
