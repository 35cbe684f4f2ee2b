from trade_telemetry import Trade
from trading_app.event_log import EVENTS_MAX, EventLog, OwnEvent

SOURCE, EPOCH = "trading-app", 7


def event(seq, ts=1_790_000_000.0):
    return OwnEvent(Trade("buy", 1.0, ts), EPOCH, seq)


def log_of(*events):
    log = EventLog(SOURCE)
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


def test_an_event_waits_until_it_is_on_the_wire():
    log = log_of(event(1), event(2))
    log.settle(1, None)
    assert [item.fate for item in log.newest(9)] == ["waiting", "sent"]


def test_a_sent_event_is_counted_when_the_sidecar_lists_it(make_summary):
    log = log_of(event(1))
    log.settle(1, make_summary(recent=[counted(1, 1_790_000_000.061)]))
    (item,) = log.newest(9)
    assert (item.fate, item.counted_s) == ("counted", 1_790_000_000.061)


def test_a_sent_event_is_counted_when_the_sidecar_is_past_it(make_summary):
    log = log_of(event(1), event(2))
    log.settle(2, make_summary(publishers=[heard(1)]))
    assert [item.fate for item in log.newest(9)] == ["sent", "counted"]
    assert log.newest(9)[1].counted_s is None


def test_another_epoch_or_publisher_counts_nothing_of_ours(make_summary):
    log = log_of(event(1))
    others = make_summary(
        publishers=[heard(5, epoch=8), heard(5, publisher="bot")],
        recent=[counted(1, 2.0, epoch=8), counted(1, 2.0, publisher="bot")],
    )
    log.settle(1, others)
    assert log.newest(1)[0].fate == "sent"


def test_an_event_sent_to_a_sidecar_that_restarted_is_never_taken_as_counted(make_summary):
    log = log_of(event(1))
    log.settle(1, make_summary(started_s=10))
    log.settle(1, make_summary(started_s=20, publishers=[heard(9)]))
    assert log.newest(1)[0].fate == "unconfirmed"


def test_an_event_that_waited_through_a_restart_is_counted(make_summary):
    log = log_of(event(1))
    log.settle(0, make_summary(started_s=10))
    log.settle(1, make_summary(started_s=20, publishers=[heard(1)]))
    assert log.newest(1)[0].fate == "counted"


def test_a_fate_once_settled_stays(make_summary):
    log = log_of(event(1))
    log.settle(1, make_summary(started_s=10, recent=[counted(1, 3.0)]))
    log.settle(1, make_summary(started_s=20))
    assert log.newest(1)[0].fate == "counted"


def test_the_log_keeps_the_last_two_hundred_newest_first():
    log = log_of(*(event(seq) for seq in range(1, EVENTS_MAX + 51)))
    assert len(log) == EVENTS_MAX
    assert [item.seq for item in log.newest(2)] == [EVENTS_MAX + 50, EVENTS_MAX + 49]
