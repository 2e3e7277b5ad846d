"""Headless Chromium for tests of pages: installed when missing, watched while it runs.

    from tests.browser import chromium, open_page  # in the conftest.py of a folder: they are fixtures

    def test_it(open_page: OpenPage) -> None:
        page = open_page(url, theme="dark", size=PHONE)
        ...

Every page is watched: an error on the console, an exception, a failed request or a request to another host
fails the test when it ends, unless the test takes it out (`page.expect`) because it caused it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

CHROMIUM = Path(os.environ.get("HEADRACE_CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WALL = (1280, 720)
PHONE = (390, 844)
LOCAL = {"127.0.0.1", "localhost", "::1"}


def find_chromium() -> Path:
    """Return the browser; install Debian's where there is none, and fail with what to do where that fails."""
    if CHROMIUM.exists():
        return CHROMIUM
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.fail(f"{CHROMIUM} is missing; install chromium, or name another one in HEADRACE_CHROMIUM")
    for command in (
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", "chromium"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.fail(f"chromium is missing and `{' '.join(command)}` failed:\n{done.stderr[-2000:]}")
    return CHROMIUM


class Watched:
    """A page and everything that went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.troubles: list[str] = []
        self.requests: list[str] = []
        page.on("console", self.said)
        page.on("pageerror", lambda error: self.note(f"exception: {error}"))
        page.on("request", self.asked)
        page.on("requestfailed", self.failed)
        page.on("websocket", lambda socket: self.look_at(socket.url))

    def note(self, trouble: str) -> None:
        self.troubles.append(trouble)

    def said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.note(f"console: {message.text}")

    def asked(self, request: Request) -> None:
        self.requests.append(request.url)
        self.look_at(request.url)

    def failed(self, request: Request) -> None:
        """Note a request without an answer, but not those that the browser drops as it leaves a page."""
        if request.failure != "net::ERR_ABORTED":
            self.note(f"failed: {request.url}: {request.failure}")

    def look_at(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname not in LOCAL:
            self.note(f"outside: {url}")

    def expect(self, word: str) -> None:
        """Take troubles that hold a word out: the test caused them."""
        self.troubles = [trouble for trouble in self.troubles if word not in trouble]

    def until(self, expression: str, timeout_s: float = 100.0) -> None:
        """Wait until a JavaScript expression is true.

        Playwright's own way would evaluate text inside the page, which the content policy rightly refuses.
        """
        end = time.monotonic() + timeout_s
        while not self._holds(expression):
            if time.monotonic() > end:
                pytest.fail(f"after {timeout_s:g} s it still does not hold: {expression}")
            self.page.wait_for_timeout(40)

    def _holds(self, expression: str) -> bool:
        try:
            return bool(self.page.evaluate(f"Boolean({expression})"))
        except Error as error:
            if "navigation" in error.message:
                return False
            raise

    def text(self, selector: str) -> str:
        return self.page.locator(selector).first.inner_text()

    def js(self, expression: str) -> Any:
        return self.page.evaluate(expression)


OpenPage = Callable[..., Watched]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a module; while it runs, Playwright's event loop runs in this thread.

    Not longer than a module: tests of other rooms start event loops of their own.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(find_chromium()), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Open pages: `open_page(url, theme="light", size=WALL)`; whatever went wrong fails the test."""
    opened: list[Watched] = []

    def opener(url: str, *, theme: Any = "light", size: tuple[int, int] = WALL) -> Watched:
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme, locale="en-GB"
        )
        watched = Watched(context.new_page())
        opened.append(watched)
        watched.page.goto(url)
        watched.until("document.body.dataset.ready === 'yes'")
        return watched

    yield opener
    troubles = [trouble for watched in opened for trouble in watched.troubles]
    for watched in opened:
        watched.page.context.close()
    if troubles:
        pytest.fail("the pages had troubles:\n" + "\n".join(troubles))
