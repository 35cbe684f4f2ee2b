"""Where the two sockets of a sidecar are, as users write it: ``tcp://HOST:PORT`` or ``ipc://PATH``.

It must not know sockets.
"""

from __future__ import annotations

import re
from typing import Final

from trade_telemetry.errors import ConfigurationError

_TCP: Final = re.compile(r"(tcp://[^\s/]+):(\d{1,5})")


def check_address(name: str, address: str) -> None:
    """Raise ConfigurationError unless ZeroMQ can connect there and tell us when it has."""
    if isinstance(address, str):
        match = _TCP.fullmatch(address)
        if match is not None and 1 <= int(match[2]) <= 65_535:
            return
        if address.startswith("ipc://") and len(address) > len("ipc://"):
            return
    raise ConfigurationError(
        f"{name} {address!r} cannot be used: write it as tcp://HOST:PORT, or ipc://PATH"
    )


def acknowledgement_address(address: str) -> str:
    """Where a sidecar at that address acknowledges unless it was told otherwise."""
    match = _TCP.fullmatch(address)
    return f"{match[1]}:{int(match[2]) + 1}" if match else f"{address}.ack"
