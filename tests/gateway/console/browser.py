"""Debian's Chromium without a window, driven by Selenium: nothing is downloaded, nothing leaves this machine."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver.remote.webelement import WebElement

AXE = Path(__file__).parents[2] / "clients/js/node_modules/axe-core/axe.min.js"
T = TypeVar("T")
_PATIENCE_S: Final = 30.0
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--window-size=1280,900",
)


class Browser:
    """One tab, in the words of these tests."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver = driver
        self.downloads = downloads

    def go(self, url: str) -> None:
        """Open a page as if for the first time: no key, no console lines from before."""
        self.driver.get("about:blank")
        self._log("browser")
        self._log("performance")
        self.driver.get(url)

    def one(self, css: str) -> WebElement:
        """Return an element once it is to be seen."""
        return self.until(
            lambda: next((e for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()), None)
        )

    def text(self, css: str) -> str:
        return self.until(lambda: self.one(css).text)

    def wait_for(self, css: str, words: str) -> str:
        """Return the element's text once it has the words."""
        return self.until(
            lambda: text if words in (text := self.driver.find_element(By.CSS_SELECTOR, css).text) else None
        )

    def click(self, css: str) -> None:
        self.until(lambda: self._clicked(css))

    def choose(self, css: str, value: str) -> None:
        """Choose an option, as a person does: the page is told."""
        self.run(
            "arguments[0].value = arguments[1];"
            "for (const name of ['input', 'change']) arguments[0].dispatchEvent(new Event(name, {bubbles: true}));",
            self.one(css),
            value,
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page; a policy of the page's does not hold for the driver's own."""
        return self.driver.execute_script(script, *arguments)

    def run_until_done(self, script: str) -> Any:
        """Run a script until it calls `done`; return what it gives it."""
        return self.driver.execute_async_script(f"const done = arguments[0];{script}")

    def until(self, look: Callable[[], T | None]) -> T:
        """Return what a look gives, once it gives something."""
        redrawn = (StaleElementReferenceException, ElementClickInterceptedException)
        wait = WebDriverWait(self.driver, _PATIENCE_S, 0.05, ignored_exceptions=redrawn)
        return wait.until(lambda _: look() or False)

    def complaints(self) -> list[str]:
        """Return what the console has said since `go`: violations of the policy, errors of scripts, refusals."""
        return [each["message"] for each in self._log("browser") if each["level"] in {"SEVERE", "WARNING"}]

    def requests(self) -> list[str]:
        """Return every address that was asked for since `go`."""
        events = [json.loads(each["message"])["message"] for each in self._log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def flaws(self) -> list[str]:
        """Return what axe finds wrong for those who do not see, or not well, or have no mouse."""
        self.run(AXE.read_text())
        found: list[str] = self.run_until_done(
            "axe.run(document, {resultTypes: ['violations']}).then((told) => done(told.violations.flatMap((each) =>"
            "each.nodes.map((node) => `${each.id}: ${node.html} ${node.failureSummary}`))));"
        )
        return found

    def scheme(self, name: str, width: int = 1280, height: int = 900) -> None:
        """Show the page in "light" or "dark", on a screen of that many pixels."""
        features = [
            {"name": "prefers-color-scheme", "value": name},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.cdp("Emulation.setEmulatedMedia", features=features)
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )

    def _clicked(self, css: str) -> bool:
        self.one(css).click()
        return True

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return list(self.driver.get_log(kind))  # type: ignore[no-untyped-call]

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)


@contextmanager
def browser(folder: Path, *flags: str) -> Iterator[Browser]:
    """Start one with a profile of its own. flags: more for Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*_FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    downloads = folder / "downloads"
    downloads.mkdir()
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield Browser(driver, downloads)
    finally:
        driver.quit()
