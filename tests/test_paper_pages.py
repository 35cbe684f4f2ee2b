"""The paper desk for real, in a browser: make a portfolio, buy, see why, be refused, halt.

Browser, desk and market-engine are real, the market is the engine's simulated one. With SCREENSHOTS
set to a folder, pictures are taken there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.parts import until
from tests.test_market_page import MarketDesk, is_whole, listening

PICTURES = os.environ.get("SCREENSHOTS")
LOOKS = [
    ("light", 1440, 1000, "light"),
    ("dark", 1440, 1000, "dark"),
    ("phone", 390, 844, "light"),
    ("phone-dark", 390, 844, "dark"),
]


class PaperWorld(MarketDesk):
    """With a desk whose fills nobody counts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._environment |= {
            "MARKET_DESK_DATABASE_URL": f"sqlite:///{folder}/desk.db",
            "MARKET_TELEMETRY_ADDR": "",
        }


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MarketDesk]:
    """Both up, and no portfolio yet; the tests follow each other as a day at the desk does."""
    both = PaperWorld(tmp_path_factory.mktemp("paper"))
    try:
        both.start_market()
        both.start_desk()
        until(lambda: both.ask("/symbols/BTCUSDT/price").get("bid"), 60, "a quote")
        yield both
    finally:
        both.kill()


def open_desk(page: Page, url: str, name: str) -> None:
    """Come to a page as people do: by its link on the first one."""
    page.goto(url)
    expect(page.get_by_role("button", name="Buy")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name=name, exact=True).click()
    expect(page).to_have_url(re.compile(f"/{name.lower()}$"))
    expect(page.locator(".ta-status")).to_be_visible(timeout=30_000)


def orders(paper: MarketDesk, name: str = "main") -> list[dict[str, Any]]:
    return paper.ask(f"/orders?portfolio={name}&state=all&limit=100")["orders"]


def toast(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.get_by_test_id("stToast").filter(has_text=text).first).to_be_visible(timeout=20_000)


def fill_in(page: Page, label: str, text: str) -> None:
    page.get_by_label(label, exact=True).fill(text)
    page.get_by_label(label, exact=True).press("Enter")


def test_a_first_visit_makes_a_portfolio_places_an_order_and_sees_its_evidence(paper, new_page):
    page = new_page()
    open_desk(page, paper.desk_url, "Orders")
    expect(page.locator(".st-key-panel-first")).to_contain_text("There is none yet")
    page.get_by_role("button", name="Make portfolio").click()
    toast(page, "Portfolio main has 100\u202f000 USDT")
    fill_in(page, "Quantity", "0.01")
    expect(page.locator(".ta-verdict")).to_contain_text("passes the risk checks", timeout=20_000)
    page.get_by_role("button", name="Place: buy").click()
    toast(page, re.compile("Buy 0.01 BTCUSDT market: .*(filled at|waits)"))
    (order,) = orders(paper)
    until(lambda: orders(paper)[0]["state"] == "filled", 30, "the fill")
    fills = page.locator("table.ta-fills tbody tr")
    expect(fills.first).to_contain_text(re.compile("displayed .* at the ask"), timeout=20_000)
    ended = page.locator("table.ta-ended tbody tr")
    expect(ended).to_have_count(1, timeout=20_000)
    expect(ended).to_contain_text("buy 0.01 BTCUSDT market")
    assert order["client_order_id"] == ended.locator("td").last.get_attribute("title")
    is_whole(page, "the page Orders")


def test_one_buy_button_trades_on_the_desk_and_says_so(paper, new_page):
    page = new_page()
    page.goto(paper.desk_url)
    way = page.locator(".ta-way-line")
    expect(way).to_contain_text("trades go to the paper desk, portfolio main", timeout=60_000)
    before = len(orders(paper))
    fill_in(page, "Quantity", "0.02")
    page.get_by_role("button", name="Buy").click()
    toast(page, re.compile("Buy 0.02 BTCUSDT: .*(filled at|waits)"))
    until(lambda: len(orders(paper)) == before + 1, what="the order")
    expect(way).to_contain_text(re.compile("buy 0.02 BTCUSDT market: filled at"), timeout=30_000)


def test_risk_refuses_with_a_reason_before_and_after_the_click(paper, new_page):
    page = new_page()
    open_desk(page, paper.desk_url, "Orders")
    fill_in(page, "Quantity", "999")
    expect(page.locator(".ta-verdict")).to_contain_text("would be denied", timeout=20_000)
    page.get_by_role("button", name="Place: buy").click()
    toast(page, "Not done: buy 999 BTCUSDT market: denied")
    until(lambda: orders(paper)[0]["state"] == "denied")
    expect(page.locator("table.ta-ended tbody tr").first).to_contain_text("denied:", timeout=20_000)


def test_an_order_that_waits_says_why_and_is_cancelled(paper, new_page):
    page = new_page()
    open_desk(page, paper.desk_url, "Orders")
    bid = float(paper.ask("/symbols/BTCUSDT/price")["bid"])
    page.get_by_text("Limit", exact=True).click()
    limit = page.get_by_label("Limit price")
    expect(limit).to_be_enabled(timeout=20_000)
    fill_in(page, "Quantity", "0.01")
    fill_in(page, "Limit price", f"{bid * 0.9:.2f}")
    expect(page.locator(".ta-verdict")).to_contain_text("passes", timeout=20_000)
    page.get_by_role("button", name="Place: buy").click()
    waiting = page.locator(".ta-open-order")
    expect(waiting).to_have_count(1, timeout=20_000)
    expect(waiting).to_contain_text(orders(paper)[0]["detail"])
    page.get_by_role("button", name="Cancel", exact=True).click()
    toast(page, "Cancelled: buy 0.01 BTCUSDT limit")
    expect(waiting).to_have_count(0, timeout=20_000)
    assert orders(paper)[0]["state"] == "cancelled"


def test_the_portfolio_shows_what_the_engine_says_and_every_cent_is_explained(paper, new_page):
    page = new_page()
    open_desk(page, paper.desk_url, "Portfolio")
    answer = page.locator(".ta-status")
    expect(answer).to_contain_text("every cent explained", timeout=20_000)
    held = paper.ask("/portfolio?portfolio=main")["positions"]
    cells = page.locator("table.ta-positions tbody tr").first.locator("td")
    expect(cells.nth(0)).to_have_text(held[0]["symbol"])
    assert float(cells.nth(1).inner_text()) == float(held[0]["qty"]) == 0.03
    expect(page.locator("table.ta-books thead th")).to_have_text(
        ["book", "optimistic", "neutral", "pessimistic"]
    )
    expect(page.locator("[data-testid=stVegaLiteChart] svg")).to_have_count(2, timeout=20_000)
    is_whole(page, "the page Portfolio")


@pytest.mark.timeout(400)
def test_both_pages_are_whole_at_every_size_and_in_both_themes(paper, new_page):
    errors: list[str] = []
    for look, width, height, scheme in LOOKS:
        page = listening(new_page(width, height, scheme), errors)
        open_desk(page, paper.desk_url, "Portfolio")
        for name in ("Portfolio", "Orders"):
            if name == "Orders":
                page.get_by_role("link", name=name, exact=True).click()
                expect(page.locator(".st-key-kill-switch")).to_be_visible(timeout=30_000)
            expect(page.locator("table.ta-rows").first).to_be_visible(timeout=20_000)
            page.mouse.move(0, 0)
            page.wait_for_timeout(1_500)  # redraws: an error in one would show in the console
            is_whole(page, f"{name} {look}")
            if PICTURES:
                picture = Path(PICTURES) / f"{name.lower()}-{look}.png"
                page.screenshot(path=picture, full_page=width < 640)
        page.close()  # else it goes on being drawn, and slows the others
    assert errors == []


def test_a_halt_stops_the_next_order_and_flatten_asks_once_more(paper, new_page):
    page = new_page()
    open_desk(page, paper.desk_url, "Orders")
    answer = page.locator(".ta-status")
    page.get_by_role("button", name="Halt").click()
    expect(answer).to_contain_text("no order is taken and none is filled", timeout=20_000)
    expect(page.get_by_role("button", name="Halted now")).to_be_visible(timeout=20_000)
    fill_in(page, "Quantity", "0.01")
    page.get_by_role("button", name="Place: buy").click()
    toast(page, "denied")
    assert (orders(paper)[0]["state"], orders(paper)[0]["why"]) == ("denied", "halted")
    page.get_by_text("Flatten…").click()
    assert paper.ask("/trading-state")["state"] == "halted"
    page.get_by_role("button", name="Flatten everything").click()
    positions = lambda: paper.ask("/portfolio?portfolio=main")["positions"]  # noqa: E731
    until(lambda: all(float(held["qty"]) == 0 for held in positions()), 60, "flat")
    expect(answer).to_contain_text("halted", timeout=30_000)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Active").click()
    expect(answer).to_contain_text("live", timeout=20_000)
