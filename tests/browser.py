"""Headless Chromium for tests that must see a page as a reviewer does: drawn, and without errors in its console.

    with open_page(url) as page:
        page.wait_for("img")
        assert page.errors() == []
        page.screenshot("page.png")

Where Chromium or its driver is missing the test is skipped; OPENWIT_REQUIRE_BROWSER=1 turns that into a failure.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# Console messages of the MLflow 3.17 pages themselves that are no fault of a run: (part of the text, why it is harmless).
HARMLESS: tuple[tuple[str, str], ...] = (
    ("/ajax-api/2.0/mlflow/users/current", "the page asks who is logged in; a server without passwords answers 404"),
    ("ResizeObserver loop completed with undelivered notifications", "Chromium says that a chart was laid out twice"),
)


class Page:
    """One open page and the browser behind it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._console: list[dict[str, Any]] = []

    def wait_for(self, selector: str, seconds: float = 30.0) -> Any:
        """The first element that fits the CSS selector and is displayed."""
        return self.wait_until(
            lambda: next((e for e in self.driver.find_elements("css selector", selector) if e.is_displayed()), None),
            f"no {selector}",
            seconds,
        )

    def wait_for_text(self, text: str, seconds: float = 30.0) -> None:
        self.wait_until(lambda: text in self.driver.find_element("css selector", "body").text, f"no {text!r}", seconds)

    def wait_until(self, condition: Callable[[], Any], failure: str, seconds: float = 30.0) -> Any:
        """What `condition` gives once it is true; elements that a redraw removed meanwhile count as not yet."""
        from selenium.common.exceptions import WebDriverException

        until = time.monotonic() + seconds
        while True:
            try:
                if found := condition():
                    return found
            except WebDriverException:
                pass
            if time.monotonic() > until:
                raise AssertionError(
                    f"{self.driver.current_url}: {failure} within {seconds:g} s; errors: {self.errors()}"
                )
            time.sleep(0.1)

    def go(self, url: str) -> None:
        self.console()  # what the last page said is kept
        self.driver.get(url)

    @contextmanager
    def inside(self, selector: str) -> Iterator[None]:
        """Within the frame that fits the selector; console messages are the whole page's either way."""
        self.driver.switch_to.frame(self.wait_for(selector))
        try:
            yield
        finally:
            self.driver.switch_to.default_content()

    def script(self, code: str) -> Any:
        return self.driver.execute_script(code)

    def console(self) -> list[dict[str, Any]]:
        """Every console message so far: {"level": "SEVERE", "message": ..., "source": ..., "timestamp": ...}."""
        self._console += self.driver.get_log("browser")
        return self._console

    def errors(self) -> list[str]:
        """Messages of level SEVERE (exceptions, failed loads, refused scripts) except those HARMLESS names."""
        severe = [entry["message"] for entry in self.console() if entry["level"] == "SEVERE"]
        return [message for message in severe if not any(part in message for part, _ in HARMLESS)]

    def undrawn_pictures(self) -> list[str]:
        """Sources of <img> elements that did not decode."""
        code = "return [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src.slice(0, 100))"
        return list(self.script(code))

    def screenshot(self, path: str) -> None:
        assert self.driver.save_screenshot(str(path))


@contextmanager
def open_page(url: str, width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """`url` in a fresh browser with a fresh profile; it asks nobody but the page's own hosts."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver_path = shutil.which("chromedriver")
    if not chromium or not driver_path:
        missing = "chromium or chromedriver is not installed (apt-get install chromium chromium-driver)"
        if os.environ.get("OPENWIT_REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)

    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(prefix="openwit-browser-", ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (
            "--headless=new",
            "--no-sandbox",  # tests may run as root, where Chromium's own sandbox does not start
            "--disable-dev-shm-usage",  # /dev/shm of a container is 64 MB
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--disable-extensions",
            "--force-device-scale-factor=1",
            "--no-proxy-server",
            f"--window-size={width},{height}",
            f"--user-data-dir={profile}",
        ):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(driver_path))
        try:
            driver.set_page_load_timeout(60)
            driver.get(str(url))
            yield Page(driver)
        finally:
            driver.quit()
