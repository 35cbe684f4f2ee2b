"""Publisher, channel and sidecar under random schedules: the real pure parts, every guarantee.

Real are the ring, the leftover of a journal file, the stream and the ledger; a toy plays what lies
between them. It loses whole tails when a connection breaks, delivers what an old connection held
after the new one has begun, repeats, delays, loses answers, kills either side at any moment and
brings back older states. The oracle knows each event by its epoch and sequence.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec import structs

from metrics_sidecar.epochs import SILENT_S, Epochs
from metrics_sidecar.ledger import Ledger
from trade_telemetry import delivery
from trade_telemetry.acknowledgements import Acknowledgement
from trade_telemetry.delivery import ContestedEpochError, Stream
from trade_telemetry.journal import Ring, open_ring
from trade_telemetry.journal_recovery import leftovers
from trade_telemetry.messages import Beat, LossReason, Message, RefusalReason, Skip, Trade


def overwriting(ring, on=True):
    ring.overwrite = on
    return ring


SOURCE = "bot"
WINDOW = 24
BATCH_TRADES_MAX = 3
"""In place of 65,536, so that a schedule of a few hundred events fills it."""
QUEUE_MAX = 40
ROUNDS_MAX = 150
"""Rounds of 0.1 s in which everything must have settled once nothing fails any more."""
ROUNDS_MIN = 15
"""A beat is due in that time, and its answer tells of an older state."""
GOES_BACK_MAX_PER_FAULT = 1
"""And one more; each resends what is on the wire, 65,536 at most, or what an older state wants."""
SCHEDULES = 300
SCHEDULES_WITH_FILES = 30
SCHEDULES_OF_A_MUTANT = 50
Event = tuple[int, int]


class BrokenError(AssertionError):
    """A guarantee does not hold."""


def must(condition: object, what: str) -> None:
    if not condition:
        raise BrokenError(what)


class Sidecar:
    """A real ledger on a state that is a dictionary, and an oracle of what it applied."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.applied: frozenset[Event] = frozenset()
        self.kept = [(self.rows, self.applied)]
        self.incarnations = 0
        self.start()

    def start(self) -> None:
        self.incarnations += 1
        self.ledger = Ledger(self.rows, incarnation=self.incarnations)
        self.uncommitted: set[Event] = set()

    def take(self, message: Message, now_s: float) -> None:
        before = self.ledger._tallies.applied()
        self.ledger.take(message, now_s)
        applied = self.ledger._tallies.applied() - before
        for _, trade, _ in self.ledger._tallies.recent()[-applied:] if applied else ():
            self.note_applied(trade)

    def note_applied(self, trade: Trade) -> None:
        event = (trade.epoch, trade.seq)
        must(event not in self.applied | self.uncommitted, f"{event} is applied twice")
        self.uncommitted.add(event)

    def commit(self) -> list[Acknowledgement]:
        self.commit_rows()
        return [acknowledgement for _, acknowledgement in self.ledger.acknowledgements()]

    def commit_rows(self) -> None:
        rows = {**self.rows}
        for key, value in self.ledger.changes().items():
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        self.rows = rows
        self.ledger.committed()
        self.applied |= self.uncommitted
        self.uncommitted = set()
        self.kept.append((self.rows, self.applied))

    def restore(self, index: int) -> None:
        self.rows, self.applied = self.kept[index]


class Wire:
    """Connections in order each, and in no order among them; the newest is the one in use."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.connections: list[deque[Message]] = [deque()]
        self.answers: deque[Acknowledgement] = deque()

    def push(self, message: Message) -> bool:
        queue = self.connections[-1]
        if len(queue) >= QUEUE_MAX:
            return False
        queue.append(message)
        return True

    def cut(self) -> None:
        """Lose a tail of any length; ZeroMQ's own queue, the last of it, may come once more."""
        queue = self.connections[-1]
        again = list(queue)[len(queue) - self.chance.randint(0, min(3, len(queue))) :]
        for _ in range(self.chance.randint(0, len(queue))):
            queue.pop()
        self.connections = [each for each in self.connections if each]
        self.connections.append(deque(again if self.chance.random() < 0.5 else ()))

    def arriving(self, count: int) -> Iterator[Message]:
        for _ in range(count):
            ready = [queue for queue in self.connections if queue]
            if not ready:
                return
            yield self.chance.choice(ready).popleft()


class World:
    """One schedule. ``directory`` is for journal files; without one a ring outlives its publisher
    in memory, which is the same to the stream, or dies with it.
    """

    def __init__(
        self, seed: int, directory: Path | None, sidecar: Callable[[], Sidecar] = Sidecar
    ) -> None:
        self.chance = random.Random(seed)
        self.directory = directory
        self.capacity = self.chance.choice([4, 16, 64, 200])
        self.overwrite = self.chance.random() < 0.4
        self.now_s = 1_000.0
        self.faults = 0
        self.restored = False
        self.silenced = 0
        self.damaged = 0
        self.deleted = 0
        self.goes_back = 0
        self.sidecar = sidecar()
        self.wire = Wire(self.chance)
        self.streams: list[Stream] = []
        self.gone: list[Ring] = []
        self.accepted: set[Event] = set()
        self.open()

    def open(self) -> None:
        self.ring = open_ring(self.directory, SOURCE, self.capacity)
        self.refused = dict.fromkeys(RefusalReason, 0)
        self.streams.append(Stream(SOURCE, self.ring, self.refused))

    # What happens, one method each.

    def publish(self) -> None:
        for _ in range(self.chance.randint(1, 12)):
            seq = overwriting(self.ring, self.overwrite).append(Trade("buy", 1.0, 1_000.0))
            if seq:
                self.accepted.add((self.ring.epoch, seq))
            else:
                self.refused[RefusalReason.RING_FULL] += 1

    def push(self) -> None:
        for stream in self.streams:
            for message in stream.outgoing(self.chance.randint(1, 30), self.now_s):
                if isinstance(message, Skip):
                    stretch = range(message.first, message.last + 1)
                    must(not any(map(stream.ring.read, stretch)), "what can be read is skipped")
                if not self.wire.push(message):
                    break

    def arrive(self) -> None:
        for message in self.wire.arriving(self.chance.randint(1, 40)):
            self.sidecar.take(message, self.now_s)

    def commit(self) -> None:
        self.wire.answers.extend(self.sidecar.commit())
        self.check()

    def hear(self) -> None:
        for _ in range(self.chance.randint(1, 4)):
            if self.wire.answers:
                self.hear_one(self.wire.answers.popleft())

    def hear_one(self, acknowledgement: Acknowledgement) -> None:
        for stream in self.streams:
            resent = stream.resent
            try:
                stream.hear(acknowledgement, self.now_s)
            except ContestedEpochError:
                raise BrokenError("a publisher takes its own epoch for another's") from None
            self.goes_back += stream.resent > resent
        for stream in [each for each in self.streams if each.leftover and each.settled]:
            self.streams.remove(stream)
            stream.ring.close(delete=True)
            self.deleted += stream.head
            self.wire.push(stream.ending())

    def tick(self) -> None:
        self.now_s += self.chance.choice([0.01, 0.1, 0.5, 2.0])
        self.sidecar.ledger.listened(0.01)

    def lose_answers(self) -> None:
        self.faults += 1
        for _ in range(self.chance.randint(1, 3)):
            if self.wire.answers:
                self.wire.answers.popleft()

    def break_connection(self) -> None:
        self.faults += 1
        self.wire.cut()
        for stream in self.streams:
            stream.connection_made(self.now_s)

    def kill_sidecar(self) -> None:
        self.faults += 1
        self.wire.connections = [deque()]
        if self.chance.random() < 0.5:
            self.wire.answers.clear()  # else the last words of the dead one come late
        self.sidecar.start()
        for stream in self.streams:
            stream.connection_made(self.now_s)

    def restore_older_state(self) -> None:
        if self.chance.random() < 0.3:
            self.restored = True
            self.sidecar.restore(self.chance.randrange(len(self.sidecar.kept)))
        self.kill_sidecar()

    def kill_publisher(self) -> None:
        self.faults += 1
        self.wire.cut()
        self.wire.connections.append(deque())
        if self.directory is not None:
            self.reopen_files()
        elif self.chance.random() < 0.7:
            rings = [stream.ring for stream in self.streams]
            self.streams = [Stream(SOURCE, ring, {}, leftover=True) for ring in rings]
        else:
            self.gone += [stream.ring for stream in self.streams]
            self.streams = []
        self.open()
        for stream in self.streams:
            stream.connection_made(self.now_s)

    def reopen_files(self) -> None:
        for stream in self.streams:
            stream.ring.close(delete=False)
        found = leftovers(self.directory, SOURCE, lambda path, problem: None)
        self.streams = [Stream(SOURCE, each, {}, leftover=True) for each in found]

    def listen_past_limit(self) -> None:
        """A day in which nobody is heard, though a publisher and its connection may live on."""
        self.faults += 1
        self.silenced += 1
        self.sidecar.ledger.listened(SILENT_S)

    def damage_slot(self) -> None:
        """Whether it was sent, or settled, before that: only the sidecar knows."""
        if self.ring.head == 0:
            return
        seq = self.chance.randint(self.ring.oldest, self.ring.head)
        offset = 4096 + seq % self.capacity * 64
        self.ring.memory[offset : offset + 64] = bytes(64)
        self.damaged += 1

    def step(self) -> None:
        usual = [self.publish, self.push, self.arrive, self.commit, self.hear, self.tick]
        faults = [
            self.lose_answers,
            self.break_connection,
            self.kill_sidecar,
            self.restore_older_state,
            self.kill_publisher,
            self.listen_past_limit,
            self.damage_slot,
        ]
        self.chance.choice(faults if self.chance.random() < 0.06 else usual)()

    # What must hold.

    def check(self) -> None:
        totals = self.sidecar.ledger.snapshot().publishers.get(SOURCE)
        if totals is None:
            return
        must(totals.residue == 0, f"the residue is {totals.residue}")
        lost = sum(totals.lost.values())
        must(totals.published == totals.applied + lost + totals.waiting, "the identity is broken")
        must(totals.applied == len(self.sidecar.applied), "the totals are not the oracle's")

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def settle(self) -> int:
        """No more faults: the rounds until nothing waits."""
        for rounds in range(ROUNDS_MAX):
            if rounds > ROUNDS_MIN and all(stream.settled for stream in self.streams):
                return rounds
            self.now_s += 0.1
            for stream in self.streams:
                for message in stream.outgoing(500, self.now_s):
                    self.wire.connections[-1].append(message)
            for message in self.wire.arriving(100_000):
                self.sidecar.take(message, self.now_s)
            self.commit()
            while self.wire.answers:
                self.hear_one(self.wire.answers.popleft())
        raise BrokenError(f"nothing settles in {ROUNDS_MAX} rounds")

    def check_settled(self) -> None:
        """Each event that outlived its publisher is applied or lost, once, and for a reason."""
        totals = self.sidecar.ledger.snapshot().publishers.get(SOURCE)
        if totals is None:
            must(not self.accepted, "the sidecar has not heard of anything")
            return
        causes = {
            LossReason.OVERWRITTEN: self.overwrite or self.restored,  # a leftover cannot tell which
            LossReason.STATE: self.restored,
            LossReason.JOURNAL: self.damaged,
            LossReason.SILENT: self.silenced,
        }
        for reason in (reason for reason, count in totals.lost.items() if count):
            must(causes.get(reason), f"events are lost as {reason} without a cause")
        must(totals.waiting <= self.out_of_reach(), "something waits that a publisher still holds")
        must(self.sidecar.applied <= self.accepted, "an event is made up")
        if not self.restored and not self.gone:
            must(totals.published == len(self.accepted), "not all that was accepted is published")
            must(
                len(self.sidecar.applied) == len(self.accepted) - sum(totals.lost.values()),
                "what is not applied is not what is lost",
            )
        must(
            self.goes_back <= GOES_BACK_MAX_PER_FAULT * self.faults + 1,
            f"{self.goes_back} times back for {self.faults} faults",
        )

    @property
    def lost_alive(self) -> bool:
        """Whether something was given up as silent that a publisher still had, and says again."""
        totals = self.sidecar.ledger.snapshot().publishers.get(SOURCE)
        return totals is not None and totals.lost[LossReason.SILENT] > 0 and not self.gone

    def out_of_reach(self) -> int:
        """What died with a publisher's memory, or is wanted again after its file was deleted."""
        waiting = sum(ring.head - ring.tail for ring in self.gone)
        if self.restored:
            waiting += self.deleted + sum(ring.tail for ring in self.gone)
        return waiting

    def close(self) -> None:
        for stream in self.streams:
            stream.ring.close(delete=True)


def play(
    seed: int, directory: Path | None = None, sidecar: Callable[[], Sidecar] = Sidecar
) -> World:
    world = World(seed, directory, sidecar)
    world.run(250)
    world.settle()
    world.check_settled()
    world.close()
    return world


@pytest.fixture(autouse=True)
def _small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "WINDOW_EVENTS", WINDOW)
    monkeypatch.setattr(delivery, "BATCH_TRADES_MAX", BATCH_TRADES_MAX)


def test_under_every_schedule_each_event_counts_once_and_all_settles():
    worlds = [play(seed) for seed in range(SCHEDULES)]
    assert sum(len(world.sidecar.applied) for world in worlds) > 80 * SCHEDULES
    assert sum(world.faults for world in worlds) > 5 * SCHEDULES
    assert {True, False} == {world.restored for world in worlds}
    assert {True, False} == {world.lost_alive for world in worlds}


def test_the_same_holds_with_journal_files(tmp_path):
    for seed in range(SCHEDULES_WITH_FILES):
        play(seed, tmp_path / str(seed))


def under_load(seconds: float, arrive: Callable[[World, int], None]) -> World:
    """A sidecar that is slower than its publisher, and what becomes of what is on the wire."""
    world = World(1, None)
    world.streams.clear()
    world.capacity = 10_000
    world.open()
    for turn in range(int(seconds * 10)):
        world.publish()
        world.push()
        arrive(world, turn)
        world.hear()
        world.now_s += 0.1
    world.settle()
    world.check_settled()
    return world


def test_a_pause_of_the_sidecar_resends_nothing():
    world = under_load(8, lambda world, turn: None)
    snapshot = world.sidecar.ledger.snapshot()
    assert (world.goes_back, snapshot.duplicates, snapshot.gaps) == (0, 0, 0)


def lose_one_message(world: World, turn: int) -> None:
    """Ten seconds behind what is pushed, the sidecar takes three messages a turn."""
    if turn == 60:
        queue = world.wire.connections[-1]
        queue.remove(next(each for each in queue if not isinstance(each, Beat)))
    if turn >= 50:
        for message in world.wire.arriving(3):
            world.sidecar.take(message, world.now_s)
        world.commit()


def check_one_loss_under_load() -> None:
    world = under_load(30, lose_one_message)
    snapshot = world.sidecar.ledger.snapshot()
    must(world.goes_back == 1, f"{world.goes_back} times back for one loss")
    must(snapshot.gaps + snapshot.duplicates <= 2 * WINDOW, "a storm of messages in vain")


def test_one_loss_under_load_is_resent_once():
    check_one_loss_under_load()


# The model is no proof before it fails where it should.


class HastySidecar(Sidecar):
    """Answers a commit ahead of what its state keeps."""

    def __init__(self) -> None:
        self.latest: tuple[dict[str, bytes], frozenset[Event]] = ({}, frozenset())
        super().__init__()

    def commit(self) -> list[Acknowledgement]:
        kept, applied = self.rows, self.applied
        self.rows, self.applied = self.latest
        self.commit_rows()
        self.latest = (self.rows, self.applied)
        self.rows, self.applied = kept, applied
        return [each for _, each in self.ledger.acknowledgements()]


def play_until_broken(sidecar: Callable[[], Sidecar] = Sidecar) -> None:
    check_one_loss_under_load()
    for seed in range(SCHEDULES_OF_A_MUTANT):
        play(seed, sidecar=sidecar)


def test_the_model_fails_when_the_answer_goes_out_before_the_commit():
    with pytest.raises(BrokenError):
        play_until_broken(HastySidecar)


def _opens_a_spent_epoch_as_new(epochs, key, now_s, open_epoch=Epochs.open):
    if key in epochs.spent:
        epochs.spent[key] = structs.replace(epochs.spent[key], last=0)
    return open_epoch(epochs, key, now_s)


def test_the_model_fails_when_the_sidecar_forgets_what_it_settled_in_silence(monkeypatch):
    monkeypatch.setattr(Epochs, "open", _opens_a_spent_epoch_as_new)
    with pytest.raises(BrokenError):
        play_until_broken()


def _trims_what_is_only_heard_of(stream, acknowledgement, now_s, hear=Stream.hear):
    last = max(acknowledgement.last, min(acknowledgement.head, stream.sent_max))
    return hear(stream, structs.replace(acknowledgement, last=last), now_s)


def _takes_any_beat_as_a_marker(stream, acknowledgement, now_s, *, older, weigh=Stream._weigh):
    stream._marker = 0
    weigh(stream, acknowledgement, now_s, older=older)


def _expects_what_was_sent_after_the_beat(
    stream, acknowledgement, now_s, *, older, weigh=Stream._weigh
):
    stream._sent_before = dict.fromkeys(stream._sent_before, stream.sent)
    weigh(stream, acknowledgement, now_s, older=older)


def _says_no_skip(stream, count_max, now_s, outgoing=Stream.outgoing):
    return (each for each in outgoing(stream, count_max, now_s) if not isinstance(each, Skip))


def _skips_without_looking(stream, seq, skip=Stream._skip):
    return structs.replace(skip(stream, seq), last=stream.head)


def _never_goes_back(stream, last, now_s):
    pass


def _forgets_what_it_announced(stream, now_s, note=Stream._note_beat):
    note(stream, now_s)
    stream._head_said = 0


@pytest.mark.parametrize(
    ("method", "mutant"),
    [
        ("hear", _trims_what_is_only_heard_of),
        ("_weigh", _takes_any_beat_as_a_marker),
        ("_weigh", _expects_what_was_sent_after_the_beat),
        ("outgoing", _says_no_skip),
        ("_skip", _skips_without_looking),
        ("_go_back", _never_goes_back),
        ("_note_beat", _forgets_what_it_announced),
    ],
)
def test_the_model_fails_for_a_stream_that(method, mutant, monkeypatch):
    monkeypatch.setattr(Stream, method, mutant)
    with pytest.raises(BrokenError):
        play_until_broken()
