"""The command: ``python -m trading_app.benchmark [SUITE]``, and ``… compare BASE NEW``.

The composition root of a benchmark: it alone puts what is measured, shown, kept and told together.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from trade_telemetry import TelemetryError
from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.announce import Announcer
from trading_app.benchmark.results import Result, ResultError, read, write
from trading_app.benchmark.runner import SUITES, Plan, run
from trading_app.benchmark.terminal import Steps, show, show_files
from trading_app.settings import SettingsError, load_settings

FOLDER: Final = Path(".run/benchmark")
LATEST: Final = FOLDER / "latest.json"
QUICK: Final = FOLDER / "quick.json"
_ABOUTS: Final = {
    "suite": "everything, in about two minutes; what is measured when nothing is said",
    "burst": "100,000 trades at once, beside as many bare sends",
    "sustained": "a rate, without a pause",
    "profile": "higher and higher rates, until one is too much",
    "peers": "other ways to count a trade",
    "receiving": "the sidecar: rates, time until committed, what it takes",
}

Json = Annotated[Path | None, typer.Option("--json", help="Write the result there.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write the report there.")]
Quick = Annotated[
    bool, typer.Option("--quick", help="Tiny: to see that all works; kept and told apart.")
]
Rate = Annotated[
    int | None, typer.Option("--rate", min=1, max=1_000_000, help="Of sustained, a second.")
]


app: Final = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What telemetry costs a bot, and whether each trade is counted. Without --json and --html "
    f"the result is written to {FOLDER}.",
)


def _measuring(suite: str) -> Callable[..., None]:
    def command(
        json: Json = None,
        html: Html = None,
        quick: Quick = False,
        rate: Rate = None,
    ) -> None:
        with _in_one_line():
            _check_folders(json, html)
            result = _measure(Plan(suite, FOLDER, quick=quick, rate_per_s=rate))
            show(result)
            show_files(_keep(result, json, html), result.seconds)
        if any(workload.problem for workload in result.workloads):
            raise typer.Exit(1)

    return command


for _suite in SUITES:
    app.command(_suite, help=_ABOUTS[_suite])(_measuring(_suite))


@app.command("compare", help="what changed between two results, beyond the noise")
def _compare(base: Path, new: Annotated[Path, typer.Argument()] = LATEST) -> None:
    from trading_app.benchmark.compare import compare  # noqa: PLC0415 - for this alone

    with _in_one_line():
        found = compare(read(base), read(new))
        print(found.text())
        raise typer.Exit(found.exit_code)


class _Progress:
    """Shows how it goes, and tells the running sidecar."""

    def __init__(self, suite: str, steps: Steps, announcer: Announcer) -> None:
        self._suite, self._steps, self._announcer = suite, steps, announcer
        self.tell = steps.tell

    def part(self, name: str) -> None:
        self._steps.part(name)
        self._announcer.running(self._suite, name)


def _measure(plan: Plan) -> Result:
    announcer = Announcer(load_settings().zmq_addr, quick=plan.quick)
    announcer.started(plan.suite)
    try:
        with Steps(len(SUITES[plan.suite])) as steps:
            result = run(plan, _Progress(plan.suite, steps, announcer))
        announcer.completed(result)
    except BaseException as error:
        announcer.failed(plan.suite, str(error) or "ended before it was done")
        raise
    finally:
        announcer.close()
    return result


def _keep(result: Result, json: Path | None, html: Path | None) -> list[Path]:
    """Write what was asked for; if nothing was, the latest and a copy that stays."""
    if json is None and html is None:
        dated = f"{datetime.fromisoformat(result.started):%Y%m%dT%H%M%SZ}-{result.suite}"
        write(result, FOLDER / f"{dated}.json")
        json = QUICK if result.settings.get("quick") else LATEST
        html = json.with_suffix(".html")
    if json is not None:
        write(result, json)
    if html is not None:
        from trading_app.benchmark.report import render  # noqa: PLC0415 - charts take long

        html.write_text(render(result), encoding="utf-8")
    return [path for path in (json, html) if path is not None]


def _check_folders(*paths: Path | None) -> None:
    """Before two minutes are spent on what cannot be written. Raises BenchmarkError."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise BenchmarkError(f"{path.parent} is no folder: nothing could be written there")


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """End in order, and let nobody disturb that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> NoReturn:
    """Run the command; ends with one line when something cannot be measured (1) or read (2).

    It ends with 1, and the result, when a problem was found, or something has become worse.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] != "--help"):
        arguments = [next(iter(SUITES)), *arguments]
    app(arguments, prog_name="python -m trading_app.benchmark")
    sys.exit(0)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Whatever stands in the way is one line."""
    try:
        yield
    except ResultError as error:
        _fail(str(error), 2)
    except (BenchmarkError, SettingsError, TelemetryError, OSError) as error:
        _fail(str(error), 1)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        _fail(f"{package} is not installed: make install", 1)
    except KeyboardInterrupt:
        _fail("ended before it was done; nothing is kept", 130)


def _fail(line: str, code: int) -> NoReturn:
    print(f"benchmark: {line}", file=sys.stderr)
    raise typer.Exit(code)
