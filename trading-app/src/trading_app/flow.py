"""What flows: rates, event ages and health, from the sidecar's samples. Pure.

Every figure is a sum of steps: what was counted from one sample to the next, over the time between
the two. A gap, or totals that began again, has no step, so nothing is ever subtracted across one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest
from typing import Final, Literal

from trading_app.past import Past
from trading_app.sidecar_answers import Sample

GAP_S: Final = 2.0
"""Samples further apart have a gap between them; the sidecar calls itself stalled at the same."""
FRESH_S: Final = 3.0
"""A newest sample that is older says nothing of now: one second apart, asked for each second."""

Health = Literal["live", "stalled"]
What = Literal["trades", "volume"]


@dataclass(frozen=True, slots=True)
class Flow:
    """What was counted in ``seconds`` of looking; when that is 0, nothing is known."""

    seconds: float = 0.0
    trades_buy: int = 0
    trades_sell: int = 0
    volume_buy: float = 0.0
    volume_sell: float = 0.0
    busy_s: float = 0.0
    age_counts: tuple[int, ...] = ()
    age_bounds_s: tuple[float, ...] = ()

    @property
    def trades(self) -> int:
        """Trades of both sides."""
        return self.trades_buy + self.trades_sell

    def rate(self, counted: float) -> float | None:
        """Divide one of the counts by the time in which it was counted."""
        return counted / self.seconds if self.seconds else None

    def rates(self, what: What) -> tuple[float | None, float | None]:
        """Give what was bought and what was sold in a second, as trades or as volume."""
        if what == "trades":
            return self.rate(self.trades_buy), self.rate(self.trades_sell)
        return self.rate(self.volume_buy), self.rate(self.volume_sell)

    def age_s(self, q: float) -> float | None:
        """Give the q-quantile (0 to 1) of the event age; None when no trade came."""
        return quantile(self.age_counts, self.age_bounds_s, q)


@dataclass(frozen=True, slots=True)
class Step:
    """Two neighbouring samples without a gap between them."""

    before: Sample
    after: Sample


@dataclass(frozen=True, slots=True)
class Span:
    """The receiver worked, or did not come round, from one time to another (unix seconds)."""

    state: Health
    from_s: float
    to_s: float


def steps(past: Past, since_s: float) -> Iterator[Step]:
    """Give everything that may be subtracted and begins at ``since_s`` or later, oldest first."""
    recent = (sample for sample in past.samples if sample.at_s >= since_s)
    for before, after in pairwise(recent):
        if after.at_s - before.at_s <= GAP_S and _grew(before, after):
            yield Step(before, after)


def _grew(before: Sample, after: Sample) -> bool:
    """Whether the totals went on; a sidecar that lost its state began again from 0."""
    return (
        after.trades_buy >= before.trades_buy
        and after.trades_sell >= before.trades_sell
        and after.busy_s >= before.busy_s
        and all(new >= old for old, new in zip(before.age_counts, after.age_counts, strict=True))
    )


def total(parts: Iterable[Step], age_bounds_s: tuple[float, ...]) -> Flow:
    """Add steps up."""
    found = list(parts)
    if not found:
        return Flow()

    def grown(name: str) -> float:
        ends = ((getattr(step.before, name), getattr(step.after, name)) for step in found)
        return float(sum(after - before for before, after in ends))

    return Flow(
        seconds=grown("at_s"),
        trades_buy=int(grown("trades_buy")),
        trades_sell=int(grown("trades_sell")),
        volume_buy=grown("volume_buy"),
        volume_sell=grown("volume_sell"),
        busy_s=grown("busy_s"),
        age_counts=tuple(map(sum, zip(*map(_new_ages, found), strict=True))),
        age_bounds_s=age_bounds_s,
    )


def _new_ages(step: Step) -> Iterator[int]:
    pairs = zip(step.before.age_counts, step.after.age_counts, strict=True)
    return (after - before for before, after in pairs)


def _age_bounds_s(past: Past) -> tuple[float, ...]:
    return past.history.age_bounds_s if past.history else ()


def lately(past: Past, span_s: float) -> Flow:
    """Sum up the last ``span_s`` seconds, as far as they are known; nothing when now is not."""
    if past.away or not is_fresh(past):
        return Flow()
    return total(steps(past, past.now_s - span_s - 0.5), _age_bounds_s(past))


def is_fresh(past: Past) -> bool:
    """Say whether the newest sample is of now."""
    return bool(past.samples) and past.now_s - past.samples[-1].at_s <= FRESH_S


def quiet_s(past: Past) -> float | None:
    """Count the seconds since a sample first showed another trade; None when none of them did."""
    for after, before in pairwise(reversed(past.samples)):
        if _trades(after) > _trades(before):
            return max(0.0, past.now_s - after.at_s)
    return None


def _trades(sample: Sample) -> int:
    return sample.trades_buy + sample.trades_sell


def bins(past: Past, span_s: int, bin_s: int) -> list[Flow]:
    """Cut the last ``span_s`` into bins, oldest first, whose limits are multiples of ``bin_s``.

    The last one is under way. A step belongs to the bin in which it ends.
    """
    count = span_s // bin_s
    first = int(past.now_s // bin_s) - count + 1
    found: list[list[Step]] = [[] for _ in range(count)]
    for step in steps(past, (first - 1) * bin_s):
        place = int(step.after.at_s // bin_s) - first
        if 0 <= place < count:
            found[place].append(step)
    return [total(each, _age_bounds_s(past)) for each in found]


def quantile(counts: Sequence[int], bounds: Sequence[float], q: float) -> float | None:
    """Give the q-quantile of a histogram whose last bucket is open; None when it is empty.

    Linear within the bucket, as Prometheus' ``histogram_quantile`` does; in the open bucket the
    highest bound is the answer.
    """
    rank = q * sum(counts)
    if rank == 0:
        return None
    below, lower = 0, 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and below + count >= rank:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return lower


def health(past: Past) -> list[Span]:
    """Say when the receiver worked and when it was stalled; where no span is, nobody knows."""
    spans: list[Span] = []
    for before, after in pairwise(past.samples):
        if past.restarted_between(before, after):
            continue
        well = after.at_s - before.at_s <= GAP_S
        _extend(spans, Span("live" if well else "stalled", before.at_s, after.at_s))
    if past.samples and not past.away:
        state: Health = "live" if is_fresh(past) else "stalled"
        _extend(spans, Span(state, past.samples[-1].at_s, past.now_s))
    return spans


def _extend(spans: list[Span], span: Span) -> None:
    """Add a span, as one with the last if they are of a state and touch."""
    if spans and spans[-1].state == span.state and spans[-1].to_s == span.from_s:
        span = Span(span.state, spans.pop().from_s, span.to_s)
    spans.append(span)


def symbol_rates(past: Past) -> dict[str, tuple[float, float]]:
    """Give buys and sells a second of each symbol in the last minute; empty when not known."""
    spans = health(past)
    if past.away or past.history is None or not spans or spans[-1].state != "live":
        return {}
    marks = [mark for mark in past.history.symbol_marks if mark.at_s >= spans[-1].from_s]
    if len(marks) < 2:
        return {}
    first, last = marks[0], marks[-1]
    seconds = last.at_s - first.at_s
    buys = _rates(first.trades_buy, last.trades_buy, seconds)
    sells = _rates(first.trades_sell, last.trades_sell, seconds)
    return dict(zip(past.history.symbols, zip(buys, sells, strict=True), strict=False))


def _rates(first: Sequence[int], last: Sequence[int], seconds: float) -> list[float]:
    """Divide each growth; what is missing at the end of the first had come later, and was 0."""
    pairs = zip_longest(first, last, fillvalue=0)
    return [(after - before) / seconds for before, after in pairs]
