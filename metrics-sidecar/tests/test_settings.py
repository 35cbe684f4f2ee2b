"""The settings: what is not said, and what empty means."""

from __future__ import annotations

from pathlib import Path

import pytest

from metrics_sidecar.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def _nothing_is_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for key in ("ZMQ_BIND", "ZMQ_ACK_BIND", "STATE_DIR", "HTTP_HOST", "HTTP_PORT"):
        monkeypatch.delenv(f"SIDECAR_{key}", raising=False)


@pytest.mark.parametrize(
    ("bind", "acknowledgements"),
    [
        (None, "tcp://127.0.0.1:5556"),
        ("tcp://0.0.0.0:7000", "tcp://0.0.0.0:7001"),
        ("tcp://[::1]:7000", "tcp://[::1]:7001"),
        ("ipc:///run/telemetry", "ipc:///run/telemetry.ack"),
    ],
)
def test_acknowledgements_follow_the_address_of_the_trades(bind, acknowledgements, monkeypatch):
    if bind:
        monkeypatch.setenv("SIDECAR_ZMQ_BIND", bind)
    assert load_settings().zmq_ack_bind == acknowledgements
    monkeypatch.setenv("SIDECAR_ZMQ_ACK_BIND", "")
    assert load_settings().zmq_ack_bind == acknowledgements
    monkeypatch.setenv("SIDECAR_ZMQ_ACK_BIND", "tcp://127.0.0.1:9")
    assert load_settings().zmq_ack_bind == "tcp://127.0.0.1:9"


def test_there_is_no_port_after_the_last_one(monkeypatch):
    monkeypatch.setenv("SIDECAR_ZMQ_BIND", "tcp://127.0.0.1:65535")
    with pytest.raises(SettingsError, match=r"^SIDECAR_ZMQ_ACK_BIND=.* write it as tcp://"):
        load_settings()


def test_an_empty_state_directory_is_none_and_an_unset_one_the_default(monkeypatch):
    assert load_settings().state_dir == Path(".state/metrics-sidecar")
    monkeypatch.setenv("SIDECAR_STATE_DIR", "")
    assert load_settings().state_dir is None
