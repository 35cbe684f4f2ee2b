"""The audit: every stored fill derived again from the raw stream, without the code that made it.

It says whether what was filled was justified, by the rules in ``docs/paper-desk.md``. It does not
ask whether every possible fill was made: to fill less is allowed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from market_engine.events import Event
from market_engine.paper.audit_rules import AT_ONCE, Case, Finding, broken_rules, case_of
from market_engine.paper.audit_stream import Witness
from market_engine.paper.audit_watch import Seen
from market_engine.paper.model import (
    BookName,
    EvidenceKind,
    Fill,
    Order,
    OrderState,
    Portfolio,
    StateChange,
    TradingState,
)
from market_engine.paper.money import price_text
from market_engine.paper.store import ROWS_MAX, DeskStart, DeskStore

__all__ = ("Audit", "Desk", "Finding", "audit", "read_desk")


class Desk(msgspec.Struct, frozen=True):
    """What was stored."""

    portfolios: Sequence[Portfolio]
    orders: Sequence[Order]
    fills: Sequence[Fill]
    """Of all three books, each book's in the order in which they were made."""
    starts: Sequence[DeskStart] = ()
    states: Sequence[StateChange] = ()
    """Of the trading state, in order."""


class Audit(msgspec.Struct, frozen=True):
    """What the audit found."""

    findings: tuple[Finding, ...]
    fills: int
    orders: int
    events: int
    """Quotes and trades."""
    unfilled: int
    """Orders that were accepted and got nothing in the neutral book; for information."""
    after_restarts: int
    """Fills that are right only where the desk was started anew before them; for information."""


def read_desk(store: DeskStore, names: Iterable[str] = ()) -> Desk:
    """Everything of these portfolios, or of all, as of one moment: the desk may be at work."""
    wanted = set(names)
    with store.frozen() as now:
        portfolios = [each for each in now.portfolios() if not wanted or each.name in wanted]
        orders = [order for each in portfolios for order in _orders(now, each.name)]
        fills = [
            fill for each in portfolios for book in BookName for fill in now.fills(each.name, book)
        ]
        return Desk(portfolios, orders, fills, now.starts(), now.states())


def _orders(store: DeskStore, name: str) -> Iterator[Order]:
    before: int | None = None
    while page := store.orders(name, ROWS_MAX, before):
        yield from page
        before = page[-1].number


def audit(desk: Desk, batches: Iterable[Iterable[Event]]) -> Audit:
    """Derive every fill from the stream, given in the order of its receipt, in batches."""
    models = {each.name: each.model for each in desk.portfolios}
    orders = {order.number: order for order in desk.orders}
    known = [fill for fill in desk.fills if fill.order_number in orders]
    witness = Witness(desk.orders, known, models)
    for batch in batches:
        witness.take(batch)
    findings = [
        Finding(fill, "order", f"there is no order {fill.order_number}")
        for fill in desk.fills
        if fill.order_number not in orders
    ]
    cases = [
        case_of(fill, orders[fill.order_number], models[fill.portfolio], witness) for fill in known
    ]
    sound: list[Case] = []
    for case in cases:
        broken = list(broken_rules(case))
        findings += [Finding(case.fill, *each) for each in broken]
        if not broken:
            sound.append(case)
    missed, unexplained = _missed(sound, _Restarts(desk))
    findings += [
        *unexplained,
        *_taken(cases),
        *_halted(desk),
        *_reduced(cases),
        *_filled(cases, desk.orders),
    ]
    return Audit(
        tuple(findings),
        len(desk.fills),
        len(desk.orders),
        witness.events,
        sum(each.filled_nano == 0 and each.state is not OrderState.DENIED for each in desk.orders),
        missed - len(unexplained),
    )


def _missed(cases: Iterable[Case], restarts: _Restarts) -> tuple[int, list[Finding]]:
    """How many fills are right only after a restart, and those that no start explains."""
    missed = 0
    findings: list[Finding] = []
    for case in cases:
        missed_ns = _missed_ns(case)
        if missed_ns is None:
            continue
        missed += 1
        if not restarts.explain(missed_ns, case.fill.filled_ns):
            detail = f"the desk knew better since {missed_ns}: it had not begun anew"
            findings.append(Finding(case.fill, "restart", detail))
    return missed, findings


def _missed_ns(case: Case) -> int | None:
    """Since when a desk at work knew better, if it is right only for one that began anew since.

    A desk that begins knows no quote until the next one comes: so an order may take that one
    instead, or a print; one that waited rests, and is a maker at a quote that it should have taken.
    """
    fill, seen, watch = case.fill, case.seen, case.watch
    if seen is None:
        return None
    if seen.kind is EvidenceKind.PRINT and not fill.is_maker:
        return seen.quote_before_ns
    if fill.is_maker:
        first = None if seen.kind is EvidenceKind.PRINT else watch.first_quote()
        is_missed = first is not None and seen.ordinal <= first.ordinal
        return case.order.submitted_ns if is_missed else None
    is_at_once = case.order.asked.time_in_force in AT_ONCE
    is_bound = is_at_once or case.order.asked.limit_nano is not None
    met = watch.standing() if is_bound else None
    met = watch.lapsed() if met is None and is_at_once else met
    return met.received_ns if met is not None and seen.ordinal > met.ordinal else None


class _Restarts:
    """The starts of the desk, and when it surely was at work."""

    def __init__(self, desk: Desk) -> None:
        self._starts_ns = [start.newest_ns for start in desk.starts]
        lives_ns = [order.submitted_ns for order in desk.orders]
        lives_ns += [f.filled_ns for f in desk.fills if f.book is BookName.NEUTRAL]
        self._lives_ns = sorted(lives_ns)

    def explain(self, missed_ns: int, filled_ns: int) -> bool:
        """Whether a start may lie between the two; it came after the newest thing it knew."""
        return any(
            start_ns <= filled_ns and not self._lived(start_ns, missed_ns)
            for start_ns in self._starts_ns
        )

    def _lived(self, after_ns: int, until_ns: int) -> bool:
        place = bisect_right(self._lives_ns, after_ns)
        return place < len(self._lives_ns) and self._lives_ns[place] <= until_ns


def _taken(cases: Iterable[Case]) -> Iterator[Finding]:
    """What a book of a portfolio takes of a displayed price or of a print is gone for it.

    The optimistic book takes without a look at sizes. A fill may claim that more was taken before
    than was: after a restart the desk cannot know that the touch had moved past a price in between.
    """
    taken: Counter[tuple[object, ...]] = Counter()
    for case in sorted(cases, key=_in_time):
        if case.seen is None or case.fill.book is BookName.OPTIMISTIC:
            continue
        keys = [_liquidity(case.fill, seen) for seen in (case.seen, *case.others)]
        key = next((each for each in keys if _over(case, taken[each]) is None), keys[0])
        if finding := _over(case, taken[key]):
            yield finding
        taken[key] += case.fill.qty_nano


def _over(case: Case, taken_nano: int) -> Finding | None:
    fill, size_nano = case.fill, case.fill.evidence.size_nano
    told_nano = fill.evidence.taken_before_nano
    if fill.qty_nano > size_nano:
        detail = f"it is of {price_text(fill.qty_nano)}, and only {price_text(size_nano)} was there"
        return Finding(fill, "size", detail)
    if taken_nano + fill.qty_nano > size_nano or told_nano < taken_nano:
        detail = (
            f"{price_text(taken_nano)} of {price_text(size_nano)} had been taken before, and it "
            f"takes {price_text(fill.qty_nano)} and says {price_text(told_nano)}"
        )
        return Finding(fill, "taken", detail)
    return None


def _liquidity(fill: Fill, seen: Seen) -> tuple[object, ...]:
    """What a fill took of: a price while it stood, or one print."""
    mine = fill.portfolio, fill.book, fill.symbol
    if seen.kind is EvidenceKind.QUOTE:
        return (*mine, fill.side, seen.stretch)
    if seen.trade_id is not None:
        return (*mine, "print", seen.trade_id)
    return (*mine, "print", seen.event_ns, seen.received_ns, seen.price_nano, seen.size_nano)


def _halted(desk: Desk) -> Iterator[Finding]:
    """Nothing is filled while the desk is halted; in the nanosecond of a change, it may be."""
    at_ns = [change.at_ns for change in desk.states]
    for fill in desk.fills:
        place = bisect_left(at_ns, fill.filled_ns)
        if not place or fill.filled_ns in at_ns[place : place + 1]:
            continue
        change = desk.states[place - 1]
        if change.state is TradingState.HALTED:
            yield Finding(fill, "halted", f"the desk was halted since {change.at_ns}")


def _in_time(case: Case) -> tuple[int, ...]:
    fill = case.fill
    ordinal = 0 if case.seen is None else case.seen.ordinal
    return ordinal, fill.evidence.taken_before_nano, fill.order_number, fill.order_fill


def _reduced(cases: Iterable[Case]) -> Iterator[Finding]:
    """A reduce-only order never opens or turns a position.

    Of what the two other books made in one nanosecond the order is not stored: there it is enough
    that some order of them keeps the rule.
    """
    positions: Counter[tuple[str, BookName, str]] = Counter()
    moments: dict[tuple[str, BookName, str, int], list[Case]] = {}
    for case in cases:
        fill = case.fill
        moment = fill.number if fill.book is BookName.NEUTRAL else fill.filled_ns
        key = fill.portfolio, fill.book, fill.symbol, moment
        moments.setdefault(key, []).append(case)
    for key in sorted(moments, key=lambda each: each[3]):
        group, place = moments[key], key[:3]
        yield from _reduced_at(group, positions[place])
        positions[place] += sum(_signed_nano(case.fill) for case in group)


def _reduced_at(group: Sequence[Case], position_nano: int) -> Iterator[Finding]:
    bought_nano = sum(case.fill.qty_nano for case in group if case.fill.side == "buy")
    sold_nano = sum(case.fill.qty_nano for case in group if case.fill.side == "sell")
    left_nano = {
        "sell": max(0, position_nano + bought_nano),
        "buy": max(0, sold_nano - position_nano),
    }
    for case in group:
        fill = case.fill
        if not case.order.asked.reduce_only:
            continue
        closable_nano = left_nano[fill.side]
        left_nano[fill.side] = max(0, closable_nano - fill.qty_nano)
        if fill.qty_nano > closable_nano:
            detail = (
                f"a {fill.side} of {price_text(fill.qty_nano)} at a position of "
                f"{price_text(position_nano)} does not only reduce it"
            )
            yield Finding(fill, "reduce_only", detail)


def _signed_nano(fill: Fill) -> int:
    return fill.qty_nano if fill.side == "buy" else -fill.qty_nano


def _filled(cases: Iterable[Case], orders: Iterable[Order]) -> Iterator[Finding]:
    """No book fills more than was asked, and the order says what the neutral one filled."""
    filled: Counter[tuple[int, BookName]] = Counter()
    numbers: Counter[tuple[int, BookName]] = Counter()
    for case in sorted(cases, key=lambda each: each.fill.order_fill):
        fill, key = case.fill, (case.fill.order_number, case.fill.book)
        filled[key] += fill.qty_nano
        numbers[key] += 1
        asked_nano = case.order.asked.qty_nano
        if filled[key] > asked_nano:
            detail = f"{price_text(filled[key])} of {price_text(asked_nano)} would be filled"
            yield Finding(fill, "overfill", detail)
        if fill.order_fill != numbers[key]:
            detail = f"it is the fill {numbers[key]} of its order and says {fill.order_fill}"
            yield Finding(fill, "number", detail)
    for order in orders:
        found_nano = filled[order.number, BookName.NEUTRAL]
        if found_nano != order.filled_nano:
            detail = (
                f"order {order.asked.client_order_id} of {order.asked.portfolio} says that "
                f"{price_text(order.filled_nano)} is filled, and its fills {price_text(found_nano)}"
            )
            yield Finding(None, "filled", detail)
