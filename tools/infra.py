"""``make infra-local``: a Prometheus found on this machine, with the project's own rules.

Copies infra/prometheus into RUN_DIR, writes the scrape target from the settings, and becomes
Prometheus: Ctrl-C ends it. Its data stays in RUN_DIR/prometheus-data.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from endpoints import Endpoints, Listener, ProblemError, obstacle
from run_lock import ROOT, RUN_DIR

PORT_KEY = "PROMETHEUS_PORT"


def prepare(folder: Path, targets: dict[str, str]) -> Path:
    """Lay out a folder for Prometheus: its configuration, its rules, a file for each target."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "infra/prometheus", folder, ignore=shutil.ignore_patterns("tests"))
    (folder / "targets").mkdir()
    for name, address in targets.items():
        (folder / "targets" / f"{name}.json").write_text(json.dumps([{"targets": [address]}]))
    return folder / "prometheus.yml"


def local() -> None:
    """Run Prometheus in the place of this process."""
    program = shutil.which("prometheus")
    if program is None:
        raise ProblemError("no prometheus here: apt-get install prometheus")
    port = int(os.environ.get(PORT_KEY) or 9090)
    if problem := obstacle(Listener("127.0.0.1", port, PORT_KEY, PORT_KEY)):
        raise ProblemError(problem.cure)
    sidecar = Endpoints().sidecar_url.removeprefix("http://")
    config = prepare(RUN_DIR / "prometheus", {"sidecar": sidecar})
    print(
        f"\n  Prometheus  http://127.0.0.1:{port}\n  scrapes     {sidecar}\n\n  Ctrl-C ends it.\n"
    )
    sys.stdout.flush()
    os.execv(  # noqa: S606 - Prometheus itself is what should run here
        program,
        [
            program,
            f"--config.file={config}",
            f"--storage.tsdb.path={RUN_DIR / 'prometheus-data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ],
    )


def main() -> int:
    """Run; 1 with one line when something stands in the way."""
    os.chdir(ROOT)
    try:
        local()
    except ProblemError as problem:
        print(f"infra: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
