"""The one test that needs a browser: Streamlit shows an edit only to a page that is open."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import trading_app

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def browser():
    """A headless Chromium; without one the test is skipped, except in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        tell = pytest.fail if os.environ.get("CI") else pytest.skip
        tell("install chromium (apt-get install chromium libatomic1)")
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only with a browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def answers(address):
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def test_an_edit_of_a_python_file_shows_in_the_open_page_without_a_restart(
    browser, clean_settings, free_port, wait_until, tmp_path
):
    copy = tmp_path / "src" / "trading_app"
    shutil.copytree(Path(trading_app.__file__).parent, copy)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "trading_app.main", "--reload"],
        env=os.environ
        | {
            "PYTHONPATH": str(copy.parent),
            "WEBAPP_HTTP_PORT": str(port),
            "WEBAPP_ZMQ_ADDR": f"tcp://127.0.0.1:{free_port()}",
            "SIDECAR_URL": f"http://127.0.0.1:{free_port()}",
        },
        cwd=tmp_path,
    )
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"))
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}")
        page.get_by_text("trades will wait here").wait_for()
        page.get_by_role("button", name="Buy").click()
        page.get_by_text("1 trade waits here").wait_for()
        file = copy / "status.py"  # not a page: a module that a page imports through another
        file.write_text(file.read_text().replace("and will be counted", "and WILL be counted"))
        page.get_by_text("1 trade waits here and WILL be counted").wait_for(timeout=15_000)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
