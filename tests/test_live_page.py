"""The Live page for real: what publishers sent is what it shows, at every size, also after a break.

With SCREENSHOTS set to a folder, the pictures of the README are taken there, after five minutes of
trades that fill the charts.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.parts import Apps, fetch, until

from trade_telemetry import Publisher

PICTURES = os.environ.get("SCREENSHOTS")
TRADED_S = 320 if PICTURES else 8
SYMBOLS = {
    "BTCUSDT": 40, "ETHUSDT": 26, "SOLUSDT": 13, "XRPUSDT": 7, "DOGEUSDT": 5, "ADAUSDT": 4,
    "LINKUSDT": 3, "AVAXUSDT": 2, "LTCUSDT": 1,
}  # fmt: skip
LOOKS = [
    ("live-light", 1440, 900, "light"),
    ("live-dark", 1440, 900, "dark"),
    ("live-phone", 390, 844, "light"),
    ("live-phone-dark", 390, 844, "dark"),
]


def open_live(page: Page, url: str) -> None:
    """Come to the page as people do: by its link on the first one."""
    page.goto(url)
    expect(page.get_by_role("button", name="Buy")).to_be_visible(timeout=30_000)
    page.get_by_role("link", name="Live", exact=True).click()
    expect(page.locator(".ta-answer")).to_be_visible(timeout=30_000)
    expect(page).to_have_url(re.compile("/live$"))


def tile(page: Page, name: str) -> str:
    """What a figure at the top shows, big and small."""
    return page.locator(".ta-answer > div").filter(has_text=name).first.inner_text()


def rows(page: Page) -> dict[str, list[str]]:
    """The table of symbols: buys, their volume, sells, their volume."""
    texts = page.locator(".ta-symbols tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText))"
    )
    return {name: (buys + "\n" + sells).split("\n") for name, buys, sells, *_ in texts}


def totals(apps: Apps) -> dict[str, int]:
    """What the sidecar has counted by side."""
    return json.loads(until(lambda: fetch(f"{apps.sidecar_url}/api/summary")))["trades"]


def test_the_page_shows_exactly_what_was_published_by_side_and_by_symbol(apps, new_page):
    trades = [("buy", 1.5, "BTCUSDT")] * 1200 + [("sell", 0.25, "BTCUSDT")] * 30
    trades += [("sell", 2.0, "ETHUSDT")] * 40 + [("buy", 0.125, "SOLUSDT")] * 7
    trades += [("buy", 3.0, None)] * 2
    random.Random(3).shuffle(trades)
    with Publisher(apps.zmq_address, source="bot-7") as bot:
        assert all(bot.publish(side, qty, symbol=symbol) for side, qty, symbol in trades)
        until(lambda: sum(totals(apps).values()) == len(trades))
        page = new_page()
        open_live(page, apps.desk_url)
        expect(page.locator(".ta-symbols")).to_be_visible(timeout=20_000)
        assert tile(page, "Buys") == "Buys\n1\u202f209\nvolume 1\u202f806.875"
        assert tile(page, "Sells") == "Sells\n70\nvolume 87.500"
        assert rows(page) == {
            "BTCUSDT": ["1\u202f200", "1\u202f800.0", "30", "7.5"],
            "ETHUSDT": ["0", "0", "40", "80"],
            "SOLUSDT": ["7", "0.875", "0", "0.000"],
            "(none)": ["2", "6", "0", "0"],
        }
        expect(page.get_by_text("everything flows")).to_be_visible()
        expect(page.get_by_text("nothing lost")).to_be_visible()


def test_the_keys_of_the_ticket_are_dead_on_this_page_and_the_ticket_is_kept(apps, new_page):
    page = new_page()
    page.goto(apps.desk_url)
    expect(page.get_by_text("all publishers")).to_be_visible(timeout=30_000)  # it is all there
    field = page.get_by_label("Quantity", exact=True)
    counted = page.get_by_text(re.compile(r"✓\s*\d+\s*(µs|ms|s)"))
    field.fill("3.5")
    field.press("Enter")
    page.keyboard.press("b")
    expect(counted).to_have_count(1, timeout=20_000)  # so the desk has heard of the quantity
    page.get_by_role("link", name="Live", exact=True).click()
    expect(page.locator(".ta-answer")).to_be_visible(timeout=30_000)
    expect(field).to_have_count(0)  # the other page is gone, with its keys
    for key in ("b", "s", "q"):
        page.keyboard.press(key)
    expect(page.get_by_text("volume 3.5")).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="Trade").click()
    expect(field).to_have_value("3.5", timeout=30_000)
    expect(page.get_by_role("button", name="Buy")).to_be_visible(timeout=20_000)
    expect(counted).to_have_count(1, timeout=20_000)  # all of it is there, the keys too
    page.keyboard.press("b")
    expect(counted).to_have_count(2, timeout=20_000)
    assert totals(apps) == {"buy": 2, "sell": 0}
    expect(page.get_by_text("volume 7")).to_be_visible()


def test_a_sidecar_that_left_and_came_back_leaves_a_gap_and_goes_on(start_apps, new_page):
    desk = start_apps("webapp-up")
    keys = {key: value for key, value in desk.environment.items() if key.startswith("SIDECAR_")}
    sidecar = start_apps("sidecar-up", **keys)
    until(lambda: fetch(f"{desk.desk_url}/_stcore/health"), 90, "the desk")
    until(lambda: fetch(f"{desk.sidecar_url}/health"), 90, "the sidecar")
    page = new_page()
    open_live(page, desk.desk_url)
    receiver = page.locator(".st-key-panel-tracks .ta-heading").last
    expect(receiver).to_have_text(re.compile(r"started at \d\d:\d\d:\d\d$"), timeout=20_000)
    assert sidecar.press_ctrl_c() == []
    expect(page.locator(".ta-status")).to_contain_text("away", timeout=20_000)
    expect(page.locator(".ta-answer")).to_contain_text("—")
    start_apps("sidecar-up", **keys)
    expect(page.locator(".ta-status")).to_contain_text("the sidecar counts", timeout=60_000)
    expect(receiver).to_have_text(re.compile("not seen .* started at .* and "), timeout=20_000)
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


class Market:
    """Three publishers that trade in waves and bursts until stopped; counts what they were taken.

    The numbers are made up; the counting is real.
    """

    def __init__(self, address: str) -> None:
        self._bots = [Publisher(address, source=name) for name in ("bot-7", "grid-2", "momentum")]
        self._random = random.Random(11)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._trade)
        self.taken: Counter[str] = Counter()
        self._thread.start()

    def _trade(self) -> None:
        pick = self._random
        while not self._ended.wait(pick.expovariate(self._per_second(time.monotonic()))):
            side = "buy" if pick.random() < 0.5 + 0.2 * math.sin(time.monotonic() / 31) else "sell"
            (symbol,) = pick.choices(list(SYMBOLS), list(SYMBOLS.values()))
            late_s = 0.2 * pick.random() ** 9  # a few were long under way
            bot = pick.choice(self._bots)
            seq = bot.publish(side, pick.randint(1, 40) / 8, time.time() - late_s, symbol=symbol)
            self.taken[side] += seq > 0

    def _per_second(self, now_s: float) -> float:
        return 14 * (1.3 + math.sin(now_s / 17)) * (3 if now_s // 6 % 7 == 0 else 1)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def close(self) -> None:
        self.stop()
        for bot in self._bots:
            bot.close()


@pytest.fixture
def market(apps):
    market = Market(apps.zmq_address)
    begun_s = time.monotonic()
    until(lambda: time.monotonic() - begun_s > TRADED_S, TRADED_S + 5)
    yield market
    market.close()


@pytest.mark.timeout(600)
def test_the_page_is_whole_at_every_size_and_in_both_themes(apps, market, new_page):
    errors: list[str] = []
    for name, width, height, scheme in LOOKS:
        page = new_page(width, height, scheme)
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        open_live(page, apps.desk_url)
        expect(page.locator(".ta-symbols tbody tr")).to_have_count(len(SYMBOLS), timeout=20_000)
        expect(page.locator("[data-testid=stVegaLiteChart] svg")).to_have_count(4)
        expect(page.get_by_text("everything flows")).to_be_visible()
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{name} scrolls sideways"
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        page.mouse.move(0, 0)
        page.wait_for_timeout(1_500)  # two redraws: an error in one would show in the console
        if PICTURES:
            page.screenshot(path=Path(PICTURES) / f"{name}.png")
        if name != LOOKS[-1][0]:
            page.close()  # else it goes on being drawn, and slows the others
    assert errors == []
    market.stop()
    until(lambda: totals(apps) == market.taken, what="the last trade")
    for side, count in (("Buys", market.taken["buy"]), ("Sells", market.taken["sell"])):
        shown = f"{count:,}".replace(",", "\u202f")
        expect(page.locator(".ta-answer")).to_contain_text(f"{side}{shown}", timeout=20_000)
