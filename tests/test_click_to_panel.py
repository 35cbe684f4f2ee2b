"""From the click to the panel, for real: browser, desk, ZeroMQ, sidecar, Prometheus.

The steps are those of docs/follow-one-trade.md, in the same order. With SCREENSHOTS set to a
folder, the pictures of the README are taken there on the way.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.parts import Apps, fetch, until

from trade_telemetry import Publisher


def open_desk(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_role("button", name="Buy")).to_be_visible(timeout=30_000)
    expect(page.get_by_text("live", exact=False).first).to_be_visible(timeout=30_000)


def click(page: Page, side: str, quantity: str) -> float:
    """Type a quantity, click, and return when that was."""
    field = page.get_by_label("Quantity", exact=True)
    field.fill(quantity)
    field.press("Enter")
    clicked_s = time.time()
    page.get_by_role("button", name=side).click()
    return clicked_s


def counted(apps: Apps) -> dict[str, Any]:
    """What the sidecar says that it counted."""
    return json.loads(until(lambda: fetch(f"{apps.sidecar_url}/api/summary")))


def take_picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_with_a_market_a_click_is_an_order_and_its_fills_are_counted(start_apps, new_page):
    apps = start_apps()
    apps.wait_for("The desk is up.")
    page = new_page()
    open_desk(page, apps.desk_url)
    expect(page.get_by_text("trades go to the paper desk")).to_be_visible(timeout=20_000)
    click(page, "Buy", "0.001")

    def fills() -> int:
        found = fetch(f"{apps.market_url}/portfolio?portfolio=main")
        return json.loads(found)["fills"] if found else 0

    until(fills, what="a fill")
    until(lambda: counted(apps)["trades"]["buy"] == fills(), what="the fills in the totals")
    assert {trade["publisher"] for trade in counted(apps)["recent"]} == {"paper-desk"}


def test_a_click_on_buy_with_quantity_3_arrives_in_prometheus(apps, prometheus, new_page):
    # 1. The click.
    page = new_page()
    open_desk(page, apps.desk_url)
    until(lambda: prometheus.value('trades_total{side="buy"}') == 0, what="the first scrape")
    clicked_s = click(page, "Buy", "3")

    # 2. to 7. Accepted, sent, received, applied, committed, and shown as counted.
    expect(page.get_by_text(re.compile(r"✓\s*\d+\s*(µs|ms|s)")).first).to_be_visible()
    summary = counted(apps)
    assert (summary["trades"]["buy"], summary["volume"]["buy"]) == (1, 3)
    assert summary["recent"][0]["publisher"] == "trading-app"

    # 8. Scraped.
    until(lambda: prometheus.value('trades_total{side="buy"}') == 1, what="the count")
    until(lambda: prometheus.value('volume_total{side="buy"}') == 3, what="the volume")
    assert prometheus.value('trades_total{side="sell"}') == 0
    traded_s = prometheus.value("last_trade_ts_seconds")
    assert abs(traded_s - clicked_s) < 2

    # The scrape that follows the trade may fall before the sidecar's next commit; the one after
    # that, a second later, has it.
    samples = prometheus.samples('trades_total{side="buy"}')
    too_early = [at_s for at_s, value in samples if at_s > traded_s and value == 0]
    assert len(too_early) <= 1


def test_trades_clicked_while_the_sidecar_is_away_wait_are_shown_and_arrive(start_apps, new_page):
    desk = start_apps("webapp-up")
    until(lambda: fetch(f"{desk.desk_url}/_stcore/health"), 90, "the desk")
    page = new_page()
    page.goto(desk.desk_url)
    for _ in range(4):
        click(page, "Buy", "2")
        page.wait_for_timeout(300)
    expect(page.get_by_text(re.compile("4 trades wait here"))).to_be_visible(timeout=20_000)
    expect(page.get_by_text("in a file and survives a restart of this desk")).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
    take_picture(page, "trade-away")

    keys = {key: value for key, value in desk.environment.items() if key.startswith("SIDECAR_")}
    sidecar = start_apps("sidecar-up", **keys)
    until(lambda: fetch(f"{desk.sidecar_url}/health"), 60, "the sidecar")
    until(lambda: counted(desk)["trades"]["buy"] == 4)
    assert counted(desk)["volume"]["buy"] == 8
    expect(page.get_by_text(re.compile("nothing waiting"))).to_be_visible(timeout=20_000)
    expect(page.locator(".ta-fate-counted")).to_have_count(4)
    assert sidecar.family() != []
    assert sidecar.press_ctrl_c() == []
    assert "Traceback" not in sidecar.output()


def test_a_bot_needs_nothing_but_the_address_and_shows_on_the_page(apps, new_page):
    with Publisher(apps.zmq_address, source="bot-7") as bot:
        sequences = [
            bot.publish("sell", 0.25, symbol="ETHUSDT", price=3_120.5) for _ in range(1000)
        ]
        assert all(sequences)
        page = new_page()
        open_desk(page, apps.desk_url)
        expect(page.get_by_text("bot-7").first).to_be_visible(timeout=20_000)
        until(lambda: counted(apps)["trades"]["sell"] == 1000)


def background(page: Page, button: str) -> str:
    """The colour that a button has now."""
    return page.get_by_role("button", name=button).evaluate(
        "button => getComputedStyle(button).backgroundColor"
    )


LOOKS = [
    ("trade-light", 1440, 900, "light"),
    ("trade-dark", 1440, 900, "dark"),
    ("trade-phone", 390, 844, "light"),
    ("trade-phone-dark", 390, 844, "dark"),
]


@pytest.fixture
def a_lively_desk(apps):
    """A desk on which a few publishers trade; the numbers are made up, the counting is real."""
    bots = [Publisher(apps.zmq_address, source=name) for name in ("bot-7", "grid-2")]
    for number in range(400):
        bot = bots[number % 2]
        side = "buy" if (number * 7) % 5 < 3 else "sell"
        symbol, price = (("BTCUSDT", 64_120.5), ("ETHUSDT", 3_120.25))[number % 2]
        bot.publish(side, (number % 9 + 1) / 4, symbol=symbol, price=price + number % 13)
        time.sleep(0.01)
    yield apps
    for bot in bots:
        bot.close()


def test_the_page_is_whole_at_every_size_and_in_both_themes(a_lively_desk, new_page):
    for name, width, height, scheme in LOOKS:
        page = new_page(width, height, scheme)
        open_desk(page, a_lively_desk.desk_url)
        click(page, "Buy", "3")
        click(page, "Sell", "1.5")
        expect(page.get_by_text(re.compile(r"✓\s*\d+\s*(µs|ms|s)")).first).to_be_visible()
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{name} scrolls sideways"
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        under_the_mouse, apart = background(page, "Sell"), background(page, "Buy")
        page.get_by_role("button", name="Buy").hover()
        assert (background(page, "Buy"), background(page, "Sell")) == (apart, under_the_mouse)
        page.mouse.move(0, 0)
        page.wait_for_timeout(1_500)
        take_picture(page, name)
        page.close()  # else it goes on being drawn, and slows the others


def test_the_delivery_page_accounts_for_every_trade_at_every_size(a_lively_desk, new_page):
    for name, width, height, scheme in LOOKS:
        page = new_page(width, height, scheme)
        open_desk(page, a_lively_desk.desk_url)
        page.get_by_role("link", name="Delivery").click()
        answer = page.locator(".ta-status")
        expect(answer).to_contain_text("accounted for", timeout=20_000)
        expect(answer).to_contain_text("400 published = 400 applied + 0 lost + 0 waiting")
        expect(answer).to_contain_text("residue 0")
        expect(page.locator(".ta-account tbody tr")).to_have_count(4)  # all, two bots, the desk
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{name} scrolls sideways"
        expect(page.locator("[data-testid=stException]")).to_have_count(0)
        page.mouse.move(0, 0)
        page.wait_for_timeout(1_500)
        take_picture(page, name.replace("trade", "delivery"))
        page.close()
