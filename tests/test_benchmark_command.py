"""``python -m trading_app.benchmark`` as a user runs it: what it writes, how it fails and ends."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import psutil
import pytest
import zmq
from tests.parts import ENVIRONMENT, free_port, until

from trading_app.benchmark import command, results
from trading_app.benchmark.checks import BARS
from trading_app.benchmark.program import environment
from trading_app.benchmark.runner import SUITES, Plan, run

MODULE = ["-m", "trading_app.benchmark"]
JOURNAL_TOO_LARGE = 4 * 1024**2


def start(folder, *arguments, python=sys.executable, code=MODULE, env=None, **more):
    """Run the benchmark to its end; unless said otherwise no sidecar is told anything."""
    return subprocess.run(
        [python, *code, *arguments],
        cwd=folder,
        env=ENVIRONMENT | {"WEBAPP_ZMQ_ADDR": f"tcp://127.0.0.1:{free_port()}"} | (env or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


@pytest.fixture
def benchmark(tmp_path):
    return partial(start, tmp_path)


@contextmanager
def listening():
    """Where a sidecar would be: its address, and what it was told by now."""
    with zmq.Context() as context, context.socket(zmq.PULL) as sidecar:
        port = sidecar.bind_to_random_port("tcp://127.0.0.1")

        def told():
            while sidecar.poll(200):
                yield json.loads(sidecar.recv())

        yield f"tcp://127.0.0.1:{port}", told


@pytest.fixture(scope="module")
def burst(tmp_path_factory):
    """A burst: what was shown, what a running sidecar was told, and where it was kept."""
    folder = tmp_path_factory.mktemp("burst")
    with listening() as (address, told):
        env = {"WEBAPP_ZMQ_ADDR": address}
        answer = start(folder, "burst", "--quick", "--json", "burst.json", env=env)
        assert answer.returncode == 0, answer.stderr
        return answer, list(told()), folder


def complaint(answer, code=1):
    """The one line with which the benchmark failed."""
    assert answer.returncode == code
    assert "Traceback" not in answer.stderr
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("benchmark: ")]
    return line.removeprefix("benchmark: ")


def test_a_burst_is_written_as_a_result_whose_counts_add_up(burst):
    _, _, folder = burst
    result = results.read(folder / "burst.json")
    assert result.suite == "burst"
    ours, sends = result.workloads
    assert (ours.name, sends.name) == ("burst", "burst-send")
    counts = ours.counts
    assert counts.offered == counts.accepted == counts.applied == ours.call.count == 2_000
    assert (counts.refused, counts.lost, counts.waiting) == (0, 0, 0)
    assert {check.name for check in result.checks} == {"burst-to-send", "burst-counted"}
    assert result.machine.clock_ns > 0
    assert result.machine.versions["pyzmq"]


def test_nothing_else_is_left_where_it_ran(burst):
    _, _, folder = burst
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["burst.json"]
    assert list((folder / ".run/benchmark").iterdir()) == []


def test_what_is_shown_in_a_pipe_has_no_control_codes(burst):
    answer, _, _ = burst
    assert not {"\x1b", "\r"} & set(answer.stdout + answer.stderr)
    assert answer.stderr == "1/1 burst\n"
    assert "2\u202f000 of 2\u202f000 were counted" in answer.stdout
    assert answer.stdout.splitlines()[-1].endswith("written to burst.json")


def test_the_running_sidecar_is_told_how_it_goes_and_what_was_found(burst):
    _, told, _ = burst
    statuses = [each["status"] for each in told if each["type"] == "benchmark_status"]
    assert statuses == ["started", "running", "completed"]
    names = {(each["test_type"], each["test_name"]) for each in told}
    assert names == {("quick-burst", "quick-burst")}  # a full run's result is not replaced
    (found,) = [each for each in told if each["type"] == "benchmark"]
    assert found["totals"]["applied"] == 2_000


def test_the_running_sidecar_is_told_why_there_is_no_result(benchmark, tmp_path):
    (tmp_path / ".run").write_text("in the way")
    with listening() as (address, told):
        said = complaint(benchmark("burst", "--quick", env={"WEBAPP_ZMQ_ADDR": address}))
        started, failed = told()
    assert (started["status"], failed["status"]) == ("started", "failed")
    assert failed["message"] == said
    assert ".run" in said


def test_the_whole_suite_is_written_where_the_next_one_finds_it(benchmark, tmp_path):
    answer = benchmark("--quick")
    assert answer.returncode == 0, answer.stderr
    folder = tmp_path / ".run/benchmark"
    result = results.read(folder / "quick.json")
    (dated,) = folder.glob("*-suite.json")
    assert results.read(dated) == result
    assert "<html" in (folder / "quick.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [dated.name, "quick.html", "quick.json"]
    )
    assert [workload.problem for workload in result.workloads if workload.problem] == []
    assert [check.name for check in result.checks] == [bar.name for bar in BARS]
    assert answer.stderr.splitlines() == [
        f"{number}/{len(SUITES['suite'])} {part}"
        for number, part in enumerate(SUITES["suite"], start=1)
    ]
    answer = benchmark("compare", dated.name, "latest.json")
    assert "No such file" in complaint(answer, code=2)
    answer = benchmark("compare", f".run/benchmark/{dated.name}", ".run/benchmark/quick.json")
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_no_process_and_no_file(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, *MODULE, "sustained"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"WEBAPP_ZMQ_ADDR": f"tcp://127.0.0.1:{free_port()}"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        try:
            assert process.stderr.readline() == "1/1 sustained\n"
            family = psutil.Process(process.pid).children(recursive=True)
            assert len(family) == 1
            process.send_signal(number)
            output, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130
    assert (output, errors) == ("", "benchmark: ended before it was done; nothing is kept\n")
    until(lambda: not any(each.is_running() for each in family), what="the sidecar's end")
    assert list((tmp_path / ".run/benchmark").iterdir()) == []


def test_without_the_sidecar_s_program_it_says_what_to_do(benchmark, tmp_path):
    elsewhere = tmp_path / "python"
    elsewhere.symlink_to(sys.executable)
    path = os.pathsep.join(filter(None, sys.path))
    answer = benchmark("burst", "--quick", python=elsewhere, env={"PYTHONPATH": path})
    assert complaint(answer) == f"{tmp_path / 'metrics-sidecar'} is not there: make install"


@pytest.mark.parametrize("package", ["hdrh", "typer", "rich", "psutil"])
def test_without_an_optional_package_it_says_what_to_do(benchmark, package):
    code = (
        f"import runpy, sys; sys.modules[{package!r}] = None; "
        "runpy.run_module('trading_app.benchmark', run_name='__main__')"
    )
    answer = benchmark("burst", "--quick", code=["-c", code])
    assert complaint(answer) == f"{package} is not installed: make install"


def test_too_little_room_for_a_journal_is_said_with_the_cure(benchmark):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (JOURNAL_TOO_LARGE, JOURNAL_TOO_LARGE))

    answer = benchmark("burst", "--quick", preexec_fn=limit)
    assert "allow files of 8,392,704 bytes" in complaint(answer)


def test_a_setting_that_cannot_be_used_is_named(benchmark):
    answer = benchmark("burst", "--quick", env={"WEBAPP_ZMQ_ADDR": "somewhere"})
    assert complaint(answer).startswith("WEBAPP_ZMQ_ADDR='somewhere' must be an address")


def test_a_rate_can_be_asked_for(benchmark, tmp_path):
    answer = benchmark("sustained", "--quick", "--rate", "500", "--json", "rate.json")
    assert answer.returncode == 0, answer.stderr
    (found,) = results.read(tmp_path / "rate.json").workloads
    assert found.settings["rate_per_s"] == 500
    assert found.counts.offered == found.counts.applied == 100


def test_counts_that_do_not_add_up_are_shown_and_end_it_with_1(tmp_path, monkeypatch, capsys):
    class Lossy:
        """Says of each that it is accepted, and drops the first."""

        def __init__(self, opening):
            inner = command.Plan("burst", tmp_path).open(opening)
            self.stats, self.close, self.inner, self.calls = inner.stats, inner.close, inner, 0

        def publish(self, *trade, **more):
            self.calls += 1
            return self.calls == 1_000 or self.inner.publish(*trade, **more)

    def run_lossy(plan, progress):
        return run(Plan(plan.suite, tmp_path, quick=True, open=Lossy), progress)

    monkeypatch.setenv("WEBAPP_ZMQ_ADDR", f"tcp://127.0.0.1:{free_port()}")
    monkeypatch.setattr(command, "run", run_lossy)
    kept = tmp_path / "lossy.json"
    with pytest.raises(SystemExit) as ending:
        command.app(["burst", "--quick", "--json", str(kept)])
    assert ending.value.code == 1
    assert "1 missing" in capsys.readouterr().out
    assert json.loads(kept.read_text())["workloads"][0]["counts"]["applied"] == 1_999


HOLDER = """
import sys
from pathlib import Path
from trading_app.benchmark.sidecar import Sidecar

with Sidecar(Path(sys.argv[1])) as sidecar:
    print(sidecar.process_id, flush=True)
    sys.stdin.read()
"""


def test_a_sidecar_ends_with_a_benchmark_that_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        sidecar = psutil.Process(int(holder.stdout.readline()))
        holder.kill()
    until(lambda: not sidecar.is_running(), what="the end of the sidecar")


def test_a_process_is_given_nothing_that_sets_up_what_is_measured(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("SIDECAR_HTTP_PORT", "1")
    assert not {"OTEL_SDK_DISABLED", "SIDECAR_HTTP_PORT"} & environment().keys()
    assert environment()["PATH"] == os.environ["PATH"]
