"""Every page of the URL table in a real browser: accessible in both themes and widths, nothing refused by the policy.

A page is looked at where it stands in the table, or within a step of steps.py, or is no page (pages.NOT_HTML): there is
no fourth kind, so that a new page cannot escape.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.browser.harness import PASSING, Browser
from tests.e2e.browser.inspection import Inspection

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("kind", ["public", "person", "customer", "operator"])
def test_every_page(kind: str, browser: Browser, become: Any, site: Any) -> None:
    from tests.e2e.browser.pages import visits
    from tests.licensing.portal.test_matrix import PAGES

    inspection = Inspection(browser)
    expected: set[str] = set()
    last: Any = "nobody yet"
    for name, path, person in visits(site, kind=kind):
        if person != last:
            browser.forget() if person is None else become(person)
            last = person
        browser.open(path)
        inspection.look(name)
        expected |= {name} & {str(entry.name) for entry in PAGES}
        if browser.send_nothing():
            inspection.look(f"{name} with errors")
    _hold(inspection, expected)


def test_every_step(browser: Browser, become: Any, site: Any, monkeypatch: pytest.MonkeyPatch, mailoutbox: Any) -> None:
    from tests.e2e.browser.pages import IN_STEPS
    from tests.e2e.browser.steps import STEPS, Walker

    inspection = Inspection(browser)
    walker = Walker(browser, become, site, inspection, monkeypatch, mailoutbox)
    for step in STEPS:
        browser.forget()
        try:
            step(walker)
        except PASSING:  # a page was exchanged under our hands; walked again, the step has to hold
            browser.forget()
            step(walker)
    _hold(inspection, IN_STEPS)


def test_what_is_no_page_shows_none(site: Any) -> None:
    """Files, redirects and answers to scripts, whoever asks: what showed something would have to be looked at."""
    from django.urls import reverse

    from tests.e2e.browser.pages import NOT_HTML
    from tests.licensing.portal.test_matrix import PAGES

    for entry in PAGES:
        if entry.name in NOT_HTML:
            parts = entry.pattern.regex.groupindex  # type: ignore[union-attr]
            path = reverse(str(entry.name), kwargs={part: site.names[part] for part in parts})
            for person in (None, site.people["owner"], site.superuser):
                answer = site.client(person).get(path)
                shows = answer.status_code == 200 and answer.headers.get("Content-Type", "").startswith("text/html")
                assert not shows, entry.name


def _hold(inspection: Inspection, expected: set[str]) -> None:
    complaints = [entry for entry in inspection.browser.complaints() if "responded with a status of" not in entry]
    wrong = inspection.wrong + complaints
    assert not wrong, "\n".join(wrong)
    assert expected - inspection.seen == set()
