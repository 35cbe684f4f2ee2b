"""The running API against its own OpenAPI page, by schemathesis: no 5xx, and nothing undocumented.

Its stream is left out, because it has no end; ``test_api_streams`` has it.
"""

from __future__ import annotations

import subprocess
import sys

from api_server import served, until, write_recording

SECONDS = 24


def test_every_answer_to_generated_requests_is_what_the_page_says(tmp_path):
    file = write_recording(tmp_path / "feed.frames", 3)
    with served(tmp_path, feed="replay", replay_file=file, replay_speed=0) as api:
        write_recording(api.recordings / "sample.frames", 1)
        until(lambda: api.get("/api/metrics/latest")["symbols"])
        command = [
            sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json",
            "--exclude-path", "/api/stream", "--checks", "all", "--max-examples", "12",
            "--seed", "7", "--no-shrink", "--no-color", "--continue-on-failure",
            "--suppress-health-check", "too_slow", "--max-time", str(SECONDS),
        ]  # fmt: skip
        run = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS + 60, check=False
        )
        assert run.returncode == 0, run.stdout[-6_000:] + run.stderr[-2_000:]
        assert "No issues found" in run.stdout
        assert api.parts.figures.requests.total() > 50
        assert not [key for key in api.parts.figures.requests if key[1] == "5xx"]
