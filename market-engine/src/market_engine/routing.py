"""From what the pipeline gives to the topics of the bus, in runs that keep the order."""

from __future__ import annotations

from collections.abc import Iterable

from market_engine.bar_rows import row_of
from market_engine.bus.base import Bus, Topic
from market_engine.events import Candle, Notice, Quote, Rejected, Trade
from market_engine.health.faults import Fault, StateChange
from market_engine.pipeline import BarOutput, MetricsOutput, Output

_TOPICS: dict[type, Topic] = {
    Trade: Topic.MARKET_DATA,
    Quote: Topic.MARKET_DATA,
    Candle: Topic.MARKET_DATA,
    MetricsOutput: Topic.METRICS,
    BarOutput: Topic.METRICS,
    Fault: Topic.HEALTH,
    StateChange: Topic.HEALTH,
    Notice: Topic.HEALTH,
    Rejected: Topic.DEAD_LETTERS,
}


def publish(bus: Bus, outputs: Iterable[Output]) -> None:
    """Put outputs on their topics, by symbol; waits where a reader that may not lose any is full.

    A closed bar goes as the row that keeps it. Raises BusError when the bus is closed.
    """
    run: list[object] = []
    run_topic, run_key = Topic.MARKET_DATA, ""
    for output in outputs:
        topic, key = _TOPICS[type(output)], _key(output)
        if run and (topic is not run_topic or key != run_key):
            bus.publish(run_topic, run_key, run)
            run = []
        run_topic, run_key = topic, key
        run.append(row_of(output) if isinstance(output, BarOutput) else output)
    if run:
        bus.publish(run_topic, run_key, run)


def _key(output: Output) -> str:
    if isinstance(output, MetricsOutput):
        return output.metrics.symbol
    if isinstance(output, BarOutput):
        return output.closed.metrics.symbol
    return output.symbol or ""
