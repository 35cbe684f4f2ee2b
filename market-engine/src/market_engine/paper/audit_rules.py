"""The rules that one fill must keep, each on its own: nothing, or what is wrong.

Written from the rules alone, without a look at matching, which it checks. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Final

import msgspec

from market_engine.events import MS_NS
from market_engine.paper.audit_stream import Witness
from market_engine.paper.audit_watch import Seen, Watch
from market_engine.paper.model import (
    BookName,
    EvidenceKind,
    Fill,
    Model,
    Order,
    OrderState,
    TimeInForce,
)
from market_engine.paper.money import fee, price_text, product, text
from market_engine.paper.reasons import Why

_DAY_NS: Final = 86_400 * 10**9
AT_ONCE: Final = (TimeInForce.IOC, TimeInForce.FOK)
"""Orders that never wait."""


class Finding(msgspec.Struct, frozen=True):
    """A rule that is broken; ``fill`` None: by an order as a whole."""

    fill: Fill | None
    rule: str
    detail: str


class Case(msgspec.Struct, frozen=True):
    """A fill with its order, and what the stream says of it."""

    fill: Fill
    order: Order
    model: Model
    watch: Watch
    seen: Seen | None
    """Its evidence as it came; None where the stream has no such thing."""
    others: tuple[Seen, ...] = ()
    """What came in the same nanosecond and looks the same: it may have been one of these."""

    @property
    def is_stop(self) -> bool:
        """Whether it waited for a print."""
        return self.order.asked.stop_nano is not None

    @property
    def stale_ns(self) -> int:
        """From this age on, a price justifies nothing."""
        return self.model.stale_ms * MS_NS

    @property
    def worst_nano(self) -> int | None:
        """The limit, or the collar of an order without one."""
        asked = self.order.asked
        return self.order.collar_nano if asked.limit_nano is None else asked.limit_nano


Broken = tuple[str, str] | None
"""The rule, and what is wrong."""


def case_of(fill: Fill, order: Order, model: Model, witness: Witness) -> Case:
    """A fill beside what the stream says."""
    evidence = fill.evidence
    same = [
        seen
        for seen in witness.seen(fill)
        if (seen.event_ns, seen.price_nano, seen.size_nano, seen.trade_id)
        == (evidence.event_ns, evidence.price_nano, evidence.size_nano, evidence.trade_id)
    ]
    sound = [seen for seen in same if not seen.backfilled] or same
    watch = witness.watch(order)
    if len(sound) > 1:
        sound.sort(key=lambda seen: any(broken_rules(Case(fill, order, model, watch, seen))))
    return Case(fill, order, model, watch, sound[0] if sound else None, tuple(sound[1:]))


def broken_rules(case: Case) -> Iterable[tuple[str, str]]:
    """All that this fill breaks on its own."""
    for rule in _ALWAYS:
        if found := rule(case):
            yield found
    if found := _evidence(case):
        yield found
        return
    for rule in _BY_EVIDENCE:
        if found := rule(case):
            yield found


def _identity(case: Case) -> Broken:
    fill, asked = case.fill, case.order.asked
    told = (fill.portfolio, fill.client_order_id, fill.symbol, fill.side)
    if told != (asked.portfolio, asked.client_order_id, asked.symbol, asked.side):
        return "order", "it is not of the portfolio, symbol and side of its order"
    return None if fill.qty_nano > 0 else ("order", "its quantity is not above 0")


def _denied(case: Case) -> Broken:
    if case.order.state is not OrderState.DENIED:
        return None
    return "denied", f"its order was denied ({case.order.why})"


def _closed(case: Case) -> Broken:
    order, fill = case.order, case.fill
    if order.closed_ns is None or fill.filled_ns <= order.closed_ns:
        return None
    by_owner = order.state is OrderState.CANCELLED and order.why in (Why.CANCELLED, Why.FLATTENED)
    if fill.book is BookName.NEUTRAL or by_owner:
        after_ns = fill.filled_ns - order.closed_ns
        return "closed", f"its order was {order.state} {after_ns:,} ns before"
    return None


def _fee(case: Case) -> Broken:
    fill, model = case.fill, case.model
    rate = model.maker_fee if fill.is_maker else model.taker_fee
    right = fee(product(fill.price_nano, fill.qty_nano), rate)
    if fill.fee == right:
        return None
    return "fee", f"the fee is {text(fill.fee)} and should be {text(right)}"


def _day(case: Case) -> Broken:
    if case.order.asked.time_in_force is not TimeInForce.DAY:
        return None
    ends_ns = (case.order.submitted_ns // _DAY_NS + 1) * _DAY_NS
    if case.fill.filled_ns < ends_ns:
        return None
    return "day", f"the day of its order ended {case.fill.filled_ns - ends_ns:,} ns before"


def _evidence(case: Case) -> Broken:
    evidence = case.fill.evidence
    if case.seen is None:
        number = "" if evidence.trade_id is None else f" {evidence.trade_id}"
        return "evidence", (
            f"the stream has no {evidence.kind}{number} of {price_text(evidence.size_nano)} at "
            f"{price_text(evidence.price_nano)} received at {evidence.received_ns}"
        )
    if case.seen.backfilled:
        return "backfilled", f"trade {evidence.trade_id} was fetched afterwards"
    return None


def _time(case: Case) -> Broken:
    fill, watch, evidence_ns = case.fill, case.watch, case.fill.evidence.received_ns
    if fill.filled_ns < watch.active_ns:
        early_ns = watch.active_ns - fill.filled_ns
        return "latency", f"the order was active {early_ns:,} ns later"
    if fill.filled_ns == evidence_ns:
        return _time_of_same(case)
    age_ns = fill.filled_ns - evidence_ns
    if age_ns > case.stale_ns:
        limit_ms = case.model.stale_ms
        return "stale", f"the evidence was {age_ns // MS_NS:,} ms old; stale_ms is {limit_ms:,}"
    return _time_of_current(case)


def _time_of_same(case: Case) -> Broken:
    """What came in the nanosecond of the order, and first, came before it: it fills no maker."""
    fill, seen = case.fill, case.seen
    is_quote_taken = not fill.is_maker and fill.evidence.kind is EvidenceKind.QUOTE
    if seen is None or is_quote_taken or fill.filled_ns != case.order.submitted_ns:
        return None
    return ("latency", "its evidence came right before the order") if seen.is_first else None


def _time_of_current(case: Case) -> Broken:
    """It was not made at the receipt of its evidence: by a quote that stood, perhaps."""
    fill, evidence_ns = case.fill, case.fill.evidence.received_ns
    if not _may_take_current(case):
        if evidence_ns < case.watch.active_ns:
            return "latency", "the evidence was received before the order was active"
        return "time", "it was not made at the receipt of its evidence"
    next_ns = None if case.seen is None else case.seen.next_ns
    if next_ns is not None and next_ns < fill.filled_ns:
        return "time", "a newer quote had come before it was made"
    return None


def _may_take_current(case: Case) -> bool:
    """Whether it was made at a moment at which the quote that stood could be taken."""
    fill, watch = case.fill, case.watch
    if fill.is_maker or fill.evidence.kind is EvidenceKind.PRINT:
        return False
    if case.is_stop and fill.book is not BookName.NEUTRAL and case.order.triggered_ns is None:
        return watch.reached_ns is not None  # which print triggered it is not stored
    if case.is_stop:
        return watch.trigger is not None and fill.filled_ns == watch.trigger.received_ns
    return case.model.latency_ms == 0 and fill.filled_ns == case.order.submitted_ns


def _trigger(case: Case) -> Broken:
    if not case.is_stop:
        return None
    fill, watch = case.fill, case.watch
    stop = price_text(case.order.asked.stop_nano or 0)
    if fill.book is BookName.NEUTRAL:
        trigger_ns = None if watch.trigger is None else watch.trigger.received_ns
        if case.order.triggered_ns is None or trigger_ns is None:
            return "trigger", f"no trade printed at its stop {stop} when it was said to"
    else:
        trigger_ns = watch.reached_ns
    if trigger_ns is None or fill.filled_ns < trigger_ns:
        return "trigger", f"no trade had printed at its stop {stop}"
    if watch.trigger is not None and case.seen is not None and case.seen == watch.trigger:
        return "trigger", "the print that triggered the stop filled it"
    return None


def _role(case: Case) -> Broken:
    """Who waited is a maker; who met the market on arrival is a taker."""
    asked, seen = case.order.asked, case.seen
    at_latest = case.watch.after
    ordinal = seen.ordinal if seen is not None and seen.kind is EvidenceKind.QUOTE else None
    if case.fill.is_maker:
        if asked.limit_nano is None:
            return "maker", "an order without a limit never rests"
    elif asked.post_only:
        return "post_only", "it took liquidity"
    elif asked.limit_nano is None or asked.time_in_force in AT_ONCE:
        return None
    elif ordinal is not None and at_latest is not None and ordinal > at_latest.ordinal:
        return "maker", "it rested when this quote came: it did not take"
    return None


def _at_once(case: Case) -> Broken:
    """IOC and FOK orders take when they become active, or never."""
    asked, seen, watch = case.order.asked, case.seen, case.watch
    if asked.time_in_force not in AT_ONCE or seen is None:
        return None
    rule = str(asked.time_in_force)
    if case.fill.is_maker:
        return rule, "it rested"
    last = watch.first_print
    if seen.kind is EvidenceKind.QUOTE:
        last = None if watch.after is None else watch.after.ordinal
    if last is not None and seen.ordinal > last:
        return rule, "it was made after the first event that could fill it"
    if rule == "fok" and case.fill.qty_nano != asked.qty_nano:
        return rule, f"it is of {price_text(case.fill.qty_nano)}, which is not all of the order"
    return None


def _price(case: Case) -> Broken:
    return _maker_price(case) if case.fill.is_maker else _taker_price(case)


def _maker_price(case: Case) -> Broken:
    fill, limit_nano = case.fill, case.order.asked.limit_nano
    if limit_nano is None:
        return None  # told as a wrong role
    found_nano, is_buy = fill.evidence.price_nano, fill.side == "buy"
    if fill.price_nano != limit_nano:
        is_beyond = fill.price_nano > limit_nano if is_buy else fill.price_nano < limit_nano
        rule = "limit" if is_beyond else "price"
        return rule, f"a resting order fills at its limit {price_text(limit_nano)}"
    better_nano = limit_nano - found_nano if is_buy else found_nano - limit_nano
    is_pessimistic = fill.book is BookName.PESSIMISTIC
    if is_pessimistic and (better_nano <= 0 or fill.evidence.kind is EvidenceKind.QUOTE):
        return "book", "in the pessimistic book only a print beyond its limit fills it"
    if better_nano < 0:
        return "book", f"{price_text(found_nano)} did not reach its limit {price_text(limit_nano)}"
    is_same = case.seen is not None and case.seen.side == fill.side
    if is_same and fill.book is not BookName.OPTIMISTIC:
        return "side", f"the aggressor of this print was a {fill.side}, too: it took the other side"
    return None


def _taker_price(case: Case) -> Broken:
    fill, worst_nano, is_buy = case.fill, case.worst_nano, case.fill.side == "buy"
    touch_nano = fill.evidence.price_nano
    bound = "collar" if case.order.asked.limit_nano is None else "limit"
    if worst_nano is not None:
        for price_nano in (touch_nano, fill.price_nano):
            if price_nano > worst_nano if is_buy else price_nano < worst_nano:
                found = f"{price_text(price_nano)} is beyond {price_text(worst_nano)}"
                return bound, found
    right_nano = _slipped(touch_nano, case.model.slippage, worst_nano, is_buy=is_buy)
    if fill.price_nano == right_nano:
        return None
    return "price", f"it should be {price_text(right_nano)} with the slippage"


def _slipped(touch_nano: int, slippage: Decimal, worst_nano: int | None, *, is_buy: bool) -> int:
    over, under = slippage.as_integer_ratio()
    worse_nano, rest = divmod(touch_nano * over, under)
    worse_nano += rest > 0
    if is_buy:
        bound_nano = touch_nano + worse_nano if worst_nano is None else worst_nano
        return min(touch_nano + worse_nano, bound_nano)
    return max(touch_nano - worse_nano, 1 if worst_nano is None else worst_nano)


_Rule = Callable[[Case], Broken]
_ALWAYS: Final[tuple[_Rule, ...]] = (_identity, _denied, _closed, _fee, _day)
_BY_EVIDENCE: Final[tuple[_Rule, ...]] = (_time, _trigger, _role, _at_once, _price)
