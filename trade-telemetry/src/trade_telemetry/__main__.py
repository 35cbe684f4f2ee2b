"""``python -m trade_telemetry``: publish trades from a shell, and look at journal files."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import msgspec

from trade_telemetry.errors import TelemetryError
from trade_telemetry.journal_inspect import inspect, table
from trade_telemetry.publisher import AUTO, Publisher


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    0 when every trade was counted or every file looked at, 1 when some trades were not, 2 for bad
    arguments.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except TelemetryError as error:
        print(f"trade_telemetry: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trade_telemetry", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_send(commands.add_parser("send", help="publish one trade, or several the same"))
    journal = commands.add_parser("journal", help="look at what waits in journal files")
    parts = journal.add_subparsers(required=True, metavar="COMMAND")
    _add_inspect(parts.add_parser("inspect", help="what the files of a directory hold"))
    return parser


def _add_send(send: argparse.ArgumentParser) -> None:
    send.set_defaults(run=_send)
    send.add_argument("side", choices=("buy", "sell"))
    send.add_argument("qty", type=float, help="units of the instrument, from 0 to 1e15")
    send.add_argument("--symbol")
    send.add_argument("--price", type=float)
    send.add_argument("--count", type=int, default=1, help="how many trades (default 1)")
    send.add_argument("--rate", type=float, default=0, help="trades a second (default: a burst)")
    send.add_argument("--address", default="tcp://127.0.0.1:5555", help="the sidecar's PULL socket")
    send.add_argument(
        "--ack-address",
        default=AUTO,
        help="where it acknowledges (default: the next port); '' to send and forget",
    )
    send.add_argument(
        "--journal-dir", type=Path, help="keep in a file there what is not counted in time"
    )
    send.add_argument("--source", default="command-line", help="the publisher's name in metrics")
    send.add_argument("--timeout", type=float, default=5, help="seconds to wait for the sidecar")


def _add_inspect(inspect_parser: argparse.ArgumentParser) -> None:
    inspect_parser.set_defaults(run=_inspect)
    inspect_parser.add_argument("directory", metavar="DIR", type=Path, help="a journal_dir")
    inspect_parser.add_argument("--json", action="store_true", help="the same as a JSON list")


def _inspect(options: argparse.Namespace) -> int:
    try:
        records = inspect(options.directory)
    except OSError as error:
        print(f"trade_telemetry: {options.directory}: {error.strerror}", file=sys.stderr)
        return 2
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(records)).decode())
    elif records:
        print(table(records))
        print(
            "\nWhat waits in a file left behind is drained by the next publisher with this source "
            "and directory."
        )
    else:
        print(f"No journal files in {options.directory}: nothing waits there.")
    return 0


def _send(options: argparse.Namespace) -> int:
    refused = 0
    with Publisher(
        options.address,
        ack_address=options.ack_address or None,
        source=options.source,
        journal_dir=options.journal_dir,
    ) as publisher:
        for number in range(options.count):
            seq = publisher.publish(
                options.side, options.qty, symbol=options.symbol, price=options.price
            )
            refused += seq == 0
            if options.rate > 0 and number + 1 < options.count:
                time.sleep(1 / options.rate)
        open_ones = publisher.close(options.timeout)
    done = "counted" if options.ack_address else "sent"
    print(f"{done} {options.count - refused - open_ones} of {options.count}")
    if open_ones or refused:
        print(
            f"{open_ones} not {done}, {refused} refused: is the sidecar up at {options.address}?",
            file=sys.stderr,
        )
        if open_ones and options.journal_dir:
            print(
                f"They are kept in {options.journal_dir}: the next publisher with the source "
                f"{options.source} and that directory sends them",
                file=sys.stderr,
            )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
