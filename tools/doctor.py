"""``make doctor``: what this machine has, what is missing, and the cure for each.

Exits with 1 if something is missing without which the apps cannot run.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from apps import ROOT, Endpoints, ProblemError, _answers, _is_taken

PREFIXES = ("WEBAPP_", "SIDECAR_", "MARKET_")


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``needed`` findings that are not ok fail the command."""

    ok: bool
    what: str
    found: str
    needed: bool = True


def examine() -> list[Finding]:
    """Look at everything; never changes anything."""
    version = platform.python_version()
    findings = [Finding(sys.version_info >= (3, 11), "Python 3.11 or newer", version)]
    try:
        endpoints = Endpoints()
    except ProblemError as problem:
        return [*findings, Finding(False, "settings", str(problem))]
    findings.append(Finding(True, "settings", ".env" if Path(".env").exists() else "defaults"))
    findings += _unknown_keys(endpoints)
    findings += [_port(endpoints, *port) for port in endpoints.ports()]
    findings += [
        _program("prometheus", "apt-get install prometheus", "make test against a real Prometheus"),
        _program("chromium", "apt-get install chromium", "make test in a real browser"),
        _program("docker", "install Docker Engine or Docker Desktop", "Grafana in containers"),
    ]
    return findings


def _unknown_keys(endpoints: Endpoints) -> list[Finding]:
    """Keys that look like ours and that nobody reads: most likely misspelt."""
    known = {"SIDECAR_URL"}
    for prefix, settings in (("SIDECAR_", endpoints.sidecar), ("WEBAPP_", endpoints.desk)):
        known |= {f"{prefix}{name}".upper() for name in type(settings).model_fields}
    lines = Path(".env").read_text().splitlines() if Path(".env").exists() else []
    keys = {line.partition("=")[0].removeprefix("export ").strip() for line in lines}
    mine = {key for key in keys | set(os.environ) if key.startswith(PREFIXES)}
    return [
        Finding(False, key, "is read by nobody: is it misspelt? See .env.sample", needed=False)
        for key in sorted(mine - known)
    ]


def _port(endpoints: Endpoints, key: str, host: str, port: int) -> Finding:
    if not _is_taken(host, port):
        return Finding(True, f"port {port} ({key})", "free")
    if any(_answers(url) for url in endpoints.health_urls.values()):
        return Finding(True, f"port {port} ({key})", "in use, the apps are up")
    return Finding(False, f"port {port} ({key})", f"taken: stop what listens there, or set {key}")


def _program(name: str, cure: str, use: str) -> Finding:
    path = shutil.which(name)
    return Finding(path is not None, name, path or f"not here; for {use}: {cure}", needed=False)


def main() -> int:
    """Print the report."""
    os.chdir(ROOT)
    findings = examine()
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = "ok " if finding.ok else "NO " if finding.needed else "-- "
        print(f"  {mark} {finding.what:<{width}}  {finding.found}")
    return int(any(finding.needed and not finding.ok for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
