"""The Docker that runs Prometheus, Alertmanager and Grafana, and the way to its containers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from endpoints import ProblemError
from infra_settings import PORT_KEYS, Settings
from run_lock import ROOT

PROJECT = "trade-telemetry"
CURE = "or run make infra-local, which needs no Docker"


class Docker(NamedTuple):
    """A Docker that answers; ``is_native`` when its containers can share this machine's network.

    ``folder`` is what is mounted into them.
    """

    is_native: bool
    settings: Settings
    folder: Path

    def compose(self, *arguments: str) -> int:
        """Run a command of ``docker compose`` on our files, and return its exit code."""
        kind = "linux" if self.is_native else "desktop"
        files = ("docker-compose.infra.yml", f"docker-compose.infra.{kind}.yml")
        command = ["docker", "compose", f"--project-name={PROJECT}", f"--env-file={os.devnull}"]
        command += [f"--file={ROOT / file}" for file in files]
        environment = os.environ | self._environment()
        return subprocess.run([*command, *arguments], env=environment, check=False).returncode

    def _environment(self) -> dict[str, str]:
        password = self.settings.grafana_admin_password.get_secret_value()
        return {
            **{key: str(self.settings.port(key)) for key in PORT_KEYS},
            "INFRA_DIR": str(self.folder),
            "INFRA_LISTEN": "127.0.0.1" if self.is_native else "0.0.0.0",  # noqa: S104 - in a container
            "GRAFANA_ADMIN_PASSWORD": password,
            "GRAFANA_WITHOUT_ADMIN": "false" if password else "true",
        }

    def reaches(self, url: str) -> str:
        """Write the address of something on this machine as a container reaches it."""
        if self.is_native:
            return url
        loopback = r"^(https?://(?:[^/@]*@)?)(?:localhost|127(?:\.\d+){3}|\[::1\])(?=[:/?#]|$)"
        return re.sub(loopback, r"\1host.docker.internal", url)


def find_docker(settings: Settings, folder: Path) -> Docker:
    """Ask for a Docker that can run our containers; raises ProblemError with the cure."""
    if shutil.which("docker") is None:
        raise ProblemError(f"there is no Docker here: install it, {CURE}")
    if _ask("compose", "version").returncode != 0:
        raise ProblemError(f"this Docker cannot compose: install docker-compose-plugin, {CURE}")
    info = _ask("info", "--format={{.OperatingSystem}} {{.SecurityOptions}}")
    if "permission denied" in info.stderr:
        raise ProblemError(f"this user may not use Docker: join the group docker, {CURE}")
    if info.returncode != 0:
        raise ProblemError(f"the Docker engine does not answer: start it, {CURE}")
    is_native = sys.platform == "linux" and "Docker Desktop" not in info.stdout
    if is_native and "rootless" in info.stdout:
        raise ProblemError(f"a rootless Docker cannot reach this machine: use another, {CURE}")
    return Docker(is_native, settings, folder)


def _ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["docker", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", "")
