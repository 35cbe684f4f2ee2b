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

from endpoints import Endpoints, Listener, ProblemError, obstacle
from infra_docker import find_docker
from infra_settings import Settings as InfraSettings
from infra_settings import SettingsError, load_settings
from run_lock import ROOT, RUN_DIR, running

PREFIXES = ("WEBAPP_", "SIDECAR_", "MARKET_", "GRAFANA_", "PROMETHEUS_", "ALERT")


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
        load_settings()
        is_up = running() is not None
    except (ProblemError, SettingsError) as problem:
        return [*findings, Finding(False, "settings", str(problem))]
    findings.append(Finding(True, "settings", ".env" if Path(".env").exists() else "defaults"))
    findings += _unknown_keys(endpoints)
    findings += [_port(listener, is_up=is_up) for listener in endpoints.listeners()]
    findings += [
        _program("prometheus", "apt-get install prometheus", "make infra-local and make test"),
        _program(
            "prometheus-alertmanager",
            "apt-get install prometheus-alertmanager",
            "make infra-local, to send alerts, and make test",
        ),
        _docker(),
        _program("docker-compose", "apt-get install docker-compose", "make test"),
        _program("chromium", "apt-get install chromium", "make test in a real browser"),
    ]
    return findings


def _unknown_keys(endpoints: Endpoints) -> list[Finding]:
    """Keys that look like ours and that nobody reads: most likely misspelt."""
    known = {"SIDECAR_URL", "MARKET_URL"}
    known |= {str(field.validation_alias) for field in InfraSettings.model_fields.values()}
    for prefix, settings in (
        ("SIDECAR_", endpoints.sidecar),
        ("WEBAPP_", endpoints.desk),
        ("MARKET_", endpoints.market),
    ):
        known |= {f"{prefix}{name}".upper() for name in type(settings).model_fields}
    lines = Path(".env").read_text("utf-8").splitlines() if Path(".env").exists() else []
    keys = {line.partition("=")[0].removeprefix("export ").strip() for line in lines}
    mine = {key for key in keys | set(os.environ) if key.startswith(PREFIXES)}
    return [
        Finding(False, key, "is read by nobody: is it misspelt? See .env.sample", needed=False)
        for key in sorted(mine - known)
    ]


def _port(listener: Listener, *, is_up: bool) -> Finding:
    what = f"port {listener.port} ({listener.port_key})"
    problem = obstacle(listener)
    if problem is None:
        return Finding(True, what, "free")
    if is_up and problem.is_taken:
        return Finding(True, what, "in use, the apps are up")
    return Finding(False, what, problem.cure)


def _program(name: str, cure: str, use: str) -> Finding:
    path = shutil.which(name)
    return Finding(path is not None, name, path or f"not here; for {use}: {cure}", needed=False)


def _docker() -> Finding:
    what = "docker"
    try:
        find_docker(load_settings(), RUN_DIR / "infra")
    except (ProblemError, SettingsError) as problem:
        return Finding(False, what, f"for make infra-up: {problem}", needed=False)
    return Finding(True, what, "its engine answers")


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
