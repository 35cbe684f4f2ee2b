import pytest

from trading_app.sidecar_client import Away
from trading_app.status import flow_status, status

NOW_S = 1_790_000_000.0


def publisher(name, last_seen_s):
    return {"publisher": name, "epoch": 1, "last_seq": 1, "last_seen_s": last_seen_s}


def test_live_says_how_many_publishers_and_that_nothing_waits(make_summary, make_stats):
    seen = [publisher("a", NOW_S - 1), publisher("b", NOW_S - 3), publisher("gone", NOW_S - 3.1)]
    said = status(make_stats(), make_summary(publishers=seen), NOW_S)
    assert (said.state, said.words, said.cure) == (
        "live", "2 publishers · nothing waiting · residue 0", ""
    )  # fmt: skip


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        (0, "trades will wait here and be counted when it returns"),
        (1, "1 trade waits here and will be counted when it returns"),
        (4, "4 trades wait here and will be counted when it returns"),
    ],
)
def test_away_says_what_waits_and_what_will_happen_to_it(waiting, words, make_stats):
    away = Away("nothing answers", NOW_S - 60, None, None)
    said = status(make_stats(waiting=waiting, connected=False), away, NOW_S)
    assert (said.state, said.words) == ("away", words)
    assert "make sidecar-up" in said.cure


def test_trades_that_go_out_while_the_figures_stay_away_are_stale(make_summary, make_stats):
    away = Away("nothing answers at http://x", NOW_S - 60, make_summary(), NOW_S - 61)
    said = status(make_stats(), away, NOW_S)
    assert said.state == "stale"
    assert "nothing answers at http://x" in said.words
    assert "61 s ago" in said.words


def test_figures_that_missed_once_are_waited_for(make_summary, make_stats):
    away = Away("slow", NOW_S - 1, make_summary(), NOW_S - 2)
    assert status(make_stats(), away, NOW_S).state == "waiting"


def test_figures_that_never_came_while_trades_go_out_are_stale(make_stats):
    said = status(make_stats(), Away("nothing answers", NOW_S, None, None), NOW_S)
    assert said.state == "stale"


def test_a_sidecar_that_starts_is_waited_for(make_summary, make_stats):
    said = status(make_stats(waiting=2), make_summary(status="starting"), NOW_S)
    assert (said.state, said.words) == ("waiting", "the sidecar is starting · 2 trades waiting")


@pytest.mark.parametrize("state", ["stalled", "dead"])
def test_a_sidecar_that_stopped_counting_is_stale_with_its_reason(make_summary, state, make_stats):
    said = status(make_stats(), make_summary(status=state, reason="no heartbeat for 5 s"), NOW_S)
    assert said.state == "stale"
    assert "no heartbeat for 5 s" in said.words


def test_figures_without_a_way_for_trades_name_the_two_keys(make_summary, make_stats):
    said = status(make_stats(connected=False), make_summary(), NOW_S)
    assert said.state == "waiting"
    assert "WEBAPP_ZMQ_ADDR" in said.cure
    assert "SIDECAR_ZMQ_BIND" in said.cure


def test_a_residue_is_in_the_first_line_and_never_cancels(make_stats, make_summary):
    off = [publisher("a", NOW_S) | {"residue": 2}, publisher("b", NOW_S) | {"residue": -2}]
    said = status(make_stats(), make_summary(publishers=off), NOW_S)
    assert said.words == "2 publishers · nothing waiting · residue 4"
    assert "the page Delivery says whose" in said.cure


@pytest.mark.parametrize(
    ("durable", "words"),
    [
        (True, "what waits is in a file and survives a restart of this desk"),
        (False, "what waits is in memory: a restart of this desk loses it"),
    ],
)
def test_away_says_whether_what_waits_survives_a_restart_of_the_desk(make_stats, durable, words):
    away = Away("nothing answers", NOW_S - 60, None, None)
    said = status(make_stats(waiting=4, connected=False, durable=durable), away, NOW_S)
    assert said.cure == f"Start it: `make sidecar-up` · {words}"


def test_trades_of_an_earlier_run_wait_with_the_others(make_stats, make_summary):
    away = Away("nothing answers", NOW_S - 60, None, None)
    gone = make_stats(waiting=4, leftover=3, connected=False)
    assert status(gone, away, NOW_S).words.startswith("7 trades wait here")
    back = status(make_stats(waiting=1, leftover=3), make_summary(), NOW_S)
    assert "1 trade waiting, and 3 of an earlier run" in back.words
    idle = status(make_stats(leftover=3), make_summary(), NOW_S)
    assert "· 3 of an earlier run waiting ·" in idle.words


def test_with_fire_and_forget_nothing_more_than_sending_is_promised(make_stats):
    away = Away("nothing answers", NOW_S - 60, None, None)
    said = status(make_stats(waiting=2, connected=False, tracked=False), away, NOW_S)
    assert said.words == "2 trades wait here and will be sent when it returns"


def test_a_sidecar_that_is_there_and_not_ready_is_not_told_to_be_started(make_stats):
    away = Away("the sidecar is not ready: its state is busy", NOW_S - 60, None, None, answers=True)
    said = status(make_stats(connected=False), away, NOW_S)
    assert said.state == "away"
    assert "its state is busy" in said.cure
    assert "sidecar-up" not in said.cure


def test_a_sidecar_that_cannot_commit_goes_on_by_itself(make_stats, make_summary):
    answer = make_summary(status="blocked", reason="no space left in .state: free some")
    said = status(make_stats(waiting=3), answer, NOW_S)
    assert said.state == "stale"
    assert "no space left in .state: free some · 3 trades waiting" in said.words
    assert "goes on by itself" in said.cure


def test_a_word_of_a_newer_sidecar_for_trouble_is_shown_with_its_reason(make_stats, make_summary):
    said = status(make_stats(), make_summary(status="melting", reason="the disk is warm"), NOW_S)
    assert said.state == "stale"
    assert "the disk is warm" in said.words


def test_what_went_lost_is_said_where_everything_else_flows(make_stats, make_summary):
    lost = publisher("a", NOW_S) | {"lost": {"state": 2, "silent": 1, "rejected": 0}}
    answer = make_summary(publishers=[lost], trades={"buy": 1, "sell": 0})
    said = flow_status(status(make_stats(), answer, NOW_S), answer, 1.0)
    assert said.words == "trades flow, and 3 trades in all went lost · 1 publisher"
    assert "Delivery" in said.cure
