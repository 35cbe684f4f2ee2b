"""``python -m trade_telemetry send``: publish trades from a shell."""

from __future__ import annotations

import argparse
import sys
import time

from trade_telemetry.errors import TelemetryError
from trade_telemetry.publisher import Publisher


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 when every trade was sent, 1 when some were not, 2 for bad arguments."""
    options = _parser().parse_args(arguments)
    try:
        return _send(options)
    except TelemetryError as error:
        print(f"trade_telemetry: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trade_telemetry", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    send = commands.add_parser("send", help="publish one trade, or several the same")
    send.add_argument("side", choices=("buy", "sell"))
    send.add_argument("qty", type=float, help="units of the instrument, from 0 to 1e15")
    send.add_argument("--symbol")
    send.add_argument("--price", type=float)
    send.add_argument("--count", type=int, default=1, help="how many trades (default 1)")
    send.add_argument("--rate", type=float, default=0, help="trades a second (default: a burst)")
    send.add_argument("--address", default="tcp://127.0.0.1:5555", help="the sidecar's PULL socket")
    send.add_argument("--source", default="command-line", help="the publisher's name in metrics")
    send.add_argument("--timeout", type=float, default=5, help="seconds to wait for the sidecar")
    return parser


def _send(options: argparse.Namespace) -> int:
    refused = 0
    with Publisher(options.address, source=options.source) as publisher:
        for number in range(options.count):
            receipt = publisher.publish(
                options.side, options.qty, symbol=options.symbol, price=options.price
            )
            refused += not receipt
            if options.rate > 0 and number + 1 < options.count:
                time.sleep(1 / options.rate)
        unsent = publisher.close(options.timeout)
    print(f"sent {options.count - refused - unsent} of {options.count}")
    if unsent or refused:
        print(
            f"{unsent} not sent, {refused} refused: is the sidecar up at {options.address}?",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
