"""The ledger of ids against a model that remembers every id in a set."""

from __future__ import annotations

import sys
import threading

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


@given(ids=IDS, later=IDS)
def test_a_ledger_that_is_given_the_holes_goes_on_as_the_one_that_found_them(ids, later):
    found = IdLedger(0)
    for trade_id in ids:
        found.take(trade_id)
    given_them = IdLedger(found.last, found.missing())
    assert given_them.missing_count == found.missing_count
    assert [given_them.take(each) for each in later] == [found.take(each) for each in later]
    assert given_them.missing() == found.missing()
    assert given_them.missing_count == found.missing_count


def test_of_more_holes_than_it_remembers_a_ledger_keeps_the_newest():
    holes = [(10 * number, 10 * number + 4) for number in range(1, ids_module.HOLES_MAX + 3)]
    ledger = IdLedger(10**6, holes)
    assert ledger.missing() == holes[2:]
    assert ledger.missing_count == 5 * ids_module.HOLES_MAX
    assert ledger.take(10) is Arrival.DUPLICATE
    assert ledger.take(holes[-1][1]) is Arrival.FILLING


def test_another_thread_sees_no_hole_half_filled():
    ledger, stopped, rounds, wide = IdLedger(0), threading.Event(), 200, 200
    ledger.take(wide)
    counts, wrong, failures = [], [], []

    def read():
        while not stopped.is_set():
            try:
                counts.append(ledger.missing_count)
                wrong.extend(each for each in ledger.missing() if each[0] > each[1])
            except ValueError as error:
                failures.append(error)

    reader, interval_s = threading.Thread(target=read), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        reader.start()
        for number in range(1, rounds):  # one id is always missing
            ledger.take((number + 1) * wide)
            for trade_id in range((number - 1) * wide + 1, number * wide):
                ledger.take(trade_id)
    finally:
        stopped.set()
        reader.join()
        sys.setswitchinterval(interval_s)
    assert (failures, wrong) == ([], [])
    assert len(counts) > rounds
    assert wide - 1 <= min(counts) <= max(counts) <= 2 * (wide - 1)
    assert ledger.missing_count == wide - 1
