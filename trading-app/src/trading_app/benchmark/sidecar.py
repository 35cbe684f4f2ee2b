"""A sidecar of the benchmark's own: on free ports, its state in a folder that is thrown away.

It reads back what was committed. It must not know what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from trading_app.benchmark.program import Program, fetch, free_ports


@dataclass(frozen=True, slots=True)
class Totals:
    """What a sidecar has committed; ``lost`` and ``waiting`` are over all of its publishers.

    ``residue`` is what these do not explain: 0, or there is a defect.
    """

    applied: int
    lost: int
    waiting: int
    residue: int

    def since(self, before: Totals) -> Totals:
        """What came since; what waits, waits now."""
        return Totals(
            self.applied - before.applied, self.lost - before.lost, self.waiting, self.residue
        )


class _Account(msgspec.Struct):
    lost: dict[str, int]
    waiting: int
    residue: int


class _Summary(msgspec.Struct):
    trades: dict[str, int]
    residue: int
    publishers: list[_Account]


class Sidecar:
    """The ``metrics-sidecar`` beside this Python; a context manager that starts and ends it.

    ``address`` is for publishers, acknowledgements are at the next port, ``url`` is for HTTP. It
    may be stopped and started again: on the same ports, with the same state.
    """

    def __init__(self, folder: Path) -> None:
        port = free_ports(3)
        self.address: Final = f"tcp://127.0.0.1:{port}"
        self.url: Final = f"http://127.0.0.1:{port + 2}"
        self._program = Program(
            "metrics-sidecar",
            folder,
            {
                "SIDECAR_ZMQ_BIND": self.address,
                "SIDECAR_ZMQ_ACK_BIND": f"tcp://127.0.0.1:{port + 1}",
                "SIDECAR_HTTP_HOST": "127.0.0.1",
                "SIDECAR_HTTP_PORT": str(port + 2),
                "SIDECAR_STATE_DIR": str((folder / "state").absolute()),
                "SIDECAR_LOG_FORMAT": "console",
            },
        )

    @property
    def process_id(self) -> int:
        """The running process; raises BenchmarkError when there is none."""
        return self._program.process_id

    def start(self) -> None:
        """Start it and wait until it counts; raises BenchmarkError with the reason if it ends."""
        self._program.start(lambda: self.totals() is not None)

    def stop(self) -> None:
        """End it in order: what had arrived is committed. Does nothing when it is not running."""
        self._program.stop()

    def require_alive(self) -> None:
        """Raise BenchmarkError, with its last words, when it has ended by itself."""
        self._program.require_alive()

    def totals(self) -> Totals | None:
        """What it has committed until now; None while it does not answer."""
        body = fetch(f"{self.url}/api/summary")
        if not body:
            return None
        summary = msgspec.json.decode(body, type=_Summary)
        accounts = summary.publishers
        return Totals(
            applied=sum(summary.trades.values()),
            lost=sum(sum(account.lost.values()) for account in accounts),
            waiting=sum(account.waiting for account in accounts),
            residue=summary.residue + sum(account.residue for account in accounts),
        )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
