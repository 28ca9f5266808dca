"""A real headless Chromium before the portal: viewports, themes, scripts on and off, axe-core, refusals."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import (
    ElementNotInteractableException,
    NoSuchElementException,
    StaleElementReferenceException,
    TimeoutException,
    WebDriverException,
)
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

AXE = Path(__file__).resolve().parents[2] / "vendor" / "axe-core" / "axe.min.js"
BINARIES = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = (1280, 900), (360, 740)
THEMES = ("light", "dark")
PATIENCE_SECONDS = 60.0
"""How long a machine that does other things too may take over anything."""
_LISTEN = """
window.__refused = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__refused.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
});
"""


_RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
_SEND_NOTHING = """
const form = Array.from(document.querySelectorAll("main form[method=post]")).find(
  (form) => form.querySelector("[required]:not([type=hidden], [type=radio])"));
if (!form) return false;
for (const field of form.elements) {
  if (field.matches("input:not([type=hidden], [type=checkbox], [type=radio]), textarea")) field.value = "";
  if (field.matches("[type=checkbox]")) field.checked = false;
}
form.noValidate = true;
form.requestSubmit();
return true;
"""
_TOO_WIDE = """
const found = [], root = document.documentElement;
if (root.scrollWidth > root.clientWidth) found.push(`page: ${root.scrollWidth} of ${root.clientWidth}`);
for (const box of document.querySelectorAll("body *:not(.hidden-visually, svg, svg *)")) {
  const style = getComputedStyle(box);
  if (style.clipPath !== "none" || style.overflowX === "visible" || box.scrollWidth <= box.clientWidth + 1) continue;
  if (["INPUT", "TEXTAREA", "SELECT"].includes(box.tagName) || box.clientWidth === 0) continue;
  found.push(`${box.tagName}.${box.className}: ${box.scrollWidth} of ${box.clientWidth}`);
}
return found;
"""


# What is said of an element that was there a moment ago, or is not quite there yet.
PASSING = (StaleElementReferenceException, ElementNotInteractableException, NoSuchElementException)
# The same, where the driver has no name for it: what was found is exchanged while its text is read.
_EXCHANGED = "does not belong to the document"


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
        self.driver.set_page_load_timeout(PATIENCE_SECONDS)
        self.driver.set_script_timeout(PATIENCE_SECONDS)
        self._cdp("Page.addScriptToEvaluateOnNewDocument", source=_LISTEN)
        self.downloads = Path(self._profile) / "downloads"
        self._cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

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
        # Without motion a colour is what it will be at once, and axe does not meet it half-way.
        features = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        wanted = [{"name": name, "value": value} for name, value in features.items()]
        self._cdp("Emulation.setEmulatedMedia", features=wanted)

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
        parts = urlsplit(self.driver.current_url)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    @property
    def text(self) -> str:
        """What the page says; should it be exchanged at this instant, what the next one says."""
        said: list[str] = self.wait(lambda: [self.one("body").text])
        return said[0]

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def link(self, text: str) -> WebElement:
        """The visible link or button that begins with these words, as soon as there is one."""
        try:
            return self.wait(lambda: self._shown(text))  # type: ignore[no-any-return]
        except TimeoutException:
            raise AssertionError(f"no link or button {text!r} on {self.path}: {self.text[:600]}") from None

    def offers(self, text: str) -> bool:
        """Whether the page shows a link or button that begins with these words."""
        return self._shown(text) is not None

    def press(self, text: str) -> None:
        """Follow a link or press a button, and wait for the page that answers. Needs no script."""
        self._leave(lambda: self._click(text))

    def press_one(self, selector: str) -> None:
        """Press what a selector names, and wait for the page that answers."""
        self._leave(lambda: self.wait(lambda: self.one(selector)).click())

    def press_this(self, button: WebElement) -> None:
        """Press a button, and wait for the page that answers."""
        self._leave(button.click)

    def fill(self, name: str, value: str) -> None:
        """Type into a field of a form, in place of what it holds."""

        def typed() -> bool:
            field = self.one(f"main [name={name}]")
            field.clear()
            field.send_keys(value)
            return True

        self.wait(typed)

    def send_nothing(self) -> bool:
        """Send the page's form with every field empty, past the browser's own checks; whether it came back refused."""
        before = self.one("html")
        if not self.driver.execute_script(_SEND_NOTHING):
            return False
        self.wait(lambda: staleness_of(before)(self.driver))
        self.wait(lambda: self.driver.execute_script("return document.readyState") == "complete")
        return bool(self.all("main .error, main .notice.bad:not([hidden])"))

    def tick(self, name: str, value: str) -> None:
        """Choose a box or a button of several."""

        def chosen() -> bool:
            box = self.one(f"main [name={name}][value={json.dumps(value)}]")
            if not box.is_selected():
                box.click()
            return box.is_selected()

        self.wait(chosen)

    def wait(self, condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
        """What a condition gives as soon as it is true. Parts of a page may be exchanged while one looks at them."""

        def look(_driver: object) -> Any:
            try:
                return condition()
            except WebDriverException as exc:
                if _EXCHANGED in (exc.msg or ""):
                    return None
                raise

        return WebDriverWait(self.driver, seconds, poll_frequency=0.03, ignored_exceptions=PASSING).until(look)

    def sees(self, text: str) -> None:
        """Wait until the page says something."""
        try:
            self.wait(lambda: text in self.text)
        except TimeoutException:
            raise AssertionError(f"{text!r} is not on {self.path}: {self.text[:600]}") from None

    def download(self, text: str) -> str:
        """Press what gives a file; the file, once it is all there."""
        shutil.rmtree(self.downloads, ignore_errors=True)
        self._click(text)
        self.wait(lambda: self._downloaded() != [])
        return self._downloaded()[0].read_text()

    def too_wide(self) -> list[str]:
        """What goes over the side of the screen, or is cut off at the side of its box."""
        found: list[str] = self.driver.execute_script(_TOO_WIDE)
        return found

    def refused(self) -> list[str]:
        """What the Content-Security-Policy and Trusted Types refused on this page."""
        found: list[str] = self.driver.execute_script("return window.__refused")
        return found

    def complaints(self) -> list[str]:
        """Errors in the console since last asked, but for answers that tests provoke."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def axe(self, *, colours_alone: bool = False) -> list[str]:
        """What axe-core finds wrong with the page, WCAG 2.2 A and AA and its best practices."""
        if not self.driver.execute_script("return typeof axe === 'object'"):
            self.driver.execute_script(AXE.read_text())
        found = self.driver.execute_async_script(
            "const [rules, done] = arguments;"
            "axe.run(document, {resultTypes: ['violations'], runOnly: rules})"
            ".then((found) => done(found.violations), (error) => done([{id: String(error), nodes: []}]));",
            _COLOURS if colours_alone else _RULES,
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

    def _shown(self, text: str) -> WebElement | None:
        for element in (*self.all("main a, main button, .onlooker button"), *self.all("nav a, nav button")):
            if element.text.strip().startswith(text) and element.is_displayed():
                return element
        return None

    def _click(self, text: str) -> None:
        def clicked() -> bool:
            self.link(text).click()
            return True

        self.wait(clicked)

    def _leave(self, act: Callable[[], None]) -> None:
        """Do what leads to another page, and wait for that page. Asks the browser alone: scripts may be off."""
        before = self.one("html")
        act()
        self.wait(lambda: staleness_of(before)(self.driver))
        self.wait(lambda: self.all("body"))

    def _downloaded(self) -> list[Path]:
        return [path for path in self.downloads.glob("*") if path.suffix != ".crdownload"]

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, parameters)
