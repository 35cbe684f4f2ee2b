"""Where it was measured, and with what: a figure means nothing without.

It must not know what is measured. What this system does not tell is "unknown".
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import zmq

from trading_app.benchmark.clock import clock_cost_ns
from trading_app.benchmark.results import Machine

UNKNOWN: Final = "unknown"
PACKAGES: Final = (
    "trade-telemetry",
    "metrics-sidecar",
    "trading-app",
    "pyzmq",
    "msgspec",
    "hdrhistogram",
    "orjson",
    "uvicorn",
    "prometheus-client",
)


def this_machine() -> Machine:
    """As it is now, before anything is measured."""
    return Machine(
        processor=_processor(),
        cores=_cores(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=_versions(),
        commit=os.environ.get("SIDECAR_COMMIT") or _git("rev-parse", "--short", "HEAD") or UNKNOWN,
        modified=bool(_git("status", "--porcelain")),
        load_1m=os.getloadavg()[0],
        clock_ns=clock_cost_ns(),
        switch_interval_s=sys.getswitchinterval(),
    )


def _processor() -> str:
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        said = ""
    model = re.search(r"^model name\s*: (.+)$", said, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine() or UNKNOWN


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _versions() -> dict[str, str]:
    found = {"libzmq": zmq.zmq_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = UNKNOWN
    return found


def _git(*arguments: str) -> str:
    """What git says of the tree of this file; nothing where there is neither."""
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(  # noqa: S603 - no argument is anybody else's
            ["git", "--no-optional-locks", *arguments],  # noqa: S607 - whichever they have
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return answer.stdout.strip()
