"""Coverage-guided fuzzing of whatever reads bytes from outside: ``python tools/fuzz.py TARGET``.

Targets: ``decode`` (frames), ``ledger`` (a stream of frames, then a restart from the rows),
``journal`` and ``state`` (a file that was changed), ``acknowledgement`` (what a publisher hears).
Wants atheris, which is not among the development packages: ``pip install atheris``. Stops by itself
after ``--seconds``; what breaks a rule is written to the working directory as ``crash-*``.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("fuzz: atheris is not here: pip install atheris")

with atheris.instrument_imports(include=["trade_telemetry", "metrics_sidecar"]):
    from metrics_sidecar.ledger import Ledger
    from metrics_sidecar.store import open_store
    from trade_telemetry.acknowledgements import decode_acknowledgement
    from trade_telemetry.errors import RejectedMessageError
    from trade_telemetry.journal import open_ring
    from trade_telemetry.journal_recovery import leftovers
    from trade_telemetry.messages import Beat, Trade, decode, encode

NOW_S = 1_790_000_000.0
CAPACITY = 8
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a disk's syncs are slow
FRAMES = (
    b'{"type":"trade","side":"buy","qty":1.5,"ts":1789999999,"src":"a","epoch":1,"seq":1}',
    b'{"type":"trade","side":"sell","qty":2,"ts":1,"symbol":"BTC","price":1}',
    encode(Beat("a", 1, 1.0, 1, head=3, sent=1, oldest=1, capacity=8, refused={"ring_full": 1})),
    b'{"type":"skip","src":"a","epoch":1,"first":2,"last":3,"reason":"journal"}',
)


def decode_frame(data: bytes) -> None:
    """A frame is a message or is rejected by a reason; nothing else comes out."""
    try:
        decode(data, NOW_S)
    except RejectedMessageError:
        return


def feed_ledger(data: bytes) -> None:
    """Any stream of frames keeps the identities, and a restart keeps every figure."""
    ledger = Ledger()
    for frame in data.split(b"\n"):
        try:
            message = decode(frame, NOW_S)
        except RejectedMessageError as error:
            if error.stamps is None:
                ledger.reject(error.reason)
            else:
                ledger.reject_stamped(error.reason, error.stamps, NOW_S)
            continue
        if isinstance(message, Trade):
            ledger.apply(message, NOW_S)
        elif isinstance(message, Beat):
            ledger.beat(message, NOW_S)
        else:
            ledger.skip(message, NOW_S)
    _commit(ledger)
    _check(ledger)
    again = Ledger(ledger.rows())
    _commit(again)
    assert again.snapshot().publishers == ledger.snapshot().publishers
    assert again.rows() == ledger.rows()


def _commit(ledger: Ledger) -> None:
    ledger.changes()
    ledger.committed()
    ledger.acknowledgements()


def _check(ledger: Ledger) -> None:
    shown = ledger.snapshot()
    rejected = sum(shown.rejected.values())
    parts = shown.duplicates + shown.gaps + shown.beats + shown.skips + shown.turned_away
    assert shown.received == shown.applied + rejected + parts, shown
    for publisher in shown.publishers.values():
        lost = sum(publisher.lost.values())
        assert publisher.residue == 0, publisher
        assert publisher.published == publisher.applied + lost + publisher.waiting, publisher


def read_journal(data: bytes) -> None:
    """Any change of a journal file ends in trades that were written, and numbers for the rest."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as name:
        folder = Path(name)
        ring = open_ring(folder, "bot", CAPACITY)
        written = {}
        for number in range(1, 6):
            trade = Trade("buy", float(number), NOW_S, "BTC", 1.0)
            written[ring.append(trade)] = trade.qty
        path = ring.path
        assert path is not None
        ring.abandon()
        _disturb(path, data)
        for leftover in leftovers(folder, "bot", lambda *_: None):
            seq = leftover.tail
            while seq < leftover.head:
                seq += 1
                found = leftover.read(seq)
                if found is None:
                    seq = leftover.lost_run(seq, leftover.head)
                else:
                    assert written[seq] == found.qty
            leftover.close(delete=False)


def read_state(data: bytes) -> None:
    """Any change of a state file ends in the rows that were committed, or in none."""
    rows = {f"row/{number}": b'{"n":%d}' % number for number in range(8)}
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as name:
        folder = Path(name)
        store = open_store(folder)
        store.load()
        store.commit(rows)
        store.close()
        _disturb(folder / "ledger.db", data)
        store = open_store(folder)
        assert store.load() in ({}, rows)
        store.commit({"row/0": b"{}"})
        store.close()


def _disturb(path: Path, data: bytes) -> None:
    """Write pieces of the data where the data says, and sometimes cut the end off."""
    provider = atheris.FuzzedDataProvider(data)
    content = bytearray(path.read_bytes())
    while provider.remaining_bytes() > 0 and content:
        place = provider.ConsumeIntInRange(0, len(content) - 1)
        piece = provider.ConsumeBytes(provider.ConsumeIntInRange(0, 16))
        content[place : place + len(piece)] = piece
        if provider.ConsumeIntInRange(0, 31) == 0:
            del content[place:]
    path.write_bytes(content)


def hear(data: bytes) -> None:
    """What is no acknowledgement for us is None."""
    decode_acknowledgement("bot", data)
    decode_acknowledgement("bot", b"bot\0" + data)


TARGETS: dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]] = {
    "decode": (decode_frame, FRAMES),
    "ledger": (feed_ledger, (b"\n".join(FRAMES),)),
    "journal": (read_journal, (b"\0" * 32,)),
    "state": (read_state, (b"\0" * 32,)),
    "acknowledgement": (hear, (b'{"incarnation":1,"epoch":1,"last":1,"head":1}',)),
}


def main() -> None:
    """Fuzz one target until the time is over or a rule breaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    function, samples = TARGETS[options.target]
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="corpus-") as corpus:
        for number, sample in enumerate(samples):
            (Path(corpus) / str(number)).write_bytes(sample)
        limits = [f"-max_total_time={options.seconds}", f"-seed={options.seed}", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", corpus], function)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
