"""The example bot is what its text says: accepted trades are counted, also after it was killed."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.parts import ROOT, Sidecar, fetch, until


def test_the_example_bot_is_counted_although_it_was_killed_and_the_sidecar_was_away(tmp_path):
    sidecar = Sidecar(tmp_path / "sidecar")
    sidecar.wait_until_healthy()
    sidecar.stop()
    code = (ROOT / "examples/bot.py").read_text()
    code = code.replace("tcp://127.0.0.1:5555", sidecar.zmq_address).replace("0.05)", "0.001)")
    bot = tmp_path / "bot.py"
    bot.write_text(code)

    def accepted_until_killed(count: int) -> int:
        with subprocess.Popen(
            [sys.executable, "-u", bot], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        ) as process:
            lines = [process.stdout.readline() for _ in range(count)]
            process.kill()
            lines += process.stdout.read().splitlines(keepends=True)
        return sum(line.endswith("accepted\n") for line in lines)

    try:
        published = accepted_until_killed(20)
        sidecar.start()
        sidecar.wait_until_healthy()
        published += accepted_until_killed(20)
        published += accepted_until_killed(20)
        last = subprocess.Popen([sys.executable, bot], cwd=tmp_path, stdout=subprocess.DEVNULL)
        try:

            def account() -> dict:
                summary = json.loads(fetch(f"{sidecar.url}/api/summary"))
                return next(iter(summary["publishers"]), {"applied": 0, "epochs": 9})

            until(lambda: account()["applied"] >= published and account()["epochs"] == 1)
        finally:
            last.kill()
            last.wait()
        assert account()["residue"] == 0
        assert sum(account()["lost"].values()) == 0
    finally:
        sidecar.stop()
