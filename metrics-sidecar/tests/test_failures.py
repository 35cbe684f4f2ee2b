"""What happens to a sidecar and its state, with real processes: every event stays accounted for."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import signal
import socket
import sqlite3
import stat
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, suppress
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from trade_telemetry import Publisher, Trade
from trade_telemetry.messages import Beat, encode

SCRIPT = Path(sys.executable).with_name("metrics-sidecar")
SMALL_FILES = """
import resource, sys
from metrics_sidecar.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
sys.exit(main())
"""
BOUND_BY_PERMISSIONS = f"""
import ctypes, os
os.getuid() or ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # after exec root obeys them, too
os.execv({str(SCRIPT)!r}, [{str(SCRIPT)!r}])
"""
CLOCK_OF_ITS_OWN = """
import signal, sys, time
from metrics_sidecar.main import main
real, offset_s = time.time, [0]
time.time = lambda: real() + offset_s[0]
signal.signal(signal.SIGUSR1, lambda *_: offset_s.__setitem__(0, -3_600))
sys.exit(main())
"""


def wrapper(text):
    return {"command": (sys.executable, "-c", text)}


def files_may_have(sidecar, bytes_max):
    """What a full disk is to one process; works for any user, while it runs."""
    hard = resource.prlimit(sidecar.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(sidecar.process.pid, resource.RLIMIT_FSIZE, (bytes_max, hard))


def health(sidecar):
    """The status and the reason in /health, once it answers."""

    def answer():
        with suppress(httpx.TransportError):
            return sidecar.get("/health").json()
        return None

    sidecar.until(answer)
    found = answer()
    return found["status"], found["reason"] or ""


def known(sidecar, name="bot"):
    """What /api/summary says of a publisher, once its figures are whole: none waits."""

    def found():
        everybody = sidecar.get("/api/summary").json()["publishers"]
        return next((each for each in everybody if each["publisher"] == name), None)

    sidecar.until(lambda: (each := found()) and each["published"] and not each["waiting"])
    return found()


def applied(sidecar):
    return sidecar.value("trades_total", side="buy")


def publish(publisher, count):
    for _ in range(count):
        while not publisher.publish("buy", 1):
            threading.Event().wait(0.01)


def is_listening(address):
    host, port = address.removeprefix("tcp://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_a_full_disk_blocks_and_all_that_waited_is_counted_once_there_is_space(sidecar):
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 1_000)
        sidecar.until(lambda: applied(sidecar) == 1_000)
        files_may_have(sidecar, (sidecar.state_dir / "ledger.db-wal").stat().st_size)
        publish(publisher, 1_000)
        sidecar.until(lambda: health(sidecar)[0] == "blocked")
        reason = health(sidecar)[1]
        assert sidecar.get("/health/ready").status_code == 503
        assert sidecar.get("/health/live").status_code == 200
        assert str(sidecar.state_dir.relative_to(sidecar.folder)) in reason
        assert "SIDECAR_STATE_DIR" in reason or "free space" in reason
        publish(publisher, 5_000)
        assert applied(sidecar) == 1_000
        assert publisher.stats().acknowledged == 1_000
        files_may_have(sidecar, resource.RLIM_INFINITY)
        sidecar.until(lambda: applied(sidecar) == 7_000)
        assert publisher.close(10) == 0
    assert health(sidecar)[0] == "ok"
    assert sidecar.value("telemetry_commit_failures_total") >= 1
    assert sidecar.value("telemetry_publisher_residue", publisher="bot") == 0
    assert len(sidecar.events("the state cannot be used")) == 1
    assert sidecar.events("the state can be used again")


def test_it_ends_cleanly_while_it_is_blocked_and_what_it_could_not_commit_comes_again(sidecar):
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 1_000)
        sidecar.until(lambda: applied(sidecar) == 1_000)
        files_may_have(sidecar, (sidecar.state_dir / "ledger.db-wal").stat().st_size)
        publish(publisher, 1_000)
        sidecar.until(lambda: health(sidecar)[0] == "blocked")
        assert sidecar.stop() == 0
        assert publisher.stats().acknowledged == 1_000
        sidecar.start()
        sidecar.until(lambda: applied(sidecar) == 2_000)
    assert known(sidecar)["residue"] == 0


def test_on_a_full_disk_it_starts_but_binds_nothing_and_shows_no_0_until_there_is_space(
    start_sidecar,
):
    sidecar = start_sidecar(wait=False, **wrapper(SMALL_FILES))
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 100)
        sidecar.until(lambda: health(sidecar)[0] == "blocked")
        assert sidecar.get("/metrics").status_code == 503
        path = str(sidecar.state_dir.relative_to(sidecar.folder))
        for said in (
            sidecar.get("/metrics").text,
            sidecar.get("/api/summary").json()["detail"],
            sidecar.get("/health/ready").json()["reason"],
        ):
            assert path in said
            assert "check the disk, its quota and its limits, or set SIDECAR_STATE_DIR" in said
        assert sidecar.get("/api/summary").status_code == 503
        assert not is_listening(sidecar.zmq_address)
        assert not is_listening(sidecar.ack_address)
        files_may_have(sidecar, resource.RLIM_INFINITY)
        sidecar.until(lambda: sidecar.get("/metrics").status_code == 200)
        sidecar.until(lambda: applied(sidecar) == 100)
    assert sidecar.value("telemetry_commit_failures_total") >= 1
    assert sidecar.value("telemetry_starts_total") == 1


def test_a_state_that_may_not_be_written_is_told_and_used_as_soon_as_it_may(start_sidecar):
    with tempfile.TemporaryDirectory() as folder_name, ExitStack() as undo:
        folder = Path(folder_name)
        sidecar = start_sidecar(folder=folder, wait=False)
        sidecar.until(lambda: health(sidecar)[0] == "ok")
        with Publisher(sidecar.zmq_address, source="bot") as publisher:
            publish(publisher, 10)
            assert publisher.close(10) == 0
        sidecar.stop()
        paths = [folder, folder / ".state", sidecar.state_dir, *sidecar.state_dir.iterdir()]
        for path in paths:
            path.chmod(0o500 if path.is_dir() else 0o400)
            undo.callback(path.chmod, stat.S_IRWXU)
        sidecar._command = [*wrapper(BOUND_BY_PERMISSIONS)["command"]]
        sidecar.start(wait=False)
        sidecar.until(lambda: health(sidecar)[0] == "blocked")
        assert "make it writable for this user" in health(sidecar)[1]
        assert sidecar.get("/metrics").status_code == 503
        for path in paths:
            path.chmod(stat.S_IRWXU)
        sidecar.until(lambda: sidecar.get("/metrics").status_code == 200)
        assert applied(sidecar) == 10


def test_a_state_deleted_while_it_runs_is_written_anew_and_no_total_is_lost(sidecar):
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 1_000)
        sidecar.until(lambda: applied(sidecar) == 1_000)
        shutil.rmtree(sidecar.state_dir)
        publish(publisher, 1_000)
        sidecar.until(lambda: applied(sidecar) == 2_000)
    sidecar.until(lambda: sidecar.value("telemetry_state_rewritten_total") == 1)
    assert sidecar.events("the state is written anew")
    sidecar.kill()
    sidecar.start()
    assert applied(sidecar) == 2_000
    assert sidecar.value("telemetry_publisher_residue", publisher="bot") == 0


def truncate(state):
    with (state / "ledger.db").open("r+b") as file:
        file.truncate(6_000)


def corrupt(state):
    data = bytearray((state / "ledger.db").read_bytes())
    middle = data.index(b'"applied"')
    data[middle + 10] ^= 1
    (state / "ledger.db").write_bytes(data)


def make_newer(state):
    with closing(sqlite3.connect(state / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 999")


def delete(state):
    shutil.rmtree(state)


@pytest.mark.parametrize("damage", [truncate, corrupt, make_newer, delete])
def test_a_state_that_is_gone_or_unusable_is_filled_again_by_the_publishers_and_the_rest_a_number(
    sidecar, damage
):
    with (
        Publisher(sidecar.zmq_address, source="whole") as whole,
        Publisher(sidecar.zmq_address, source="small", capacity=100) as small,
    ):
        publish(whole, 1_000)
        publish(small, 1_000)
        sidecar.until(lambda: applied(sidecar) == 2_000)
        sidecar.stop()
        damage(sidecar.state_dir)
        sidecar.start()
        publish(small, 1)
        assert known(sidecar, "whole")["applied"] == 1_000
        sidecar.until(lambda: known(sidecar, "small")["published"] == 1_001)
        rest = known(sidecar, "small")
        assert rest["lost"]["state"] == 1_001 - rest["applied"] >= 900
        assert (rest["residue"], known(sidecar, "whole")["residue"]) == (0, 0)
        assert sum(known(sidecar, "whole")["lost"].values()) == 0
    if damage is not delete:
        sidecar.until(lambda: sidecar.value("telemetry_state_set_aside_total") == 1)
        (line,) = sidecar.events("state set aside")
        (folder,) = (sidecar.state_dir / "set-aside").iterdir()
        assert folder.name in line["what"]


def test_an_older_copy_without_its_log_is_brought_up_to_date_by_the_publishers(sidecar):
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 1_000)
        sidecar.until(lambda: applied(sidecar) == 1_000)
        sidecar.stop()
        older = (sidecar.state_dir / "ledger.db").read_bytes()
        sidecar.start()
        publish(publisher, 2_000)
        sidecar.until(lambda: publisher.stats().acknowledged == 3_000)
        sidecar.kill()
        (sidecar.state_dir / "ledger.db").write_bytes(older)
        (sidecar.state_dir / "ledger.db-wal").unlink()
        sidecar.start()
        sidecar.until(lambda: applied(sidecar) == 3_000)
        assert publisher.close(10) == 0
    assert known(sidecar)["applied"] == 3_000
    assert sum(known(sidecar)["lost"].values()) == 0
    assert sidecar.value("telemetry_publisher_refilled_total", publisher="bot") == 2_000
    sidecar.until(lambda: sidecar.events("the state is older"))
    assert sidecar.value("telemetry_state_set_aside_total") == 0


def test_an_older_state_is_told_with_its_cure_and_what_fills_it_up_is_counted(sidecar, push):
    def send(first, last):
        for seq in range(first, last + 1):
            push.send(encode(Trade("buy", 1, time.time(), src="bot", epoch=7, seq=seq)))

    def say(head, acknowledged):
        beat = Beat("bot", 7, time.time(), 1, head, head, 1, 9, {}, acknowledged=acknowledged)
        push.send(encode(beat))

    send(1, 10)
    sidecar.until(lambda: applied(sidecar) == 10)
    sidecar.stop()
    older = (sidecar.state_dir / "ledger.db").read_bytes()
    sidecar.start()
    send(11, 50)
    sidecar.until(lambda: applied(sidecar) == 50)
    sidecar.kill()
    (sidecar.state_dir / "ledger.db").write_bytes(older)
    (sidecar.state_dir / "ledger.db-wal").unlink()
    sidecar.start()
    say(head=60, acknowledged=50)
    send(11, 60)
    sidecar.until(lambda: applied(sidecar) == 60)
    say(head=60, acknowledged=50)
    assert sidecar.value("telemetry_publisher_refilled_total", publisher="bot") == 40
    sidecar.until(lambda: sidecar.events("the state is older"))
    assert sidecar.stop() == 0
    (line,) = sidecar.events("the state is older")
    assert (line["level"], line["publisher"], line["epoch"]) == ("warning", "bot", 7)
    assert (line["committed"], line["was_told"]) == (10, 50)
    assert (line["come_again"], line["lost"]) == (40, 0)
    assert "metrics-sidecar backup" in line["event"]


def test_a_second_sidecar_on_the_same_state_ends_with_one_line_and_is_counted(
    sidecar, start_sidecar
):
    second = start_sidecar(folder=sidecar.folder, wait=False)
    assert second.process.wait(20) == 2
    (line,) = [
        line for line in second.log_path.read_text().splitlines() if not line.startswith("{")
    ]
    assert line.startswith("metrics-sidecar: .state/metrics-sidecar is in use by another sidecar")
    assert str(sidecar.process.pid) in line
    assert "SIDECAR_STATE_DIR" in line
    assert sidecar.get("/health").status_code == 200
    sidecar.until(lambda: sidecar.value("telemetry_state_refused_total") == 1)
    (line,) = sidecar.events("another sidecar, or a restore, was refused")
    assert (line["level"], line["refused"]) == ("warning", 1)
    assert "SIDECAR_STATE_DIR" in line["event"]


def test_a_sidecar_takes_over_the_state_of_one_that_is_ending(sidecar, start_sidecar):
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 10)
        assert publisher.close(10) == 0
    second = start_sidecar(folder=sidecar.folder, wait=False)
    assert sidecar.stop() == 0
    second.until(second._is_ready)
    assert applied(second) == 10


def test_two_publishers_with_one_name_are_both_counted(sidecar):
    with (
        Publisher(sidecar.zmq_address, source="bot") as one,
        Publisher(sidecar.zmq_address, source="bot") as other,
    ):
        publish(one, 500)
        publish(other, 700)
        sidecar.until(lambda: applied(sidecar) == 1_200)
        assert (one.close(10), other.close(10)) == (0, 0)
    found = known(sidecar)
    assert (found["published"], found["applied"], found["residue"]) == (1_200, 1_200, 0)
    sidecar.until(lambda: known(sidecar)["epochs"] == 0)


def test_two_publishers_with_one_name_are_told_with_the_cure_and_shown(sidecar):
    def shown():
        return sidecar.value("telemetry_publisher_instances", publisher="bot")

    with (
        Publisher(sidecar.zmq_address, source="bot") as one,
        Publisher(sidecar.zmq_address, source="bot") as other,
    ):
        sidecar.until(lambda: sidecar.events("several publishers use this name"))
        sidecar.until(lambda: shown() == 2)
        epochs = {one.epoch, other.epoch}
    sidecar.until(lambda: shown() == 0)
    (line,) = sidecar.events("several publishers use this name")
    assert (line["level"], line["publisher"], set(line["epochs"])) == ("warning", "bot", epochs)
    assert "`source=`" in line["event"]
    assert "WEBAPP_PUBLISHER_ID" in line["event"]


def test_a_clock_that_is_set_back_counts_nothing_twice_and_loses_nothing_in_silence(start_sidecar):
    sidecar = start_sidecar(**wrapper(CLOCK_OF_ITS_OWN))
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 500)
        sidecar.until(lambda: applied(sidecar) == 500)
        sidecar.process.send_signal(signal.SIGUSR1)
        publish(publisher, 500)  # an hour ahead of the sidecar's clock now
        assert publisher.close(10) == 0
    found = known(sidecar)
    assert (found["published"], found["waiting"], found["residue"]) == (1_000, 0, 0)
    assert found["applied"] + found["lost"]["rejected"] == 1_000
    assert found["lost"]["rejected"] == sidecar.value(
        "telemetry_rejected_total", reason="ts_future"
    )
    assert found["lost"]["rejected"] > 0
    assert health(sidecar)[0] == "ok"
    sidecar.until(lambda: sidecar.events("rejected input"))
    line = sidecar.events("rejected input")[-1]
    assert line["publisher"] == "bot"
    there, ahead, here = re.fullmatch(
        r"ts is (\S+Z), (3\d{3}\.\d) s ahead of the sidecar's clock \((\S+Z)\), at most 10: "
        "check NTP on both machines",
        line["latest"],
    ).groups()
    between = datetime.fromisoformat(there) - datetime.fromisoformat(here)
    assert between.total_seconds() == pytest.approx(float(ahead), abs=1)


class Clock:
    """This process's own, as its publishers read it; the sidecar has another."""

    def __init__(self, monkeypatch):
        self.offset_s = 0
        read, read_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: read() + self.offset_s)
        monkeypatch.setattr(time, "time_ns", lambda: read_ns() + self.offset_s * 10**9)


def test_a_publisher_whose_clock_is_set_back_within_a_life_goes_on_in_order(sidecar, monkeypatch):
    clock = Clock(monkeypatch)
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 500)
        sidecar.until(lambda: applied(sidecar) == 500)
        newest_s = sidecar.value("last_trade_ts_seconds")
        clock.offset_s = -3_600
        publish(publisher, 500)
        sidecar.until(lambda: applied(sidecar) == 1_000)
        found = known(sidecar)
        assert (found["epoch"], found["last_seq"]) == (publisher.epoch, 1_000)
        assert found["open"]
        assert publisher.close(10) == 0
    found = known(sidecar)
    assert (found["published"], found["applied"], found["residue"]) == (1_000, 1_000, 0)
    assert (found["duplicates"], sum(found["lost"].values())) == (0, 0)
    assert sidecar.value("last_trade_ts_seconds") < newest_s - 3_000


@pytest.mark.parametrize("durable", [True, False])
def test_a_publisher_whose_clock_is_set_back_between_two_lives_is_the_latest_and_exact(
    sidecar, monkeypatch, tmp_path, durable
):
    clock = Clock(monkeypatch)
    journal_dir = tmp_path / "journal" if durable else None
    first = Publisher(sidecar.zmq_address, source="bot", journal_dir=journal_dir)
    publish(first, 500)
    sidecar.until(lambda: applied(sidecar) == 500)
    sidecar.kill()
    publish(first, 500)
    left = first.close(0)
    assert left >= 500
    clock.offset_s = -3_600
    with Publisher(sidecar.zmq_address, source="bot", journal_dir=journal_dir) as second:
        publish(second, 700)
        sidecar.start()
        wanted = 1_700 if durable else 1_200
        sidecar.until(lambda: applied(sidecar) == wanted)
        sidecar.until(lambda: known(sidecar)["epoch"] == second.epoch)
        found = known(sidecar)
        assert (found["last_seq"], found["open"], found["capacity"]) == (700, True, 65_536)
        assert second.close(10) == 0
    found = known(sidecar)
    assert (found["published"], found["applied"], found["residue"]) == (wanted, wanted, 0)
    assert sum(found["lost"].values()) == 0


def test_the_space_that_is_left_on_the_disk_of_the_state_is_shown_as_it_shrinks(sidecar):
    def is_shown():
        shown = sidecar.value("telemetry_state_free_bytes")
        return abs(shown - shutil.disk_usage(sidecar.state_dir).free) < 64 * 2**20

    sidecar.until(is_shown)
    with tempfile.TemporaryFile(dir=sidecar.folder) as file:
        os.posix_fallocate(file.fileno(), 0, 512 * 2**20)
        sidecar.until(is_shown)


class Watch(threading.Thread):
    """Scrapes without pause: all that /metrics ever says of one total, and with which status."""

    def __init__(self, url):
        super().__init__()
        self._url = url
        self._over = threading.Event()
        self.statuses = set()
        self.totals = []

    def run(self):
        with httpx.Client() as client:
            while not self._over.is_set():
                with suppress(httpx.TransportError):
                    answer = client.get(f"{self._url}/metrics")
                    self.statuses.add(answer.status_code)
                    for line in answer.text.splitlines():
                        if line.startswith('trades_total{side="buy"}'):
                            self.totals.append(float(line.split()[1]))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self.join()


def test_through_kills_at_any_moment_counters_never_go_down_and_the_end_is_exact(sidecar, tmp_path):
    generator = random.Random(5)
    with (
        Publisher(sidecar.zmq_address, source="bot", journal_dir=tmp_path / "journal") as publisher,
        Watch(sidecar.url) as watch,
    ):
        published = 0
        for _ in range(4):
            until_here = published + generator.randrange(1, 20_000)
            publish(publisher, until_here - published)
            published = until_here
            threading.Event().wait(generator.random() / 5)
            sidecar.kill()
            sidecar.start()
        publish(publisher, 1_000)
        published += 1_000
        assert publisher.close(30) == 0
        sidecar.until(lambda: applied(sidecar) == published)
    assert watch.totals == sorted(watch.totals)
    assert watch.statuses <= {200, 503}
    assert watch.totals[-1] <= published
    found = known(sidecar)
    assert (found["published"], found["applied"], found["residue"]) == (published, published, 0)
    assert sidecar.value("telemetry_starts_total") == 5


def test_sigterm_commits_and_acknowledges_what_has_arrived(sidecar):
    with Publisher(sidecar.zmq_address, source="bot") as publisher:
        publish(publisher, 30_000)
        sidecar.until(lambda: applied(sidecar) > 0)
        assert sidecar.stop() == 0
        (drained,) = sidecar.events("receiver drained")
        assert drained["uncommitted"] == 0
        sidecar.until(lambda: publisher.stats().acknowledged == drained["applied"])
        sidecar.start()
        assert publisher.close(30) == 0
    found = known(sidecar)
    assert (found["applied"], found["lost"]["state"], found["residue"]) == (30_000, 0, 0)
    assert sidecar.value("trades_total", side="buy") == 30_000
