"""What ``metrics-sidecar backup`` and ``restore`` do, and the sentence each ends with.

Knows of the rows only where the number of trades is, and does without when it is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson

from metrics_sidecar.store_copy import Restored, backup, restore
from metrics_sidecar.store_errors import StateDamagedError, StateError
from metrics_sidecar.store_file import Content


def run_backup(directory: Path, target: Path) -> str:
    """Copy the state to the new file ``target``, while a sidecar runs or not.

    Raises StateError, and then there is no ``target``.
    """
    return f"The state is saved in {target}: {_told(backup(directory, target))}."


def run_restore(directory: Path, source: Path) -> str:
    """Put a copy made by ``run_backup`` in the place of the state, which is set aside.

    Raises StateError, and then nothing was changed; StateLockedError while a sidecar runs.
    """
    try:
        restored = restore(directory, source)
    except StateDamagedError as error:
        raise StateError(
            f"{source} is no whole copy of a state ({error}): take another one; "
            f"the state in {directory} is as it was"
        ) from error
    return (
        f"The state is the one of {source}: {_told(restored.content)}.\n{_told_before(restored)}."
    )


def _told_before(restored: Restored) -> str:
    if restored.set_aside is None:
        return "There was none before"
    before = "one that could not be read" if restored.before is None else _told(restored.before)
    return f"Before it was {before}; set aside whole in {restored.set_aside}"


def _told(content: Content) -> str:
    committed = datetime.fromtimestamp(content.committed_s, UTC)
    trades = _trades(content.rows)
    counted = "" if trades is None else f"{trades:,} trades in "
    return f"{counted}{len(content.rows):,} rows, last committed {committed:%Y-%m-%d %H:%M:%S} UTC"


def _trades(rows: Mapping[str, bytes]) -> int | None:
    try:
        applied = orjson.loads(rows["totals"])["applied"]
    except (KeyError, TypeError, ValueError):
        return None
    return applied if isinstance(applied, int) else None
