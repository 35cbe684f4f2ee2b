"""What telemetry takes while nothing happens, and what else a bot must import.

``python -m …footprint ADDRESS`` is a bot that publishes nothing until its standard input ends. It
must not know what is wanted of the figures.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Final

from trade_telemetry import Publisher
from trade_telemetry.addresses import acknowledgement_address
from trading_app.benchmark.child import Child
from trading_app.benchmark.program import (
    Program,
    fetch,
    free_ports,
    processor_s,
    wait_until,
)
from trading_app.benchmark.results import Figure
from trading_app.benchmark.sidecar import Sidecar

CONNECT_S_MAX: Final = 30.0
SETTLE_S: Final = 0.5
"""What starting leaves to do is not idling."""
ROUNDS: Final = 5
_IMPORT: Final = """
import sys

ALLOWED = {"trade_telemetry", "zmq", "msgspec", *sys.stdlib_module_names}

class Refuse:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse)
import trade_telemetry
"""
_NAMES: Final = {
    "sidecar": "a sidecar with nothing to count, one bot and one desk connected",
    "desk": "the desk with no browser open",
    "bot": "a bot that publishes nothing, its publisher connected",
}


def measure_footprint(
    sidecar: Sidecar, folder: Path, seconds: float, tell: Callable[[str], None]
) -> list[Figure]:
    """The idle share of a core of sidecar, desk and bot, side by side; and what a bot imports."""
    port = free_ports(1)
    desk = Program("trading-app", folder / "desk", _desk_keys(sidecar, port))
    tell("starting the desk and a bot")
    try:
        desk.start(lambda: fetch(f"http://127.0.0.1:{port}/_stcore/health") != b"")
        with Child(__name__, sidecar.address) as bot:
            bot.hear()
            time.sleep(SETTLE_S)
            tell(f"all three idle for {seconds:g} s")
            ids = [sidecar.process_id, desk.process_id, bot.process_id]
            rounds = [_idle_percents(ids, seconds / ROUNDS) for _ in range(ROUNDS)]
    finally:
        desk.stop()
    shares = zip(*rounds, strict=True)
    return [*map(_idle, ("sidecar", "desk", "bot"), shares), _imports()]


def _desk_keys(sidecar: Sidecar, port: int) -> dict[str, str]:
    return {
        "WEBAPP_HTTP_HOST": "127.0.0.1",
        "WEBAPP_HTTP_PORT": str(port),
        "WEBAPP_ZMQ_ADDR": sidecar.address,
        "WEBAPP_ZMQ_ACK_ADDR": acknowledgement_address(sidecar.address),
        "WEBAPP_PUBLISHER_ID": "benchmark-desk",
        "WEBAPP_JOURNAL_DIR": "",
        "SIDECAR_URL": sidecar.url,
    }


def _idle_percents(process_ids: Sequence[int], seconds: float) -> list[float]:
    """The share of a core that each takes, in these seconds."""
    began_s, before_s = time.monotonic(), [processor_s(each) for each in process_ids]
    time.sleep(seconds)
    after_s = [processor_s(each) for each in process_ids]
    elapsed_s = time.monotonic() - began_s
    return [
        (after - before) / elapsed_s * 100 for after, before in zip(after_s, before_s, strict=True)
    ]


def _idle(name: str, shares: Sequence[float]) -> Figure:
    return Figure(
        name=f"idle_{name}",
        title=f"Idle: {name}",
        unit="% of a core",
        value=mean(shares),
        rounds=list(shares),
        what=f"User and system time of {_NAMES[name]}.",
    )


def _imports() -> Figure:
    """Whether a new interpreter can import the library where nothing else can be imported."""
    answer = subprocess.run(  # noqa: S603 - our own lines
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=False
    )
    said = answer.stderr.strip().rpartition("\n")[2]
    wants_more = float(answer.returncode != 0)
    return Figure(
        name="imports",
        title="Imports that fail without other packages",
        unit="",
        value=wants_more,
        rounds=[wants_more],
        what="Of trade_telemetry, where only pyzmq, msgspec and the standard library can be "
        f"imported. {said}".strip(),
    )


def main(address: str) -> None:
    """Be connected, and publish nothing."""
    with Publisher(address, source="benchmark-idle") as publisher:
        wait_until(lambda: publisher.stats().connected, CONNECT_S_MAX, "no sidecar is heard")
        print("connected", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
