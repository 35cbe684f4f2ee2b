"""A process that uses a store until it is killed: by itself at a named point, or by its parent.

``store_child.py MODE DIRECTORY POINT [FILE]``. From ``arm`` on, every SQL statement and every
file operation of this process counts as a point; at number POINT it kills itself (0: never).
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from metrics_sidecar.store import open_store
from metrics_sidecar.store_copy import backup, restore

ROWS = 16
COMMITS = 3


def changes_of(number: int) -> dict[str, bytes | None]:
    """What commit ``number`` changes: rows come, change and go."""
    first = {f"row/{(number * 7 + i) % ROWS}": b"%d" % number * (i + 1) * 40 for i in range(6)}
    gone = {f"row/{(number * 5 + i) % ROWS}": None for i in range(3)}
    return {**first, **gone, "number": b"%d" % number}


def rows_after(number: int) -> dict[str, bytes]:
    """All rows when commit ``number`` is the last one."""
    rows: dict[str, bytes | None] = {}
    for each in range(1, number + 1):
        rows.update(changes_of(each))
    return {key: value for key, value in rows.items() if value is not None}


class Points:
    """Counts what happens, and ends the process at the chosen point."""

    def __init__(self, chosen: int) -> None:
        self.left = chosen
        self.endless = chosen == 0
        self.armed = False
        sys.addaudithook(self._audit)
        sqlite3.connect = self._traced(sqlite3.connect)

    def _traced(self, connect: Callable[..., sqlite3.Connection]) -> Callable[..., Any]:
        def connect_traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*arguments, **options)
            connection.set_trace_callback(self.passed)
            return connection

        return connect_traced

    def _audit(self, event: str, _arguments: tuple[object, ...]) -> None:
        if event.startswith(("os.", "fcntl.", "sqlite3.connect")) or event == "open":
            self.passed(event)

    def passed(self, _event: str) -> None:
        if self.armed:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def commit_on(directory: Path, points: Points) -> None:
    store = open_store(directory)
    number = int(store.load().get("number", b"0"))
    points.armed = True
    last = number + COMMITS
    while points.endless or number < last:
        number += 1
        store.commit(changes_of(number))
        points.passed("committed")
        os.write(1, b"%d\n" % number)
    store.close()


def run(mode: str, directory: Path, points: Points, file: Path) -> None:
    if mode == "commit":
        commit_on(directory, points)
        return
    points.armed = mode != "rewrite"
    if mode == "backup":
        backup(directory, file)
    elif mode == "restore":
        restore(directory, file)
    else:
        store = open_store(directory)
        store.load()
        if mode == "rewrite":
            store.commit(changes_of(6))  # in the log only, when the rewriting begins
            points.armed = True
            store.rewrite(rows_after(9))
            store.commit(changes_of(10))
        store.close()


def main() -> None:
    mode, directory, point, *file = sys.argv[1:]
    points = Points(int(point))
    if mode == "hold":
        open_store(Path(directory))
        os.write(1, b"held\n")
        signal.pause()
    if mode == "fork":
        open_store(Path(directory))
        if os.fork() == 0:
            os.write(1, b"%d\n" % os.getpid())
        signal.pause()
    run(mode, Path(directory), points, Path(*file))


if __name__ == "__main__":
    main()
