"""What Prometheus, Alertmanager and Grafana read: a copy of infra/, with what the settings say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from endpoints import ProblemError
from run_lock import ROOT


def lay_out(
    folder: Path, *, sidecar: str, market: str, alertmanager: str = "", webhook_url: str = ""
) -> None:
    """Write the folder anew, with a folder for each service in it.

    ``sidecar``, ``market`` (the engine) and ``alertmanager`` are ``host:port`` as Prometheus
    reaches them; without an alertmanager it tells nobody. Every user may read what is inside, for
    each container has one of its own. No other user of this machine may enter the folder:
    ``webhook_url`` is a secret.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700, parents=True)
        for name in ("prometheus", "alertmanager", "grafana"):
            not_tests = shutil.ignore_patterns("tests")
            shutil.copytree(ROOT / "infra" / name, folder / name, ignore=not_tests)
        _write_targets(
            folder / "prometheus/targets",
            sidecar=sidecar,
            market=market,
            alertmanager=alertmanager,
        )
        _add_webhook(folder / "alertmanager/alertmanager.yml", webhook_url)
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
    except (OSError, shutil.Error) as error:
        raise ProblemError(
            f"{folder} cannot be written ({error}): set RUN_DIR to a folder that can be"
        ) from None


def _write_targets(folder: Path, **addresses: str) -> None:
    folder.mkdir()
    for name, address in addresses.items():
        if address:
            (folder / f"{name}.json").write_text(json.dumps([{"targets": [address]}]))


def _add_webhook(path: Path, url: str) -> None:
    if url:
        config = yaml.safe_load(path.read_text("utf-8"))
        (receiver,) = (one for one in config["receivers"] if one["name"] == "webhook")
        receiver["webhook_configs"] = [{"url": url, "send_resolved": True}]
        path.write_text(yaml.safe_dump(config), "utf-8")
