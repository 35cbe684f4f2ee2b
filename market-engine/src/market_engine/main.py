"""Composition root: settings → engine → HTTP app → server; and the tools beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from market_engine.audit_command import audit
from market_engine.commands import generate, load, record, replay_digest
from market_engine.errors import MarketError
from market_engine.logs import configure_logs
from market_engine.settings import load_settings

app = typer.Typer(
    name="market-engine",
    help="The market that the desk trades on: feeds, analytics, storage, an API.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _serve(
    context: typer.Context,
    reload: Annotated[
        bool, typer.Option("--reload", help="restart when a source file changes")
    ] = False,
) -> None:
    """Serve until SIGINT or SIGTERM; the settings are in the environment and .env: .env.sample."""
    if context.invoked_subcommand is None:
        from market_engine.serving import serve  # noqa: PLC0415 - the other commands need no server

        settings = load_settings()
        configure_logs(settings.log_format)
        serve(settings, reload=reload)


@app.command(name="load")
def _load(
    files: Annotated[list[Path], typer.Argument(help="recordings or archives, in order")],
    symbol: Annotated[str, typer.Option(help="where the file's name does not say it")] = "",
) -> None:
    """Take files through the pipeline into the database (MARKET_DATABASE_URL), as fast as it goes.

    Again is harmless: every trade is stored once.
    """
    settings = load_settings()
    configure_logs(settings.log_format)
    load(settings, files, symbol.upper())


@app.command(name="record")
def _record(
    folder: Annotated[Path, typer.Argument(help="where the files go")],
    seconds: Annotated[float, typer.Option(min=0, help="0: until Ctrl-C")] = 0,
) -> None:
    """Record the raw frames of the live feed (MARKET_FEED=binance) for a later replay."""
    settings = load_settings()
    configure_logs(settings.log_format)
    record(settings, folder, seconds)


@app.command(name="generate")
def _generate(
    file: Annotated[Path, typer.Argument(help="a new file, .frames or .frames.gz")],
    events: Annotated[int, typer.Option(min=1)] = 2_000_000,
    hours: Annotated[float, typer.Option(min=0.001, max=24)] = 24,
    seed: int = 1,
) -> None:
    """Write a recording of the simulated market: by default a day of two million events."""
    generate(file, events, hours, seed)


@app.command(name="digest")
def _digest(
    file: Path,
    speed: Annotated[float, typer.Option(min=0, help="0: as fast as possible")] = 0,
) -> None:
    """Replay a file and print the SHA-256 of everything that follows from it."""
    print(replay_digest(file, speed or None))


app.command(name="audit")(audit)


def main() -> None:
    """Run; status 2 with one line when something cannot be done."""
    try:
        app()
    except MarketError as error:
        sys.exit(_one_line(error))


def _one_line(error: MarketError) -> int:
    print(f"market-engine: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
