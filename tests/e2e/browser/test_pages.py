"""Every page in a real browser: accessible, within the screen, and nothing refused by the policy."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.browser.harness import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.browser

LOOKS = ((DESKTOP, "light"), (PHONE, "dark"))
"""axe looks at both themes and both widths of every page; the other two pairs differ in nothing that it sees."""


def test_every_page_is_accessible_and_breaks_no_policy(browser: Browser, become: Any, site: Any) -> None:
    from tests.e2e.browser.pages import visits

    wrong: list[str] = []
    last: Any = "nobody yet"
    for name, path, person in visits(site):
        if person != last:
            browser.forget() if person is None else become(person)
            last = person
        for size, theme in LOOKS:
            browser.look(size=size, theme=theme)
            browser.open(path)
            where = f"{name} {size[0]} {theme}"
            wrong += [f"{where}: {finding}" for finding in browser.axe()]
            wrong += [f"{where}: refused {entry}" for entry in browser.refused()]
            if browser.is_wider_than_viewport():
                wrong.append(f"{where}: wider than the screen")
    wrong += [entry for entry in browser.complaints() if "/account/invitation/" not in entry]
    assert wrong == []
