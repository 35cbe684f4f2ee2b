import pytest

from trade_telemetry import PublisherStats, RefusalReason
from trading_app.sidecar_client import Away
from trading_app.status import status

NOW_S = 1_790_000_000.0


def stats(*, waiting=0, connected=True):
    return PublisherStats(
        source="trading-app",
        epoch=1,
        published=9,
        sent=9 - waiting,
        waiting=waiting,
        capacity=65_536,
        refused=dict.fromkeys(RefusalReason, 0),
        connected=connected,
        errors=0,
    )


def publisher(name, last_seen_s):
    return {"publisher": name, "epoch": 1, "last_seq": 1, "last_seen_s": last_seen_s}


def test_live_says_how_many_publishers_and_that_nothing_waits(make_summary):
    seen = [publisher("a", NOW_S - 1), publisher("b", NOW_S - 3), publisher("gone", NOW_S - 3.1)]
    said = status(stats(), make_summary(publishers=seen), NOW_S)
    assert (said.state, said.words, said.cure) == ("live", "2 publishers · nothing waiting", "")


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        (0, "trades will wait here and be counted when it returns"),
        (1, "1 trade waits here and will be counted when it returns"),
        (4, "4 trades wait here and will be counted when it returns"),
    ],
)
def test_away_says_what_waits_and_what_will_happen_to_it(waiting, words):
    away = Away("nothing answers", NOW_S - 60, None, None)
    said = status(stats(waiting=waiting, connected=False), away, NOW_S)
    assert (said.state, said.words) == ("away", words)
    assert "make sidecar-up" in said.cure


def test_trades_that_go_out_while_the_figures_stay_away_are_stale(make_summary):
    away = Away("nothing answers at http://x", NOW_S - 60, make_summary(), NOW_S - 61)
    said = status(stats(), away, NOW_S)
    assert said.state == "stale"
    assert "nothing answers at http://x" in said.words
    assert "61 s ago" in said.words


def test_figures_that_missed_once_are_waited_for(make_summary):
    away = Away("slow", NOW_S - 1, make_summary(), NOW_S - 2)
    assert status(stats(), away, NOW_S).state == "waiting"


def test_figures_that_never_came_while_trades_go_out_are_stale():
    said = status(stats(), Away("nothing answers", NOW_S, None, None), NOW_S)
    assert said.state == "stale"


def test_a_sidecar_that_starts_is_waited_for(make_summary):
    said = status(stats(waiting=2), make_summary(status="starting"), NOW_S)
    assert (said.state, said.words) == ("waiting", "the sidecar is starting · 2 trades waiting")


@pytest.mark.parametrize("state", ["stalled", "dead"])
def test_a_sidecar_that_stopped_counting_is_stale_with_its_reason(make_summary, state):
    said = status(stats(), make_summary(status=state, reason="no heartbeat for 5 s"), NOW_S)
    assert said.state == "stale"
    assert "no heartbeat for 5 s" in said.words


def test_figures_without_a_way_for_trades_name_the_two_keys(make_summary):
    said = status(stats(connected=False), make_summary(), NOW_S)
    assert said.state == "waiting"
    assert "WEBAPP_ZMQ_ADDR" in said.cure
    assert "SIDECAR_ZMQ_BIND" in said.cure
