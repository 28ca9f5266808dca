"""Looks at whatever a browser shows, in both themes and both widths, and remembers which pages it has looked at."""

from __future__ import annotations

from contextlib import suppress

from tests.e2e.browser.harness import DESKTOP, PHONE, THEMES, Browser

_WHOLE = ((DESKTOP, "light"), (PHONE, "dark"))


class Inspection:
    """What was looked at, and what was found wrong with it."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.wrong: list[str] = []
        self.seen: set[str] = set()

    def look(self, where: str) -> None:
        """Take the page as it stands through its four looks: axe-core, the sides of the screen, and what was refused.

        The page is not opened anew for it: what a reader has before them after a step stays what it is.
        """
        from django.urls import Resolver404, resolve

        with suppress(Resolver404):  # what is shown then is the page that says so
            self.seen.add(str(resolve(self.browser.path.partition("?")[0]).url_name))
        for size in (DESKTOP, PHONE):
            for theme in THEMES:
                self.browser.look(size=size, theme=theme)
                # Of a page's second theme all but its colours has been looked at.
                findings = self.browser.axe(colours_alone=(size, theme) not in _WHOLE)
                self._found(f"{where}, {size[0]} {theme}", findings)
            self._found(f"{where}, {size[0]}", [f"too wide: {box}" for box in self.browser.too_wide()])
        self._found(where, [f"refused {entry}" for entry in self.browser.refused()])
        self.browser.look(size=DESKTOP, theme="light")

    def _found(self, where: str, findings: list[str]) -> None:
        self.wrong += [f"{where}: {finding}" for finding in findings]
