"""A program of the benchmark as a process of its own, spoken to in lines.

It owns the process and its pipes. It must not know what the program does.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from trading_app.benchmark import BenchmarkError
from trading_app.benchmark.program import environment

HEAR_S_MAX: Final = 60.0
END_S_MAX: Final = 5.0
CHECK_INTERVAL_S: Final = 0.05
Check = Callable[[], None]


class Child:
    """Runs ``python -m MODULE ARGUMENTS``; a context manager that starts and ends it.

    Such a program ends when its standard input does, so it does not outlive this process.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module: Final = module
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=environment(),
            start_new_session=True,  # Ctrl-C is for the benchmark, which then ends this
        )

    @property
    def process_id(self) -> int:
        """Of the process, which may have ended."""
        return self._process.pid

    def hear(self, check: Check = lambda: None, every_s: float = CHECK_INTERVAL_S) -> str:
        """The next line that it says; ``check`` is done meanwhile, and may raise.

        Raises BenchmarkError when it ends instead, or says nothing in HEAR_S_MAX.
        """
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it was asked for
        deadline_s = time.monotonic() + HEAR_S_MAX
        while not select.select([pipe], [], [], every_s)[0]:
            check()
            if time.monotonic() > deadline_s:
                raise BenchmarkError(f"{self._module} says nothing in {HEAR_S_MAX:g} s")
        line = pipe.readline()
        if not line:
            raise BenchmarkError(f"{self._module} ended before it was done: see above")
        return line.decode().strip()

    def say(self, line: str = "go") -> None:
        """Tell it something; raises BenchmarkError when it is not there any more."""
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        try:
            pipe.write(f"{line}\n".encode())
        except OSError:
            raise BenchmarkError(f"{self._module} ended before it was done: see above") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        process = self._process
        if kind is not None:
            process.kill()  # it would only complain, too
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
