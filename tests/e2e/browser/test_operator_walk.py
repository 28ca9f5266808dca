"""What operators do with releases, builds and keys, walked in a real browser, with scripts and without."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from tests.e2e.browser.harness import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.browser


@pytest.fixture
def sign_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `sign` worker that takes every order at once."""
    from licensing.tasks import rotate_signing_key

    monkeypatch.setattr(rotate_signing_key, "apply_async", lambda args, **_options: rotate_signing_key(*args))


@pytest.mark.parametrize(("size", "has_scripts"), [(DESKTOP, True), (PHONE, False)], ids=["desktop", "without-scripts"])
def test_an_operator_withdraws_a_release_and_rotates_a_key(
    browser: Browser, become: Any, site: Any, sign_answers: None, size: tuple[int, int], has_scripts: bool
) -> None:
    from tests.portal_cast import furnish

    furnish(site)
    become(site.superuser)
    browser.look(size=size, theme="light")
    with nullcontext() if has_scripts else browser.without_scripts():
        browser.open("/operator/plugins")
        browser.press("api-logger")
        browser.press("2.1.0")
        browser.press("Yank")
        browser.fill("reason", "it loses events")
        browser.press("Yank")
        assert "it loses events" in browser.text
        browser.press("Offer again")
        browser.press("Offer it again")
        assert "It is offered again" in browser.text
        browser.open("/operator/plugins/api-logger/channels/stable")
        browser.press("Move the channel")
        assert "From this moment on" in browser.text
        browser.open("/operator/signing-keys")
        browser.press("Rotate")
        assert "Nobody notices anything" in browser.text
        browser.press("Rotate")
        assert "signs in about ten minutes" in browser.text
    if has_scripts:
        assert browser.refused() == []


@pytest.mark.parametrize("has_scripts", [True, False], ids=["with-scripts", "without-scripts"])
def test_an_operator_watches_the_farm_and_stops_a_build(
    browser: Browser, become: Any, site: Any, has_scripts: bool
) -> None:
    become(site.operator)
    with nullcontext() if has_scripts else browser.without_scripts():
        browser.open("/operator/builds")
        assert "builder-1:4711" in browser.text
        browser.open(f"/operator/builds/{site.names['build_id']}")
        browser.press("Cancel")
        browser.press("Cancel the build")
        assert "thrown away" in browser.text
        browser.open("/operator/plugins/api-logger/releases/2.1.0")
        browser.press("Rebuild for everybody")
        browser.press("Rebuild")
        assert "in the queue" in browser.text
        assert "Mass rebuild" in browser.text
