"""Writes screenshots, when asked by `python -m tests.e2e.browser.screenshots OUTDIR`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser.harness import DESKTOP, PHONE, THEMES, Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif("SCREENSHOTS_DIR" not in os.environ, reason="run by tests.e2e.browser.screenshots alone"),
]


def test_screenshots(browser: Browser, become: Any, site: Any) -> None:
    from tests.e2e.browser.pages import visits
    from tests.portal_cast import furnish

    root = Path(os.environ["SCREENSHOTS_DIR"])
    root.mkdir(parents=True, exist_ok=True)
    furnish(site)
    only = os.environ.get("SCREENSHOTS_ONLY", "")
    last: Any = "nobody yet"
    for name, path, person in visits(site):
        if only and name not in only.split(","):
            continue
        if person != last:
            browser.forget() if person is None else become(person)
            last = person
        for size, width in ((DESKTOP, "desktop"), (PHONE, "phone")):
            for theme in THEMES:
                browser.look(size=size, theme=theme)
                browser.open(path)
                browser.screenshot(root / f"{name}-{width}-{theme}.png")
