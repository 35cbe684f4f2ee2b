"""The exposition shows each figure under its own name: every one here is different."""

from __future__ import annotations

from types import SimpleNamespace

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from metrics_sidecar.epochs import EPOCHS_MAX
from metrics_sidecar.exposition import Build, make_registry
from metrics_sidecar.ledger import Ledger
from metrics_sidecar.publishers import PublisherTotals
from metrics_sidecar.receiver import ReceiverFigures
from metrics_sidecar.rows import ServiceCounter
from metrics_sidecar.snapshot import Snapshot
from metrics_sidecar.tallies import AGE_BOUNDS_S, SymbolTotals
from trade_telemetry.messages import LossReason, RejectReason, Trade

NANO = 10**9
SNAPSHOT = Snapshot(
    received=101,
    rejected={reason: 200 + number for number, reason in enumerate(RejectReason)},
    duplicates=102,
    gaps=106,
    beats=103,
    skips=107,
    turned_away=108,
    untracked=104,
    symbols={
        "A": SymbolTotals({"buy": 1, "sell": 2}, {"buy": 3 * NANO // 2, "sell": 4 * NANO}),
        "B": SymbolTotals({"buy": 10, "sell": 20}, {"buy": 30 * NANO, "sell": 40 * NANO}),
    },
    publishers={
        "bot": PublisherTotals(
            published=301,
            applied=302,
            lost={reason: 320 + number for number, reason in enumerate(LossReason)},
            waiting=310,
            residue=305,
            duplicates=306,
            gaps=303,
            refilled=315,
            refused={"ring_full": 307, "other": 308},
            last_seen_s=309.5,
            capacity=311,
            held=304,
            open=True,
            epochs=314,
            instances=316,
            durable=True,
            epoch=312,
            last_seq=313,
        )
    },
    last_trade_ts_s=1_790_000_000.25,
    age_counts=tuple(range(1, len(AGE_BOUNDS_S) + 2)),
    age_sum_s=105.5,
    recent=(),
    service={counter: 501.5 + number for number, counter in enumerate(ServiceCounter)},
    epochs=109,
    spent=110,
    listened_s=111,
    benchmarks=112,
)
FIGURES = ReceiverFigures(
    connections=403,
    backlog_bytes=406,
    state_bytes=407,
    state_free_bytes=408,
    state_durable=True,
    last_commit_s=409.5,
)


def receiver(snapshot):
    return SimpleNamespace(
        snapshot=snapshot,
        figures=FIGURES,
        health=lambda: ("ok", None),
        heartbeat_age_s=lambda: 0.125,
    )


def samples(snapshot, names=()):
    registry = make_registry(receiver(snapshot), Build("1.2.3", "abc", "3.11"))
    text = generate_latest(registry.restricted_registry(names) if names else registry).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith(("process_", "python_"))
    }


def service(counter):
    return SNAPSHOT.service[counter]


def test_each_figure_is_shown_under_its_own_name():
    bot = ("publisher", "bot")
    expected = {
        ("trades_total", ("side", "buy")): 11,
        ("trades_total", ("side", "sell")): 22,
        ("volume_total", ("side", "buy")): 31.5,
        ("volume_total", ("side", "sell")): 44,
        ("last_trade_ts_seconds",): 1_790_000_000.25,
        ("telemetry_symbol_trades_total", ("side", "sell"), ("symbol", "B")): 20,
        ("telemetry_symbol_volume_total", ("side", "buy"), ("symbol", "A")): 1.5,
        ("telemetry_received_total",): 101,
        ("telemetry_duplicates_total",): 102,
        ("telemetry_gaps_total",): 106,
        ("telemetry_skips_total",): 107,
        ("telemetry_turned_away_total",): 108,
        ("telemetry_benchmarks_total",): 112,
        ("benchmark_tests_forgotten_total",): service(ServiceCounter.BENCHMARK_TESTS_FORGOTTEN),
        ("telemetry_epochs",): 109,
        ("telemetry_epochs_spent",): 110,
        ("telemetry_epochs_limit",): EPOCHS_MAX,
        ("telemetry_beats_total",): 103,
        ("telemetry_untracked_total",): 104,
        ("telemetry_residue",): 11 + 22 - 104 - 302,
        ("telemetry_event_age_seconds_sum",): 105.5,
        ("telemetry_event_age_seconds_count",): 120,
        ("telemetry_event_age_seconds_bucket", ("le", "0.0025")): 3,
        ("telemetry_event_age_seconds_bucket", ("le", "+Inf")): 120,
        ("telemetry_publisher_published_total", bot): 301,
        ("telemetry_publisher_applied_total", bot): 302,
        ("telemetry_publisher_gaps_total", bot): 303,
        ("telemetry_publisher_refilled_total", bot): 315,
        ("telemetry_publisher_instances", bot): 316,
        ("telemetry_publisher_held", bot): 304,
        ("telemetry_publisher_epochs", bot): 314,
        ("telemetry_publisher_durable", bot): 1,
        ("telemetry_publisher_residue", bot): 305,
        ("telemetry_publisher_duplicates_total", bot): 306,
        ("telemetry_publisher_refused_total", bot, ("reason", "ring_full")): 307,
        ("telemetry_publisher_refused_total", bot, ("reason", "other")): 308,
        ("telemetry_publisher_last_seen_timestamp_seconds", bot): 309.5,
        ("telemetry_publisher_waiting", bot): 310,
        ("telemetry_publisher_ring_capacity", bot): 311,
        ("telemetry_publisher_open", bot): 1,
        ("telemetry_receiver_up",): 1,
        ("telemetry_receiver_heartbeat_age_seconds",): 0.125,
        ("telemetry_receiver_busy_seconds_total",): service(ServiceCounter.RECEIVER_BUSY_S),
        ("telemetry_receiver_errors_total",): service(ServiceCounter.RECEIVER_ERRORS),
        ("telemetry_receiver_connections",): 403,
        ("telemetry_connections_refused_total", ("reason", "limit")): service(
            ServiceCounter.CONNECTIONS_REFUSED_LIMIT
        ),
        ("telemetry_connections_refused_total", ("reason", "handshake")): service(
            ServiceCounter.CONNECTIONS_REFUSED_HANDSHAKE
        ),
        ("telemetry_commits_total",): service(ServiceCounter.COMMITS),
        ("telemetry_commit_failures_total",): service(ServiceCounter.COMMIT_FAILURES),
        ("telemetry_commit_seconds_total",): service(ServiceCounter.COMMIT_S),
        ("telemetry_state_set_aside_total",): service(ServiceCounter.STATES_SET_ASIDE),
        ("telemetry_state_rewritten_total",): service(ServiceCounter.STATES_REWRITTEN),
        ("telemetry_starts_total",): service(ServiceCounter.STARTS),
        ("telemetry_state_refused_total",): service(ServiceCounter.STATE_REFUSED),
        ("telemetry_last_commit_timestamp_seconds",): 409.5,
        ("telemetry_state_bytes",): 407,
        ("telemetry_state_free_bytes",): 408,
        ("telemetry_state_durable",): 1,
        ("telemetry_receiver_backlog_bytes",): 406,
        (
            "telemetry_build_info",
            ("commit", "abc"),
            ("python", "3.11"),
            ("version", "1.2.3"),
        ): 1,
    } | {
        ("telemetry_rejected_total", ("reason", str(reason))): 200 + number
        for number, reason in enumerate(RejectReason)
    }
    expected |= {
        ("telemetry_publisher_lost_total", bot, ("reason", str(reason))): 320 + number
        for number, reason in enumerate(LossReason)
    }
    found = samples(SNAPSHOT)
    assert {key: found[key] for key in expected} == expected
    assert {key[0] for key in found} == {key[0] for key in expected}


def test_nothing_is_shown_before_there_is_a_snapshot():
    assert samples(None) == {}


def test_one_metric_can_be_asked_for_by_name():
    found = samples(SNAPSHOT, names=("trades_total",))
    assert {key[0] for key in found} == {"trades_total"}


def test_a_new_ledger_shows_both_sides_at_zero():
    found = samples(Ledger().snapshot())
    assert found["trades_total", ("side", "buy")] == found["volume_total", ("side", "sell")] == 0


def test_a_publisher_that_was_just_heard_shows_each_reason_for_a_loss_at_zero():
    """A series that is born with a loss has no growth: it must be there before."""
    ledger = Ledger()
    ledger.apply(Trade("buy", 1, 1.0, src="bot", epoch=1, seq=1), now_s=2.0)
    ledger.changes()
    ledger.committed()
    found = samples(ledger.snapshot())
    for reason in LossReason:
        assert (
            found["telemetry_publisher_lost_total", ("publisher", "bot"), ("reason", str(reason))]
            == 0
        )


def test_every_label_has_a_closed_set_of_values_or_a_limit_in_the_ledger():
    labels = {label for _, *pairs in samples(SNAPSHOT) for label, _ in pairs}
    assert labels == {"side", "symbol", "reason", "publisher", "le", "version", "commit", "python"}


def test_every_help_text_says_what_unit_a_figure_has():
    registry = make_registry(receiver(SNAPSHOT), Build("1.2.3", "abc", "3.11"))
    for family in registry.collect():
        if family.name.startswith("telemetry_") and "_seconds" in family.name:
            assert "econds" in family.documentation, family.name
        if family.name.endswith("_bytes") and family.name.startswith("telemetry_"):
            assert "ytes" in family.documentation, family.name
