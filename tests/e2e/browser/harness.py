"""A real headless Chromium before the portal: viewports, themes, scripts on and off, axe-core, refusals."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

AXE = Path(__file__).resolve().parents[2] / "vendor" / "axe-core" / "axe.min.js"
BINARIES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = (1280, 900), (360, 740)
THEMES = ("light", "dark")
_LISTEN = """
window.__refused = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__refused.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
});
"""


def chromium() -> str | None:
    """Where Chromium is, if it and its driver are installed."""
    if shutil.which("chromedriver") is None:
        return None
    return next((path for name in BINARIES if (path := shutil.which(name))), None)


class Browser:
    """One Chromium with a profile of its own."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._profile = tempfile.mkdtemp(prefix="keywright-chromium-")
        options = Options()
        options.binary_location = chromium() or ""
        for flag in (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
            "--disable-extensions", "--force-color-profile=srgb", f"--user-data-dir={self._profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
        ):  # fmt: skip
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.driver.set_page_load_timeout(30)
        self._cdp("Page.addScriptToEvaluateOnNewDocument", source=_LISTEN)

    def close(self) -> None:
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def sign_in_by_cookie(self, session_key: str) -> None:
        """Become whoever this session is of."""
        self.driver.delete_all_cookies()
        self._cdp("Network.setCookie", name="session", value=session_key, url=self.base_url, httpOnly=True)

    def forget(self) -> None:
        """Become nobody."""
        self._cdp("Network.clearBrowserCookies")

    def look(self, *, size: tuple[int, int], theme: str) -> None:
        """Take a viewport and a preferred theme."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=size[0], height=size[1], deviceScaleFactor=1, mobile=size == PHONE,
        )  # fmt: skip
        self._cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """Have scripts off."""
        self._cdp("Emulation.setScriptExecutionDisabled", value=True)
        try:
            yield
        finally:
            self._cdp("Emulation.setScriptExecutionDisabled", value=False)

    def open(self, path: str) -> None:
        self.driver.get(path if path.startswith("http") else self.base_url + path)

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.base_url)

    @property
    def text(self) -> str:
        return self.one("body").text

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> WebElement:
        """The visible link or button that begins with these words."""
        for _ in range(3):
            # A part of the page may be exchanged while one looks at it.
            with suppress(StaleElementReferenceException):
                for element in (*self.all("main a, main button, .onlooker button"), *self.all("nav a, nav button")):
                    if element.is_displayed() and element.text.strip().startswith(text):
                        return element
                break
        raise AssertionError(f"no link or button {text!r} on {self.path}: {self.text[:600]}")

    def press(self, text: str) -> None:
        """Follow a link or press a button, and wait for the page that answers."""
        before = self.one("html")
        self.link(text).click()
        self.wait(lambda: self._is_gone(before))

    def fill(self, name: str, value: str) -> None:
        field = self.one(f"[name={name}]")
        field.clear()
        field.send_keys(value)

    def tick(self, name: str, value: str) -> None:
        box = self.one(f"[name={name}][value={json.dumps(value)}]")
        if not box.is_selected():
            box.click()

    def wait(self, condition: Any, seconds: float = 15.0) -> None:
        WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(lambda _driver: condition())

    def is_wider_than_viewport(self) -> bool:
        width: bool = self.driver.execute_script(
            "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return width

    def refused(self) -> list[str]:
        """What the Content-Security-Policy and Trusted Types refused on this page."""
        found: list[str] = self.driver.execute_script("return window.__refused")
        return found

    def complaints(self) -> list[str]:
        """Errors in the console since last asked, but for answers that tests provoke."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def axe(self) -> list[str]:
        """What axe-core finds wrong with the page, WCAG 2.2 A and AA and its best practices."""
        self.driver.execute_script(AXE.read_text())
        found = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
            ".then((found) => done(found.violations), (error) => done([{id: String(error), nodes: []}]));"
        )
        return [
            f"{violation['id']}: {violation.get('help')}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
            for violation in found
            for node in (violation["nodes"] or [{"html": ""}])
        ]

    def screenshot(self, path: Path) -> None:
        """The whole page."""
        size = self._cdp("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
        shot = self._cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _is_gone(self, element: WebElement) -> bool:
        try:
            element.is_enabled()
        except StaleElementReferenceException:
            return bool(self.driver.execute_script("return document.readyState") == "complete")
        return False

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)
