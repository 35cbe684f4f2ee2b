import pytest

from trading_app.publishing import close_publisher, farewell, open_publisher
from trading_app.settings import load_settings


@pytest.fixture
def opened(clean_settings, monkeypatch, free_port):
    """Open the desk's publisher with these keys, while the sidecar is away."""
    publishers = []

    def open_it(**keys):
        away = {key: f"tcp://127.0.0.1:{free_port()}" for key in ("ZMQ_ADDR", "ZMQ_ACK_ADDR")}
        for key, value in (away | keys).items():
            monkeypatch.setenv(f"WEBAPP_{key}", value)
        publishers.append(open_publisher(load_settings(), "desk"))
        return publishers[-1]

    yield open_it
    for publisher in publishers:
        publisher.close(0)


def test_by_default_trades_wait_in_a_file_below_the_working_directory(opened, clean_settings):
    stats = opened().stats()
    assert (stats.tracked, stats.durable, stats.problem) == (True, True, None)
    assert [path for path in (clean_settings / ".state/trading-app").iterdir() if path.is_file()]


def test_without_a_journal_folder_they_wait_in_memory(opened, clean_settings):
    stats = opened(JOURNAL_DIR="").stats()
    assert (stats.tracked, stats.durable, stats.problem) == (True, False, None)
    assert list(clean_settings.iterdir()) == []


def test_fire_and_forget_has_no_journal_though_a_folder_is_set(opened, clean_settings):
    stats = opened(ZMQ_ACK_ADDR="").stats()
    assert (stats.tracked, stats.durable, stats.problem) == (False, False, None)
    assert list(clean_settings.iterdir()) == []


def test_a_folder_that_cannot_be_is_a_problem_in_words_and_no_reason_not_to_trade(
    opened, clean_settings
):
    (clean_settings / "file").write_text("")
    publisher = opened(JOURNAL_DIR="file/journal")
    stats = publisher.stats()
    assert not stats.durable
    assert "file/journal" in stats.problem
    assert publisher.publish("buy", 1)


def test_two_processes_of_one_desk_share_the_folder(opened):
    first, second = opened(), opened()
    assert (first.stats().durable, second.stats().durable) == (True, True)
    assert first.epoch != second.epoch


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2 trades are kept in a file, for the next start to send"),
        ({"durable": False}, "2 trades were in memory only, and may not be counted"),
        ({"durable": False, "tracked": False}, "2 trades may not have been sent"),
    ],
)
def test_the_last_words_say_what_becomes_of_what_is_left(make_stats, changes, said):
    assert farewell(make_stats(**changes), 2) == said
    assert farewell(make_stats(**changes), 0) is None


def test_what_is_left_is_said_on_stderr(opened, capsys):
    publisher = opened()
    publisher.publish("buy", 1)
    close_publisher(publisher)
    assert capsys.readouterr().err == (
        "trading-app: 1 trade is kept in a file, for the next start to send\n"
    )
