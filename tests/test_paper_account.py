"""The account: balanced or refused, the identity exact after every event, and what tampering shows.

``LEDGER_PROOF_FILLS`` sets how many random fills are proved; ``tools/ledger_proof.py`` runs a
million.
"""

from __future__ import annotations

import os
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools.ledger_proof import Proof, ProofError, prove

from market_engine.paper import account as account_module
from market_engine.paper.account import PortfolioAccount
from market_engine.paper.errors import LedgerError
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
from market_engine.paper.money import ZERO, add

ONE = 10**9
CENT = Decimal("0.01")
EVIDENCE = Evidence(EvidenceKind.PRINT, 0, 0, 1, 1, 0)
PORTFOLIO = Portfolio("main", "USDT", Decimal(1_000), 5)
PROOF_FILLS = int(os.environ.get("LEDGER_PROOF_FILLS", "100000"))


def a_fill(number, symbol, side, price, qty, fee=0) -> Fill:
    """In whole units, or parts of them as text."""
    price_nano, qty_nano = (int(Decimal(each) * ONE) for each in (price, qty))
    return Fill(
        number, BookName.NEUTRAL, "main", f"o{number}", number, 1, symbol, side, price_nano,
        qty_nano, Decimal(fee), False, number * ONE, EVIDENCE,
    )  # fmt: skip


def a_mark(price) -> Mark:
    return Mark(None if price is None else int(Decimal(price) * ONE), "bid", 0, is_stale=False)


def opened(*fills) -> PortfolioAccount:
    account = PortfolioAccount(PORTFOLIO)
    account.open()
    for number, fill in enumerate(fills, 1):
        account.fill(a_fill(number, *fill))
    return account


def records() -> tuple[list[Posting], list[Fill]]:
    """Two positions that are open, one of them reduced, and one that was closed."""
    fills = [
        a_fill(1, "BTC", "buy", 100, 3, "0.3"),
        a_fill(2, "ETH", "sell", 50, 2, "0.1"),
        a_fill(3, "BTC", "sell", 110, 1, "0.11"),
        a_fill(4, "SOL", "buy", 10, 1, "0.01"),
        a_fill(5, "SOL", "sell", 12, 1, "0.012"),
        a_fill(6, "ETH", "buy", 40, 3, "0.12"),
    ]
    account = PortfolioAccount(PORTFOLIO)
    postings = account.open()
    for fill in fills:
        postings += account.fill(fill)
    return postings, fills


def loaded(postings, fills) -> PortfolioAccount:
    account = PortfolioAccount(PORTFOLIO)
    account.load(postings, fills)
    return account


def total(postings) -> Decimal:
    found = ZERO
    for posting in postings:
        found = add(found, posting.amount)
    return found


def test_the_residue_is_exactly_0_after_every_event_of_random_fills():
    proof = prove(PROOF_FILLS, seed=11)
    assert proof.events == 2 * PROOF_FILLS
    assert proof.flips > PROOF_FILLS // 10
    assert proof.flats > PROOF_FILLS // 20


def test_the_proof_fails_where_a_share_is_not_taken_from_the_cost(monkeypatch):
    monkeypatch.setattr(
        "market_engine.paper.positions.share", lambda amount, part, whole: amount * part / whole
    )
    with pytest.raises(ProofError):
        prove(5_000, seed=11)


def test_the_proof_fails_where_cash_is_added_with_28_digits(monkeypatch):
    monkeypatch.setattr(account_module, "add", lambda first, second: first + second)
    with pytest.raises(ProofError):
        prove(5_000, seed=11)


def test_an_account_loaded_from_random_postings_and_fills_is_the_one_that_made_them():
    proof = Proof(seed=3)
    steps = [proof.step() for _ in range(2_000)]
    account = PortfolioAccount(proof.account.portfolio)
    opening = PortfolioAccount(proof.account.portfolio).open()
    postings = [*opening, *(posting for _, lines in steps for posting in lines)]
    account.load(postings, [fill for fill, _ in steps])
    for symbol, mark in proof.account.marks().items():
        account.mark(symbol, mark)
    for symbol, position in proof.account.positions.items():
        again = account.positions[symbol]
        assert (again.qty_nano, again.cost, again.realised) == (
            position.qty_nano, position.cost, position.realised,
        )  # fmt: skip
    for name in ("cash", "realised", "fees", "transaction"):
        assert getattr(account, name) == getattr(proof.account, name)
    assert account.equity() == proof.account.equity()
    assert account.unrealised() == proof.account.unrealised()
    assert account.gross() == proof.account.gross()
    assert account.residue() == 0


def test_the_opening_puts_the_balance_into_cash_against_capital():
    account = PortfolioAccount(PORTFOLIO)
    assert account.open() == [
        Posting("main", 1, 1, Account.CASH, "", Decimal(1_000), 5, 0),
        Posting("main", 1, 2, Account.CAPITAL, "", Decimal(-1_000), 5, 0),
    ]
    assert (account.cash, account.equity(), account.residue()) == (1_000, 1_000, 0)


def test_the_postings_of_a_fill_add_up_to_0_and_leave_out_lines_of_0():
    account = opened()
    assert account.fill(a_fill(1, "BTC", "buy", 100, 3)) == [
        Posting("main", 2, 1, Account.CASH, "", Decimal(-300), ONE, 1),
        Posting("main", 2, 2, Account.POSITION, "BTC", Decimal(300), ONE, 1),
    ]
    assert account.fill(a_fill(2, "BTC", "sell", 110, 1, "0.5")) == [
        Posting("main", 3, 1, Account.CASH, "", Decimal("109.5"), 2 * ONE, 2),
        Posting("main", 3, 2, Account.POSITION, "BTC", Decimal(-100), 2 * ONE, 2),
        Posting("main", 3, 3, Account.REALISED, "", Decimal(-10), 2 * ONE, 2),
        Posting("main", 3, 4, Account.FEES, "", Decimal("0.5"), 2 * ONE, 2),
    ]
    assert (account.realised, account.fees, account.transaction) == (10, Decimal("0.5"), 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"portfolio": "other"},
        {"qty_nano": 0},
        {"price_nano": 0},
        {"fee": Decimal("NaN")},
        {"fee": Decimal("Infinity")},
        {"fee": Decimal("1E-90")},
    ],
)
def test_a_fill_that_cannot_be_posted_is_refused_and_changes_nothing(wrong):
    account = opened(("BTC", "buy", 100, 3))
    account.mark("BTC", a_mark(101))
    before = account.snapshot(0, 1), account.position_nano("BTC"), account.residue()
    fill = msgspec.structs.replace(a_fill(2, "BTC", "sell", 110, 1, 1), **wrong)
    with pytest.raises(LedgerError):
        account.fill(fill)
    assert (account.snapshot(0, 1), account.position_nano("BTC"), account.residue()) == before


def test_a_change_that_does_not_balance_is_refused_and_changes_nothing(monkeypatch):
    account = opened(("BTC", "buy", 100, 3))
    before = account.snapshot(0, 1)
    real = account.positions["BTC"].change("sell", 110 * ONE, ONE)
    wrong = msgspec.structs.replace(real, realised_change=real.realised_change + CENT)
    monkeypatch.setattr("market_engine.paper.positions.Position.change", lambda *_: wrong)
    with pytest.raises(LedgerError, match=r"out of balance by -0\.01"):
        account.fill(a_fill(2, "BTC", "sell", 110, 1))
    assert account.snapshot(0, 1) == before


def test_an_account_is_opened_or_loaded_once_and_before_its_first_fill():
    with pytest.raises(LedgerError, match="open or load it first"):
        PortfolioAccount(PORTFOLIO).fill(a_fill(1, "BTC", "buy", 1, 1))
    account = opened()
    with pytest.raises(LedgerError, match="open already"):
        account.open()
    with pytest.raises(LedgerError, match="open already"):
        account.load(*records())


def test_what_was_stored_of_another_portfolio_is_refused():
    postings, fills = records()
    other = msgspec.structs.replace(postings[3], portfolio="other")
    with pytest.raises(LedgerError, match="'other'"):
        loaded([*postings[:3], other], fills)
    with pytest.raises(LedgerError, match="'other'"):
        loaded(postings, [msgspec.structs.replace(fills[0], portfolio="other")])


@pytest.mark.parametrize("index", range(len(records()[0])))
@pytest.mark.parametrize("cent", [CENT, -CENT])
def test_a_cent_put_into_any_posting_shows_as_a_residue_of_a_cent(index, cent):
    postings, fills = records()
    changed = msgspec.structs.replace(postings[index], amount=postings[index].amount + cent)
    account = loaded([*postings[:index], changed, *postings[index + 1 :]], fills)
    assert abs(account.residue()) == CENT
    account.mark("BTC", a_mark("97.123456789"))
    account.mark("ETH", a_mark("51"))
    assert abs(account.residue()) == CENT
    account.fill(a_fill(7, "BTC", "sell", 90, 5, "0.1"))
    assert abs(account.residue()) == CENT


@pytest.mark.parametrize("index", range(len(records()[1])))
def test_a_cent_put_into_the_price_of_any_fill_shows_as_a_cent_for_each_unit(index):
    postings, fills = records()
    fill = fills[index]
    changed = msgspec.structs.replace(fill, price_nano=fill.price_nano + ONE // 100)
    account = loaded(postings, [*fills[:index], changed, *fills[index + 1 :]])
    assert abs(account.residue()) == CENT * fill.qty_nano / ONE


@pytest.mark.parametrize("index", range(len(records()[1])))
def test_a_cent_put_into_the_fee_of_any_fill_shows_as_a_cent(index):
    postings, fills = records()
    changed = msgspec.structs.replace(fills[index], fee=fills[index].fee + CENT)
    assert abs(loaded(postings, [*fills[:index], changed, *fills[index + 1 :]]).residue()) == CENT


@pytest.mark.parametrize("index", range(len(records()[1])))
def test_a_fill_that_is_missing_or_moved_to_another_symbol_shows(index):
    postings, fills = records()
    assert loaded(postings, [*fills[:index], *fills[index + 1 :]]).residue() != 0
    moved = msgspec.structs.replace(fills[index], symbol="DOGE")
    assert loaded(postings, [*fills[:index], moved, *fills[index + 1 :]]).residue() != 0


@pytest.mark.parametrize("index", range(len(records()[0])))
def test_a_posting_that_is_missing_or_there_twice_or_under_another_account_shows(index):
    postings, fills = records()
    assert loaded([*postings[:index], *postings[index + 1 :]], fills).residue() != 0
    assert loaded([*postings, postings[index]], fills).residue() != 0
    other = Account.FEES if postings[index].account is not Account.FEES else Account.CASH
    moved = msgspec.structs.replace(postings[index], account=other)
    assert loaded([*postings[:index], moved, *postings[index + 1 :]], fills).residue() != 0


def test_an_account_changed_by_hand_while_it_runs_shows_in_the_residue():
    for name in ("cash", "realised", "fees"):
        account = opened(("BTC", "buy", 100, 3, "0.3"), ("BTC", "sell", 90, 1, "0.1"))
        setattr(account, name, getattr(account, name) + CENT)
        assert abs(account.residue()) == CENT
    account = opened(("BTC", "buy", 100, 3, "0.3"))
    account.mark("BTC", a_mark(101))
    account.positions["BTC"].cost += CENT
    assert abs(account.residue()) == CENT


def test_while_a_position_is_unpriced_nothing_is_made_up():
    account = opened(("BTC", "buy", 100, 3, 1), ("ETH", "sell", 10, 5, 1))
    account.mark("BTC", a_mark(120))
    assert (account.equity(), account.unrealised()) == (None, None)
    assert account.gross() == 360 + 50
    assert account.residue() == 0
    assert account.snapshot(9, 1).equity is None
    account.mark("ETH", a_mark(11))
    assert account.unrealised() == 60 - 5
    assert account.equity() == 1_000 - 2 + 55
    assert account.gross() == 360 + 55
    account.mark("ETH", a_mark(None))
    assert account.equity() is None
    assert account.residue() == 0


def test_a_mark_of_what_is_not_held_changes_nothing():
    account = opened()
    account.mark("BTC", a_mark(100))
    assert (account.marks(), account.equity()) == ({}, 1_000)


def test_a_position_that_opens_or_turns_around_waits_for_a_mark_of_its_own_side():
    account = opened(("BTC", "buy", 100, 1))
    assert account.equity() is None
    account.mark("BTC", a_mark(90))
    account.fill(a_fill(2, "BTC", "sell", 95, 3))
    assert (account.equity(), account.marks()) == (None, {})
    account.mark("BTC", a_mark(96))
    assert account.equity() == 1_000 - 5 - 2
    account.fill(a_fill(3, "BTC", "buy", 96, 2))
    assert (account.equity(), account.marks()) == (993, {})


def test_the_drawdown_is_from_the_highest_equity_at_any_mark():
    account = opened(("BTC", "buy", 100, 5))
    for price in (120, 60, 130, 100):
        account.mark("BTC", a_mark(price))
    assert account.peak == 1_150
    assert account.max_drawdown == pytest.approx(800 / 1_100 - 1, abs=1e-15)


def test_the_first_peak_is_the_balance_it_began_with():
    account = opened(("BTC", "buy", 100, 5))
    account.mark("BTC", a_mark(80))
    assert account.peak == 1_000
    assert account.max_drawdown == pytest.approx(-0.1, abs=1e-15)


def test_peak_and_drawdown_wait_while_a_position_is_unpriced():
    account = opened(("BTC", "buy", 100, 5))
    account.mark("BTC", a_mark(100))
    account.fill(a_fill(2, "ETH", "buy", 10, 1))
    account.mark("BTC", a_mark(20))
    assert account.max_drawdown == 0
    account.mark("BTC", a_mark(90))
    account.mark("ETH", a_mark(10))
    assert account.max_drawdown == pytest.approx(-0.05, abs=1e-15)


def test_a_fill_at_a_new_price_makes_no_peak_with_the_mark_from_before():
    account = opened(("BTC", "buy", 100, 1))
    account.mark("BTC", a_mark(100))
    account.fill(a_fill(2, "BTC", "buy", 50, 1))  # the market fell; the mark follows
    account.mark("BTC", a_mark(50))
    assert account.peak == 1_000
    assert account.max_drawdown == pytest.approx(-0.05, abs=1e-15)


def test_a_fill_that_makes_it_flat_is_seen_at_once():
    account = opened(("BTC", "buy", 100, 1))
    account.mark("BTC", a_mark(100))
    account.fill(a_fill(2, "BTC", "sell", 300, 1))
    assert account.peak == 1_200


def test_a_mark_at_the_same_price_after_a_fill_is_seen():
    account = opened(("BTC", "buy", 100, 1))
    account.mark("BTC", a_mark(100))
    account.fill(a_fill(2, "BTC", "buy", 100, 1, 10))
    account.mark("BTC", a_mark(100))
    assert account.max_drawdown == pytest.approx(-0.01, abs=1e-15)


marks = st.lists(
    st.tuples(st.sampled_from(["BTC", "ETH"]), st.integers(1, 10**12)), min_size=1, max_size=60
)


@given(marks)
def test_peak_and_drawdown_are_those_of_every_equity_by_brute_force(drawn):
    account = opened(("BTC", "buy", 100, 2), ("ETH", "sell", 10, 1))
    account.mark("BTC", a_mark(100))
    account.mark("ETH", a_mark(10))
    equities = [account.portfolio.balance]
    for symbol, price_nano in drawn:
        account.mark(symbol, Mark(price_nano, "bid", 0, is_stale=False))
        equities.append(account.equity())
        assert account.residue() == 0
    peaks = [max(equities[: end + 1]) for end in range(len(equities))]
    falls = [float(now / peak - 1) for now, peak in zip(equities, peaks, strict=True)]
    assert account.peak == peaks[-1]
    assert account.max_drawdown == pytest.approx(min(falls), abs=1e-12)


def test_a_snapshot_restores_peak_and_drawdown_and_begins_the_day_with_its_equity():
    postings, fills = records()
    account = loaded(postings, fills)
    for symbol, price in (("BTC", 300), ("ETH", 40), ("BTC", 50)):
        account.mark(symbol, a_mark(price))
    snapshot = account.snapshot(77, 5)
    assert (snapshot.number, snapshot.at_ns, snapshot.transaction) == (5, 77, 7)
    again = loaded(postings, fills)
    again.restore(snapshot)
    assert (again.peak, again.max_drawdown) == (account.peak, account.max_drawdown)
    assert again.day_equity == account.equity()
    again.restore(snapshot, day_equity=Decimal(3))
    assert again.day_equity == 3
    for each in (account, again):
        each.mark("BTC", a_mark(40))
        each.mark("ETH", a_mark(40))
    assert again.max_drawdown == account.max_drawdown


def test_the_peak_outlives_a_snapshot_that_was_taken_unpriced():
    account = opened(("BTC", "buy", 100, 1))
    account.mark("BTC", a_mark(400))
    account.mark("BTC", a_mark(None))
    snapshot = account.snapshot(1, 1)
    assert (snapshot.equity, snapshot.peak) == (None, 1_300)
    again = PortfolioAccount(PORTFOLIO)
    again.open()
    again.restore(snapshot)
    assert (again.peak, again.day_equity) == (1_300, 1_000)


def test_a_day_begins_with_the_equity_of_now_or_the_next_that_is_known():
    account = opened(("BTC", "buy", 100, 1))
    account.mark("BTC", a_mark(150))
    account.begin_day(1)
    assert account.day_equity == 1_050
    account.mark("BTC", a_mark(None))
    account.begin_day(2)
    assert account.day_equity == 1_050
    account.mark("BTC", a_mark(90))
    account.mark("BTC", a_mark(80))
    assert account.day_equity == 990


def test_marks_are_handed_out_as_a_copy():
    account = opened(("BTC", "buy", 100, 1))
    account.mark("BTC", a_mark(150))
    account.marks().clear()
    assert account.marks() == {"BTC": a_mark(150)}


def test_the_postings_of_all_records_add_up_to_0():
    postings, _ = records()
    assert total(postings) == 0


@pytest.mark.parametrize(("account", "symbol"), [("position", "DOGE"), ("cash", "BTC")])
def test_a_posting_of_an_account_that_no_fill_has_shows(account, symbol):
    postings, fills = records()
    extra = msgspec.structs.replace(
        postings[2], account=Account(account), symbol=symbol, amount=CENT
    )
    assert loaded([*postings, extra], fills).residue() == CENT
