"""Coverage-guided fuzzing of whatever reads bytes from outside: ``python tools/fuzz.py TARGET``.

Targets: ``decode`` (frames), ``receiver`` (messages of any frames, over a real socket), ``ledger``
(a stream of frames with commits, restarts and silences in it), ``journal`` and ``state`` (a file
that was changed), ``acknowledgement`` (what a publisher hears). Wants atheris, which is not among
the development packages: ``pip install atheris==3.0.0`` (for Python 3.11 to 3.13). Stops by itself
after ``--seconds``; what breaks a rule is written to the working directory as ``crash-*``.
"""

from __future__ import annotations

import argparse
import random
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO

import zmq

try:
    import atheris
except ImportError:
    sys.exit("fuzz: atheris is not here: pip install atheris==3.0.0")

with atheris.instrument_imports(include=["trade_telemetry", "metrics_sidecar"]):
    from metrics_sidecar.inbox import Inbox
    from metrics_sidecar.ledger import Ledger
    from metrics_sidecar.snapshot import Snapshot
    from metrics_sidecar.store import open_store
    from metrics_sidecar.store_errors import StateDamagedError
    from trade_telemetry.acknowledgements import decode_acknowledgement
    from trade_telemetry.batches import frames_of_each
    from trade_telemetry.errors import RejectedMessageError
    from trade_telemetry.journal import open_ring
    from trade_telemetry.journal_recovery import leftovers
    from trade_telemetry.messages import STAMP_MAX, Beat, RejectReason, Trade, decode, encode

NOW_S = 1_790_000_000.0
CAPACITY = 8
PATIENCE_S = 10.0
COMMIT, RESTART, SILENCE = b".", b"!", b"~"  # lines of a stream that are no frames
SILENCE_S = 100_000.0  # more than a day: whoever may be settled is
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a disk's syncs are slow
FRAMES = (
    b'{"type":"trade","side":"buy","qty":1.5,"ts":1789999999,"src":"a","epoch":1,"seq":1}',
    b'{"type":"trade","side":"sell","qty":2,"ts":1,"symbol":"BTC","price":1}',
    encode(Beat("a", 1, 1.0, 1, head=3, sent=1, oldest=1, capacity=8, refused={"ring_full": 1})),
    b'{"type":"skip","src":"a","epoch":1,"first":2,"last":3,"reason":"journal"}',
)
LATER_FRAMES = (
    b'{"type":"skip","src":"a","epoch":1,"first":4,"last":120,"reason":"overwritten"}',
    b'{"type":"trade","side":"buy","qty":1,"ts":2,"src":"a","epoch":1,"seq":121}',
    b'{"type":"trade","side":"buy","qty":-1,"ts":2,"src":"a","epoch":1,"seq":122}',
    encode(
        Beat("a", 1, 1.0, 9, head=122, sent=122, oldest=114, capacity=8, refused={}, ending=True)
    ),
    b'{"type":"trade","side":"sell","qty":1,"ts":2,"src":"a","epoch":2,"seq":1}',
    b'{"type":"trade","side":"sell","qty":1,"ts":2,"src":"b","epoch":1,"seq":2}',
    b'{"type":"batch","src":"a","epoch":2,"seq":1,"trades":[["buy",1,2],["sell",2,2,"X",3]]}',
    b'{"type":"batch","src":"a","epoch":2,"seq":3,"trades":[["buy",1,2],["sell",-1,2],[]]}',
)
STREAM = (*FRAMES[:2], COMMIT, *FRAMES[2:], RESTART, FRAMES[2], COMMIT, SILENCE, COMMIT, *FRAMES)
LATER = (*FRAMES, COMMIT, *LATER_FRAMES, COMMIT, SILENCE, COMMIT, RESTART, *LATER_FRAMES)
LINES = b"\n".join(FRAMES + LATER_FRAMES)
WORDS = sorted(set(re.findall(r'"(\w+)"', LINES.decode())))


def decode_frame(data: bytes) -> None:
    """A frame is a message or is rejected by a reason; nothing else comes out."""
    try:
        decode(data, NOW_S)
    except RejectedMessageError:
        return


class Kept:
    """A ledger, and the rows that its commits wrote, as a store has them."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._rows: dict[str, bytes] = {}

    def commit(self) -> None:
        """What was written is all there is to know, and every figure is accounted for."""
        before = self.ledger.snapshot()
        for key, value in self.ledger.changes().items():
            if value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = value
        self.ledger.committed()
        shown = self.ledger.snapshot()
        assert self._rows == self.ledger.rows()
        assert before.received <= shown.received
        assert before.applied <= shown.applied
        _check(shown)
        for _source, said in self.ledger.acknowledgements():
            assert said.last <= said.head, said

    def restart(self) -> None:
        """What was not committed is gone; what was is shown as before."""
        before = self.ledger.snapshot()
        self.ledger = Ledger(self._rows)
        after = self.ledger.snapshot()
        assert _lasting(after) == _lasting(before)
        assert after.symbols == before.symbols
        _check(after)


def _lasting(shown: Snapshot) -> dict[str, dict[str, object]]:
    """What is shown of each publisher, but for how many run now: that is heard anew."""
    return {name: asdict(each) | {"instances": 0} for name, each in shown.publishers.items()}


def feed_ledger(data: bytes) -> None:
    """Any stream of frames keeps the identities at each commit, and a restart every figure."""
    kept = Kept()
    for line in data.split(b"\n"):
        if line == COMMIT:
            kept.commit()
        elif line == RESTART:
            kept.restart()
        elif line == SILENCE:
            kept.ledger.listened(SILENCE_S)
        else:
            _feed(kept.ledger, line)
    kept.commit()
    kept.restart()


def _feed(ledger: Ledger, frame: bytes) -> None:
    """As the inbox does."""
    try:
        message = decode(frame, NOW_S)
    except RejectedMessageError as error:
        each_frame = [*frames_of_each(frame)] if error.reason is RejectReason.BATCH else []
        for each in each_frame:
            _feed(ledger, each)
        if each_frame:
            return
        if error.stamps is None:
            ledger.reject(error.reason)
        else:
            ledger.reject_stamped(error.reason, error.stamps, NOW_S)
        return
    ledger.take(message, NOW_S)


def _check(shown: Snapshot) -> None:
    rejected = sum(shown.rejected.values())
    parts = shown.duplicates + shown.gaps + shown.beats + shown.skips + shown.turned_away
    assert shown.received == shown.applied + rejected + parts + shown.benchmarks, shown
    assert shown.residue == 0, shown
    for publisher in shown.publishers.values():
        lost = sum(publisher.lost.values())
        assert publisher.residue == 0, publisher
        assert publisher.published == publisher.applied + lost + publisher.waiting, publisher


class Line:
    """A real inbox, and a real peer that is connected to it; both in this thread."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self._inbox = Inbox()
        self._inbox.bind(address)
        self._peer = zmq.Context().socket(zmq.PUSH)
        self._peer.connect(address)

    def pass_on(self, messages: list[list[bytes]], count: int, ledger: Ledger) -> None:
        """Send them, and receive until so many have come; then there must be no more."""
        for frames in messages:
            self._peer.send_multipart(frames)
        deadline_s = time.monotonic() + PATIENCE_S
        while ledger.uncommitted < count:
            assert time.monotonic() < deadline_s, f"{ledger.uncommitted} of {count} came"
            self._inbox.handle(ledger)
            self._inbox.poll(1)
            self._inbox.receive(ledger)
        assert self._inbox.take(ledger)


line = cache(Line)  # one for the whole run: what an input leaves behind, the next one meets


def _count(frames: list[bytes]) -> int:
    """As how many a message counts: a batch as all of its trades."""
    return max(1, len([*frames_of_each(frames[0])])) if len(frames) == 1 else 1


def receive(data: bytes) -> None:
    """Any messages (a line each, a tab between frames) are all received, each as one kind."""
    messages = [message.split(b"\t") for message in data.split(b"\n")]
    kept = Kept()
    count = sum(map(_count, messages))
    line().pass_on(messages, count, kept.ledger)
    kept.commit()
    shown = kept.ledger.snapshot()
    assert shown.received == count
    several = sum(len(frames) > 1 for frames in messages)
    assert shown.rejected[RejectReason.MULTIPART] == several
    assert shown.rejected[RejectReason.EMPTY] == messages.count([b""])


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
    """Any change of a state file ends in the rows that were committed, or none, and goes on."""
    rows = {f"row/{number}": b'{"n":%d}' % number for number in range(8)}
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY) as name:
        folder = Path(name)
        store = open_store(folder)
        store.load()
        store.commit(rows)
        store.close()
        _disturb(folder / "ledger.db", data)
        store = open_store(folder)
        found = store.load()
        assert found in ({}, rows)
        expected = found | {"row/0": b"{}"}
        try:
            store.commit({"row/0": b"{}"})
        except StateDamagedError:  # it could be read and cannot be written: as the committer does
            store.rewrite(expected)
        store.close()
        store = open_store(folder)
        assert store.load() == expected
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
    "receiver": (receive, (LINES, b"\t".join(FRAMES), b"\n\t\n" + FRAMES[0])),
    "ledger": (feed_ledger, (LINES, b"\n".join(STREAM), b"\n".join(LATER))),
    "journal": (read_journal, (b"\0" * 32,)),
    "state": (read_state, (b"\0" * 32,)),
    "acknowledgement": (hear, (b'{"incarnation":1,"epoch":1,"last":1,"head":1}',)),
}


def _dictionary() -> IO[str]:
    """What libFuzzer may put in at once: the contract's words, and numbers at its limits."""
    tokens = [rf'"\"{word}\":"' for word in WORDS] + [rf'"\"{word}\""' for word in WORDS]
    tokens += [f'"{number}"' for number in (0, 1, 100, 2**42, STAMP_MAX, STAMP_MAX + 1)]
    tokens += [rf'"\x0a{line.decode()}\x0a"' for line in (COMMIT, RESTART, SILENCE)]
    file = tempfile.NamedTemporaryFile("w", prefix="words-")  # noqa: SIM115 - the caller closes it
    file.write("\n".join(tokens))
    file.flush()
    return file


def main() -> None:
    """Fuzz one target until the time is over or a rule breaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    function, samples = TARGETS[options.target]
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="corpus-") as corpus, _dictionary() as words:
        for number, sample in enumerate(samples):
            (Path(corpus) / str(number)).write_bytes(sample)
        limits = [f"-max_total_time={options.seconds}", f"-seed={options.seed}", "-max_len=4096"]
        limits.append(f"-dict={words.name}")
        atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", corpus], function)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
