"""Prometheus, Alertmanager and Grafana with the project's own configuration.

up     in containers: starts them anew, waits until they are healthy, prints the addresses
down   ends the containers; their data stays
logs   shows and follows the containers' logs
local  without Docker: a Prometheus found on this machine, and an Alertmanager if one is found too
       and ALERT_WEBHOOK_URL is set; Ctrl-C ends them
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from endpoints import Endpoints, Listener, ProblemError, obstacle
from infra_docker import Docker, find_docker
from infra_files import lay_out
from infra_settings import PORT_KEYS, Settings, SettingsError, load_settings
from run_lock import ROOT, RUN_DIR

HEALTHY_WITHIN_S = 300
SOMEBODY_IS_TOLD = "Alerts are sent to ALERT_WEBHOOK_URL."
NOBODY_IS_TOLD = "Alerts are shown, and sent to nobody"
NOBODY_IS_NAMED = "set ALERT_WEBHOOK_URL in .env"


def up() -> int:
    """Start the containers anew, so that what has changed holds, and wait until all are healthy."""
    endpoints, settings = Endpoints(), load_settings()
    docker = _docker(settings)
    if docker.compose("down") != 0:
        raise ProblemError("the old containers do not end: see above")
    _require_free(settings, *PORT_KEYS)
    alertmanager = "127.0.0.1" if docker.is_native else "alertmanager"
    lay_out(
        docker.folder,
        sidecar=docker.reaches(endpoints.sidecar_url).removeprefix("http://"),
        market=docker.reaches(endpoints.market_url).removeprefix("http://"),
        alertmanager=f"{alertmanager}:{settings.alertmanager_port}",
        webhook_url=docker.reaches(_webhook(settings)),
    )
    if docker.compose("up", "--detach", "--wait", f"--wait-timeout={HEALTHY_WITHIN_S}") != 0:
        raise ProblemError(
            "not all are healthy: make infra-logs says why, make infra-down ends them"
        )
    _announce(endpoints, settings)
    return 0


def _docker(settings: Settings) -> Docker:
    return find_docker(settings, RUN_DIR / "infra")


def _require_free(settings: Settings, *keys: str) -> None:
    for key in keys:
        if problem := obstacle(Listener("127.0.0.1", settings.port(key), key, key)):
            raise ProblemError(problem.cure)


def _announce(endpoints: Endpoints, settings: Settings) -> None:
    grafana, prometheus, alertmanager = (
        f"http://{settings.address(key)}"
        for key in ("GRAFANA_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT")
    )
    files = (ROOT / "infra/grafana/dashboards").glob("*.json")
    boards = [json.loads(path.read_text("utf-8")) for path in files]
    links = sorted(f"    {board['title']:<19}{grafana}/d/{board['uid']}\n" for board in boards)
    told = SOMEBODY_IS_TOLD if _webhook(settings) else f"{NOBODY_IS_TOLD}: {NOBODY_IS_NAMED}"
    print(
        f"\n  Prometheus, Alertmanager and Grafana are up.\n\n{''.join(links)}"
        f"    Prometheus         {prometheus}\n"
        f"    Alertmanager       {alertmanager}\n"
        f"{_scraped(endpoints)}\n  {told}\n"
        f"  make infra-logs follows them; make infra-down ends them and keeps their data.\n"
    )


def _scraped(endpoints: Endpoints) -> str:
    urls = (endpoints.sidecar_url, endpoints.market_url)
    return "".join(f"    Scraped            {url}/metrics\n" for url in urls)


def _webhook(settings: Settings) -> str:
    return settings.alert_webhook_url.get_secret_value()


def down() -> int:
    """End the containers; the volumes with their data stay."""
    return _docker(load_settings()).compose("down")


def logs() -> int:
    """Show the end of the containers' logs, and follow them until Ctrl-C."""
    try:
        return _docker(load_settings()).compose("logs", "--follow", "--tail=200")
    except KeyboardInterrupt:
        return 0


def local() -> int:
    """Run Prometheus without Docker, and an Alertmanager if there is one and somebody to tell."""
    endpoints, settings = Endpoints(), load_settings()
    folder = RUN_DIR / "infra-local"
    prometheus, alertmanager = _prometheus(settings, folder), _alertmanager(settings, folder)
    lay_out(
        folder,
        sidecar=endpoints.sidecar_url.removeprefix("http://"),
        market=endpoints.market_url.removeprefix("http://"),
        alertmanager=settings.address("ALERTMANAGER_PORT") if alertmanager else "",
        webhook_url=_webhook(settings),
    )
    address = f"http://{settings.address('PROMETHEUS_PORT')}"
    cure = "apt-get install prometheus-alertmanager" if _webhook(settings) else NOBODY_IS_NAMED
    told = SOMEBODY_IS_TOLD if alertmanager else f"{NOBODY_IS_TOLD}: {cure}"
    commands = [prometheus, alertmanager] if alertmanager else [prometheus]
    return _run(
        commands,
        f"\n    Live page          {endpoints.desk_url}/live\n"
        f"    Prometheus         {address}\n"
        f"    Alerts             {address}/alerts\n"
        f"{_scraped(endpoints)}\n  {told}\n  Ctrl-C ends it.\n",
    )


def _prometheus(settings: Settings, folder: Path) -> list[str]:
    """The command; raises ProblemError when it cannot be run."""
    program = shutil.which("prometheus")
    if program is None:
        raise ProblemError("there is no prometheus here: apt-get install prometheus")
    return [
        program,
        f"--config.file={folder / 'prometheus/prometheus.yml'}",
        f"--storage.tsdb.path={RUN_DIR / 'prometheus-data'}",
        "--storage.tsdb.retention.time=15d",
        "--storage.tsdb.retention.size=2GB",
        *_web(settings, "PROMETHEUS_PORT"),
    ]


def _alertmanager(settings: Settings, folder: Path) -> list[str]:
    """The command; empty when it is not here or there is nobody to tell."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None or not _webhook(settings):
        return []
    return [
        program,
        f"--config.file={folder / 'alertmanager/alertmanager.yml'}",
        f"--storage.path={RUN_DIR / 'alertmanager-data'}",
        "--cluster.listen-address=",
        *_web(settings, "ALERTMANAGER_PORT"),
    ]


def _web(settings: Settings, key: str) -> list[str]:
    _require_free(settings, key)
    address = settings.address(key)
    return [
        f"--web.listen-address={address}",
        f"--web.external-url=http://{address}",
        "--log.level=warn",
    ]


def _run(commands: list[list[str]], announcement: str) -> int:
    """Run programs until this process is told to end or one of them ends, and then end them all."""
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))
    programs: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for command in commands:
            programs[Path(command[0]).name] = subprocess.Popen(command)
        print(announcement, flush=True)
        while not asked and all(program.poll() is None for program in programs.values()):
            time.sleep(0.2)
        ended = [name for name, program in programs.items() if program.poll() is not None]
    finally:
        for program in programs.values():
            program.terminate()
        for program in programs.values():
            program.wait()
    if not asked:
        raise ProblemError(f"{ended[0]} has ended by itself: see above")
    return 0


def main() -> int:
    """Run one command; 1 with one line when something stands in the way."""
    commands: dict[str, Callable[[], int]] = {"up": up, "down": down, "logs": logs, "local": local}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=commands)
    os.chdir(ROOT)
    try:
        return commands[parser.parse_args().command]()
    except (ProblemError, SettingsError) as problem:
        print(f"infra: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
