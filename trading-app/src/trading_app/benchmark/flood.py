"""A process that sends plain trades as fast as one can: ``python -m …flood ADDRESS MESSAGES``.

It says that it is ready, waits for the word, sends, and says when all was handed to the system.
"""

from __future__ import annotations

import sys
import time
from typing import Final

import zmq

QUEUE_MESSAGES: Final = 10_000


def main(address: str, messages: int) -> None:
    """Send one and the same trade, without stamps: what is measured is who receives."""
    frame = b'{"type":"trade","side":"buy","qty":1.5,"ts":%.3f}' % time.time()
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
        push.connect(address)
        print("ready", flush=True)
        if not sys.stdin.readline():
            push.setsockopt(zmq.LINGER, 0)
            return
        send = push.send
        for _ in range(messages):
            send(frame)
    print("sent", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
