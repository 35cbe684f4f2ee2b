from pathlib import Path

import pytest

from trading_app.settings import SettingsError, load_settings

pytestmark = pytest.mark.usefixtures("clean_settings")


def test_without_any_key_everything_listens_on_loopback():
    settings = load_settings()
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 8501)
    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8000)
    assert settings.zmq_addr == "tcp://127.0.0.1:5555"
    assert settings.zmq_ack_addr == "tcp://127.0.0.1:5556"
    assert settings.journal_dir == Path(".state/trading-app")
    assert settings.publisher_id == "trading-app"
    assert settings.sidecar_url == "http://127.0.0.1:8001"
    assert settings.market_url == "http://127.0.0.1:8002"
    assert settings.api_token.get_secret_value() == ""


def test_the_environment_wins_over_the_file(clean_settings, monkeypatch):
    (clean_settings / ".env").write_text("WEBAPP_HTTP_PORT=9001\nWEBAPP_API_PORT=9002\n")
    monkeypatch.setenv("WEBAPP_HTTP_PORT", "9003")
    settings = load_settings()
    assert (settings.http_port, settings.api_port) == (9003, 9002)


def test_other_programs_keys_in_the_file_are_ignored(clean_settings):
    (clean_settings / ".env").write_text("SIDECAR_HTTP_PORT=9\nWEBAPP_NO_KEY=x\n# note\n")
    assert load_settings().http_port == 8501


def test_an_empty_value_means_the_default(monkeypatch):
    monkeypatch.setenv("WEBAPP_HTTP_PORT", "")
    monkeypatch.setenv("SIDECAR_URL", "")
    assert load_settings().http_port == 8501
    assert load_settings().sidecar_url == "http://127.0.0.1:8001"


def test_an_empty_value_of_the_environment_is_the_default_whatever_the_file_says(
    clean_settings, monkeypatch
):
    (clean_settings / ".env").write_text("WEBAPP_HTTP_PORT=9001\n")
    monkeypatch.setenv("WEBAPP_HTTP_PORT", "")
    assert load_settings().http_port == 8501


def test_an_empty_address_of_acknowledgements_means_fire_and_forget(clean_settings, monkeypatch):
    (clean_settings / ".env").write_text("WEBAPP_ZMQ_ACK_ADDR=\n")
    assert load_settings().zmq_ack_addr is None
    monkeypatch.setenv("WEBAPP_ZMQ_ACK_ADDR", "ipc:///tmp/acks")
    assert load_settings().zmq_ack_addr == "ipc:///tmp/acks"


def test_an_empty_journal_folder_means_memory_only(clean_settings, monkeypatch):
    (clean_settings / ".env").write_text("WEBAPP_JOURNAL_DIR=~/journals\n")
    assert load_settings().journal_dir == Path.home() / "journals"
    monkeypatch.setenv("WEBAPP_JOURNAL_DIR", "")
    assert load_settings().journal_dir is None


@pytest.mark.parametrize(
    ("address", "acknowledgements"),
    [
        ("tcp://127.0.0.1:7000", "tcp://127.0.0.1:7001"),
        ("tcp://[::1]:7000", "tcp://[::1]:7001"),
        ("ipc:///tmp/trades", "ipc:///tmp/trades.ack"),
    ],
)
def test_left_alone_acknowledgements_are_expected_next_to_the_address_of_trades(
    monkeypatch, address, acknowledgements
):
    monkeypatch.setenv("WEBAPP_ZMQ_ADDR", address)
    assert load_settings().zmq_ack_addr == acknowledgements
    monkeypatch.setenv("WEBAPP_ZMQ_ACK_ADDR", "tcp://127.0.0.1:9")
    assert load_settings().zmq_ack_addr == "tcp://127.0.0.1:9"
    monkeypatch.setenv("WEBAPP_ZMQ_ACK_ADDR", "")
    assert load_settings().zmq_ack_addr is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("WEBAPP_HTTP_PORT", "0"),
        ("WEBAPP_HTTP_PORT", "65536"),
        ("WEBAPP_HTTP_PORT", "http"),
        ("WEBAPP_API_PORT", "-1"),
        ("WEBAPP_HTTP_HOST", "http://localhost"),
        ("WEBAPP_API_HOST", "a b"),
        ("WEBAPP_ZMQ_ADDR", "127.0.0.1:5555"),
        ("WEBAPP_ZMQ_ADDR", "tcp://127.0.0.1"),
        ("WEBAPP_ZMQ_ACK_ADDR", "5556"),
        ("WEBAPP_JOURNAL_DIR", "~nobody-of-this-name/journal"),
        ("WEBAPP_PUBLISHER_ID", "two words"),
        ("WEBAPP_PUBLISHER_ID", "x" * 61),
        ("SIDECAR_URL", "127.0.0.1:8001"),
        ("MARKET_URL", "127.0.0.1:8002"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_key_the_value_and_the_cure(monkeypatch, key, value):
    monkeypatch.setenv(key, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{key}={value!r} must be ")
    assert "(default " in line


def test_a_wrong_token_is_not_shown(monkeypatch):
    monkeypatch.setenv("WEBAPP_API_TOKEN", "hunter two")
    with pytest.raises(SettingsError, match=r"WEBAPP_API_TOKEN=… must be printable") as caught:
        load_settings()
    assert "hunter" not in str(caught.value)


def test_the_token_is_not_in_the_printed_settings(monkeypatch):
    monkeypatch.setenv("WEBAPP_API_TOKEN", "hunter2")
    assert "hunter2" not in repr(load_settings())


def test_a_slash_at_the_end_of_an_address_makes_no_difference(monkeypatch):
    monkeypatch.setenv("SIDECAR_URL", "http://127.0.0.1:8001/")
    monkeypatch.setenv("MARKET_URL", "http://127.0.0.1:8002/")
    assert load_settings().sidecar_url == "http://127.0.0.1:8001"
    assert load_settings().market_url == "http://127.0.0.1:8002"


def test_a_file_that_is_not_utf_8_is_one_line_with_its_path(clean_settings):
    (clean_settings / ".env").write_bytes(b"WEBAPP_HTTP_PORT=\xff\xfe\n")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{clean_settings}/.env is not UTF-8 text: save it as UTF-8"


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().http_port = 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "desk.example"])
def test_an_endpoint_open_to_the_network_needs_a_token(monkeypatch, host):
    monkeypatch.setenv("WEBAPP_API_HOST", host)
    with pytest.raises(SettingsError, match="set WEBAPP_API_TOKEN"):
        load_settings().require_safe_api()
    monkeypatch.setenv("WEBAPP_API_TOKEN", "secret")
    load_settings().require_safe_api()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_an_endpoint_on_loopback_needs_no_token(monkeypatch, host):
    monkeypatch.setenv("WEBAPP_API_HOST", host)
    load_settings().require_safe_api()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8501"),
        ("0.0.0.0", "http://127.0.0.1:8501"),
        ("::", "http://127.0.0.1:8501"),
        ("::1", "http://[::1]:8501"),
        ("desk.example", "http://desk.example:8501"),
    ],
)
def test_the_pages_address_is_one_that_a_browser_can_open(monkeypatch, host, address):
    monkeypatch.setenv("WEBAPP_HTTP_HOST", host)
    assert load_settings().ui_url == address
