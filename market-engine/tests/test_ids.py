"""The ledger of ids against a model that remembers every id in a set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_engine.health import ids as ids_module
from market_engine.health.ids import Arrival, IdLedger

IDS = st.lists(st.integers(0, 40) | st.integers(0, 10_000), max_size=80)


def expected(came, last, trade_id, floor):
    """What the model says of an id; ``floor``: what is not above it was kept before a restart."""
    if last is None:
        return Arrival.FIRST
    if trade_id in came or (floor is not None and trade_id <= floor):
        return Arrival.DUPLICATE
    if trade_id == last + 1:
        return Arrival.NEXT
    return Arrival.AHEAD if trade_id > last else Arrival.FILLING


def stretches(missing):
    found = []
    for trade_id in sorted(missing):
        if found and found[-1][1] == trade_id - 1:
            found[-1] = (found[-1][0], trade_id)
        else:
            found.append((trade_id, trade_id))
    return found


@given(ids=IDS, floor=st.none() | st.integers(0, 60))
def test_every_arrival_is_what_a_set_of_ids_says(ids, floor):
    ledger, came, last = IdLedger(floor), set(), floor
    for trade_id in ids:
        assert ledger.take(trade_id) is expected(came, last, trade_id, floor)
        came.add(trade_id)
        last = trade_id if last is None else max(last, trade_id)
        assert ledger.last == last
        lowest = min(came) if floor is None else floor + 1
        missing = {i for i in range(lowest, last) if i not in came}
        assert ledger.missing() == stretches(missing)
        assert ledger.missing_count == len(missing)
        assert ledger.has_missing == bool(missing)
        assert ledger.given_up == 0


@given(ids=st.permutations(range(30)))
def test_whatever_the_order_each_id_counts_once_and_none_is_missing_at_the_end(ids):
    ledger = IdLedger()
    assert Arrival.DUPLICATE not in [ledger.take(trade_id) for trade_id in ids]
    assert [ledger.take(trade_id) for trade_id in ids] == [Arrival.DUPLICATE] * 30
    assert not ledger.has_missing


@given(ids=IDS, limit=st.integers(1, 5))
def test_the_stretches_never_exceed_their_limit_and_nothing_is_taken_twice(ids, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids_module, "HOLES_MAX", limit)
        ledger, taken = IdLedger(), set()
        for trade_id in ids:
            if ledger.take(trade_id) is not Arrival.DUPLICATE:
                assert trade_id not in taken
                taken.add(trade_id)
            assert len(ledger.missing()) <= limit
        between = set(range(min(taken, default=0), max(taken, default=0))) - taken
        assert ledger.missing_count + ledger.given_up >= len(between)


def test_filling_a_wide_gap_from_within_stays_within_the_limit():
    ledger = IdLedger(0)
    ledger.take(10 * ids_module.HOLES_MAX)
    for trade_id in range(2, 10 * ids_module.HOLES_MAX, 2):
        ledger.take(trade_id)
    assert len(ledger.missing()) == ids_module.HOLES_MAX
    assert ledger.given_up > 0
