"""Fixtures: the site under test, its cast, and a browser before it. What needs Django is imported inside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.browser.harness import Browser, chromium


@pytest.fixture(scope="session")
def driver(live_server: Any) -> Iterator[Browser]:
    """One Chromium for all tests: to start it is what costs."""
    if chromium() is None:
        pytest.skip("Chromium and chromedriver are not installed (apt-get install chromium chromium-driver)")
    browser = Browser(live_server.url)
    yield browser
    browser.close()


@pytest.fixture
def site(transactional_db: None, settings: Any, live_server: Any) -> Iterator[Any]:
    """The cast, committed; mails are sent by the request that asks for them; links lead to this server."""
    from licensing.celery import app
    from licensing.core.valkey import valkey
    from tests.portal_cast import load_portal_cast

    app.conf.task_always_eager = True
    settings.PUBLIC_URL = live_server.url
    settings.CSRF_TRUSTED_ORIGINS = [live_server.url]
    valkey().run(lambda client: client.flushdb())
    yield load_portal_cast()
    app.conf.task_always_eager = False


@pytest.fixture
def browser(driver: Browser, site: Any) -> Iterator[Browser]:
    """A browser that is nobody yet, with an empty console."""
    from tests.e2e.browser.harness import DESKTOP

    driver.forget()
    driver.look(size=DESKTOP, theme="light")
    driver.complaints()
    yield driver
    driver.open("/account/login")  # leave no page that asks a server whose database is being emptied


@pytest.fixture
def become(browser: Browser, site: Any) -> Any:
    """Sign somebody in without the form."""

    def sign_in(person: Any) -> None:
        browser.sign_in_by_cookie(site.client(person).cookies["session"].value)

    return sign_in
