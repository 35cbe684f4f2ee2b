"""Fixtures around the real parts. One that is not installed skips the test; in CI it fails it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.parts import Apps, Prometheus, free_port, need

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def start_apps(tmp_path: Path) -> Iterator[Callable[..., Apps]]:
    started: list[Apps] = []

    def start(target: str = "apps-up", **environment: str) -> Apps:
        folder = tmp_path / f"run-{len(started)}"
        folder.mkdir()
        started.append(Apps(folder, target, **environment))
        return started[-1]

    yield start
    for apps in started:
        apps.kill()


@pytest.fixture
def apps(start_apps: Callable[..., Apps]) -> Apps:
    """The apps, by `make apps-up`; the desk sees no market, and so publishes itself."""
    apps = start_apps(MARKET_URL=f"http://127.0.0.1:{free_port()}")
    apps.wait_for("The desk is up.")
    return apps


@pytest.fixture
def prometheus(apps: Apps, tmp_path: Path) -> Iterator[Prometheus]:
    program = need("prometheus", package="prometheus")
    prometheus = Prometheus(program, tmp_path, apps.sidecar_url)
    yield prometheus
    prometheus.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = need("chromium", "chromium-browser", "google-chrome", package="chromium libatomic1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages of a size and a colour scheme; an error in the page's console fails the test."""
    pages: list[Page] = []
    errors: list[str] = []

    def make(width: int = 1440, height: int = 900, scheme: str = "light") -> Page:
        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        return page

    yield make
    for page in pages:
        page.close()
    assert errors == []
