"""A trading bot in thirty lines: it buys what fell and sells what rose, and every trade is counted.

    .venv/bin/python examples/bot.py

Start it before or after the sidecar, end it with Ctrl-C or kill -9, start it again: see the desk's
page Delivery. Its journal is in .state/example-bot.
"""

import random
import time

from trade_telemetry import Publisher


def trade(publisher: Publisher) -> None:
    price = anchor = 64_000.0
    while True:
        price *= 1 + random.gauss(0, 0.0005)
        if abs(price / anchor - 1) > 0.001:
            side = "buy" if price < anchor else "sell"
            seq = publisher.publish(side, 0.01, symbol="BTCUSDT", price=round(price, 2))
            print(f"{side:4} at {price:,.2f}  {'accepted' if seq else publisher.last_refusal}")
            anchor = price
        time.sleep(0.05)


if __name__ == "__main__":
    address, journal = "tcp://127.0.0.1:5555", ".state/example-bot"
    with Publisher(address, source="example-bot", journal_dir=journal) as publisher:
        try:
            trade(publisher)
        except KeyboardInterrupt:
            waiting = publisher.close(timeout_s=2)
            print(f"{publisher.stats().published} trades, {waiting} wait for the next start")
