"""The Market page for real: browser, desk, market-engine, and a recording that is replayed.

The recording is the one that ships with the engine: the market in it is simulated, all parts that
play, measure and show it are real. With SCREENSHOTS set to a folder, pictures are taken there.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.parts import ENVIRONMENT, fetch, free_port, until

PICTURES = os.environ.get("SCREENSHOTS")
RECORDING = "sample.frames.gz"
PLAYED_MS = (22 if PICTURES else 3) * 60_000
BIN = Path(sys.executable).parent
LOOKS = [
    ("market-light", 1440, 1000, "light"),
    ("market-dark", 1440, 1000, "dark"),
    ("market-phone", 390, 844, "light"),
    ("market-phone-dark", 390, 844, "dark"),
]


class MarketDesk:
    """A market-engine and a desk on free ports, in a folder of their own; each may be away."""

    def __init__(self, folder: Path) -> None:
        ports = {name: free_port() for name in ("market", "desk", "zmq")}
        self.folder = folder
        self.market_url = f"http://127.0.0.1:{ports['market']}"
        self.desk_url = f"http://127.0.0.1:{ports['desk']}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = ENVIRONMENT | {
            "MARKET_HTTP_PORT": str(ports["market"]),
            "MARKET_DATABASE_URL": f"sqlite:///{folder}/market.db",
            "MARKET_RECORDINGS_DIR": str(folder / "recordings"),
            "MARKET_SCHEDULE_FILE": "",
            "MARKET_URL": self.market_url,
            "WEBAPP_HTTP_PORT": str(ports["desk"]),
            "WEBAPP_ZMQ_ADDR": f"tcp://127.0.0.1:{ports['zmq']}",
            "WEBAPP_JOURNAL_DIR": str(folder / "journal"),
        }

    def start(self, name: str, url: str) -> None:
        with (self.folder / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(
                [BIN / name], cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        until(lambda: fetch(url), 90, f"{name} at {url}")

    def start_market(self) -> None:
        self.start("market-engine", f"{self.market_url}/health/live")

    def start_desk(self) -> None:
        self.start("trading-app", f"{self.desk_url}/_stcore/health")

    def end_market(self) -> None:
        process = self.processes.pop("market-engine")
        process.send_signal(signal.SIGINT)
        process.wait(30)

    def ask(self, path: str) -> dict[str, Any]:
        return json.loads(until(lambda: fetch(f"{self.market_url}{path}"), what=path))

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MarketDesk]:
    """Neither is started yet."""
    parts = MarketDesk(tmp_path)
    yield parts
    parts.kill()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarketDesk]:
    both = MarketDesk(tmp_path_factory.mktemp("market"))
    try:
        both.start_market()
        both.start_desk()
        yield both
    finally:
        both.kill()


@pytest.fixture
def market(both: MarketDesk) -> Iterator[MarketDesk]:
    """Both up, a recording to be replayed, and no replay yet."""
    yield both
    request = urllib.request.Request(f"{both.market_url}/api/replay", method="DELETE")
    urllib.request.urlopen(request, timeout=5).close()


def open_market(page: Page, url: str) -> None:
    """Come to the page as people do: by its link on the first one."""
    page.goto(url)
    expect(page.get_by_role("button", name="Buy")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Market", exact=True).click()
    expect(page).to_have_url(re.compile("/market$"))
    expect(page.locator(".st-key-market-controls")).to_be_visible(timeout=30_000)


def replay(page: Page, speed: str = "100×") -> None:
    """Open the fold, choose the recording and a speed, and start."""
    page.get_by_text("Replay a recording").click()
    expect(page.get_by_role("button", name="Replay", exact=True)).to_be_visible()
    choose_recording(page)
    page.get_by_text(speed, exact=True).click()
    page.get_by_role("button", name="Replay", exact=True).click()
    expect(page.locator(".ta-recording")).to_contain_text(RECORDING, timeout=20_000)


def choose_recording(page: Page) -> None:
    """Choose the one that ships; others may be listed before it."""
    box = page.get_by_role("combobox", name="Recording")
    if not box.input_value().startswith(RECORDING):
        box.click()
        page.get_by_role("option", name=re.compile(RECORDING)).click()
    expect(box).to_have_value(re.compile(RECORDING))


def table(page: Page, name: str) -> list[list[str]]:
    """Its cells, read at one moment, as soon as it has any: a redraw takes it away for a while."""
    rows = page.locator(f"table.{name} tbody tr")
    texts = "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    return until(lambda: rows.evaluate_all(texts), what=f"the table {name}")


def is_whole(page: Page, name: str) -> None:
    """Nothing hangs over, and nothing went wrong."""
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert overflow <= 0, f"{name} scrolls sideways"
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_without_an_engine_it_says_so_and_comes_to_life_by_itself(parts, new_page):
    parts.start_desk()
    page = new_page()
    open_market(page, parts.desk_url)
    answer = page.locator(".ta-status")
    expect(answer).to_contain_text("the market-engine is not there: no prices", timeout=20_000)
    expect(answer.locator("code")).to_have_text("make apps-up")
    parts.start_market()
    expect(answer).to_contain_text("feed sound: nothing missing", timeout=60_000)
    expect(page.locator("[data-testid=stVegaLiteChart] svg")).to_have_count(2, timeout=20_000)
    assert len(table(page, "ta-feeds")) == len(parts.ask("/symbols")["symbols"])

    parts.end_market()
    expect(answer).to_contain_text("away", timeout=30_000)
    expect(page.locator("table.ta-feeds.ta-old")).to_be_visible()
    parts.start_market()
    expect(answer).to_contain_text(re.compile("live|waiting|gap"), timeout=60_000)
    is_whole(page, "the page")


def test_a_recording_is_replayed_paused_sought_and_ended(market, new_page):
    page = new_page()
    open_market(page, market.desk_url)
    replay(page)
    answer = page.locator(".ta-status")
    expect(answer).to_contain_text("recording, playing", timeout=20_000)
    until(lambda: played_ms(market) > PLAYED_MS, 90, "some minutes of it")
    page.get_by_role("button", name="Pause").click()
    expect(answer).to_contain_text("recording, paused", timeout=20_000)
    until(lambda: market.ask("/api/replay")["state"] == "paused")

    symbols = market.ask("/symbols?source=replay")["symbols"]
    (price,) = [each["price"] for each in symbols if each["symbol"] == "BTCUSDT"]
    expect(answer).to_contain_text(f"BTCUSDT {grouped(price)}", timeout=20_000)
    figures = market.ask("/api/metrics/latest?source=replay&symbol=BTCUSDT")["symbols"][0]
    trades = [grouped(str(window["trades"])) for window in figures["windows"]]
    cells = page.locator("table.ta-metrics tr", has_text="trades").locator("td")
    expect(cells).to_have_text(trades, timeout=20_000)
    health = market.ask("/api/feed/health?source=replay")["symbols"]
    expected = [[feed["symbol"], f"● {feed['state']}"] for feed in health]
    assert [row[:2] for row in table(page, "ta-feeds")] == expected
    newest = market.ask("/symbols/BTCUSDT/trades?source=replay&limit=1")["trades"][0]
    expect(page.locator("table.ta-prints tbody tr").first).to_contain_text(newest["side"])

    before = market.ask("/api/replay")["at_ms"]
    page.get_by_role("slider", name="Go to").press("End")
    until(lambda: market.ask("/api/replay")["at_ms"] - before > 60_000, 30, "the jump")
    page.get_by_role("button", name="End the replay").click()
    expect(page.locator(".ta-recording")).to_have_count(0, timeout=20_000)
    expect(answer).to_contain_text("live", timeout=20_000)
    assert market.ask("/api/replay")["state"] == "none"
    is_whole(page, "the page")


def played_ms(market: MarketDesk) -> int:
    position = market.ask("/api/replay")
    return position["at_ms"] - position["first_ms"]


def grouped(text: str) -> str:
    """A decimal number as the page writes it; its last zeros may follow."""
    whole, _, fraction = text.partition(".")
    return f"{int(whole):,}".replace(",", "\u202f") + (f".{fraction}" if fraction else "")


def test_charts_are_updated_in_place_and_their_form_holds_still(market, new_page):
    page = new_page()
    open_market(page, market.desk_url)
    replay(page)
    charts = page.locator("[data-testid=stVegaLiteChart] svg")
    expect(charts).to_have_count(2, timeout=20_000)
    path = page.locator("[data-testid=stVegaLiteChart] path[aria-roledescription='line mark']")
    expect(path.first).to_be_attached(timeout=20_000)
    page.evaluate(
        "document.querySelectorAll('[data-testid=stVegaLiteChart] svg')"
        ".forEach(svg => { svg.ours = true; })"
    )
    boxes = [chart.bounding_box() for chart in charts.all()]
    before = path.first.get_attribute("d")
    until(lambda: path.first.get_attribute("d") != before, what="the line moves")
    page.wait_for_timeout(4_000)  # four redraws
    kept = page.evaluate(
        "[...document.querySelectorAll('[data-testid=stVegaLiteChart] svg')].map(s => s.ours)"
    )
    assert kept == [True, True]
    assert [chart.bounding_box() for chart in charts.all()] == boxes


@pytest.mark.timeout(400)
def test_the_page_is_whole_at_every_size_and_in_both_themes(market, new_page):
    errors: list[str] = []
    started = False
    for name, width, height, scheme in LOOKS:
        page = listening(new_page(width, height, scheme), errors)
        open_market(page, market.desk_url)
        if not started:
            replay(page)
            until(lambda: played_ms(market) > PLAYED_MS, 120, "the recording")
            started = True
        page.get_by_text("Recording", exact=True).first.click()
        expect(page.locator(".ta-recording")).to_be_visible(timeout=20_000)
        expect(page.locator("[data-testid=stVegaLiteChart] svg")).to_have_count(2, timeout=20_000)
        if PICTURES:
            page.get_by_text("1 h", exact=True).first.click()
        page.mouse.move(0, 0)
        page.wait_for_timeout(2_500)  # redraws: an error in one would show in the console
        is_whole(page, name)
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{name}.png")
        page.close()  # else it goes on being drawn, and slows the others
    assert errors == []


def listening(page: Page, errors: list[str]) -> Page:
    bad = {"error", "warning"}
    page.on("console", lambda said: errors.append(said.text) if said.type in bad else None)
    return page


def test_candles_and_averages_can_be_chosen_and_stay_chosen(market, new_page):
    page = new_page()
    open_market(page, market.desk_url)
    page.get_by_text("Candles", exact=True).click()
    page.get_by_role("button", name="EMA slow").click()
    page.get_by_text("6 h", exact=True).click()
    title: Callable[[], str] = page.locator(".st-key-panel-price .ta-heading").first.inner_text
    until(lambda: "last 6 h" in title(), what="the window")
    page.get_by_role("link", name="Delivery").click()
    expect(page.locator(".st-key-panel-account")).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="Market", exact=True).click()
    expect(page.locator(".st-key-panel-price")).to_be_visible(timeout=20_000)
    until(lambda: "last 6 h" in title(), what="the window that was kept")
