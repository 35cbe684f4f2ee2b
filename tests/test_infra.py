"""What `make infra-up` and `make infra-local` start.

No engine runs here, so a fake stands for Docker: it notes how it is called, and has the real
docker-compose resolve the files as an engine would be given them. What is in the containers runs
for real, from those very commands and folders, as far as Debian has the program: Prometheus and
Alertmanager, not Grafana.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
import yaml
from tests.parts import ENVIRONMENT, ROOT, Apps, Prometheus, fetch, free_port, need, until

GRAFANA = ROOT / "infra/grafana"
ALERTMANAGER = ROOT / "infra/alertmanager/alertmanager.yml"
NATIVE = "Debian GNU/Linux 12 (bookworm) [name=seccomp,profile=builtin name=cgroupns]"
DESKTOP = "Docker Desktop [name=seccomp,profile=unconfined]"
PORT_KEYS = ("PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")
PASSWORD = "pass $word $HOME'\""
FAKE_DOCKER = f"""#!{sys.executable}
import os, subprocess, sys
from pathlib import Path
arguments = sys.argv[1:]
notes = Path(os.environ["FAKE_DOCKER"])
with (notes / "calls").open("a") as calls:
    print(*arguments, file=calls)
if arguments[0] == "info":
    print(os.environ["FAKE_INFO"])
if "up" in arguments:
    ours = [one for one in arguments[: arguments.index("up")] if not one.startswith("--env-file")]
    resolved = subprocess.run(["docker-compose", *ours[1:], "config"], stdout=subprocess.PIPE)
    (notes / "resolved.yml").write_bytes(resolved.stdout)
if os.environ.get("FAKE_FAILS") in arguments:
    sys.exit(os.environ.get("FAKE_ERROR", 1))
"""


def environment_with(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command: free ports, a folder of its own, and a fake docker."""
    need("docker-compose", package="docker-compose")
    docker = folder / "bin/docker"
    docker.parent.mkdir(parents=True, exist_ok=True)
    docker.write_text(FAKE_DOCKER)
    docker.chmod(0o755)
    own = {"PATH": f"{docker.parent}:{os.environ['PATH']}", "FAKE_INFO": NATIVE}
    own |= {"FAKE_DOCKER": str(folder), "RUN_DIR": str(folder)}
    apps = ("SIDECAR_HTTP_PORT", "MARKET_HTTP_PORT")
    ports = {key: str(free_port()) for key in (*PORT_KEYS, *apps)}
    return ENVIRONMENT | own | ports | more


def infra(
    *command: str, umask: int = 0o077, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tools/infra.py", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        umask=umask,
    )


def complaint(result: subprocess.CompletedProcess[str]) -> str:
    """The one line with which it failed, and nothing else."""
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("infra: ")
    return line.removeprefix("infra: ")


class Started(NamedTuple):
    """A run of `infra.py up`: its settings, what it said, and what an engine would have started."""

    environment: dict[str, str]
    output: str
    services: dict[str, dict[str, Any]]
    volumes: dict[str, Any]

    def port(self, key: str) -> str:
        return self.environment[key]

    def calls(self) -> list[str]:
        return (Path(self.environment["FAKE_DOCKER"]) / "calls").read_text().splitlines()

    def mounts(self, service: str) -> dict[str, str]:
        """The folders of this machine and the volumes, by where the container finds them."""
        parts = (volume.split(":") for volume in self.services[service]["volumes"])
        return {target: source for source, target, _ in parts}

    def here(self, service: str, path: str) -> Path:
        """The file of this machine that a container finds at ``path``."""
        mounts = self.mounts(service)
        target = next(target for target in mounts if Path(path).is_relative_to(target))
        return Path(mounts[target]) / Path(path).relative_to(target)


def start(folder: Path, umask: int = 0o077, **more: str) -> Started:
    environment = environment_with(folder, **more)
    result = infra("up", umask=umask, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    resolved = yaml.safe_load((folder / "resolved.yml").read_text())
    return Started(environment, result.stdout, resolved["services"], resolved["volumes"])


def require_linux() -> None:
    if sys.platform != "linux":
        pytest.skip("needs Linux: elsewhere no container shares the host's network")


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Started:
    """Docker on Linux, nothing set but ports, and a user who keeps new files private."""
    require_linux()
    return start(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def desktop(tmp_path_factory: pytest.TempPathFactory) -> Started:
    """Docker Desktop, a password and a webhook, and a user who lets all read new files."""
    return start(
        tmp_path_factory.mktemp("desktop"),
        umask=0,
        FAKE_INFO=DESKTOP,
        GRAFANA_ADMIN_PASSWORD=PASSWORD,
        ALERT_WEBHOOK_URL="http://me:secret@127.0.0.1:9999/hook?token=x",
    )


@pytest.fixture
def runnable(tmp_path: Path) -> Started:
    """Docker on Linux, on ports that were free a moment ago."""
    require_linux()
    return start(tmp_path)


@pytest.fixture(params=["native", "desktop"])
def started(request: pytest.FixtureRequest) -> Started:
    return request.getfixturevalue(request.param)


# --- the compose files


def test_no_file_names_a_version_of_the_form():
    for path in ROOT.glob("docker-compose*"):
        assert "version" not in yaml.safe_load(path.read_text()), path


def test_images_are_pinned_to_one_release(started):
    images = {name: service["image"] for name, service in started.services.items()}
    assert set(images) == {"prometheus", "alertmanager", "grafana"}
    for image in images.values():
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", image), image


def test_on_docker_desktop_ports_are_published_on_loopback_only(desktop):
    published = {name: service["ports"] for name, service in desktop.services.items()}
    assert published == {
        name.partition("_")[0].lower(): [f"127.0.0.1:{desktop.port(name)}:{desktop.port(name)}/tcp"]
        for name in PORT_KEYS
    }


def test_on_docker_desktop_no_container_shares_the_hosts_network(desktop):
    for service in desktop.services.values():
        assert "network_mode" not in service


def test_on_linux_containers_share_the_hosts_network_and_publish_nothing(native):
    for service in native.services.values():
        assert service["network_mode"] == "host"
        assert "ports" not in service


def test_on_linux_grafana_listens_on_loopback_only(native):
    environment = native.services["grafana"]["environment"]
    assert environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert environment["GF_SERVER_HTTP_PORT"] == native.port("GRAFANA_PORT")


def test_on_docker_desktop_services_listen_where_ports_are_published_to(desktop):
    for service in ("prometheus", "alertmanager"):
        port = desktop.port(f"{service.upper()}_PORT")
        assert f"--web.listen-address=0.0.0.0:{port}" in desktop.services[service]["command"]
    assert desktop.services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "0.0.0.0"


def test_files_that_are_used_without_our_tool_open_nothing_and_make_no_account():
    compose = need("docker-compose", package="docker-compose")
    for kind in ("linux", "desktop"):
        files = [f"--file=docker-compose.infra{part}.yml" for part in ("", f".{kind}")]
        result = subprocess.run(
            [compose, *files, "config"], cwd=ROOT, env=ENVIRONMENT, capture_output=True, check=True
        )
        grafana = yaml.safe_load(result.stdout)["services"]["grafana"]["environment"]
        assert grafana["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
        assert b"0.0.0.0" not in result.stdout


def test_each_service_has_a_health_check_of_the_port_where_it_listens(started):
    for name, service in started.services.items():
        check = service["healthcheck"]
        assert {"test", "interval", "timeout", "retries", "start_period"} <= set(check)
        assert f"http://127.0.0.1:{started.port(f'{name.upper()}_PORT')}" in " ".join(check["test"])


def test_grafana_waits_for_a_healthy_prometheus(started):
    assert started.services["grafana"]["depends_on"] == {
        "prometheus": {"condition": "service_healthy"}
    }


def test_each_service_starts_again_and_keeps_a_bounded_log(started):
    for service in started.services.values():
        assert service["restart"] == "unless-stopped"
        assert service["logging"]["driver"] == "json-file"
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}


def test_no_service_may_gain_rights(started):
    for service in started.services.values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_configuration_is_mounted_read_only_and_data_is_in_a_named_volume(started):
    named = set()
    for service in started.services.values():
        for volume in service["volumes"]:
            source, _, mode = volume.split(":")
            if source.startswith("/"):
                assert "ro" in mode.split(",")
                assert Path(source).is_dir()
                assert any(Path(source).rglob("*.*"))
            else:
                named.add(source)
    assert named == set(started.volumes) == {f"{name}-data" for name in started.services}


def test_whoever_a_container_runs_as_reads_its_files_and_no_other_user_here_does(started):
    folder = Path(started.environment["RUN_DIR"]) / "infra"
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_data_is_kept_within_a_time_and_a_size(started):
    flags = dict(flag.split("=") for flag in started.services["prometheus"]["command"])
    assert flags["--storage.tsdb.retention.time"] == "15d"
    assert flags["--storage.tsdb.retention.size"] == "2GB"


# --- Grafana


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GF_DASHBOARDS_MIN_REFRESH_INTERVAL", "1s"),
        ("GF_AUTH_ANONYMOUS_ENABLED", "true"),
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
        ("GF_USERS_ALLOW_SIGN_UP", "false"),
        ("GF_ANALYTICS_REPORTING_ENABLED", "false"),
        ("GF_ANALYTICS_CHECK_FOR_UPDATES", "false"),
        ("GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES", "false"),
        ("GF_NEWS_NEWS_FEED_ENABLED", "false"),
        ("GF_PLUGINS_PREINSTALL_DISABLED", "true"),
        ("GF_PLUGINS_PREINSTALL_AUTO_UPDATE", "false"),
    ],
)
def test_grafana_shows_boards_to_everybody_and_calls_nobody(started, key, value):
    assert started.services["grafana"]["environment"][key] == value


def test_without_a_password_grafana_has_no_account(native):
    environment = native.services["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_SECURITY_ADMIN_PASSWORD"] == ""


def test_with_a_password_grafana_has_an_account_with_just_that_password(desktop):
    environment = desktop.services["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "false"
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].replace("$$", "$") == PASSWORD
    assert PASSWORD not in desktop.output


def test_the_data_source_is_the_one_that_the_boards_name():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert (source["type"], source["uid"], source["access"]) == (
        "prometheus",
        "prometheus",
        "proxy",
    )
    assert source["isDefault"] is True
    assert source["editable"] is False
    assert source["jsonData"]["timeInterval"] == "1s"
    assert source["url"] == "$PROMETHEUS_URL"


@pytest.mark.parametrize(("kind", "host"), [("native", "127.0.0.1"), ("desktop", "prometheus")])
def test_grafana_finds_prometheus(kind, host, request):
    started = request.getfixturevalue(kind)
    address = started.services["grafana"]["environment"]["PROMETHEUS_URL"]
    assert address == f"http://{host}:{started.port('PROMETHEUS_PORT')}"


def test_boards_are_files_that_nobody_changes_or_deletes_in_grafana(started):
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/boards.yml").read_text())[
        "providers"
    ]
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["options"]["path"] in started.mounts("grafana")


def test_the_home_page_is_a_board_that_is_mounted(started):
    home = started.services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert json.loads(started.here("grafana", home).read_text())["uid"] == "trading-telemetry"


def test_provisioning_is_mounted_where_grafana_looks_for_it(started):
    folder = started.here("grafana", "/etc/grafana/provisioning")
    for name in ("datasources/prometheus.yml", "dashboards/boards.yml"):
        assert (folder / name).read_bytes() == (GRAFANA / "provisioning" / name).read_bytes()


# --- Prometheus


def configuration(started: Started) -> Path:
    return started.here("prometheus", "/etc/prometheus/prometheus.yml")


def targets(started: Started, name: str) -> list[str]:
    (group,) = json.loads((configuration(started).parent / f"targets/{name}.json").read_text())
    return group["targets"]


def test_prometheus_takes_the_configuration_that_is_mounted(started):
    need("promtool", package="prometheus")
    command = ["promtool", "check", "config", str(configuration(started))]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "WARNING" not in result.stdout
    assert "rules found" in result.stdout


def test_each_job_scrapes_every_second_and_forgives_no_wrong_content_type():
    config = yaml.safe_load((ROOT / "infra/prometheus/prometheus.yml").read_text())
    assert config["global"] == {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "1s",
    }
    jobs = config["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["metrics-sidecar", "market-engine"]
    files = [each["files"] for job in jobs for each in job["file_sd_configs"]]
    assert files == [["targets/sidecar.json"], ["targets/market.json"]]
    assert all(set(job) == {"job_name", "file_sd_configs"} for job in jobs)


@pytest.mark.parametrize(
    ("kind", "host"), [("native", "127.0.0.1"), ("desktop", "host.docker.internal")]
)
def test_the_one_target_of_a_job_is_the_app_as_the_container_reaches_it(kind, host, request):
    started = request.getfixturevalue(kind)
    assert targets(started, "sidecar") == [f"{host}:{started.port('SIDECAR_HTTP_PORT')}"]
    assert targets(started, "market") == [f"{host}:{started.port('MARKET_HTTP_PORT')}"]


@pytest.mark.parametrize(("kind", "host"), [("native", "127.0.0.1"), ("desktop", "alertmanager")])
def test_prometheus_tells_alertmanager(kind, host, request):
    started = request.getfixturevalue(kind)
    assert targets(started, "alertmanager") == [f"{host}:{started.port('ALERTMANAGER_PORT')}"]


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("0.0.0.0", "host.docker.internal"),
        ("::1", "host.docker.internal"),
    ],
)
def test_docker_desktop_reaches_an_app_on_any_address(tmp_path, host, reached):
    hosts = {"SIDECAR_HTTP_HOST": host, "MARKET_HTTP_HOST": host}
    started = start(tmp_path, FAKE_INFO=DESKTOP, **hosts)
    assert targets(started, "sidecar") == [f"{reached}:{started.port('SIDECAR_HTTP_PORT')}"]
    assert targets(started, "market") == [f"{reached}:{started.port('MARKET_HTTP_PORT')}"]


def test_prometheus_alone_tells_nobody_of_an_alert_and_complains_of_nothing(tmp_path):
    program = need("prometheus", package="prometheus")
    prometheus = Prometheus(program, tmp_path, f"http://127.0.0.1:{free_port()}")
    try:
        until(lambda: "SidecarDown" in prometheus.firing(), what="an alert")
        known = json.loads(fetch(f"{prometheus.url}/api/v1/alertmanagers"))["data"]
        assert known["activeAlertmanagers"] == []
        assert not re.search("level=(warn|error)", prometheus.log_path.read_text())
    finally:
        prometheus.stop()


PROGRAMS = {
    "prometheus": ["prometheus"],
    "alertmanager": ["prometheus-alertmanager", "alertmanager"],
}


@contextlib.contextmanager
def running(started: Started, service: str) -> Iterator[psutil.Process]:
    """Debian's program, with the command of the container, and the container's files."""
    program = need(*PROGRAMS[service], package=PROGRAMS[service][0])
    command = started.services[service]["command"]
    for target, source in started.mounts(service).items():
        here = source if source.startswith("/") else f"{started.environment['RUN_DIR']}/{source}"
        command = [flag.replace(f"={target}", f"={here}") for flag in command]
    with subprocess.Popen([program, *command], stderr=subprocess.DEVNULL) as process:
        try:
            port = started.port(f"{service.upper()}_PORT")
            until(lambda: fetch(f"http://127.0.0.1:{port}/-/ready"), what=service)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


@pytest.mark.parametrize("service", PROGRAMS)
def test_on_linux_the_program_takes_its_flags_and_listens_on_loopback_only(runnable, service):
    with running(runnable, service) as process:
        sockets = process.net_connections("inet")
    listening = {one.laddr for one in sockets if one.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", int(runnable.port(f"{service.upper()}_PORT")))}


def test_alertmanagers_health_check_tells_up_from_down(runnable):
    need("amtool", package="prometheus-alertmanager")
    kind, *check = runnable.services["alertmanager"]["healthcheck"]["test"]
    assert kind == "CMD"
    with running(runnable, "alertmanager"):
        assert subprocess.run(check, capture_output=True, check=False).returncode == 0
    assert subprocess.run(check, capture_output=True, check=False).returncode != 0


# --- Alertmanager


def amtool(*arguments: str) -> str:
    program = need("amtool", package="prometheus-alertmanager")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_alertmanager_takes_the_configuration_that_is_mounted(started):
    path = started.here("alertmanager", "/etc/alertmanager/alertmanager.yml")
    assert "SUCCESS" in amtool("check-config", str(path))


@pytest.mark.parametrize(
    ("severity", "receiver"), [("critical", "webhook"), ("warning", "webhook"), ("info", "shown")]
)
def test_somebody_is_told_of_what_needs_doing_and_of_nothing_else(severity, receiver):
    route = ("config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}")
    assert amtool(*route) == receiver


def test_without_a_webhook_nobody_is_told(native):
    path = native.here("alertmanager", "/etc/alertmanager/alertmanager.yml")
    assert path.read_bytes() == ALERTMANAGER.read_bytes()
    receivers = yaml.safe_load(path.read_text())["receivers"]
    assert [set(receiver) for receiver in receivers] == [{"name"}, {"name"}]


def test_a_webhook_on_this_machine_is_reached_from_docker_desktop_too(desktop):
    path = desktop.here("alertmanager", "/etc/alertmanager/alertmanager.yml")
    (webhook, shown) = yaml.safe_load(path.read_text())["receivers"]
    assert webhook["webhook_configs"] == [
        {"url": "http://me:secret@host.docker.internal:9999/hook?token=x", "send_resolved": True}
    ]
    assert shown == {"name": "shown"}


def test_the_address_of_the_webhook_is_shown_nowhere(desktop):
    assert "secret" not in desktop.output
    assert not any("secret" in call for call in desktop.calls())


def test_every_alert_that_the_routes_name_is_one_of_ours():
    rules = (ROOT / "infra/prometheus/rules").glob("*.yml")
    alerts = set(re.findall(r"- alert: (\w+)", "".join(path.read_text() for path in rules)))
    named = set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+", re.sub("#.*", "", ALERTMANAGER.read_text())))
    assert named
    assert named <= alerts


ECHOES = frozenset({"PublisherSilent", "DeliveryStuck", "DeliveryLagHigh", "SidecarSaturated"})
INHIBITED = {
    "SidecarDown": ECHOES,
    "ReceiverStalled": ECHOES,
    "StateNotWritten": ECHOES,
    "SidecarSaturated": {"DeliveryStuck", "DeliveryLagHigh"},
    "MarketClockSkew": {"MarketLagHigh"},
}


@pytest.mark.parametrize("cause", INHIBITED)
def test_the_echo_of_an_alert_on_the_same_instance_is_not_told(runnable, cause):
    others = ECHOES | {"TradesRefused", "EventsLost"}
    if cause.startswith("Market"):
        others = {"MarketLagHigh", "MarketFeedGap"}
    others = others - {cause}
    with running(runnable, "alertmanager"):
        url = f"http://127.0.0.1:{runnable.port('ALERTMANAGER_PORT')}"
        alert = (f"--alertmanager.url={url}", "alert")
        amtool(*alert, "add", cause, "job=metrics-sidecar", "instance=one")
        for other in others:
            amtool(*alert, "add", other, "job=metrics-sidecar", "instance=one")
            amtool(*alert, "add", other, "job=metrics-sidecar", f"instance=apart-{other}")

        def not_told() -> set[tuple[str, str]]:
            found = json.loads(amtool(*alert, "query", "--inhibited", "--output=json"))
            return {(one["labels"]["alertname"], one["labels"]["instance"]) for one in found}

        assert until(not_told, what="inhibition") == {(echo, "one") for echo in INHIBITED[cause]}


class Webhook:
    """A server that keeps what is posted to it: its path, and its body."""

    def __init__(self) -> None:
        posts: list[tuple[str, dict[str, Any]]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                posts.append((self.path, json.loads(self.rfile.read(length))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.posts = posts
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?token=a%20b"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Webhook:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def told(self, alert: str, status: str) -> dict[str, Any] | None:
        """The message that this alert fires or is resolved, once it has come."""
        for path, message in self.posts:
            assert path == "/hook?token=a%20b"
            names = {one["labels"]["alertname"] for one in message["alerts"]}
            if message["status"] == status and names == {alert}:
                return message
        return None


@pytest.fixture
def local(start_apps):
    """Start `make infra-local` on free ports, with no sidecar yet."""
    for program in ("prometheus", "prometheus-alertmanager"):
        need(program, package=program)
    ports = {key: str(free_port()) for key in PORT_KEYS}

    def start(**environment: str) -> Apps:
        apps = start_apps("infra-local", **ports | environment)
        apps.wait_for("Ctrl-C ends it.")
        return apps

    return start


def test_an_alert_reaches_somebody_and_so_does_its_end(local, start_apps):
    with Webhook() as webhook:
        infra = local(ALERT_WEBHOOK_URL=webhook.url)
        message = until(lambda: webhook.told("SidecarDown", "firing"), 60, "the alert")
        (alert,) = message["alerts"]
        assert alert["labels"]["instance"] == infra.sidecar_url.removeprefix("http://")
        prometheus = f"http://127.0.0.1:{infra.environment['PROMETHEUS_PORT']}"
        assert alert["generatorURL"].startswith(prometheus)
        assert alert["annotations"]["runbook_url"].endswith("#sidecardown")
        start_apps("sidecar-up", **infra.environment | {"RUN_DIR": f"{infra.run_dir}-sidecar"})
        until(lambda: webhook.told("SidecarDown", "resolved"), 60, "the end of the alert")
        assert '"value":[' in fetch(f"{prometheus}/api/v1/query?query=trades_total")
        assert webhook.url not in infra.output()
    assert infra.press_ctrl_c() == []


def test_infra_local_says_where_all_is_and_ends_with_one_of_its_programs(local):
    apps = local(ALERT_WEBHOOK_URL="http://127.0.0.1:9/")
    port = apps.environment["PROMETHEUS_PORT"]
    for text in (
        f"{apps.desk_url}/live",
        f"http://127.0.0.1:{port}/alerts",
        f"{apps.sidecar_url}/metrics",
        f"{apps.market_url}/metrics",
        "Alerts are sent to ALERT_WEBHOOK_URL.",
    ):
        assert text in apps.output()
    (alertmanager,) = until(
        lambda: [one for one in apps.family() if "alertmanager" in one.name()], what="Alertmanager"
    )
    alertmanager.kill()
    assert apps.process.wait(30) != 0
    assert "alertmanager has ended by itself" in apps.output()
    assert apps.family() == []


def test_infra_local_without_a_webhook_runs_prometheus_alone_and_says_how_to_be_told(local):
    apps = local()
    assert "Alerts are shown, and sent to nobody: set ALERT_WEBHOOK_URL in .env" in apps.output()
    port = apps.environment["PROMETHEUS_PORT"]
    until(lambda: fetch(f"http://127.0.0.1:{port}/-/ready"), what="Prometheus")
    assert not any("alertmanager" in process.name() for process in apps.family())
    os.killpg(apps.process.pid, signal.SIGTERM)
    apps.process.wait(30)
    assert until(lambda: apps.family() == [], what="the end of every process")


# --- what stands in the way


def test_no_docker_is_one_line_that_names_the_way_without(tmp_path):
    environment = environment_with(tmp_path, PATH=str(tmp_path))
    assert complaint(infra("up", **environment)) == (
        "there is no Docker here: install it, or run make infra-local, which needs no Docker"
    )


@pytest.mark.parametrize(
    ("command", "environment", "cure"),
    [
        (
            "up",
            {"FAKE_FAILS": "version"},
            "this Docker cannot compose: install docker-compose-plugin, ",
        ),
        ("up", {"FAKE_FAILS": "info"}, "the Docker engine does not answer: start it, "),
        ("down", {"FAKE_FAILS": "info"}, "the Docker engine does not answer: start it, "),
        ("logs", {"FAKE_FAILS": "info"}, "the Docker engine does not answer: start it, "),
        (
            "up",
            {"FAKE_FAILS": "info", "FAKE_ERROR": "permission denied while trying to connect"},
            "this user may not use Docker: join the group docker, ",
        ),
        (
            "up",
            {"FAKE_INFO": "Debian GNU/Linux 12 (bookworm) [name=seccomp name=rootless]"},
            "a rootless Docker cannot reach this machine: use another, ",
        ),
    ],
)
def test_a_docker_that_cannot_do_it_is_one_line_with_the_cure(tmp_path, command, environment, cure):
    result = infra(command, **environment_with(tmp_path, **environment))
    assert complaint(result) == f"{cure}or run make infra-local, which needs no Docker"


@pytest.mark.parametrize("key", PORT_KEYS)
def test_a_taken_port_is_one_line_that_names_the_key_before_anything_starts(tmp_path, key):
    environment = environment_with(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environment[key])))
        taken.listen()
        line = complaint(infra("up", **environment))
    assert line == (
        f"port {environment[key]} is taken: stop what listens there, or set {key} in .env"
    )
    assert " up " not in (tmp_path / "calls").read_text()


def test_containers_that_do_not_become_healthy_are_one_line(tmp_path):
    environment = environment_with(tmp_path, FAKE_FAILS="up")
    assert complaint(infra("up", **environment)) == (
        "not all are healthy: make infra-logs says why, make infra-down ends them"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("GRAFANA_PORT", "0"),
        ("ALERT_WEBHOOK_URL", "ftp://secret"),
        ("GRAFANA_ADMIN_PASSWORD", "secret${HOME}"),
        ("GRAFANA_ADMIN_PASSWORD", "secret$__file{/etc/hostname}"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line_that_names_the_key(tmp_path, key, value):
    line = complaint(infra("up", **environment_with(tmp_path, **{key: value})))
    assert line.startswith(f"{key} must be ")
    assert "secret" not in line


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "infra").touch()
    line = complaint(infra("up", **environment_with(tmp_path)))
    assert line.endswith("set RUN_DIR to a folder that can be")


def test_infra_local_without_prometheus_says_how_to_get_it(tmp_path):
    environment = environment_with(tmp_path, PATH=str(tmp_path))
    assert complaint(infra("local", **environment)) == (
        "there is no prometheus here: apt-get install prometheus"
    )


def test_infra_local_without_alertmanager_says_that_nobody_is_told(tmp_path):
    (tmp_path / "prometheus").symlink_to(need("prometheus", package="prometheus"))
    environment = environment_with(
        tmp_path, PATH=str(tmp_path), ALERT_WEBHOOK_URL="http://127.0.0.1:9/"
    )
    local = subprocess.Popen(
        [sys.executable, "tools/infra.py", "local"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        while "Ctrl-C ends it" not in said:
            said += local.stdout.readline() or pytest.fail(said)
    finally:
        local.terminate()
        local.communicate()
    assert "sent to nobody: apt-get install prometheus-alertmanager\n" in said
    assert local.returncode == 0


# --- the commands


def test_up_ends_what_was_up_and_waits_until_the_new_is_healthy(started):
    version, info, down, up = started.calls()
    assert version == "compose version"
    assert info.startswith("info ")
    assert down.split()[-1] == "down"
    assert up.split()[-4:] == ["up", "--detach", "--wait", "--wait-timeout=300"]
    for call in (down, up):
        assert "--project-name=trade-telemetry" in call
        assert f"--env-file={os.devnull}" in call


def test_up_prints_where_all_is_and_how_to_end_it(started):
    grafana = f"http://127.0.0.1:{started.port('GRAFANA_PORT')}"
    for uid in ("trading-telemetry", "pipeline-health", "market-data", "alerts"):
        assert f"{grafana}/d/{uid}\n" in started.output
    for address in (
        f"http://127.0.0.1:{started.port('PROMETHEUS_PORT')}\n",
        f"http://127.0.0.1:{started.port('ALERTMANAGER_PORT')}\n",
        f"http://127.0.0.1:{started.port('SIDECAR_HTTP_PORT')}/metrics\n",
        f"http://127.0.0.1:{started.port('MARKET_HTTP_PORT')}/metrics\n",
    ):
        assert address in started.output
    assert "make infra-down" in started.output


def test_up_says_whether_somebody_is_told_of_alerts(native, desktop):
    assert "sent to nobody: set ALERT_WEBHOOK_URL in .env" in native.output
    assert "Alerts are sent to ALERT_WEBHOOK_URL." in desktop.output


def test_up_again_lays_out_anew(tmp_path):
    first = start(tmp_path)
    stale = configuration(first).parent / "stale.yml"
    stale.touch()
    second = start(tmp_path)
    assert not stale.exists()
    assert targets(second, "sidecar") == [f"127.0.0.1:{second.port('SIDECAR_HTTP_PORT')}"]


@pytest.mark.parametrize(
    ("target", "arguments"),
    [("infra-down", ["down"]), ("infra-logs", ["logs", "--follow", "--tail=200"])],
)
def test_down_keeps_data_and_logs_follow(tmp_path, target, arguments):
    subprocess.run(["make", target], cwd=ROOT, env=environment_with(tmp_path), check=True)
    last = (tmp_path / "calls").read_text().splitlines()[-1].split()
    assert last[-len(arguments) :] == arguments
    assert not {"-v", "--volumes"} & set(last)


def test_make_infra_up_is_the_same(tmp_path):
    result = subprocess.run(
        ["make", "infra-up"],
        cwd=ROOT,
        env=environment_with(tmp_path),
        capture_output=True,
        check=True,
    )
    assert b"Prometheus, Alertmanager and Grafana are up." in result.stdout


def test_help_says_what_each_command_does():
    said = infra("--help", **ENVIRONMENT).stdout
    for command in ("up", "down", "logs", "local"):
        assert re.search(rf"^{command} +\w", said, re.MULTILINE)


def doctor(**environment: str) -> str:
    return subprocess.run(
        [sys.executable, "tools/doctor.py"],
        cwd=ROOT,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.mark.parametrize("key", ["GRAFANA_ADMIN_PASWORD", "ALERT_WEBHOOK", "PROMETHEUS_PROT"])
def test_doctor_names_a_misspelt_key_of_these_too(tmp_path, key):
    said = doctor(RUN_DIR=str(tmp_path), **{key: "1"})
    assert re.search(rf"{key} +is read by nobody: is it misspelt", said)


def test_doctor_names_what_is_missing(tmp_path):
    said = doctor(RUN_DIR=str(tmp_path), PATH=str(tmp_path))
    for program in ("prometheus", "prometheus-alertmanager", "docker-compose"):
        assert re.search(rf"-- +{program} +not here; for make", said), program
    assert re.search(r"-- +docker +for make infra-up: there is no Docker here", said)
