"""The parent of all actors: it has imported everything once, so that a start is a fork.

It has one thread, and does what the harness says over a socket: start an actor, or wait for the
end of one. When the harness is gone it ends its children, by id, and itself.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from chaos.actors import BotJob, SidecarJob

_MESSAGE_BYTES: Final = 65_536
_PRELOADED: Final = (
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.protocols.http.auto",
    "uvicorn.protocols.websockets.auto",
    "metrics_sidecar.main",
    "trade_telemetry",
    "chaos.actors",
)


class Zygote:
    """The harness's side: one thread at a time uses it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chaos.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
            )
        self._socket = ours
        self._ask({"do": "hello"})

    def start(self, job: SidecarJob | BotJob, report_fd: int, log_fd: int) -> int:
        """Fork an actor; its process id."""
        kind = "sidecar" if type(job).__name__ == "SidecarJob" else "bot"
        request = {"do": kind, "job": asdict(job)}
        return self._ask(request, [report_fd, log_fd])

    def reap(self, pid: int) -> int:
        """The exit code of an actor that has ended or is about to; minus the signal's number."""
        return os.waitstatus_to_exitcode(self._ask({"do": "reap", "pid": pid}))

    def close(self) -> None:
        """End it, and with it whatever it still has as children."""
        self._socket.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any], descriptors: list[int] | None = None) -> int:
        data = json.dumps(request).encode()
        socket.send_fds(self._socket, [data], descriptors or [])
        return int(json.loads(self._socket.recv(_MESSAGE_BYTES))["answer"])


class _Server:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._children: set[int] = set()

    def run(self) -> None:
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._connection, _MESSAGE_BYTES, 4)
            if not data:
                break
            answer = self._answer(json.loads(data), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            self._connection.send(json.dumps({"answer": answer}).encode())
        self._end_children()

    def _answer(self, request: dict[str, Any], descriptors: list[int]) -> int:
        if request["do"] == "hello":
            return 0
        if request["do"] == "reap":
            self._children.discard(request["pid"])
            return os.waitpid(request["pid"], 0)[1]
        pid = os.fork()
        if pid == 0:
            self._become(request, *descriptors)
        self._children.add(pid)
        return pid

    def _become(self, request: dict[str, Any], report_fd: int, log_fd: int) -> None:
        """The child: never returns to the zygote's loop."""
        code = 70
        try:
            self._connection.close()
            os.dup2(log_fd, 1)
            os.dup2(log_fd, 2)
            os.close(log_fd)
            code = _actor(request["do"], request["job"])(report_fd)
        except BaseException:  # noqa: BLE001 - it must be told, and end here
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _end_children(self) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _actor(kind: str, job: dict[str, Any]) -> Callable[[int], int]:
    from chaos import actors  # noqa: PLC0415 - preloaded; the harness's side does not need it

    if kind == "sidecar":
        return lambda descriptor: actors.run_sidecar(actors.SidecarJob(**job), descriptor)
    return lambda descriptor: actors.run_bot(actors.BotJob(**job), descriptor)


def main() -> None:
    """Serve one harness until it is gone."""
    from importlib import import_module  # noqa: PLC0415 - only here

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    for module in _PRELOADED:
        import_module(module)
    gc.collect()
    gc.freeze()
    _Server(connection).run()


if __name__ == "__main__":
    main()
