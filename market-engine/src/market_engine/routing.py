"""From what the pipeline gives to the topics of the bus, in an order that each symbol keeps."""

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
_ORDER = tuple(dict.fromkeys(_TOPICS.values()))


def publish(bus: Bus, outputs: Iterable[Output]) -> None:
    """Put outputs on their topics, by symbol; waits where a reader that may not lose any is full.

    What was taken goes before what follows from it, so that whoever stores both never holds a bar
    without its trades. A closed bar goes as the row that keeps it. Raises BusError when the bus is
    closed.
    """
    runs: dict[Topic, dict[str, list[object]]] = {topic: {} for topic in _ORDER}
    for output in outputs:
        keyed, key = runs[_TOPICS[type(output)]], _key(output)
        value = row_of(output) if type(output) is BarOutput else output
        run = keyed.get(key)
        if run is None:
            keyed[key] = [value]
        else:
            run.append(value)
    for topic, keyed in runs.items():
        for key, values in keyed.items():
            bus.publish(topic, key, values)


def _key(output: Output) -> str:
    if isinstance(output, MetricsOutput):
        return output.metrics.symbol
    if isinstance(output, BarOutput):
        return output.closed.metrics.symbol
    return output.symbol or ""
