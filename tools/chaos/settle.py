"""The comparison: what the sidecar committed against what the oracle knows, to the event.

``compare`` is pure and changes nothing unless all is equal; it says each difference in a line. The
sidecar's own word is taken for one thing only: how far it came in an epoch whose publisher died
with its memory, which the accepted events up to there must then explain exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from chaos.events import CLASSES, SIDES, Sums
from chaos.metrics import Readings, sample
from chaos.oracle import REASONS, Epoch, Oracle, Range, size, without
from chaos.recovery import Offsets
from trade_telemetry import LossReason

NANO = 10**9
TRIALS_MAX = 300_000
WEIGHT_BITS = 80

_Part = tuple[int, LossReason, Range]


@dataclass(slots=True)
class _Standing:
    """Where one epoch is, by the state's offsets."""

    epoch: Epoch
    last: int
    head: int
    silent: int = 0


@dataclass(slots=True)
class _Account:
    """One publisher: its epochs, and the suspects that turned out to be lost."""

    source: str
    standings: list[_Standing]
    lost: dict[tuple[int, LossReason], list[Range]] = field(default_factory=dict)


def compare(oracle: Oracle, sources: Iterable[str], offsets: Offsets, seen: Readings) -> list[str]:
    """Every difference, by publisher; when there is none, the oracle takes it as settled."""
    with oracle.lock:
        differences: list[str] = []
        accounts = []
        for source in sources:
            account = _Account(source, [])
            for epoch in oracle.of(source):
                differences += _stand(account, epoch, offsets)
            differences += _compare_account(account, seen)
            accounts.append(account)
        differences += _strangers(oracle, offsets)
        differences += _compare_totals(accounts, seen)
        if not differences:
            for account in accounts:
                oracle.acquitted += _take(account)
        return differences


def _stand(account: _Account, epoch: Epoch, offsets: Offsets) -> list[str]:
    """Add where an epoch is; what is wrong with that."""
    where = f"{epoch.key[0]} epoch {epoch.key[1]}"
    accepted = len(epoch.events)
    if epoch.key in offsets.spent and epoch.key not in offsets.live:
        silent = epoch.silent if epoch.spent else epoch.head - epoch.last
        account.standings.append(_Standing(epoch, epoch.last, epoch.head, silent))
        return []
    last, head = offsets.live.get(epoch.key, (0, 0))
    account.standings.append(_Standing(epoch, last, head))
    if epoch.in_doubt is not None and head == accepted + 1:
        epoch.events.append(epoch.in_doubt)  # it was accepted: the sidecar heard of it
        epoch.in_doubt = None
        accepted += 1
    if epoch.ends is not None:
        right = max(epoch.ends, last) <= head == last <= accepted
    elif epoch.held or epoch.durable:
        right = last == head == accepted
    else:
        right = head <= accepted
    right = right or (last <= accepted and head == epoch.undone > accepted)
    return [] if right else [f"{where}: last {last}, head {head}, accepted {accepted}"]


def _strangers(oracle: Oracle, offsets: Offsets) -> list[str]:
    return [
        f"{key[0]} epoch {key[1]} is at {last} of {head}, and nobody published there"
        for key, (last, head) in offsets.live.items()
        if key not in oracle.epochs and head
    ]


def _compare_account(account: _Account, seen: Readings) -> list[str]:
    source = account.source
    observed = _observed(source, seen)
    losses = {reason: _figure("lost_total", source, seen, reason=reason) for reason in REASONS}
    _find_lost(account, losses, observed)
    standings = account.standings
    differences = []
    figures = {
        "published_total": sum(each.head for each in standings),
        "applied_total": _sums(account).count,
        "waiting": sum(each.head - each.last - each.silent for each in standings),
        "residue": 0,
    }
    for name, expected in figures.items():
        found = _figure(name, source, seen)
        if found != expected:
            differences.append(f"{source}: {name.removesuffix('_total')} {found}, not {expected}")
    for reason, expected in _lost_counts(account).items():
        if losses[reason] != expected:
            differences.append(f"{source}: lost ({reason}) {losses[reason]}, not {expected}")
    return differences + _compare_content(source, observed, _sums(account))


def _compare_content(source: str, observed: Sums, expected: Sums) -> list[str]:
    return [
        f"{source}: {SIDES[each & 1]} of symbol {each >> 1}: {observed.counts[each]} trades and "
        f"{observed.nano[each]} nano-units, not {expected.counts[each]} and {expected.nano[each]}"
        for each in range(CLASSES)
        if (observed.counts[each], observed.nano[each])
        != (expected.counts[each], expected.nano[each])
    ]


def _compare_totals(accounts: list[_Account], seen: Readings) -> list[str]:
    differences = []
    sums = Sums()
    for account in accounts:
        sums = sums.plus(_sums(account))
    for index, side in enumerate(SIDES):
        trades = sums.counts[index] + sums.counts[index + 2]
        volume = (sums.nano[index] + sums.nano[index + 2]) / NANO
        found = tuple(seen.get(sample(f"{name}_total", side=side)) for name in ("trades", "volume"))
        if found != (trades, volume):
            differences.append(f"{side}: (trades, volume) is {found}, not {(trades, volume)}")
    return differences


def _observed(source: str, seen: Readings) -> Sums:
    sums = Sums()
    for each in range(CLASSES):
        labels = {"side": SIDES[each & 1], "symbol": f"{source}.{each >> 1}"}
        sums.counts[each] = int(seen.get(sample("telemetry_symbol_trades_total", **labels), 0))
        volume = seen.get(sample("telemetry_symbol_volume_total", **labels), 0.0)
        sums.nano[each] = round(Fraction(volume) * NANO)
    return sums


def _figure(name: str, source: str, seen: Readings, **labels: str) -> int:
    return int(seen.get(sample(f"telemetry_publisher_{name}", publisher=source, **labels), 0))


def _lost_counts(account: _Account) -> dict[LossReason, int]:
    counts = dict.fromkeys(REASONS, 0)
    for index, each in enumerate(account.standings):
        counts[LossReason.SILENT] += each.silent
        for reason in REASONS:
            counts[reason] += size(each.epoch.lost.get(reason, []))
            counts[reason] += size(account.lost.get((index, reason), []))
    return counts


def _sums(account: _Account) -> Sums:
    """What must be in the totals: all that is settled, without what is lost."""
    sums = Sums()
    for index, each in enumerate(account.standings):
        sums = sums.plus(each.epoch.sums(each.last))
        sums = sums.plus(each.epoch.lost_sums, -1)
        for reason in REASONS:
            for first, last in account.lost.get((index, reason), []):
                sums.add(each.epoch.between(first, last), -1)
    return sums


def _find_lost(account: _Account, losses: dict[LossReason, int], observed: Sums) -> None:
    """Which of the suspects are lost: as many as the sidecar counted, and such that all adds up.

    Suspects that had arrived before are the first ones of a stretch; which they are, their
    quantities tell.
    """
    settled = _lost_counts(account)
    for index, each in enumerate(account.standings):
        for reason, ranges in each.epoch.suspects.items():
            known = sorted((first, min(last, each.last)) for first, last in ranges)
            account.lost[index, reason] = [part for part in known if part[0] <= part[1]]
    suspected = _lost_counts(account)
    if not all(settled[reason] <= losses[reason] <= suspected[reason] for reason in REASONS):
        return  # the numbers themselves will tell
    arrived = {reason: suspected[reason] - losses[reason] for reason in REASONS}
    missing = observed.plus(_sums(account), -1)
    chains = [
        _ways(account.standings[index].epoch, index, reason, ranges, arrived[reason])
        for (index, reason), ranges in account.lost.items()
    ]
    for part in _solve(chains, _weight(missing, arrived)):
        _acquit(account, part)


@dataclass(frozen=True, slots=True)
class _Way:
    """Suspects of one epoch that may have arrived: what they weigh, and which they are."""

    weight: int
    parts: tuple[_Part, ...]


def _weight(sums: Sums, reasons: dict[LossReason, int]) -> int:
    """Contents and counts in one number, such that those of two add up to those of both."""
    weight = 0
    for each in (*sums.counts, *sums.nano, *(reasons.get(reason, 0) for reason in REASONS)):
        weight = (weight << WEIGHT_BITS) + each
    return weight


def _ways(
    epoch: Epoch, index: int, reason: LossReason, ranges: list[Range], most: int
) -> list[_Way]:
    """None of them, the first ones of all, or the first ones of one range; ``most`` at most."""
    ways = {0: _Way(0, ())}
    for chain in (ranges, *([each] for each in ranges)):
        sums, taken = Sums(), 0
        parts: tuple[_Part, ...] = ()
        for first, last in chain:
            for seq in range(first, min(last, first + most - taken - 1) + 1):
                taken += 1
                sums.add(epoch.between(seq, seq))
                weight = _weight(sums, {reason: taken})
                ways[weight] = _Way(weight, (*parts, (index, reason, (first, seq))))
            parts = (*parts, (index, reason, (first, last)))
    return [*ways.values()]


def _solve(chains: list[list[_Way]], wanted: int) -> tuple[_Part, ...]:
    """One way of each chain, such that all weigh what is wanted; nothing when there is none.

    The chains are halved, and every sum of the one half is looked up in those of the other.
    """
    halves: list[dict[int, tuple[_Part, ...]]] = [{0: ()}, {0: ()}]
    for chain in sorted(chains, key=len, reverse=True):
        half = min(halves, key=len)
        if len(half) * len(chain) > TRIALS_MAX:
            return ()
        sums = {
            weight + way.weight: (*parts, *way.parts)
            for weight, parts in half.items()
            for way in chain
        }
        half.clear()
        half.update(sums)
    one, other = halves
    for weight, parts in one.items():
        if wanted - weight in other:
            return (*parts, *other[wanted - weight])
    return ()


def _acquit(account: _Account, part: _Part) -> None:
    index, reason, arrived = part
    ranges = account.lost[index, reason]
    account.lost[index, reason] = [left for each in ranges for left in without(each, [arrived])]


def _take(account: _Account) -> int:
    """Note it all as settled; how many suspects had arrived."""
    acquitted = 0
    for index, each in enumerate(account.standings):
        epoch = each.epoch
        epoch.last, epoch.head, epoch.silent = each.last, each.head, each.silent
        epoch.spent = epoch.spent or each.silent > 0
        for reason in REASONS:
            lost = account.lost.get((index, reason), [])
            acquitted += size(epoch.suspects.get(reason, [])) - size(lost)
            if lost:
                epoch.lose(reason, lost)
        epoch.suspects = {}
        if epoch.ends is not None:
            del epoch.events[each.head :]
            epoch.ends = None
    return acquitted
