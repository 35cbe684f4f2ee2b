"""``market-engine audit``: whether the stored fills follow from what was recorded."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from market_engine.errors import StorageError
from market_engine.events import Event
from market_engine.feeds.recordings import Recording
from market_engine.paper.audit import Audit, Finding, read_desk
from market_engine.paper.audit import audit as audit_desk
from market_engine.paper.store import DeskStore
from market_engine.storage.database import Database


def audit(
    files: Annotated[list[Path], typer.Argument(help="recordings of the market, in order")],
    database: Annotated[str, typer.Option(help="of the desk, such as sqlite:///desk.db")] = "",
    portfolio: Annotated[str, typer.Option(help="one of them; else all")] = "",
) -> None:
    """Derive every fill of the paper desk again from the raw recording; status 1 if one fails.

    The recording must hold all that the desk saw, from before the first order on. Not every fill
    that was possible must have been made; each that was made must be justified.
    """
    found = audit_files(files, database or _desk_url(), portfolio)
    for finding in found.findings:
        print(line_of(finding))
    print(summary_of(found))
    if found.findings:
        sys.exit(1)


def audit_files(files: Sequence[Path], url: str, portfolio: str = "") -> Audit:
    """Raises FileError for a recording and StorageError for a database that cannot be used."""
    database = Database(url)
    try:
        desk = read_desk(DeskStore(database), [portfolio] if portfolio else ())
    finally:
        database.close()
    if not desk.portfolios:
        what = f"no portfolio {portfolio!r}" if portfolio else "no portfolio"
        raise StorageError(f"{database.name} has {what}: name another with --database")
    return audit_desk(desk, _batches(files))


def line_of(finding: Finding) -> str:
    """One line for a person."""
    fill = finding.fill
    if fill is None:
        return f"{finding.rule}: {finding.detail}"
    return (
        f"{finding.rule}: fill {fill.order_fill} of order {fill.client_order_id} "
        f"({fill.portfolio}, {fill.book} book): {finding.detail}"
    )


def summary_of(found: Audit) -> str:
    """The last line: what was looked at, whether all of it holds, and what a restart explains."""
    seen = f"{found.fills:,} fills of {found.orders:,} orders"
    note = f"; {found.unfilled:,} accepted orders got nothing"
    if found.after_restarts:
        note += f"; {found.after_restarts:,} fills are right only after a restart of the desk"
    if found.findings:
        return f"audit failed: {len(found.findings):,} findings in {seen}{note}"
    return f"audit passed: {seen} justified by {found.events:,} events{note}"


def _batches(files: Sequence[Path]) -> Iterator[Sequence[Event]]:
    return (events for _, events in Recording(files).steps())


def _desk_url() -> str:
    from market_engine.settings import load_settings  # noqa: PLC0415 - only without --database

    return load_settings().desk_url
