"""The ring against a model: a plain queue with a bound."""

from __future__ import annotations

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trade_telemetry import Trade
from trade_telemetry.journal import SLOT_BYTES, Ring

CAPACITY = 5


class RingAgainstQueue(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.ring = Ring(CAPACITY)
        self.model: deque[tuple[int, Trade]] = deque()
        self.seq = 0

    @rule(
        side=st.sampled_from(["buy", "sell"]),
        qty=st.floats(0, 1e15),
        ts=st.floats(0, 1e10),
        symbol=st.none() | st.from_regex(r"[A-Za-z0-9._:/-]{1,24}", fullmatch=True),
        price=st.none() | st.floats(1e-9, 1e12),
    )
    def append(self, side, qty, ts, symbol, price):
        trade = Trade(side, qty, ts, symbol, price)
        seq = self.ring.append(trade)
        if len(self.model) == CAPACITY:
            assert seq == 0
        else:
            self.seq += 1
            assert seq == self.seq
            self.model.append((seq, trade))

    @rule(count=st.integers(0, CAPACITY))
    def trim(self, count):
        for _ in range(min(count, len(self.model))):
            seq, _trade = self.model.popleft()
            self.ring.trim(seq)

    @invariant()
    def the_ring_holds_what_the_queue_holds(self):
        assert len(self.ring) == len(self.model)
        assert [(seq, self.ring.read(seq)) for seq, _ in self.model] == list(self.model)


TestRing = RingAgainstQueue.TestCase


def test_memory_is_a_cache_line_for_each_slot():
    assert SLOT_BYTES == 64
    assert len(Ring(1_000)._slots) == 64_000
