import pytest

from trade_telemetry import Trade
from trading_app.event_log import EVENTS_MAX, EventLog, OwnEvent

SOURCE, EPOCH = "trading-app", 7


def event(seq, ts=1_790_000_000.0, **changes):
    return OwnEvent(Trade("buy", 1.0, ts), **{"epoch": EPOCH, "seq": seq, **changes})


@pytest.fixture
def stats(make_stats):
    """What the publisher says when so many were sent, and so many acknowledged."""

    def make(sent, acknowledged=0, **changes):
        return make_stats(
            epoch=EPOCH, published=99, sent=sent, acknowledged=acknowledged, **changes
        )

    return make


def fates(log):
    return [item.fate for item in log.newest(9)]


def log_of(*events):
    log = EventLog()
    for item in events:
        log.add(item)
    return log


def heard(last_seq, epoch=EPOCH, publisher=SOURCE):
    return {"publisher": publisher, "epoch": epoch, "last_seq": last_seq, "last_seen_s": 1.0}


def counted(seq, applied_s, epoch=EPOCH, publisher=SOURCE):
    return {
        "id": seq,
        "side": "buy",
        "qty": 1,
        "ts": 1.0,
        "publisher": publisher,
        "epoch": epoch,
        "seq": seq,
        "applied_s": applied_s,
    }


def test_an_event_waits_then_is_sent_then_is_counted(stats):
    log = log_of(event(1), event(2), event(3))
    log.settle(stats(2, 1), None)
    assert fates(log) == ["waiting", "sent", "counted"]


def test_an_acknowledged_event_gets_its_moment_when_the_sidecar_lists_it(stats, make_summary):
    log = log_of(event(1))
    log.settle(stats(1, 1), make_summary())
    assert (fates(log), log.newest(1)[0].counted_s) == (["counted"], None)
    log.settle(stats(1, 1), make_summary(recent=[counted(1, 1_790_000_000.061)]))
    log.settle(stats(1, 1), make_summary())
    assert (fates(log), log.newest(1)[0].counted_s) == (["counted"], 1_790_000_000.061)


def test_an_event_is_counted_when_the_sidecar_is_past_it_before_the_acknowledgement_is_heard(
    stats, make_summary
):
    log = log_of(event(1), event(2))
    log.settle(stats(2), make_summary(publishers=[heard(1)]))
    assert fates(log) == ["sent", "counted"]


def test_another_epoch_or_publisher_counts_nothing_of_ours(stats, make_summary):
    log = log_of(event(1))
    others = make_summary(
        publishers=[heard(5, epoch=8), heard(5, publisher="bot")],
        recent=[counted(1, 2.0, epoch=8), counted(1, 2.0, publisher="bot")],
    )
    log.settle(stats(1), others)
    assert fates(log) == ["sent"]


def test_what_was_sent_and_not_counted_waits_again_while_the_sidecar_is_gone(stats):
    log = log_of(event(1), event(2))
    log.settle(stats(2, 1), None)
    assert fates(log) == ["sent", "counted"]
    log.settle(stats(2, 1, connected=False), None)
    assert fates(log) == ["waiting", "counted"]
    log.settle(stats(2, 2), None)
    assert fates(log) == ["counted", "counted"]


def test_a_restart_of_the_sidecar_changes_no_fate(stats, make_summary):
    log = log_of(event(1), event(2))
    log.settle(stats(2, 1), make_summary(started_s=10))
    log.settle(stats(2, 1), make_summary(started_s=20, publishers=[heard(1)]))
    assert fates(log) == ["sent", "counted"]


def test_a_fate_once_settled_stays(stats, make_summary):
    log = log_of(event(1), event(0, fate="refused", refused="ring_full"))
    log.settle(stats(1, 1), make_summary(recent=[counted(1, 3.0)]))
    log.settle(stats(0, 0, connected=False), make_summary())
    assert fates(log) == ["refused", "counted"]


def test_with_fire_and_forget_nobody_says_more_than_sent(stats, make_summary):
    log = log_of(event(1), event(2))
    log.settle(stats(1, 1, tracked=False), make_summary(recent=[counted(1, 3.0, publisher=None)]))
    assert fates(log) == ["waiting", "untracked"]
    log.settle(stats(2, 2, tracked=False, connected=False), None)
    assert fates(log) == ["untracked", "untracked"]


def test_what_was_sent_in_an_epoch_that_was_given_up_is_not_known(stats):
    log = log_of(event(1, epoch=EPOCH + 1))
    log.settle(stats(5, 5), None)
    assert fates(log) == ["untracked"]


def test_the_log_keeps_the_last_two_hundred_newest_first():
    log = log_of(*(event(seq) for seq in range(1, EVENTS_MAX + 51)))
    assert len(log) == EVENTS_MAX
    assert [item.seq for item in log.newest(2)] == [EVENTS_MAX + 50, EVENTS_MAX + 49]
