"""What the pages about the engine say in code, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from market_engine.events import Rejected
from market_engine.feeds.replay import ReplayFeed

DOCS = Path(__file__).parents[2] / "docs"
MARKET_ENGINE = Path(__file__).parents[1] / "src/market_engine"


def run(page: str) -> dict[str, Any]:
    """Every piece of Python on a page, one after the other in one namespace."""
    names: dict[str, Any] = {"__name__": page}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks, "the page has no example any more"
    for number, block in enumerate(blocks):
        name = f"{page}, example {number + 1}"
        exec(compile(block, name, "exec", dont_inherit=True), names)
    return names


@pytest.fixture(scope="module")
def feed_page() -> dict[str, Any]:
    return run("add-a-feed.md")


def test_the_feed_of_the_page_passes_the_test_of_the_page(feed_page):
    feed_page["test_what_is_missing_and_what_is_rubbish_is_named"]()


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"\xff", b"[1]", b'{"s":"A","id":1,"p":"0","q":"1","side":"buy","t":1}']
)
def test_the_parser_of_the_page_rejects_what_is_no_trade(feed_page, line):
    assert isinstance(feed_page["parse"](line, 1), Rejected)


def test_the_feed_of_the_page_stamps_no_earlier_than_before(feed_page):
    times = iter([5, 3, 9])
    feed = feed_page["LinesFeed"](("127.0.0.1", 1), ["A"], clock=lambda: next(times))
    assert [feed._stamp() for _ in range(3)] == [5, 5, 9]


def test_the_feed_of_the_page_ends_soon_where_nobody_listens(feed_page):
    feed = feed_page["LinesFeed"](("127.0.0.1", 1), ["A"])
    told = []

    def emit(events):
        told.extend(events)
        feed.stop()

    feed.run(emit)
    assert [event.kind for event in told] == ["disconnected"]


def test_the_maker_of_the_page_is_like_the_others(feed_page):
    settings = SimpleNamespace(lines_host="127.0.0.1", lines_port=1, feed_symbols=("BTCUSDT",))
    made = feed_page["_lines"](settings, {})
    assert (made.venue, made.symbols, made.backfills) == ("lines", ("BTCUSDT",), False)
    source = (MARKET_ENGINE / "making.py").read_text()
    assert "def make_feed(" in source, "the page says where a maker is called"


def test_a_recording_is_played_through_the_parser_of_the_page(feed_page, tmp_path):
    path = tmp_path / "venue.frames"
    line = b'{"s":"BTCUSDT","id":7,"p":"64012.50","q":"0.005","side":"buy","t":1790000000123}'
    path.write_bytes(b"tcp://venue <-> 1790000000.0\n1790000000.2: " + line + b"\n")
    parser = SimpleNamespace(parse=lambda frame, at_ns: [feed_page["parse"](frame, at_ns)])
    events: list[Any] = []
    ReplayFeed(path, parser=parser).run(events.extend)
    assert [event.trade_id for event in events] == [7]


def test_the_worked_numbers_are_what_the_code_gives():
    run("market-analytics.md")
