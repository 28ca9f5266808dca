"""Writes screenshots, when asked by `python -m tests.e2e.browser.screenshots OUTDIR`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser.harness import DESKTOP, PHONE, THEMES, Browser
from tests.e2e.browser.inspection import Inspection

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("SCREENSHOTS_DIR" not in os.environ, reason="run by tests.e2e.browser.screenshots alone"),
]


class Album(Inspection):
    """Keeps a picture of each look, in place of judging it."""

    def __init__(self, browser: Browser, root: Path) -> None:
        super().__init__(browser)
        self._root = root

    def look(self, where: str) -> None:
        """Write four files, named for what they show."""
        name = re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-")
        for size, width in ((DESKTOP, "desktop"), (PHONE, "phone")):
            for theme in THEMES:
                self.browser.look(size=size, theme=theme)
                self.browser.screenshot(self._root / f"{name}-{width}-{theme}.png")
        self.browser.look(size=DESKTOP, theme="light")


def test_screenshots(
    browser: Browser, become: Any, site: Any, monkeypatch: pytest.MonkeyPatch, mailoutbox: Any
) -> None:
    """Every page of the URL table, and every step that is no page of its own."""
    from tests.e2e.browser.pages import visits
    from tests.e2e.browser.steps import STEPS, Walker
    from tests.portal_cast import furnish

    root = Path(os.environ["SCREENSHOTS_DIR"])
    root.mkdir(parents=True, exist_ok=True)
    furnish(site)
    album, only = Album(browser, root), os.environ.get("SCREENSHOTS_ONLY", "")
    last: Any = "nobody yet"
    for name, path, person in visits(site):
        if only and name not in only.split(","):
            continue
        if person != last:
            browser.forget() if person is None else become(person)
            last = person
        browser.open(path)
        album.look(name)
    walker = Walker(browser, become, site, album, monkeypatch, mailoutbox)
    for step in () if only else STEPS:
        browser.forget()
        step(walker)
