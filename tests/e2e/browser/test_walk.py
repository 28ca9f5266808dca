"""The tasks of the portal, walked in a real browser as the people who do them; then again without scripts."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from tests.e2e.browser.harness import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _nothing_refused(browser: Browser) -> Any:
    yield
    assert browser.refused() == []
    assert [entry for entry in browser.complaints() if "status of 4" not in entry] == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_an_owner_signs_in_and_turns_a_key_over(browser: Browser, site: Any, size: tuple[int, int]) -> None:
    _with_password(site.people["owner"])
    browser.look(size=size, theme="light")
    _sign_in(browser, "owner@acme.example")
    assert browser.path == "/portal/acme_1"
    _menu(browser, "API keys")
    browser.press("Create a key")
    browser.fill("name", "From a browser")
    browser.press("Create the key")
    shown = browser.one("#secret").text
    assert re.fullmatch(r"km_live_[0-9A-Za-z]{36}", shown)
    assert f"export KEYWRIGHT_API_KEY='{shown}'" in browser.text
    browser.press("I have copied it")
    assert shown not in browser.driver.page_source
    browser.press("Rotate")
    browser.press("Rotate the key")
    assert "works until" in browser.text
    browser.press("I have copied it")
    browser.press("Revoke")
    assert "stops working within a second" in browser.text
    browser.press("Revoke for good")
    assert "The key is revoked" in browser.text


def test_a_developer_finds_an_installation_as_they_type_and_releases_it(
    browser: Browser, become: Any, site: Any
) -> None:
    from tests.portal_cast import HOST, fill

    fill(site.acme, installations=120, events=0)
    become(site.people["developer"])
    browser.open("/portal/acme_1/installations")
    first = browser.one("#results")
    browser.fill("q", "host-11")
    browser.wait(lambda: "host-110" in browser.one("#results").text and "host-20" not in browser.one("#results").text)
    assert first.is_displayed()  # the same page: only the part was exchanged
    assert "q=host-11" in browser.path
    assert browser.one("#results time").get_attribute("data-local") == "yes"
    browser.fill("q", HOST[:4])
    browser.wait(lambda: HOST in browser.one("#results").text)
    browser.press("Release")
    browser.press("Release")
    assert "Released. It takes a place again" in browser.text


def test_billing_and_viewer_see_no_more_than_theirs(browser: Browser, become: Any, site: Any) -> None:
    expected = {
        "owner": {"API keys", "Audit log", "People", "Security"},
        "developer": {"API keys", "Audit log", "People"},
        "billing": {"People"},
        "viewer": {"People"},
    }
    for role, lines in expected.items():
        become(site.people[role])
        browser.open("/portal/acme_1")
        shown = {link.text for link in browser.all("nav li a")}
        assert lines == shown & {"API keys", "Audit log", "People", "Security"}, role
        assert {"Overview", "Installations", "Plugins", "Usage"} <= shown
    browser.open("/portal/acme_1/installations")
    assert "Release" not in browser.one("#results").text


def test_an_invited_person_joins(browser: Browser, become: Any, site: Any, mailoutbox: Any) -> None:
    from datetime import UTC, datetime

    from licensing.core.outbox import dispatch_pending

    become(site.people["admin"])
    browser.open("/portal/acme_1/people")
    browser.press("Invite somebody")
    browser.fill("email", "grace@acme.example")
    browser.tick("role", "developer")
    browser.press("Send the invitation")
    assert "on its way" in browser.text
    dispatch_pending(now=datetime.now(UTC))
    (mail,) = [each for each in mailoutbox if each.to == ["grace@acme.example"]]
    (link,) = re.findall(r"http://\S+", mail.body)
    browser.forget()
    browser.open(link)
    browser.fill("name", "Grace")
    browser.fill("password", PASSWORD)
    browser.press("Make my account and join")
    _fill_sign_in(browser, "grace@acme.example")
    assert browser.path == "/portal/acme_1"
    assert "developer" not in browser.one("nav").text


def test_a_second_factor_is_set_up_and_asked_for(browser: Browser, site: Any) -> None:
    from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value

    _with_password(site.people["owner"])
    _sign_in(browser, "owner@acme.example")
    browser.open("/account/factors/app")
    _confirm(browser)
    secret = browser.one("#totp-secret").text
    browser.fill("code", format_hotp_value(hotp_value(secret, int(time.time()) // 30)))
    browser.press("Turn it on")
    codes = browser.one("#codes").text.split()
    assert len(codes) == 10
    site.acme.require_mfa = True
    site.acme.save()
    browser.open("/portal/acme_1")  # to set a factor up was to show it
    assert browser.path == "/portal/acme_1"
    browser.press("Sign out")
    _fill_sign_in(browser, "owner@acme.example")
    assert browser.path.startswith("/account/factor")
    browser.fill("code", codes[0])
    browser.press("Go on")
    assert browser.path == "/portal/acme_1"


def test_a_passkey_is_added_and_signs_in(browser: Browser, site: Any) -> None:
    from selenium.webdriver.common.virtual_authenticator import VirtualAuthenticatorOptions

    options = VirtualAuthenticatorOptions()
    options.protocol, options.transport = "ctap2", "internal"
    options.has_resident_key = options.has_user_verification = options.is_user_verified = True
    _with_password(site.people["owner"])
    browser.driver.add_virtual_authenticator(options)
    try:
        local = browser.base_url.replace("127.0.0.1", "localhost")
        _sign_in(browser, "owner@acme.example", at=local)
        browser.open(f"{local}/account/factors/passkeys/add")
        _confirm(browser)
        browser.fill("name", "This laptop")
        browser.one("[name=passwordless]").click()
        browser.press("Add")
        assert "Recovery codes" in browser.text, browser.text[:500]
        browser.forget()
        browser.open(f"{local}/account/login")
        browser.press("Sign in with a passkey")
        assert browser.driver.current_url == f"{local}/portal/acme_1"
    finally:
        browser.driver.remove_virtual_authenticator()


def test_an_operator_looks_on_suspends_and_quarantines(browser: Browser, become: Any, site: Any) -> None:
    become(site.superuser)
    browser.open("/operator/customers")
    browser.press("Acme")
    browser.press("Look on")
    browser.fill("reason", "a support call")
    browser.press("Look on")
    assert "read-only" in browser.text
    assert "Create a key" not in browser.text
    browser.open("/portal/acme_1/audit")
    assert "operator.looked_on" in browser.text
    browser.press("Stop looking on")
    browser.press("Suspend")
    browser.fill("reason", "unpaid")
    browser.press("Suspend")
    assert "Suspended" in browser.text
    browser.open("/operator/quarantines")
    browser.press("Quarantine something")
    browser.fill("plugin", "analytics")
    browser.fill("reason", "a test")
    browser.press("Quarantine")
    assert "analytics" in browser.text


def test_without_scripts_every_main_action_works(browser: Browser, site: Any) -> None:
    _with_password(site.people["owner"])
    with browser.without_scripts():
        _sign_in(browser, "owner@acme.example")
        assert browser.path == "/portal/acme_1"
        browser.open("/portal/acme_1/installations?q=nothing")
        assert "No installation here" in browser.text
        browser.open("/portal/acme_1/keys/new")
        browser.fill("name", "Without scripts")
        _submit(browser, "Create the key")
        assert "Copy it now" in browser.text
        browser.open("/portal/acme_1/people/invite")
        browser.fill("email", "x@acme.example")
        _submit(browser, "Send the invitation")
        assert "on its way" in browser.text
        browser.open("/portal/acme_1/security")
        browser.one("[name=proof_required]").click()
        _submit(browser, "Save")
        assert "Saved" in browser.text
        _submit(browser, "Dark theme")
        assert browser.one("html").get_attribute("data-theme") == "dark"


def _with_password(person: Any) -> None:
    person.set_password(PASSWORD)
    person.save()


def _sign_in(browser: Browser, email: str, *, at: str = "") -> None:
    browser.open(f"{at}/account/login")
    _fill_sign_in(browser, email)


def _fill_sign_in(browser: Browser, email: str) -> None:
    browser.fill("login", email)
    browser.fill("password", PASSWORD)
    _submit(browser, "Sign in")


def _confirm(browser: Browser) -> None:
    """How one signs in is changed only by who can sign in."""
    browser.fill("password", PASSWORD)
    _submit(browser, "Confirm")


def _submit(browser: Browser, text: str) -> None:
    """Press a button and wait, without asking the page's scripts, which may be off."""
    from selenium.webdriver.support.expected_conditions import staleness_of

    before = browser.one("html")
    browser.link(text).click()
    browser.wait(lambda: staleness_of(before)(browser.driver))


def _menu(browser: Browser, text: str) -> None:
    if not browser.one("nav.side").is_displayed():
        browser.one(".topbar a[href='#menu']").click()
    browser.press(text)
